import hashlib
import json
import os

import numpy as np
import pytest
import tiny_tflite

from edgeprune.devices import host
from edgeprune.devices.host import time_files
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.interpreter import runtime_version


@pytest.fixture
def files(tmp_path):
    """A float network and an int8 one."""
    whole = tiny_tflite.write(tiny_tflite.float_model(inputs=64, outputs=8), tmp_path / "whole.tflite")
    int8 = tiny_tflite.dense_model(
        np.full((8, 64), 3, dtype=np.int8),
        np.zeros(8, dtype=np.int32),
        ends="int8",
        input_scale=(0.5, 3),
        weight_scale=0.25,
        output_scale=(1.0, -5),
    )
    return [whole, tiny_tflite.write(int8, tmp_path / "int8.tflite")]


def test_records_of_two_files_and_two_thread_counts(files) -> None:
    records = time_files(files, threads=(1, 2), runs=7, warmup=1)
    assert [(r.threads, r.model) for r in records] == [
        (1, "whole.tflite"),
        (1, "int8.tflite"),
        (2, "whole.tflite"),
        (2, "int8.tflite"),
    ]
    for record in records:
        path = files[record.model == "int8.tflite"]
        assert (record.device, record.kind, record.unit, record.runs) == ("host", "measured", "ms", 7)
        assert 0 <= record.p5 <= record.median <= record.p95
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        detail = record.detail
        assert record.peak_ram_bytes >= detail["ram_before_model_bytes"] > 0
        assert detail["runtime"] == runtime_version()
        assert detail["cores"] == len(os.sched_getaffinity(0))
        assert (detail["cut_short"], detail["warmup"], detail["xnnpack"]) == (False, 1, True)
        assert detail["cpu"]
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()


def test_peak_memory_holds_the_weights(files, tmp_path) -> None:
    large = tiny_tflite.write(tiny_tflite.float_model(inputs=1000, outputs=8000), tmp_path / "large.tflite")
    small, big = time_files([files[0], large], runs=1, warmup=0)
    # 8,000,000 weights of 4 bytes; less a margin for what two processes differ in anyway
    assert big.peak_ram_bytes - small.peak_ram_bytes > 24_000_000


def _pretend(monkeypatch, times_ns) -> list[str]:
    """Let runs take given times; returns the names of the files as they run."""
    ran: list[str] = []
    left = iter(times_ns)

    def run(candidate) -> int:
        ran.append(candidate.path.name)
        elapsed = next(left)
        candidate.spent_ns += elapsed
        return elapsed

    monkeypatch.setattr(host.LoadedFile, "run", run)
    return ran


def test_percentiles_by_hand(monkeypatch, files) -> None:
    # two rounds of warm-up, which must not count, then 1 to 101 ms in disorder
    times = [10**12, 10**12, *(1_000_000 * (1 + 37 * number % 101) for number in range(101))]
    ran = _pretend(monkeypatch, times)
    (record,) = time_files(files[:1], runs=101, warmup=2, memory=False)
    assert (record.p5, record.median, record.p95, record.runs) == (6.0, 51.0, 96.0, 101)
    assert len(ran) == 103
    assert record.peak_ram_bytes is None
    assert record.detail["peak_ram"] == "not asked for"


def test_the_order_rotates_from_round_to_round(monkeypatch, files) -> None:
    third = files[0].with_name("third.tflite")
    third.write_bytes(files[0].read_bytes())
    ran = _pretend(monkeypatch, [1] * 100)
    time_files([*files, third], runs=3, warmup=1, memory=False)
    a, b, c = "whole.tflite", "int8.tflite", "third.tflite"
    assert ran == [a, b, c, b, c, a, c, a, b, a, b, c]


def test_a_broken_file_is_refused_before_anything_runs(monkeypatch, files) -> None:
    ran = _pretend(monkeypatch, [1] * 100)
    files[1].write_bytes(files[1].read_bytes()[:-200])
    with pytest.raises(EdgepruneError, match=r"int8\.tflite: is cut off or damaged"):
        time_files(files, threads=(1, 2), runs=3)
    files[1].unlink()
    with pytest.raises(EdgepruneError, match=r"int8\.tflite: cannot be read"):
        time_files(files, runs=3)
    assert ran == []


def test_random_inputs_fit_every_type(tmp_path) -> None:
    generator = np.random.default_rng(0)
    for dtype, low, high in [(np.int8, -128, 127), (np.uint8, 0, 255), (np.int16, -32768, 32767)]:
        values = host._random_input(tmp_path, {"shape": np.array([1, 200_000]), "dtype": dtype}, generator)
        assert (values.dtype, values.shape) == (np.dtype(dtype), (1, 200_000))
        if dtype != np.int16:
            assert (values.min(), values.max()) == (low, high)
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    values = host._random_input(tmp_path, {"shape": [50_000], "dtype": np.float32}, generator)
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(1.0, abs=0.05)
    with pytest.raises(EdgepruneError, match="cannot be drawn at random"):
        host._random_input(tmp_path, {"shape": [1], "dtype": np.bytes_}, generator)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paths": []}, "no file to measure"),
        ({"threads": ()}, r"thread counts \[\]"),
        ({"threads": (1, 0)}, r"thread counts \[1, 0\]"),
        ({"runs": 0}, "0 runs after 5 of warm-up"),
        ({"warmup": -1}, "no negative warm-up"),
    ],
)
def test_refused(files, change, says) -> None:
    with pytest.raises(EdgepruneError, match=f"host: .*{says}"):
        time_files(**{"paths": files, **change})
