"""The real command where the system gives less than usual: closed streams, full disks, little memory, other locales."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from stored_result import stored_result

from edgeprune.files import write_json
from edgeprune.recipe import Recipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are those of Unix")


def command(
    words: str,
    folder: Path,
    limits: Mapping[int, int] | None = None,
    closed: tuple[int, ...] = (),
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """`edgeprune WORDS` in a folder, its limits set and its streams closed before it starts."""

    def prepare() -> None:
        for limit, value in (limits or {}).items():
            resource.setrlimit(limit, (value, value))
        for number in closed:
            os.close(number)

    return subprocess.run(
        [sys.executable, "-m", "edgeprune", *words.split()],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=prepare,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(tmp_path / "größe/lauf/recipe.json", Recipe(name="small").to_dict())
    write_json(tmp_path / "größe/lauf/result.json", stored_result())
    return tmp_path


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams(folder, closed):
    assert command("recipes", folder, closed=closed).returncode == 0
    assert command("compare absent", folder, closed=closed).returncode == 2


def test_a_pipe_that_nobody_reads(folder):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = command("recipes --json", folder, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_that_nobody_reads(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeprune", "compare", "absent"], cwd=folder, stderr=full, check=False
        )
    assert done.returncode == 2


def test_too_few_addresses_are_refused_before_a_library_aborts(folder):
    done = command("cost dcase21", folder, {resource.RLIMIT_AS: 500 << 20})
    assert done.returncode == 2
    assert "limits a process to 500 MiB of addresses" in done.stderr


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_path_beyond_ascii_in_the_locale_c(folder, locale):
    """With UTF-8 mode off, Python sees the path as bytes that it cannot decode."""
    done = command("compare größe/lauf --json --csv größe/tafel.csv", folder, environment=locale)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variants"]
    assert (folder / "größe/tafel.csv").is_file()
    assert command("compare größe/fehlt", folder, environment=locale).returncode == 2


def test_a_path_that_is_not_utf8(tmp_path):
    """A .tflite is measured there; what TensorFlow would have to write there is refused before a run begins."""
    name = os.fsdecode(b"l\xe4rm")
    (tmp_path / name).mkdir()
    tiny_tflite.write(
        tiny_tflite.dense_model(np.ones((2, 4), np.float32), np.zeros(2, np.float32)), tmp_path / name / "net.tflite"
    )
    done = command(f"bench {name}/net.tflite --device host --runs 2 --json", tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (f"run quickstart --out {name}/run", f"run quickstart --out {name}"):
        done = command(words, tmp_path)
        assert done.returncode == 2
        assert "its path is not UTF-8" in done.stderr
    assert [path.name for path in (tmp_path / name).iterdir()] == ["net.tflite"]


WRITERS = """
import resource, sys
from pathlib import Path
import numpy as np, torch, soundfile
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.data.feature_cache import extract
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import write_predictions
from edgeprune.files import write_json
from edgeprune.models.checkpoint import save
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import LogMel
from edgeprune.training.checkpoint_io import AtomicCheckpointIO

folder = Path(sys.argv[1])
spec = make_spec("dcase21")
model = build(spec)
names = [f"{number}.wav" for number in range(2000)]
soundfile.write(folder / "long.wav", np.zeros(16000 * 60), 16000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, write in {
    "dense.ckpt": lambda path: save(path, spec, model),
    "last.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint({"state_dict": model.state_dict()}, path),
    "predictions.csv": lambda path: write_predictions(path, names, ["a"] * 2000, np.full((2000, 2), 1 / 3), ["a", "b"]),
    "result.json": lambda path: write_json(path, names * 10),
    "model.onnx": lambda path: export_onnx(model, spec.input_shape, path),
    "cache": lambda path: extract(folder, ["long.wav"], LogMel.vggish(), {"name": "x"}, path, workers=1),
}.items():
    try:
        write(folder / name)
        print(name, "was written")
    except EdgepruneError as error:
        print(name, error)
"""


def test_a_limit_on_the_size_of_files(tmp_path):
    """As a disk that is full: what is written beyond it is refused by name, and nothing of it stays."""
    done = subprocess.run([sys.executable, "-c", WRITERS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(said) == {"dense.ckpt", "last.ckpt", "predictions.csv", "result.json", "model.onnx", "cache"}
    assert {name for name, sentence in said.items() if "cannot be written (File too large)" not in sentence} == set(), (
        said
    )
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "long.wav"]
    assert not [path for path in left if path.stat().st_size == 100_000], left


EXPORT = """
import sys
from pathlib import Path
import numpy as np
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.tflite_export import convert
from edgeprune.models.registry import build, make_spec

assert False, "optimised Python skips this line"
folder, spec = Path(sys.argv[1]), make_spec("dcase21", 3, (1, 40, 51), width=0.1)
onnx = export_onnx(build(spec).eval(), spec.input_shape, folder / "model.onnx")
convert(onnx, folder, ["int8"], np.random.default_rng(0).normal(size=(4, 1, 40, 51)).astype(np.float32))
"""


@pytest.mark.slow
def test_export_by_python_without_assertions(tmp_path):
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    subprocess.run([sys.executable, "-c", EXPORT, tmp_path], env=environment, check=True, capture_output=True)
    assert (tmp_path / "model_int8.tflite").stat().st_size > 1000
