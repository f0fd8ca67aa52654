"""Latency tables from files whose time is a known function of what they hold; nothing here depends on a real clock."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.tflite_export import convert
from edgeprune.devices import host, profiling
from edgeprune.devices.latency_profile import LatencyProfile
from edgeprune.devices.profiling import ProfileSettings, profile, verify
from edgeprune.devices.width_grid import grid, made_monotone, tile_of
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, sha256_file, write_json
from edgeprune.graph.cost import graph_of
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import build, make_spec
from edgeprune.tflite.flatbuffer import unpack_model
from edgeprune.tflite.rewidth import Template

CALL_MS = 0.25


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> tuple[Path, Graph]:
    """The one-second DCASE21_Net in float32, and its graph."""
    torch.manual_seed(0)
    spec = make_spec("dcase21", 10, (1, 40, 51))
    folder = tmp_path_factory.mktemp("profile")
    onnx = export_onnx(build(spec).eval(), spec.input_shape, folder / "model.onnx")
    metadata = {"labels": list(range(10))}
    return convert(onnx, folder, ("float32",), metadata=metadata)["float32"], graph_of(spec)


def _pretended(cost: Callable[[list[int], list[int]], float]) -> Callable[[Sequence[Path]], list[float]]:
    """A clock: a call costs `CALL_MS`, an operator with weights the `cost` of the shapes of its weights and output."""

    def time_of(path: Path) -> float:
        graph = unpack_model(path).subgraphs[0]
        shapes = [tensor.shape.tolist() for tensor in graph.tensors]
        weighted = [step for step in graph.operators if len(step.inputs) > 2]
        return CALL_MS + sum(cost(shapes[step.inputs[1]], shapes[step.outputs[0]]) for step in weighted)

    return lambda paths: [time_of(path) for path in paths]


def _even(weights: list[int], output: list[int]) -> float:
    return 1e-6 * prod(weights) * prod(output[1:-1]) + 1e-5 * prod(output)


def _stepped(weights: list[int], output: list[int]) -> float:
    """Convolutions go up by tiles of 8 x 8; dense layers, where a flatten makes several inputs of a filter, evenly."""
    if len(weights) == 2:
        return _even(weights, output)
    filters, *kernel, channels = weights
    tiles = -(-filters // 8) * -(-channels // 8)
    return 1e-4 * tiles * prod(kernel) * prod(output[1:-1])


even, stepped = _pretended(_even), _pretended(_stepped)


def _random_widths(graph: Graph, seed: int, count: int) -> tuple[list[str], np.ndarray]:
    names = list(graph.prunable(dense_layers=True))
    highest = [graph.groups[name].filters for name in names]
    return names, np.random.default_rng(seed).integers(1, highest, (count, len(names)), endpoint=True)


def _whole(network: tuple[Path, Graph], names: list[str], rows: np.ndarray, clock, folder: Path) -> list[float]:
    template = Template(*network)
    files = []
    for number, row in enumerate(rows):
        files.append(folder / f"whole{number}.tflite")
        files[-1].write_bytes(template.file(dict(zip(names, row.tolist(), strict=True))))
    return clock(files)


# Tables


@pytest.mark.parametrize(("clock", "tile"), [(even, 1), (stepped, 8)], ids=["even", "stepped"])
def test_prediction_of_times_that_go_up_evenly_or_by_tiles_is_exact(network, clock, tile, tmp_path) -> None:
    latencies = profile(*network, measure=clock)
    names, rows = _random_widths(network[1], 0, 30)
    np.testing.assert_allclose(
        latencies.latency_ms(rows, names), _whole(network, names, rows, clock, tmp_path), rtol=1e-9
    )
    assert [latencies.predict({})] == pytest.approx(clock([network[0]]))
    assert [stage.tiles for stage in latencies.stages] == [(tile,), (tile, tile), (tile, tile), (1, 1), (1,)]


def test_what_a_profile_says(network) -> None:
    path, graph = network
    latencies = profile(path, graph, settings=ProfileSettings(threads=2, runs=4), measure=even)
    assert (latencies.device, latencies.kind, latencies.format, latencies.threads, latencies.runs) == (
        "host",
        "measured",
        "float32",
        2,
        4,
    )
    assert (latencies.model, latencies.sha256) == ("model_float32.tflite", sha256_file(path))
    assert latencies.machine == host.describe_machine()
    assert latencies.overhead_ms == CALL_MS
    assert latencies.widths == {"conv1": 16, "conv2": 16, "conv3": 32, "fc1": 100, "output": 10}
    assert [(stage.name, stage.groups) for stage in latencies.stages] == [
        ("conv1", ("conv1",)),
        ("conv2", ("conv1", "conv2")),
        ("conv3", ("conv2", "conv3")),
        ("fc1", ("conv3", "fc1")),
        ("output", ("fc1",)),
    ]
    second = latencies.stages[1]
    assert second.grid == ((1, 2, 8, 9, 16), (1, 2, 8, 9, 16))
    assert second.times_ms.shape == (5, 5)
    # 16 filters on 9 channels at 40 x 51 places, by hand
    assert second.times_ms[3, 4] == pytest.approx(1e-6 * 16 * 49 * 9 * 2040 + 1e-5 * 16 * 2040)
    assert profile(path, graph, device="board", measure=even).machine == {}


def test_groups_that_do_not_vary_have_one_width(network) -> None:
    latencies = profile(*network, settings=ProfileSettings(groups=["conv2"]), measure=even)
    assert [stage.grid for stage in latencies.stages] == [
        ((16,),),
        ((16,), (1, 2, 8, 9, 16)),
        ((1, 2, 8, 9, 16), (32,)),
        ((32,), (100,)),
        ((100,),),
    ]
    assert latencies.predict({"conv2": 5}) < latencies.predict({"conv1": 16})
    with pytest.raises(EdgepruneError, match="group 'conv1': widths from 15 to 15 where the profile has 16 to 16"):
        latencies.predict({"conv1": 15})


@pytest.mark.parametrize(
    ("filters", "points", "below", "expected"),
    [
        (1, 6, False, (1,)),
        (3, 6, False, (1, 2, 3)),
        (8, 6, False, (1, 2, 8)),
        (16, 6, False, (1, 2, 8, 9, 16)),
        (32, 6, False, (1, 2, 8, 9, 16, 17, 24, 25, 32)),
        (64, 6, False, (1, 2, 8, 9, 16, 17, 24, 25, 40, 41, 64)),
        (512, 4, False, (1, 2, 8, 9, 64, 65, 512)),
        (100, 2, False, (1, 2, 100)),
        (16, 6, True, (1, 2, 7, 8, 9, 15, 16)),
    ],
)
def test_grids(filters, points, below, expected) -> None:
    assert grid(filters, points, below) == expected


def test_monotone_tables_by_hand() -> None:
    np.testing.assert_array_equal(made_monotone(np.array([1.0, 4, 2, 5])), [1, 3, 3, 5])
    np.testing.assert_array_equal(made_monotone(np.array([[1.0, 2], [3, 4]])), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(made_monotone(np.array([[1.0, 9], [3, 4]])), [[1, 6.5], [3, 6.5]])
    np.testing.assert_array_equal(made_monotone(np.array(7.0)), 7)


def test_tables_of_noisy_times_are_monotone(network) -> None:
    generator = np.random.default_rng(0)

    def noisy(paths: Sequence[Path]) -> list[float]:
        return [time * generator.uniform(0.7, 1.3) for time in even(paths)]

    smooth = profile(*network, measure=noisy)
    for stage in smooth.stages:
        for axis in range(stage.times_ms.ndim):
            assert (np.diff(stage.times_ms, axis=axis) >= 0).all()
    raw = profile(*network, settings=ProfileSettings(monotone=False), measure=noisy)
    assert (smooth.monotone, raw.monotone) == (True, False)
    assert any((np.diff(stage.times_ms, axis=0) < 0).any() for stage in raw.stages)
    assert raw.stages[0].grid == ((1, 2, 7, 8, 9, 15, 16),)


def test_a_drop_at_a_full_tile_is_kept_only_when_asked(network, tmp_path) -> None:
    """Some kernels are faster with 16 filters than with 15."""
    dropping = _pretended(lambda weights, output: _stepped(weights, output) * (0.8 if weights[0] == 16 else 1.0))
    names = ["conv1", "conv2"]
    rows = np.array([[a, b] for a in (2, 9, 13, 15, 16) for b in (3, 8, 10, 15, 16)])
    expected = _whole(network, names, rows, dropping, tmp_path)
    np.testing.assert_allclose(
        profile(*network, settings=ProfileSettings(monotone=False), measure=dropping).latency_ms(rows, names),
        expected,
        rtol=1e-9,
    )
    smooth = profile(*network, measure=dropping).latency_ms(rows, names)
    assert 0.02 < np.abs(smooth / expected - 1).max() < 0.13


def test_tiles_by_hand() -> None:
    axis = (1, 2, 8, 9, 16, 17, 32)
    assert tile_of(axis, np.array([1.0, 1, 1, 2, 2, 3, 4]), 0) == 8
    assert tile_of(axis, np.array(axis, dtype=float), 0) == 1
    assert tile_of((1, 2, 3), np.array([1.0, 2, 3]), 0) == 1
    assert tile_of(axis, np.ones(7), 0) == 1
    both = np.outer(axis, [1.0, 1, 1, 2, 2, 3, 4])
    assert (tile_of(axis, both, 0), tile_of(axis, both, 1)) == (1, 8)


def test_files_come_shuffled_and_in_batches(network, monkeypatch) -> None:
    monkeypatch.setattr(profiling, "_BATCH_FILES", 10)
    batches: list[list[list[int]]] = []

    def watch(paths: Sequence[Path]) -> list[float]:
        batches.append([unpack_model(path).subgraphs[0].tensors[-1].shape.tolist() for path in paths])
        return even(paths)

    latencies = profile(*network, measure=watch)
    assert all(len(batch) <= 11 and batch[0] == [1, 1] for batch in batches)  # the empty network first
    assert sum(len(batch) - 1 for batch in batches) == sum(stage.times_ms.size for stage in latencies.stages)
    assert any(one != two for one, two in pairwise(map(sorted, batches)))
    again = profile(*network, measure=even)
    for one, two in zip(latencies.stages, again.stages, strict=True):
        np.testing.assert_array_equal(one.times_ms, two.times_ms)


# Predictions


def test_tables_for_a_search_add_up(network) -> None:
    latencies = profile(*network, measure=stepped)
    candidates = {"conv1": [4, 8, 16], "conv3": [1, 20]}
    tables = latencies.stage_tables(candidates)
    assert [(groups, times.shape) for groups, times in tables] == [
        (("conv1",), (3,)),
        (("conv1", "conv2"), (3, 1)),
        (("conv2", "conv3"), (1, 2)),
        (("conv3", "fc1"), (2, 1)),
        (("fc1",), (1,)),
    ]
    for i, first in enumerate(candidates["conv1"]):
        for j, third in enumerate(candidates["conv3"]):
            total = tables[0][1][i] + tables[1][1][i, 0] + tables[2][1][0, j] + tables[3][1][j, 0] + tables[4][1][0]
            assert total + latencies.overhead_ms == pytest.approx(latencies.predict({"conv1": first, "conv3": third}))


def test_widths_that_are_no_whole_numbers_or_outside(network) -> None:
    latencies = profile(*network, measure=even)
    low, middle, high = latencies.latency_ms([[4], [4.5], [5]], ["conv2"])
    assert middle == pytest.approx((low + high) / 2)
    assert latencies.latency_ms(np.zeros((0, 1)), ["conv2"]).shape == (0,)
    for bad, message in (
        ([[0]], "group 'conv2': widths from 0 to 0 where the profile has 1 to 16; profile a wider network"),
        ([[17]], "group 'conv2': widths from 17 to 17"),
        ([[np.nan]], "group 'conv2': widths from nan"),
        ([4], r"latency: widths of shape \[1\] for 1 names"),
        ([[4, 4]], r"latency: widths of shape \[1, 2\] for 1 names"),
    ):
        with pytest.raises(EdgepruneError, match=message):
            latencies.latency_ms(bad, ["conv2"])
    with pytest.raises(EdgepruneError, match="group 'conv4' is unknown; perhaps you meant 'conv"):
        latencies.predict({"conv4": 3})


def test_verify_compares_whole_networks(network) -> None:
    path, graph = network
    latencies = profile(path, graph, measure=even)
    twice = _pretended(lambda weights, output: 2 * _even(weights, output))
    widths = [{}, {"conv1": 3}, {"conv2": 5, "fc1": 44}]
    for row, widths_due in zip(verify(latencies, path, graph, widths, measure=even), widths, strict=True):
        assert row["widths"] == widths_due
        assert row["relative_error"] == pytest.approx(0, abs=1e-9)
        assert row["predicted_ms"] == pytest.approx(row["measured_ms"])
    (row,) = verify(latencies, path, graph, [{"conv1": 3}], measure=twice)
    assert row["measured_ms"] - CALL_MS == pytest.approx(2 * (row["predicted_ms"] - CALL_MS))
    assert row["relative_error"] == pytest.approx(row["predicted_ms"] / row["measured_ms"] - 1)


def test_verify_refuses_another_file(network, tmp_path) -> None:
    path, graph = network
    other = tmp_path / "other.tflite"
    other.write_bytes(Template(path, graph).file({}))
    with pytest.raises(EdgepruneError, match=r"other\.tflite: is not the file that was profiled \(model_float32"):
        verify(profile(path, graph, measure=even), other, graph, [{}], measure=even)


# Files of profiles


def test_profiles_survive_their_file(network, tmp_path) -> None:
    latencies = profile(*network, measure=stepped)
    latencies.save(tmp_path / "profile.json")
    again = LatencyProfile.load(tmp_path / "profile.json")
    names, rows = _random_widths(network[1], 1, 50)
    np.testing.assert_array_equal(again.latency_ms(rows, names), latencies.latency_ms(rows, names))
    for name in ("device", "kind", "machine", "format", "threads", "model", "sha256", "runs", "overhead_ms", "widths"):
        assert getattr(again, name) == getattr(latencies, name)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "profile.json").read_bytes()


def test_damaged_and_foreign_profiles(network, tmp_path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(EdgepruneError, match="cannot be read"):
        LatencyProfile.load(path)
    for content in ("{", "[]", '{"schema": 99}', "{}"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(EdgepruneError, match=r"is not valid JSON|no latency profile|is not a latency profile"):
            LatencyProfile.load(path)
    profile(*network, measure=even).save(path)
    whole = read_json(path)
    for name in whole.keys() - {"schema"}:
        write_json(path, {key: value for key, value in whole.items() if key != name})
        with pytest.raises(EdgepruneError, match="is a damaged latency profile; profile again"):
            LatencyProfile.load(path)
    for name, value in (
        ("grid", [[1, 2, 9, 8, 16]]),
        ("grid", [[1, 2, 8, 9]]),
        ("groups", ["conv9"]),
        ("tiles", []),
        ("tiles", [0]),
        ("times_ms", [1, 2, 3, 4, -1]),
        ("times_ms", "fast"),
    ):
        broken = json.loads(json.dumps(whole))
        broken["stages"][0][name] = value
        write_json(path, broken)
        with pytest.raises(EdgepruneError, match="is a damaged latency profile"):
            LatencyProfile.load(path)
    for name, value in (("kind", "guessed"), ("overhead_ms", -1), ("overhead_ms", "x"), ("widths", [])):
        write_json(path, {**whole, name: value})
        with pytest.raises(EdgepruneError, match="is a damaged latency profile"):
            LatencyProfile.load(path)


# What is refused


def test_what_cannot_be_profiled(network) -> None:
    path, graph = network
    for numbers in ({"points": 1}, {"runs": 0}, {"threads": 0}):
        with pytest.raises(EdgepruneError, match="give at least 2 points, 1 run and 1 thread"):
            ProfileSettings(**numbers)
    with pytest.raises(EdgepruneError, match="device 'cortex-m4' cannot be profiled yet; use host"):
        profile(path, graph, device="cortex-m4")
    with pytest.raises(EdgepruneError, match="group 'conv7' is unknown"):
        profile(path, graph, settings=ProfileSettings(groups=["conv7"]), measure=even)
    with pytest.raises(EdgepruneError, match="does not match the graph"):
        profile(path, graph_of(make_spec("dcase21", 9, (1, 40, 51))), measure=even)


# On this machine


def test_medians_on_the_host(network, monkeypatch) -> None:
    """Every file runs once untimed before each timed run; the slow ones leave early, but not before their third."""
    path, graph = network
    ran: dict[str, int] = {}

    def run(candidate) -> int:
        ran[candidate.path.name] = ran.get(candidate.path.name, 0) + 1
        number = ran[candidate.path.name]
        elapsed = 300_000_000 if candidate.path.name == "slow.tflite" else 1_000_000 * number
        candidate.spent_ns += elapsed
        return elapsed

    monkeypatch.setattr(host.LoadedFile, "run", run)
    slow, quick = path.with_name("slow.tflite"), path.with_name("quick.tflite")
    for copy in (slow, quick):
        copy.write_bytes(path.read_bytes())
    batch = [profiling._StageFile(slow, 0), profiling._StageFile(quick, 1 << 20)]
    # the timed runs of the quick one are its 2nd, 4th ... 14th: 2, 4 ... 14 ms
    assert profiling._host_times(batch, threads=1, runs=7) == [300.0, 8.0]
    assert ran == {"slow.tflite": 6, "quick.tflite": 14}
    assert graph.groups


def test_profile_of_a_small_network_on_the_host(network, tmp_path) -> None:
    """Structure alone: what the times are is the machine's business."""
    path, graph = network
    latencies = profile(path, graph, settings=ProfileSettings(points=2, runs=2))
    assert [stage.times_ms.shape for stage in latencies.stages] == [(3,), (3, 3), (3, 3), (3, 3), (3,)]
    assert all(np.isfinite(stage.times_ms).all() and (stage.times_ms >= 0).all() for stage in latencies.stages)
    assert latencies.overhead_ms > 0
    rows = verify(latencies, path, graph, [{}, {"conv1": 2}], runs=2)
    assert [row["widths"] for row in rows] == [{}, {"conv1": 2}]
    assert all(row["measured_ms"] > 0 and row["predicted_ms"] > 0 for row in rows)
    latencies.save(tmp_path / "profile.json")
    assert LatencyProfile.load(tmp_path / "profile.json").predict({}) == latencies.predict({})
