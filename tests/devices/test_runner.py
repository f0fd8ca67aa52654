import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from board import board_python

from edgeprune.files import share_folder
from edgeprune.tflite.interpreter import TFLiteModel, runtime_version

RUNNER = share_folder("export") / "linux" / "runner.py"


@pytest.fixture
def runner():
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("board_runner", RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path) -> Path:
    """A float network twice, with a job of 3 runs."""
    place = tmp_path / "it's a 'folder'"
    place.mkdir()
    for name in ("one.tflite", "two.tflite"):
        tiny_tflite.write(tiny_tflite.float_model(6, 4), place / name)
    np.save(place / "clips.npy", np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32))
    write_job(place)
    return place


def write_job(folder: Path, models: tuple[str, ...] = ("one.tflite", "two.tflite"), **settings) -> None:
    files = [{"model": name, "inputs": "clips.npy"} for name in models]
    (folder / "job.json").write_text(json.dumps({"files": files, "runs": 3, "timeout_s": 60, **settings}))


def run(*words: str | Path, python: str | Path = sys.executable, code: int = 0, **environment: str) -> dict:
    """The one JSON document it prints."""
    done = subprocess.run(
        [python, RUNNER, *words], capture_output=True, env={**os.environ, **environment}, cwd="/", check=False
    )
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    return json.loads(done.stdout)


def test_what_it_prints(folder) -> None:
    write_job(folder, threads=[1, 2])
    document = run(folder)
    assert [(result["model"], result["threads"]) for result in document["results"]] == [
        ("one.tflite", 1),
        ("two.tflite", 1),
        ("one.tflite", 2),
        ("two.tflite", 2),
    ]
    clips = np.load(folder / "clips.npy")
    expected = clips @ np.arange(24, dtype=np.float32).reshape(4, 6).T + np.arange(4)
    for result in document["results"]:
        assert len(result["times_ns"]) == 3
        assert min(result["times_ns"]) > 0
        assert result["outputs_dtype"] == "float32"
        np.testing.assert_allclose(result["outputs"], expected, rtol=1e-5, atol=1e-5)
        assert result["peak_ram_bytes"] >= result["ram_before_model_bytes"] > 1_000_000
        assert result["delegate"] in (True, False, None)
    assert document["interpreter"] == runtime_version()
    assert document["numpy"] == np.__version__
    assert document["cores"] == len(os.sched_getaffinity(0))
    assert len(document["before"]["load_average"]) == 3
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    assert document["governor"] == (governor.read_text().strip() if governor.is_file() else None)


def test_the_features_of_a_processor_are_read_from_linux(runner, monkeypatch) -> None:
    files = {
        "x86": "model name\t: AMD EPYC\nflags\t\t: fpu fma avx2 avx512_vnni\n",
        "arm": "Features\t: fp asimd asimddp\n",
    }
    seen = {}
    for name, text in files.items():
        monkeypatch.setattr(runner, "read_text", lambda path, text=text: text if path == "/proc/cpuinfo" else None)
        seen[name] = runner.describe_board()
    assert (seen["x86"]["cpu"], seen["x86"]["cpu_features"]) == ("AMD EPYC", "fma, avx2, avx512_vnni")
    assert (seen["arm"]["cpu"], seen["arm"]["cpu_features"]) == (None, "asimd, asimddp")
    monkeypatch.setattr(runner, "read_text", lambda path: None)
    assert runner.describe_board()["cpu_features"] is None


def test_with_the_interpreter_of_an_old_board(folder) -> None:
    document = run(folder, python=board_python())
    assert document["interpreter"] == "tflite-runtime 2.14.0"
    model = TFLiteModel(folder / "one.tflite", xnnpack=False)
    assert document["results"][0]["outputs"] == pytest.approx(model.predict(np.load(folder / "clips.npy")), abs=1e-5)


def test_every_round_runs_each_file_once_and_the_first_rotates(runner, folder, monkeypatch) -> None:
    ran = []

    class Pretender(runner.Candidate):
        def __init__(self, folder, number, entry, threads) -> None:
            self.name, self.times_ns = entry["model"], []

        def run(self, turn: int) -> int:
            ran.append(self.name)
            return turn

        def run_clips(self) -> None:
            pass

        def result(self) -> dict:
            return {"times_ns": self.times_ns}

    monkeypatch.setattr(runner, "Candidate", Pretender)
    write_job(folder, ("a", "b", "c"), warmup=2)
    document = runner.time_files(str(folder), runner.read_job(str(folder)))
    assert "".join(ran) == "abc" + "bca" + "cab" + "abc" + "bca"
    assert [result["times_ns"] for result in document["results"]] == [[2, 3, 4]] * 3


def test_old_pythons_can_read_it() -> None:
    ast.parse(RUNNER.read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize(
    "settings",
    [
        {"files": []},
        {"files": [{"model": "one.tflite"}]},
        {"files": "one.tflite"},
        {"threads": []},
        {"threads": [0]},
        {"threads": [True]},
        {"runs": 0},
        {"runs": 2.5},
        {"warmup": -1},
        {"timeout_s": 0},
        {"timeout_s": "1"},
        {"timeout_s": None},
    ],
)
def test_jobs_out_of_range(runner, folder, settings) -> None:
    write_job(folder, **settings)
    with pytest.raises(runner.JobError, match=r'job.json: give "files"'):
        runner.read_job(str(folder))


def test_errors_are_json_too(folder, tmp_path) -> None:
    assert "usage: runner.py FOLDER" in run(code=1)["error"]
    assert "job.json cannot be read (No such file" in run(tmp_path / "none", code=1)["error"]
    (tmp_path / "job.json").write_text("{")
    assert "is not JSON" in run(tmp_path, code=1)["error"]
    write_job(folder, ("none.tflite",))
    assert "none.tflite cannot be loaded by ai-edge-litert" in run(folder, code=1)["error"]
    (folder / "text.tflite").write_text("no network")
    write_job(folder, ("text.tflite",))
    assert "text.tflite cannot be loaded by" in run(folder, code=1)["error"]
    write_job(folder)
    np.save(folder / "clips.npy", np.zeros((5, 6), dtype=np.float64))
    text = run(folder, code=1)["error"]
    assert text == "one.tflite takes float32 [1, 6] but clips.npy holds float64 [1, 6]"
    np.save(folder / "clips.npy", np.array([{}]), allow_pickle=True)
    assert "clips.npy cannot be read" in run(folder, code=1)["error"]


def test_values_that_are_not_finite_become_null(runner) -> None:
    assert [runner.plain(value) for value in (1.5, float("nan"), float("inf"), -7)] == [1.5, None, None, -7]


def test_a_library_that_prints_does_not_spoil_the_answer(folder, tmp_path) -> None:
    place = tmp_path / "modules" / "ai_edge_litert"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("import os; print('hello'); os.system('echo hello')")
    (place / "interpreter.py").write_text("from tflite_runtime.interpreter import Interpreter")
    document = run(folder, python=board_python(), PYTHONPATH=str(place.parent))
    assert len(document["results"]) == 2


def test_the_sensors_of_a_board(runner, monkeypatch) -> None:
    texts = {
        "/sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "/sys/class/thermal/thermal_zone0/temp": "48312",
        "/sys/class/thermal/thermal_zone1/temp": "-1500",
        "/sys/class/thermal/thermal_zone2/type": "broken",
        "/proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n",
    }
    zones = [f"/sys/class/thermal/thermal_zone{number}" for number in range(3)]
    monkeypatch.setattr(runner, "read_text", texts.get)
    monkeypatch.setattr(runner.glob, "glob", lambda _: zones)
    assert runner.temperatures() == {"cpu-thermal (thermal_zone0)": 48.312, "thermal_zone1": -1.5}
    assert runner.cpu_value("model name") is None
    texts["/proc/cpuinfo"] += "model name\t: ARMv7 Processor rev 4 (v7l)\n"
    assert runner.cpu_value("model name") == "ARMv7 Processor rev 4 (v7l)"
    monkeypatch.setattr(runner.glob, "glob", lambda _: [])
    assert runner.temperatures() is None
