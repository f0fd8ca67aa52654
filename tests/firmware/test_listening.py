"""Listening in C against `edgeprune listen`: the same rules, levels and windows; the network is a stub (marked so)."""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.audio.decode import load_clip
from edgeprune.audio.listen_rules import UNIT, Judge, ListenRules, mean_square, power_sums
from edgeprune.audio.listener import Listener
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices import qemu
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.c_text import c_array
from edgeprune.firmware.frontend import write_frontend
from edgeprune.firmware.listening import write_listening
from edgeprune.recipe import LogMel

HERE = Path(__file__).parent
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wcast-align=strict", "-Werror")
SANITISED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SPEC = LogMel(sample_rate=16000, mels=24, patch_frames=30, patch_hop_frames=30)
"""A window is 0.6 s."""
NORMALISATION = Normalisation(np.full(24, -2, np.float32), np.full(24, 1.5, np.float32))
QUANTISATION = (0.03, -5)
LABELS = ("low", "middle", "high")
HEARD = {-1: "none", -2: "silence"}


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")


class Rules(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("smoothing", "threshold", "gate")]


class State(ctypes.Structure):
    _fields_ = [("rules", Rules), ("smoothed", ctypes.c_uint32 * 3), ("heard", ctypes.c_uint32)]


class Decided(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("heard", "best")),
        *((name, ctypes.c_uint32) for name in ("probability", "mean_square")),
    ]


class Level(ctypes.Structure):
    _fields_ = [("squares", ctypes.c_uint64), ("sum", ctypes.c_int64), ("count", ctypes.c_uint32)]


@pytest.fixture(scope="module")
def c(tmp_path_factory) -> ctypes.CDLL:
    """Rules and queue, as a library that traps on undefined behaviour."""
    folder = tmp_path_factory.mktemp("rules")
    write_listening(ListenRules(), SPEC, LABELS, (1 / 256, -128), folder)
    sources = [folder / f"edgeprune_{name}.c" for name in ("listen", "fifo", "labels")]
    trap = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    command = ["gcc", *STRICT, "-O2", *trap, "-fPIC", "-shared", *sources, "-o", folder / "rules.so"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "rules.so"))
    for name in ("ep_level_mean_square", "ep_fifo_write", "ep_fifo_peek", "ep_fifo_dropped"):
        getattr(library, name).restype = ctypes.c_uint32
    library.ep_heard.restype = ctypes.c_char_p
    return library


outputs = st.lists(st.integers(-128, 127), min_size=3, max_size=3)
windows = st.lists(st.tuples(outputs, st.sampled_from([0, 1, 10, 11, 12, 500, 1 << 30])), min_size=1, max_size=12)


@given(windows=windows, smoothing=st.floats(0, 0.9999), threshold=st.floats(0, 1), gate=st.none() | st.floats(-90, 0))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_decisions_are_pythons(c, windows, smoothing: float, threshold: float, gate: float | None) -> None:
    rules = ListenRules(smoothing=smoothing, threshold=threshold, gate_dbfs=gate)
    judge, state, decided = Judge(rules), State(), Decided()
    c.ep_listen_reset(ctypes.byref(state))
    state.rules = Rules(rules.smoothing_weight, rules.least_probability, rules.least_mean_square)
    for output, level in windows:
        expected = judge.judge((np.array(output) + 128) / 256, level)
        c.ep_listen_decide(
            ctypes.byref(state), (ctypes.c_int8 * 3)(*output), ctypes.c_uint32(level), ctypes.byref(decided)
        )
        heard = HEARD.get(decided.heard, "class")
        assert (heard, decided.best, decided.mean_square) == (expected.heard, expected.best, expected.mean_square)
        assert decided.probability == (0 if heard == "silence" else expected.smoothed[expected.best])
        if heard == "class":
            assert decided.heard == decided.best
            np.testing.assert_array_equal(list(state.smoothed), expected.smoothed)
        name = LABELS[decided.heard] if heard == "class" else heard
        assert c.ep_heard(ctypes.byref(decided)).decode() == name


def test_the_defaults_are_pythons(c) -> None:
    state, rules = State(), ListenRules()
    c.ep_listen_reset(ctypes.byref(state))
    stored = (state.rules.smoothing, state.rules.threshold, state.rules.gate)
    assert stored == (rules.smoothing_weight, rules.least_probability, rules.least_mean_square)
    assert stored == (round(0.7 * 32768), 0, 11)


def level_of(c, parts: list[np.ndarray]) -> int:
    level = Level()
    for part in parts:
        part = np.ascontiguousarray(part, np.int16)
        more = Level()
        c.ep_level_add(ctypes.byref(more), part.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(part)))
        c.ep_level_join(ctypes.byref(level), ctypes.byref(more))
    return c.ep_level_mean_square(ctypes.byref(level))


@given(st.lists(st.integers(-32768, 32767), max_size=50), st.integers(0, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_levels_are_pythons(c, values: list[int], place: int) -> None:
    samples = np.array(values, np.int16)
    expected = mean_square(power_sums((samples / 32768).astype(np.float32)))
    assert level_of(c, np.split(samples, [place % (len(samples) + 1)])) == expected
    if values:
        assert np.var(samples.astype(float)) - 1 <= expected <= np.var(samples.astype(float)) + 0.25


def test_levels_of_known_sounds(c) -> None:
    time = np.arange(48000) / 48000
    square = np.where(np.sin(2 * np.pi * 100 * time) >= 0, 32767, -32768)
    sine = np.round(32767 * np.sin(2 * np.pi * 100 * time))
    for samples, expected in (
        (square, 0),
        (sine, -3.01),
        (sine / 1000 + 20000, -63.01),
        (np.zeros(48000), -91),
        (np.full(48000, -32768), -91),  # an offset is no sound
        (np.resize([0, 2], 48000), -90.3),
    ):
        db = c.ep_level_dbfs(ctypes.c_uint32(level_of(c, [samples])))
        assert db <= expected + 0.05
        assert db > expected - 1.1


def test_a_queue_keeps_the_order_and_counts_what_it_drops(c) -> None:
    memory, state = (ctypes.c_int16 * 16)(), ctypes.create_string_buffer(64)
    c.ep_fifo_init(state, memory, ctypes.c_uint32(16))
    generator, sent, received, lost = np.random.default_rng(0), [], [], 0
    for turn in range(200):
        block = np.arange(turn * 100, turn * 100 + generator.integers(0, 14)).astype(np.int16)
        room = c.ep_fifo_write(state, block.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint32(len(block)))
        sent, lost = [*sent, *block[:room]], lost + len(block) - room
        place = ctypes.POINTER(ctypes.c_int16)()
        taken = min(c.ep_fifo_peek(state, ctypes.byref(place)), int(generator.integers(0, 12)))
        received += place[:taken]
        c.ep_fifo_skip(state, ctypes.c_uint32(taken))
    assert lost > 100
    assert c.ep_fifo_dropped(state) == lost
    assert len(sent) - len(received) <= 16
    assert received == sent[: len(received)]
    c.ep_fifo_lost(state, ctypes.c_uint32(5))
    assert c.ep_fifo_dropped(state) == lost + 5


# Whole streams


def real_audio(shared_data: Path) -> np.ndarray:
    """Two real scenes, digital silence, a whisper of noise, and a sweep: int16 `[samples]`, 8.5 s."""
    scenes = [
        load_clip(shared_data / f"tut2017/audio/{name}.flac", 16000)[:32000] for name in ("a001_50_60", "a122_120_130")
    ]
    return joined(*scenes)


def joined(*scenes: np.ndarray) -> np.ndarray:
    whisper = np.random.default_rng(1).normal(0, 2 / 32768, 24000)
    sweep = 0.3 * np.sin(2 * np.pi * np.cumsum(np.geomspace(200, 7000, 24000)) / 16000)
    parts = [*scenes[:1], np.zeros(24000), *scenes[1:], whisper, sweep, np.zeros(100)]
    return np.clip(np.round(np.concatenate(parts) * 32768), -32768, 32767).astype(np.int16)


def made_audio() -> np.ndarray:
    generator = np.random.default_rng(2)
    scenes = [np.cumsum(generator.normal(0, 0.01, 24000)) % 0.5 - 0.25, generator.normal(0, 0.05, 24000)]
    return joined(*scenes)


def write_program(
    folder: Path, rules: ListenRules, samples: np.ndarray, spec: LogMel = SPEC, stream: bool = True, board: bool = False
) -> list[Path]:
    files = write_frontend(spec, NORMALISATION, folder, "mels_frames", QUANTISATION, stream)
    sources = write_listening(rules, spec, LABELS, (1 / 256, -128), folder)
    shutil.copy(HERE / "stub_network.h", folder / "edgeprune_network.h")
    declaration = "int16_t samples[SAMPLES] BOARD_VECTORS" if board else "const int16_t samples[SAMPLES]"
    include = '#include "board.h"' if board else "#include <stdint.h>"
    text = f"{include}\n#define SAMPLES {len(samples)}\nstatic {c_array(declaration, samples)}"
    (folder / "samples.h").write_text(text)
    return [*files.sources, *sources, HERE / "stream_run.c"]


def decisions(printed: str) -> list[list[int]]:
    """Heard, best, probability, mean square and checksum of each."""
    lines = [line.split() for line in printed.splitlines()]
    rows = [[int(word) for word in words[1:]] for words in lines if words[0] == "decision"]
    assert lines[-1] == ["end", str(len(rows))]
    return rows


def run_here(folder: Path, sources: list[Path], piece: int, *flags: str) -> str:
    """What the program prints, under the address and undefined-behaviour sanitizers."""
    command = [
        "gcc",
        *STRICT,
        *SANITISED,
        f"-DPIECE={piece}",
        *flags,
        f"-I{folder}",
        *sources,
        "-o",
        folder / "run",
        "-lm",
    ]
    subprocess.run(command, check=True)
    return subprocess.run([folder / "run"], check=True, capture_output=True, text=True).stdout


def stub(patch: np.ndarray) -> np.ndarray:
    """The stub network in Python: probabilities of a patch `[frames, mels]`."""
    values = (patch - NORMALISATION.mean) / NORMALISATION.std / QUANTISATION[0] + QUANTISATION[1]
    stored = np.clip(np.floor(np.abs(values) + 0.5) * np.sign(values), -128, 127).astype(int) + 128
    sums = (stored**2).sum(axis=0).reshape(3, 8).sum(axis=1)
    return 255 * sums // (sums.sum() + 1) / 256


def python_decisions(rules: ListenRules, samples: np.ndarray) -> list[tuple[int, int, int, int]]:
    """As `decisions`, without the checksum, by the listener of `edgeprune listen`."""
    decided = Listener(SPEC, stub, rules).listen([(samples / 32768).astype(np.float32)])
    heard = {"none": -1, "silence": -2}
    judgements = [decision.judgement for decision in decided]
    return [
        (heard.get(j.heard, j.best), j.best, int(j.smoothed[j.best]) if j.best >= 0 else 0, j.mean_square)
        for j in judgements
    ]


RULES = {
    "windows in turn": ListenRules(),
    "two a window": ListenRules(hops_per_window=2, threshold=0.4),
    "seven a window, no gate": ListenRules(hops_per_window=7, smoothing=0.9, gate_dbfs=None),
    "gaps": ListenRules(hop_s=0.78, smoothing=0),
}


@pytest.mark.parametrize(
    ("name", "audio"),
    [
        ("windows in turn", "made"),
        ("two a window", "made"),
        ("two a window", "real"),
        ("seven a window, no gate", "made"),
        ("gaps", "real"),
    ],
)
def test_firmware_decides_as_edgeprune_listen_does(request, tmp_path: Path, name: str, audio: str) -> None:
    """Rows as they come and patches out of the ring give the same bytes; both decide as Python does."""
    rules = RULES[name]
    samples = made_audio() if audio == "made" else real_audio(request.getfixturevalue("shared_data"))
    rows = decisions(run_here(tmp_path / "rows", write_program(tmp_path / "rows", rules, samples), piece=1237))
    in_ring = write_program(tmp_path / "ring", rules, samples, stream=False)
    assert decisions(run_here(tmp_path / "ring", in_ring, 24000, "-DQUEUE=32768")) == rows
    assert len({checksum for *_, checksum in rows if checksum}) > len(rows) // 2
    expected = python_decisions(rules, samples)
    assert [(heard, best, level) for heard, best, _, level, _ in rows] == [(h, b, level) for h, b, _, level in expected]
    # the front-end in C is of single precision: a stored value may be a step away, and so may an output
    errors = [abs(row[2] - wanted[2]) for row, wanted in zip(rows, expected, strict=True)]
    assert max(errors) <= UNIT // 256
    if rules.gate_dbfs is not None:
        assert {row[0] for row in rows} >= {-2}
    if rules.threshold:
        assert {row[0] for row in rows} >= {-2, -1, 0}


def test_overlapping_windows_are_those_of_one_pipeline(tmp_path: Path) -> None:
    """Window k of three pipelines sees the frames k, k + 1 ... of a hop, as a stream that begins there does."""
    rules, samples = ListenRules(hops_per_window=3, gate_dbfs=None, smoothing=0), made_audio()[:24000]
    spec, hop = replace(SPEC, center=False), 10 * SPEC.hop_samples
    many = decisions(run_here(tmp_path / "many", write_program(tmp_path / "many", rules, samples, spec), piece=999))
    for k in range(4):
        folder = tmp_path / f"alone{k}"
        sources = write_program(folder, replace(rules, hops_per_window=1), samples[k * hop :], spec)
        alone = decisions(run_here(folder, sources, piece=999))
        assert alone[0][4] == many[k][4]
        assert alone[0][4] != many[k + 1][4]


@pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="needs QEMU and a compiler for Arm",
)
def test_a_cortex_m4_decides_the_same(tmp_path: Path) -> None:
    rules, samples = RULES["two a window"], made_audio()
    sources = write_program(tmp_path, rules, samples, board=True)
    image = qemu.build("cortex-m4", sources, [tmp_path], tmp_path / "run.elf", ("BOARD", "PIECE=320"))
    on_board = decisions(qemu.run("cortex-m4", image.path, 60, tmp_path))
    here = decisions(run_here(tmp_path / "here", write_program(tmp_path / "here", rules, samples), piece=320))
    assert [row[:4] for row in on_board] == [row[:4] for row in here]
    assert [row[:2] for row in on_board] == [list(wanted[:2]) for wanted in python_decisions(rules, samples)]


def test_an_output_that_is_no_probability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match="an output step of 1e-06 is no step of probabilities"):
        write_listening(ListenRules(), SPEC, LABELS, (1e-6, 0), tmp_path)
