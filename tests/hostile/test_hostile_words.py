"""Words on a command line, and whole command lines, that nobody would type."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
from hostile import INPUTS, faulty_message, try_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiling import NASTY_TEXT
from stored_result import stored_result

from edgeprune import flags
from edgeprune.cli.main import main
from edgeprune.devices.browser_address import parse as browser_address
from edgeprune.devices.find import find_device
from edgeprune.devices.ssh_address import parse as ssh_address
from edgeprune.errors import EdgepruneError, readable
from edgeprune.files import write_json
from edgeprune.recipe import Recipe
from edgeprune.submitting.label import parse_label
from edgeprune.units import format_size, parse_size

NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "1e3",
    "0.5",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "9" * 400,
    "9" * 5000,
    "99999999999999999999",
)
WORDS = (
    *(*NUMBERS, "a,b", ",", "1x40x51", "1x99999x99999", "\udcff", "net.tflite", "runs", "runs/whole/result.json"),
    *(word for word in NASTY_TEXT if word not in ("", "\0", "\ud800")),
)
"""`\\udcff` is how Python holds a byte that is no UTF-8."""


def word_like(examples: tuple[str, ...]) -> Any:
    """Text, or one of the examples with a piece of text in it."""

    def with_piece(example: str, place: int, piece: str) -> str:
        return example[:place] + piece + example[place:]

    piece = st.text(max_size=12)
    spoilt = st.builds(with_piece, st.sampled_from(examples), st.integers(0, 20), piece)
    return st.one_of(piece, spoilt, st.sampled_from(WORDS))


READERS = {
    "sizes": (parse_size, ("29.2M", "128kB", "1MiB", "1_000", "1,000")),
    "latencies": (flags.parse_latency, ("0.8@host", "3ms@ssh://a@b:22", "3")),
    "shapes": (flags._shape, ("1x40x51",)),
    "clocks": (flags._hertz, ("80MHz", "1.5GHz")),
    "whole numbers": (flags._whole, ("1", "22")),
    "ssh addresses": (ssh_address, ("ssh://user@host:22", "ssh://user@[::1]:22", "ssh://user:secret@host")),
    "browser addresses": (browser_address, ("browser", "browser://0.0.0.0:8000")),
    "devices": (find_device, ("host", "cortex-m4", "ethos-u55-128", "adb:SERIAL", "ssh://a@b")),
    "labels of submissions": (lambda text: parse_label(text, "task1"), ("Surname_INST_task1_1",)),
}


@pytest.mark.parametrize("name", READERS)
def test_words(name, hold):
    read, examples = READERS[name]
    made: list[str] = []

    @settings(max_examples=INPUTS, derandomize=True, database=None, deadline=None)
    @given(word_like(examples))
    def collect(word: str) -> None:
        made.append(word)

    collect()
    hold(try_inputs(name, lambda _: made.pop(), read, len(made)))


def test_sizes_survive_being_written():
    for size in (1, 999, 1000, 12_345, 10**9, 10**15):
        assert parse_size(format_size(size)) == size


def test_messages_are_cut_in_the_middle():
    message = readable("a" * 400 + "\x1b\n" + "z" * 400)
    assert len(message) <= 500
    assert message.startswith("aaa")
    assert message.endswith("zzz")
    assert readable("one\ntwo\x1b") == r"one\ntwo\x1b"


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("cost", "dcase21"), ("cost", "net.tflite"), ("cost", "dcase21", "--input", "1x40x51", "--classes", "3"),
    ("cost", "dcase21", "--rules", "dcase2022", "--bits", "8", "--json"),
    ("budget", "dcase21", "--params", "20k"), ("budget", "dcase21", "--macs", "10M", "--peak-ram", "40kB", "--json"),
    ("score", "dcase21", "--criterion", "l1"), ("export", "absent"), ("export", "net.tflite", "--formats", "int8"),
    ("evaluate", "net.tflite", "--data.name", "folder"), ("evaluate", "runs/whole", "--data.root", "absent"),
    ("bench", "net.tflite", "--device", "absent"), ("bench", "absent.tflite", "--device", "host", "--runs", "3"),
    ("compare", "runs"), ("compare", "runs/whole", "--format", "int8", "--json"), ("compare", "runs", "--csv", "t.csv"),
    ("compare", "runs", "--baseline", "runs/whole", "--max-drop", "1", "--tolerance", "0.1"),
    ("deploy", "net.tflite", "--target", "c11", "--out", "bundle"), ("deploy", "runs/whole", "--target", "web"),
    ("data", "list"), ("data", "verify", "folder", "--root", "clips"), ("data", "fetch", "folder", "--root", "clips"),
    ("submit", "runs/whole", "--rules", "dcase2022", "--out", "package"), ("recipes",), ("recipes", "--json"),
    ("sweep", "quickstart", "--params", "20k", "--data.name", "folder", "--data.root", "absent", "--out", "s"),
    ("run", "quickstart", "--data.name", "folder", "--data.root", "absent", "--budget.params", "20k"),
    ("run", "quickstart", "--data.name", "folder", "--data.root", "absent", "--train.lr", "0.1"),
    ("run", "quickstart", "--data.name", "folder", "--data.root", "absent", "--bench.threads", "1"),
    ("run", "quickstart", "--data.name", "folder", "--data.root", "absent", "--frontend.n-fft", "1024"),
    ("run", "runs/whole/recipe.json", "--data.name", "folder", "--data.root", "absent"),
)  # fmt: skip
KEPT = ("--data.name", "--data.root", "folder", "absent", "fetch", "run", "sweep")
"""Words that are not replaced: without them a command may begin to train, or to download."""


ERROR = "edgeprune: error: "


def spoilt_command(rng: random.Random) -> list[str]:
    words = list(rng.choice(COMMANDS))
    for _ in range(rng.randint(1, 2)):
        places = [place for place, word in enumerate(words) if word not in KEPT] or [0]
        place = rng.choice(places)
        change = rng.random()
        if change < 0.7:
            words[place] = rng.choice(WORDS)
        elif change < 0.8:
            words.insert(place + 1, rng.choice(("--json", "--quiet", "--seed", "--nonsense", *WORDS)))
        elif words[place] not in KEPT:
            words[place] = words[place][: rng.randrange(len(words[place]) + 1)] + rng.choice(
                ("x", "=", "\N{SNOWMAN}", "")
            )
    return [word for word in words if word != "\0"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: a file of one operator, and a finished run without its files."""
    monkeypatch.chdir(tmp_path)
    tiny_tflite.write(tiny_tflite.dense_model(np.ones((2, 4), np.float32), np.zeros(2, np.float32)), Path("net.tflite"))
    write_json(Path("runs/whole/recipe.json"), Recipe(name="small").to_dict())
    write_json(Path("runs/whole/result.json"), stored_result())
    return tmp_path


def test_command_lines(folder, capsys, hold):
    def read(words: list[str]) -> None:
        code, said = main(words), capsys.readouterr().err
        assert code in (0, 2, 3, 4), said[-1500:]
        sentences = [line for line in said.splitlines() if line.startswith(ERROR)]
        assert not any(faulty_message(line.removeprefix(ERROR)) for line in sentences), said
        assert len(said) < 4000 + 4 * sum(map(len, words)), said  # tyro quotes what was typed, up to three times
        if code:
            raise EdgepruneError("refused")

    hold(try_inputs("command lines", spoilt_command, read))
