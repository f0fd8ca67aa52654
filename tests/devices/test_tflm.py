import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import conv_tflite
import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from tflite_micro import runtime

from edgeprune.devices import checks, tflm
from edgeprune.devices.inputs import inputs_for
from edgeprune.devices.micro_interpreter import MicroInterpreter
from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.devices.tflm import measure
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.cost import cost_of_tflite
from edgeprune.tflite.flatbuffer import operators

INPUTS = Inputs(conv_tflite.clips(), "10 draws")


def _job(*paths: Path, inputs: Inputs = INPUTS, **fields) -> BenchRequest:
    return BenchRequest("tflm", tuple(paths), lambda _: inputs, **fields)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return conv_tflite.conv_network(tmp_path_factory.mktemp("network") / "network.tflite")


def _micro(path: Path) -> np.ndarray:
    """What the interpreter gives in an arena that is large, `[n, classes]`."""
    interpreter, outputs = runtime.Interpreter.from_file(str(path), arena_size=1 << 20), []
    for values in checks.reference(path, INPUTS)[0]:
        interpreter.set_input(values[None], 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)).reshape(-1))
    return np.stack(outputs)


def _runs_in(path: Path, arena: int) -> bool:
    """Whether the interpreter, in a process of its own, gives the same in an arena of so many bytes."""
    np.savez(path.with_suffix(".npz"), stored=checks.reference(path, INPUTS)[0], expected=_micro(path))
    code = """if True:
        import sys, numpy as np
        from tflite_micro import runtime
        data = np.load(sys.argv[3])
        micro = runtime.Interpreter.from_bytes(open(sys.argv[1], "rb").read(), arena_size=int(sys.argv[2]))
        for one, due in zip(data["stored"], data["expected"]):
            micro.set_input(one[None], 0); micro.invoke()
            assert (micro.get_output(0).reshape(-1) == due).all()
        print("right")
    """
    command = [sys.executable, "-c", code, str(path), str(arena), str(path.with_suffix(".npz"))]
    return subprocess.run(command, capture_output=True).stdout == b"right\n"


@pytest.mark.parametrize("widths", [(8, 16), (3, 5), (16, 2)])
def test_the_smallest_arena_is_tight(tmp_path, widths) -> None:
    path = conv_tflite.conv_network(tmp_path / "network.tflite", widths)
    (record,) = measure(_job(path))
    arena = record.peak_ram_bytes
    assert arena % 16 == 0
    assert _runs_in(path, arena)
    assert not _runs_in(path, arena - 16)
    # The head is what the repository's planner predicts.
    assert record.detail["head_bytes"] == cost_of_tflite(path).arena_bytes
    assert record.detail["head_bytes"] + record.detail["tail_bytes"] <= arena


def test_the_record(network) -> None:
    (record,) = measure(_job(network))
    assert (record.device, record.kind, record.unit) == ("tflm", "measured", "arena_bytes")
    assert (record.runs, record.threads, record.model) == (1, 1, "network.tflite")
    assert record.median == record.p5 == record.p95 == record.peak_ram_bytes
    assert record.sha256 == hashlib.sha256(network.read_bytes()).hexdigest()
    detail = record.detail
    names = operators(network)
    assert detail["operators"] == {name: names.count(name) for name in names}
    # TFLite's dense layers may be a step apart, which depends on the processor.
    assert re.match(r"bytes equal to TFLite's on ([5-9]|10) of 10 inputs", detail["checked"])
    assert detail["inputs"] == "10 draws"
    assert detail["runtime"].startswith("tflite-micro ")
    assert "pointers are 8 bytes" in detail["note"]
    assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()


def test_a_real_network_of_others(shared_data) -> None:
    """The DCASE 2022 baseline: the head published for it, between float32 ends."""
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    values = np.random.default_rng(0).normal(0, 2, (3, 40, 51, 1)).astype(np.float32)
    (record,) = measure(_job(path, inputs=Inputs(values, "draws")))
    assert record.detail["head_bytes"] == 65_280
    assert 65_280 < record.peak_ram_bytes < 75_000
    assert record.detail["checked"].startswith("within ")


def test_a_float_network(tmp_path) -> None:
    path = tiny_tflite.write(tiny_tflite.float_model(64, 8), tmp_path / "whole.tflite")
    (record,) = measure(BenchRequest("tflm", (path,), inputs_for))
    assert record.detail["operators"] == {"FULLY_CONNECTED": 1}
    # float32 values of 64 inputs and 8 outputs; the smallest arena also holds what planning takes for a while
    assert record.detail["head_bytes"] == 4 * (64 + 8)
    assert record.peak_ram_bytes >= record.detail["head_bytes"] + record.detail["tail_bytes"]


def test_files_are_measured_one_by_one(network, tmp_path) -> None:
    half = conv_tflite.conv_network(tmp_path / "-half \"of' it.tflite", (4, 8))
    whole, smaller = measure(_job(network, half))
    assert (whole.model, smaller.model) == ("network.tflite", half.name)
    assert smaller.peak_ram_bytes < whole.peak_ram_bytes
    assert [entry.name for entry in tmp_path.iterdir()] == [half.name]


def test_wrong_outputs_are_refused(network, tmp_path, monkeypatch) -> None:
    other = conv_tflite.conv_network(tmp_path / "other.tflite", seed=5)
    stored, expected = checks.reference(other, INPUTS)
    monkeypatch.setattr(checks, "reference", lambda *_: (stored, expected))
    with pytest.raises(CheckFailedError, match=r"network\.tflite computes something else on 10 of 10 clips"):
        measure(_job(network))
    one = _micro(network)
    one[7, 2] += 60
    monkeypatch.setattr(checks, "reference", lambda *_: (stored, one))
    with pytest.raises(CheckFailedError, match="computes something else on 1 of 10 clips"):
        measure(_job(network))
    monkeypatch.setattr(checks, "reference", lambda *_: (stored, one[:, :4]))
    with pytest.raises(CheckFailedError, match=r"gave int8 \[10, 5\] where int8 \[10, 4\] was due"):
        measure(_job(network))


def test_a_step_is_counted(network, monkeypatch) -> None:
    stored, expected = checks.reference(network, INPUTS)[0], _micro(network)
    monkeypatch.setattr(checks, "reference", lambda *_: (stored, expected))
    assert measure(_job(network))[0].detail["checked"] == "bytes equal to TFLite's on 10 of 10 inputs"
    expected[4, 1] += 1
    expected[6, 0] -= 3
    (record,) = measure(_job(network))
    assert record.detail["checked"] == "bytes equal to TFLite's on 8 of 10 inputs, the others within 0.012"  # 3 / 256


def test_the_outputs_alone(network) -> None:
    np.testing.assert_array_equal(tflm.outputs(network, checks.reference(network, INPUTS)[0]), _micro(network))


def test_an_arena_that_is_right_on_the_first_clip_only_is_passed_over(network, tmp_path, monkeypatch) -> None:
    (record,) = measure(_job(network))
    run = MicroInterpreter.run
    runs: list[tuple[int, int]] = []

    def forgets(self, arena, clips):
        """Two steps above the smallest arena are wrong on the last clip."""
        runs.append((arena, clips))
        outputs = run(self, arena, clips)
        if clips == 10 and arena < record.peak_ram_bytes + 32:
            outputs[-1] += 1
        return outputs

    monkeypatch.setattr(MicroInterpreter, "run", forgets)
    (later,) = measure(_job(network))
    assert later.peak_ram_bytes == record.peak_ram_bytes + 32
    assert runs[-1] == (record.peak_ram_bytes + 32, 10)


def test_a_process_that_dies_is_started_again(network, monkeypatch) -> None:
    """Arenas of 0 bytes take the interpreter down; the next one is tried all the same."""
    stored, expected = checks.reference(network, INPUTS)[0], _micro(network)
    path = network.parent / "folder"
    path.mkdir()
    micro = MicroInterpreter("tflm", network, stored, path, 60)
    try:
        assert micro.run(0, 1) is None
        assert np.array_equal(micro.run(1 << 20, 10), expected)
        process = micro._process
        process.kill()
        process.wait()
        assert micro.run(1 << 20, 1) is None
        assert np.array_equal(micro.run(1 << 20, 1), expected[:1])
        assert micro._process is not process
    finally:
        micro.close()


def test_a_process_that_always_dies(network, monkeypatch) -> None:
    monkeypatch.setattr(tflm, "_AMPLE", (0,))
    with pytest.raises(EdgepruneError, match=r"network\.tflite .*(more than|cannot be run)"):
        measure(_job(network))


def test_a_process_that_hangs_is_cut_off(network, monkeypatch, tmp_path) -> None:
    started = []

    def hang(self):
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(MicroInterpreter, "_start", hang)
    with pytest.raises(EdgepruneError, match=r"no smallest arena of network\.tflite in 0\.2 s; raise --timeout"):
        measure(_job(network, timeout_s=0.2))
    assert [process.returncode for process in started] == [-9]


def _with_operator(path: Path, name: str) -> Path:
    model = tiny_tflite.float_model()
    code = getattr(schema.BuiltinOperator, name)
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = code, min(code, 127)
    step = model.subgraphs[0].operators[0]
    step.builtinOptionsType, step.builtinOptions = 0, None
    return tiny_tflite.write(model, path)


def _reference_of_anything(monkeypatch) -> None:
    """TFLite itself refuses what is made up here."""
    nothing = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32)
    monkeypatch.setattr(checks, "reference", lambda *_: nothing)


@pytest.mark.parametrize("name", ["GELU", "RFFT2D"])
def test_operators_it_lacks(tmp_path, monkeypatch, name) -> None:
    path = _with_operator(tmp_path / "odd.tflite", name)
    _reference_of_anything(monkeypatch)
    with pytest.raises(EdgepruneError, match=f"odd.tflite has the operator {name}, which TFLite Micro does not have"):
        measure(_job(path))


def test_a_dynamic_range_file(shared_data) -> None:
    path = shared_data / "models" / "surrey_dcase2022" / "C1" / "converted_quant_model_default.tflite"
    values = np.zeros((1, 40, 51, 1), np.float32)
    with pytest.raises(EdgepruneError, match="has integer weights and float32 activations, which TFLite Micro does no"):
        measure(_job(path, inputs=Inputs(values, "zeros")))


def test_what_it_prints_is_told(tmp_path, monkeypatch) -> None:
    path = _with_operator(tmp_path / "odd.tflite", "SIN")  # which takes one input, not three
    _reference_of_anything(monkeypatch)
    with pytest.raises(EdgepruneError, match=r"odd\.tflite cannot be run by TFLite Micro \(.*NumInputs"):
        measure(_job(path))


def test_a_broken_file_is_refused_before_it_is_run(network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(network.read_bytes()[:-300])
    monkeypatch.setattr(MicroInterpreter, "_start", lambda _: pytest.fail("a process was started"))
    with pytest.raises(EdgepruneError, match=r"cut\.tflite: is cut off or damaged"):
        measure(_job(path))


def test_it_works_from_another_folder_and_leaves_nothing(network, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    measure(_job(Path(os.path.relpath(network))))
    assert list(tmp_path.iterdir()) == []


def test_threads_and_a_missing_package_are_refused(network, monkeypatch) -> None:
    import importlib.util

    with pytest.raises(EdgepruneError, match="has one core"):
        measure(_job(network, threads=(2,)))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tflite_micro" else find_spec(name))
    with pytest.raises(EdgepruneError, match=r"tflite-micro, which exists for Linux; pip install 'edgeprune\[mcu\]'"):
        measure(_job(network))


def test_no_record_without_recorded_allocations(network, monkeypatch) -> None:
    run = MicroInterpreter.run

    def silent(self, arena, clips):
        outputs = run(self, arena, clips)
        self.printed = re.sub("head", "front", self.printed)
        return outputs

    monkeypatch.setattr(MicroInterpreter, "run", silent)
    with pytest.raises(EdgepruneError, match="records no allocations"):
        measure(_job(network))
