"""`edgeprune cost`, `budget` and `profile`: files, rules of challenges, limits on latency, frontiers, wrong input."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny_tflite
import torch
from calls import call, call_json

import edgeprune.devices.profiling as profiling
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.devices import fit_program
from edgeprune.devices.latency_profile import LatencyProfile, StageTable
from edgeprune.graph.cost import cost
from edgeprune.models import checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.submitting.rules import limits

DENSE = {"conv1": 6, "conv2": 8, "conv3": 10, "fc1": 12}
SPEC = ModelSpec("dcase21", 3, (1, 20, 10), DENSE)
CONVS = ["conv1", "conv2", "conv3"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder with a small dense network, not trained."""
    folder = tmp_path / "a run"
    folder.mkdir()
    torch.manual_seed(1)
    checkpoint.save(folder / "dense.ckpt", SPEC, build(SPEC))
    return folder


def made_profile(device: str = "host") -> LatencyProfile:
    """Tables made by hand: a call takes 0.5 ms, a layer 0.01 ms for each filter times each channel it reads."""

    def stage(*groups: str) -> StageTable:
        grid = tuple(tuple(range(1, DENSE[name] + 1)) for name in groups)
        times = 0.01 * np.ones([1] * len(groups))
        for place, axis in enumerate(grid):
            times = times * np.array(axis).reshape([-1 if place == other else 1 for other in range(len(grid))])
        return StageTable(groups[-1], groups, grid, (1,) * len(groups), times)

    return LatencyProfile(
        device=device,
        kind="measured",
        machine={"processor": "made up"},
        format="int8",
        threads=1,
        model="dense_int8.tflite",
        sha256="0" * 64,
        runs=1,
        monotone=True,
        overhead_ms=0.5,
        widths=DENSE,
        stages=(stage("conv1"), stage("conv1", "conv2"), stage("conv2", "conv3"), stage("conv3", "fc1")),
    )


def made_ms(widths: dict[str, int]) -> float:
    one, two, three, hidden = (widths[name] for name in DENSE)
    return 0.5 + 0.01 * (one + one * two + two * three + three * hidden)


@pytest.fixture
def profiled(run_folder: Path) -> Path:
    """The run folder with a profile of the host."""
    made_profile().save(run_folder / "profile_host.json")
    return run_folder


def wrong(capsys: pytest.CaptureFixture[str], *argv: str | Path, code: int = 2) -> str:
    """What is said of a call that cannot be done: one sentence and nothing else."""
    found, out, err = call(capsys, *argv)
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    return " ".join(err.replace("│", " ").split())


# cost


def test_cost_of_an_onnx_file_is_that_of_its_network(capsys, tmp_path):
    torch.manual_seed(0)
    path = export_onnx(build(SPEC).eval(), SPEC.input_shape, tmp_path / "model.onnx")
    promised = cost(SPEC)
    found = call_json(capsys, "cost", path)
    for name in ("params", "macs", "flash_bytes", "peak_ram_bytes"):
        assert found[name] == getattr(promised, name)
    assert found["model"] == str(path)
    code, out, _ = call(capsys, "cost", path)
    assert code == 0
    assert f"{promised.macs:,}" in out


def test_cost_of_a_tflite_file_tells_what_it_stores(capsys, tmp_path):
    path = tiny_tflite.write(tiny_tflite.float_model(inputs=3, outputs=2), tmp_path / "model.tflite")
    found = call_json(capsys, "cost", path)
    assert (found["params"], found["macs"], found["flash_bytes"]) == (8, 6, 6 + 2 * 4)
    assert found["file"] == {
        "bytes": path.stat().st_size,
        "weight_bytes": 32,
        "weight_type": "float32",
        "activation_type": "float32",
    }
    code, out, _ = call(capsys, "cost", path)
    assert code == 0
    assert f"{path.stat().st_size:,} B in all" in out
    assert "what batch norm had before it was folded is not in the file" in out


def test_rules_judge_a_file_by_its_own_type(capsys, tmp_path):
    """A .tflite knows the bits of its weights; --bits is for those that do not."""
    floats = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "float.tflite")
    weights, bias = np.ones((2, 3), np.int8), np.zeros(2, np.int32)
    scale = (0.5, 0)
    model = tiny_tflite.dense_model(weights, bias, 1, "int8", scale, 0.5, scale)
    whole = tiny_tflite.write(model, tmp_path / "int8.tflite")
    verdicts = {
        path: {v["rule"]: v for v in call_json(capsys, "cost", path, "--rules", "dcase2022")["rules"]["verdicts"]}
        for path in (floats, whole)
    }
    assert [verdicts[path]["type"]["counted"] for path in (floats, whole)] == [32, 8]
    assert [verdicts[path]["type"]["passed"] for path in (floats, whole)] == [False, True]
    for bits in ("8", "16", "32"):
        argv = ["cost", floats, "--rules", "dcase2023", "--bits", bits]
        assert call_json(capsys, *argv)["rules"]["verdicts"][0]["counted"] == 8 * 4


@pytest.mark.parametrize("year", ["dcase2021", "dcase2022", "dcase2023", "dcase2024"])
def test_rules_of_each_year(capsys, year):
    argv = ["cost", "dcase21", "--input", "1x40x51", "--rules", year]
    found = call_json(capsys, *argv)["rules"]
    assert found["name"] == year
    assert found["verdicts"]
    assert all(verdict["passed"] for verdict in found["verdicts"])
    code, out, _ = call(capsys, *argv)
    assert code == 0
    assert f"rules of {year}" in out
    assert out.count("passed") >= len(found["verdicts"])
    assert "Source: DCASE" in out


def test_bits_decide_about_bytes(capsys):
    argv = ["cost", "dcase21", "--input", "1x40x51", "--rules", "dcase2024"]
    counted = {
        bits: call_json(capsys, *argv, "--bits", bits)["rules"]["verdicts"][0]["counted"] for bits in ("8", "16", "32")
    }
    assert counted == {"8": 46_512, "16": 2 * 45_990, "32": 4 * 45_990}


def test_without_rules_there_are_no_verdicts(capsys):
    assert "rules" not in call_json(capsys, "cost", "dcase21")


# budget


def test_budget_holds_all_limits_at_once(capsys, run_folder):
    whole = cost(SPEC)
    asked = {"params": whole.params // 2, "macs": whole.macs // 3, "peak_ram": whole.arena_bytes // 2, "flash": 9_000}
    flags = [text for name, value in asked.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    found = call_json(capsys, "budget", run_folder, *flags)
    assert found["asked"] == asked
    assert all(found["reached"][name] <= asked[name] for name in asked)
    assert found["slack"] == {name: asked[name] - found["reached"][name] for name in asked}
    used = {name: found["reached"][name] / asked[name] for name in asked}
    assert found["binding"] == max(used, key=lambda name: used[name])
    pruned = cost(ModelSpec(SPEC.name, SPEC.classes, SPEC.input_shape, found["widths"]["pruned"]))
    assert found["cost"]["pruned"] == json.loads(json.dumps(pruned.to_dict()))
    assert found["random_weights"] is False
    assert call_json(capsys, "budget", run_folder, *flags) == found


def test_budget_prints_what_is_used_and_how_good_it_is(capsys, run_folder):
    argv = ["budget", run_folder, "--params", "3k", "--macs", "200k"]
    found = call_json(capsys, *argv)
    code, out, _ = call(capsys, *argv)
    assert code == 0
    for name in ("params", "macs"):
        share = 100 * found["reached"][name] / found["asked"][name]
        row = next(line for line in out.splitlines() if line.startswith(f"| {name} "))
        for text in (found["asked"][name], found["reached"][name], found["slack"][name]):
            assert f" {text:,} " in row
        assert f"{share:.1f} %" in row
        assert ("binding" in row) == (found["binding"] == name)
    for name in CONVS:
        row = next(line for line in out.splitlines() if line.startswith(f"| {name} "))
        assert f"{100 * found['kept_scores'][name]:.1f} %" in row
    assert "not pruned" in next(line for line in out.splitlines() if line.startswith("| fc1 "))
    assert found["proven"] is True
    assert found["gap"] == 0
    assert f"No allocation within the limits has a higher log_mass ({found['value']:.4f}): proven." in out


def test_the_share_of_the_scores_kept_is_that_of_score(capsys, run_folder):
    found = call_json(capsys, "budget", run_folder, "--params", "3k", "--criterion", "l1")
    scored = call_json(capsys, "score", run_folder, "--criterion", "l1")["layers"]
    assert list(found["kept_scores"]) == CONVS
    for name, share in found["kept_scores"].items():
        best = sorted(scored[name]["scores"])[::-1][: found["widths"]["pruned"][name]]
        assert share == pytest.approx(sum(best) / sum(scored[name]["scores"]))


def test_nothing_is_pruned_where_everything_fits(capsys, run_folder):
    found = call_json(capsys, "budget", run_folder, "--params", "1M")
    assert found["widths"]["pruned"] == DENSE
    assert set(found["kept_scores"].values()) == {1.0}


def test_keep_alone_is_a_limit(capsys, run_folder):
    found = call_json(capsys, "budget", run_folder, "--keep", "0.5")
    assert (found["asked"], found["reached"], found["binding"]) == ({}, {}, "")
    assert found["widths"]["pruned"] == {"conv1": 3, "conv2": 4, "conv3": 5, "fc1": 12}
    code, out, _ = call(capsys, "budget", run_folder, "--keep", "0.5")
    assert code == 0
    assert "asked, at most" not in out


def test_widths_are_multiples_or_whole(capsys, run_folder):
    found = call_json(capsys, "budget", run_folder, "--params", "3k", "--multiple-of", "4")
    assert found["reached"]["params"] <= 3000
    for name in CONVS:
        width = found["widths"]["pruned"][name]
        assert width % 4 == 0 or width == DENSE[name]


@pytest.mark.parametrize("flag", ["--prune-dense", "--dense-layers"])
def test_dense_layers_are_pruned_if_asked(capsys, run_folder, flag):
    found = call_json(capsys, "budget", run_folder, "--params", "1k", flag)
    assert list(found["kept_scores"]) == [*CONVS, "fc1"]
    assert found["widths"]["pruned"]["fc1"] <= DENSE["fc1"]
    least = call_json(capsys, "budget", run_folder, "--params", "250", flag)
    assert least["widths"]["pruned"]["fc1"] < DENSE["fc1"]


@pytest.mark.parametrize("objective", ["log_mass", "mass", "log_width"])
def test_each_objective_keeps_the_budget(capsys, run_folder, objective):
    argv = ["budget", run_folder, "--macs", "150k", "--objective", objective]
    found = call_json(capsys, *argv)
    assert found["objective"] == objective
    assert found["reached"]["macs"] <= 150_000
    assert f" {objective} " in call(capsys, *argv)[1]


def test_log_width_takes_no_notice_of_scores(capsys, run_folder):
    argv = ["budget", run_folder, "--macs", "150k", "--objective", "log_width", "--criterion"]
    assert len({json.dumps(call_json(capsys, *argv, name)["widths"]) for name in ("l1", "l2", "random")}) == 1


def test_the_solver_is_worth_no_less_than_the_same_share_everywhere(capsys, run_folder):
    argv = ["budget", run_folder, "--params", "3k", "--macs", "200k"]
    solver, uniform = (call_json(capsys, *argv, "--allocation", name) for name in ("solver", "uniform"))
    assert (uniform["allocation"], uniform["objective"]) == ("uniform", None)
    assert all(uniform["slack"][name] >= 0 for name in ("params", "macs"))
    shares = [uniform["widths"]["pruned"][name] / DENSE[name] for name in CONVS]
    assert max(shares) - min(shares) < 1 / min(DENSE.values())
    kept = [sum(np.log(list(found["kept_scores"].values()))) for found in (solver, uniform)]
    assert kept[0] >= kept[1]
    code, out, _ = call(capsys, *argv, "--allocation", "uniform")
    assert code == 0
    assert "The same share of every layer, the largest that fits." in out


def test_rules_are_limits_and_verdicts(capsys):
    argv = ["budget", "dcase21", "--input", "1x40x51", "--rules", "dcase2022", "--quiet"]
    found = call_json(capsys, *argv)
    assert found["asked"] == limits("dcase2022") == {"params": 128_000, "macs": 30_000_000}
    assert found["rules"]["name"] == "dcase2022"
    assert [verdict["passed"] for verdict in found["rules"]["verdicts"]] == [True] * 3
    assert found["random_weights"] is True
    code, out, _ = call(capsys, *argv)
    assert code == 0
    assert "rules of dcase2022" in out


def test_of_two_limits_the_tighter_one_holds(capsys):
    argv = ["budget", "dcase21", "--input", "1x40x51", "--rules", "dcase2022"]
    found = call_json(capsys, *argv, "--macs", "5M", "--params", "1M", "--flash", "40k")
    assert found["asked"] == {"params": 128_000, "macs": 5_000_000, "flash": 40_000}
    assert all(found["reached"][name] <= found["asked"][name] for name in found["asked"])


def test_bits_decide_which_limit_a_rule_is(capsys):
    argv = ["budget", "dcase21", "--input", "1x40x51", "--rules", "dcase2023"]
    asked = {bits: call_json(capsys, *argv, "--bits", bits)["asked"] for bits in ("8", "16", "32")}
    assert asked == {
        "8": {"flash": 128_000, "macs": 30_000_000},
        "16": {"params": 64_000, "macs": 30_000_000},
        "32": {"params": 32_000, "macs": 30_000_000},
    }


# budget, limits on latency


@pytest.mark.parametrize("text", ["2.2@host", "2.2", "2.2ms@host", " 2.2 @ host"])
def test_latency_is_limited_by_the_profile_of_the_run(capsys, profiled, text):
    found = call_json(capsys, "budget", profiled, "--latency-ms", text)
    assert found["asked"] == {"latency_ms": 2.2}
    assert found["binding"] == "latency_ms"
    assert found["reached"]["latency_ms"] == pytest.approx(made_ms(found["widths"]["pruned"]))
    assert 0 <= found["slack"]["latency_ms"] == pytest.approx(2.2 - found["reached"]["latency_ms"])
    wider = [found["widths"]["pruned"] | {name: found["widths"]["pruned"][name] + 1} for name in CONVS]
    grown = [widths for widths in wider if all(widths[name] <= DENSE[name] for name in CONVS)]
    assert grown
    assert all(made_ms(widths) > 2.2 for widths in grown)


def test_latency_beside_other_limits(capsys, profiled):
    found = call_json(capsys, "budget", profiled, "--latency-ms", "2.2@host", "--params", "2k", "--macs", "100k")
    assert list(found["asked"]) == ["params", "macs", "latency_ms"]
    assert all(slack >= 0 for slack in found["slack"].values())
    code, out, _ = call(capsys, "budget", profiled, "--latency-ms", "2.2@host")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("| latency ms "))
    assert " 2.2 " in row
    assert "binding" in row


def test_a_profile_may_lie_elsewhere(capsys, run_folder, tmp_path):
    path = tmp_path / "tables" / "mine.json"
    path.parent.mkdir()
    made_profile("board").save(path)
    argv = ["budget", run_folder, "--latency-ms", "2.2@board", "--profile", path]
    assert call_json(capsys, *argv)["reached"]["latency_ms"] <= 2.2
    complaint = wrong(capsys, "budget", run_folder, "--latency-ms", "2.2@host", "--profile", path)
    assert f"{path}: is a profile of board, not of host" in complaint
    assert f"{path}: is a profile of board" in wrong(
        capsys, "budget", run_folder, "--latency-ms", "2.2", "--profile", path
    )


def test_a_latency_nobody_reaches_exits_3(capsys, profiled):
    complaint = wrong(capsys, "budget", profiled, "--latency-ms", "0.4@host", code=3)
    assert complaint.startswith("edgeprune: error: budget: latency ms 0.4 cannot be met")
    assert "dense layers shrink too" in complaint


# budget, frontier


def test_frontier_as_a_table_as_json_and_as_svg(capsys, run_folder, tmp_path):
    path = tmp_path / "new" / "frontier.svg"
    argv = ["budget", run_folder, "--params", "3k", "--macs", "200k"]
    found = call_json(capsys, *argv, "--plot", path)
    drawn = path.read_bytes()
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"solver", "same share of every layer"} <= set(texts)
    points = found["frontier"]
    assert call_json(capsys, *argv, "--frontier")["frontier"] == points
    assert len(points) > 5
    assert all(after["factor"] > before["factor"] for before, after in pairwise(points))
    here = next(point for point in points if point["factor"] == 1)
    assert here["solver"]["widths"] == {name: found["widths"]["pruned"][name] for name in CONVS}
    assert here["solver"]["reached"] == found["reached"]
    for point in points:
        assert point["solver"]["kept"] >= point["uniform"]["kept"] - 1e-6
        for limit, asked in found["asked"].items():
            assert point["asked"][limit] == int(asked * point["factor"])
            assert all(point[name]["reached"][limit] <= point["asked"][limit] for name in ("solver", "uniform"))
    for name in ("solver", "uniform"):  # a larger budget never keeps less, but for ties the wider network decides
        assert all(after[name]["kept"] >= before[name]["kept"] - 1e-6 for before, after in pairwise(points))
    assert points[-1]["solver"]["kept"] == pytest.approx(1)
    assert all(point["solver"]["widths"] != {name: DENSE[name] for name in CONVS} for point in points[:-1])
    _, out, err = call(capsys, *argv, "--frontier", "--plot", path)
    assert path.read_bytes() == drawn
    assert [file.name for file in path.parent.iterdir()] == ["frontier.svg"]
    assert str(path) in err
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in out.partition("frontier")[2].splitlines()
    ]
    rows = [row for row in table if row[0].replace(".", "").isdigit()]
    assert [row[1] for row in rows] == [f"{point['solver']['reached']['params']:,}" for point in points]
    assert [row[3] for row in rows] == [f"{100 * point['solver']['kept']:.1f} %" for point in points]
    assert "times the budget" not in call(capsys, *argv)[1]


def test_frontier_as_png_over_a_range_of_latencies(capsys, profiled, tmp_path):
    path = tmp_path / "frontier.png"
    argv = ["budget", profiled, "--latency-ms", "1.5@host", "--plot", path]
    code, out, err = call(capsys, *argv)
    assert code == 0
    assert "latency ms" in out
    assert str(path) in err
    assert path.read_bytes().startswith(b"\x89PNG")
    points = call_json(capsys, *argv)["frontier"]
    assert all(point["solver"]["reached"]["latency_ms"] <= 1.5 * point["factor"] + 1e-9 for point in points)
    assert points[0]["factor"] > 0.25  # what no network reaches is left out


# What is wrong with a call


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["budget", "dcase21"], "no limit is given; give --params"),
        (["budget", "dcase21", "--multiple-of", "4"], "no limit is given"),
        (["budget", "dcase21", "--params", "none"], "no limit is given"),
        (["budget", "dcase21", "--latency-ms", "fast"], "'fast' is not a latency; write milliseconds and the device"),
        (["budget", "dcase21", "--latency-ms", "0@host"], "'0@host' is not a latency"),
        (["budget", "dcase21", "--latency-ms", "nan@host"], "'nan@host' is not a latency"),
        (["budget", "dcase21", "--latency-ms", "inf"], "'inf' is not a latency"),
        (["budget", "dcase21", "--latency-ms", "@host"], "'@host' is not a latency"),
        (["budget", "dcase21", "--latency-ms", "1@host"], "needs a profile of host; make one with `edgeprune profile"),
        (["budget", "dcase21", "--params", "9k", "--objective", "log_mas"], "perhaps you meant 'log_mass'"),
        (
            ["budget", "dcase21", "--params", "9k", "--objective", "zzz"],
            "known: log_mass, mass, log_width, sensitivity",
        ),
        (["budget", "dcase21", "--params", "9k", "--objective", "sensitivity"], "is measured on clips of the run"),
        (["budget", "dcase21", "--params", "9k", "--criterion", "l22"], "perhaps you meant 'l2'"),
        (["budget", "dcase21", "--params", "9k", "--allocation", "unifrom"], "'uniform'"),
        (["budget", "dcase21", "--params", "9k", "--bits", "4"], "invalid choice '4'"),
        (["budget", "dcase21", "--params", "9k", "--multiple-of", "0"], "multiple_of must be at least 1"),
        (["budget", "dcase21", "--params", "9k", "--min-filters", "0"], "min_filters must be at least 1"),
        (["budget", "dcase21", "--rules", "dcase202"], "perhaps you meant 'dcase202"),
        (["budget", "dcase21", "--rules", "none"], "known: dcase2021, dcase2022, dcase2023, dcase2024"),
        (["budget", "dcase21", "--rules", "dcase2022", "--bits", "16"], "allows 8-bit parameters only"),
        (["budget", "dcase21", "--plot", "f.svg"], "a frontier is drawn over a range of limits"),
        (["budget", "dcase21", "--keep", "0.5", "--frontier"], "a frontier is drawn over a range of limits"),
        (["budget", "dcase21", "--keep", "0.5", "--plot", "f.svg"], "a frontier is drawn over a range of limits"),
        (["budget", "dcase21", "--params", "9k", "--plot", "f.pdf"], "f.pdf: a plot is written as .svg or .png"),
        (["budget", "model.tflite", "--params", "9k"], "model.tflite: filters are scored and pruned in a network"),
        (["budget", "model.onnx", "--params", "9k"], "model.onnx: filters are scored and pruned in a network"),
        (["score", "model.tflite"], "model.tflite: filters are scored and pruned in a network, not in a file"),
        (["cost", "model.tflite"], "model.tflite: cannot be read"),
        (["cost", "model.onnx"], "model.onnx: there is no such ONNX file"),
        (["cost", "model.tflite", "--input", "1x40x51"], "a file has its own input and classes"),
        (["cost", "model.onnx", "--classes", "3"], "a file has its own input and classes"),
        (["cost", "dcase21", "--rules", "dcase20222"], "perhaps you meant 'dcase2022'"),
        (["cost", "dcase21", "--bits", "7"], "invalid choice '7'"),
        (["profile", "nowhere/run"], "nowhere/run: is no run folder"),
        (["profile", "model.tflite"], "is no run folder"),
        (["profile", "nowhere/run", "--device", "ssh://board"], "device 'ssh://board': this version profiles on host"),
        (["profile", "nowhere/run", "--format", "float16"], "invalid choice 'float16'"),
    ],
)
def test_what_is_wrong_is_said(capsys, monkeypatch, tmp_path, argv, complaint):
    monkeypatch.chdir(tmp_path)
    assert complaint in wrong(capsys, *argv, "--quiet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["budget", "dcase21", "--latncy-ms", "1"], "--latency-ms"),
        (["budget", "dcase21", "--prune-dens"], "--prune-dense"),
        (["budget", "dcase21", "--multiple-off", "4"], "--multiple-of"),
        (["budget", "dcase21", "--frontir"], "--frontier"),
        (["cost", "dcase21", "--ruls", "dcase2022"], "--rules"),
        (["profil", "a"], "'profile'"),
        (["profile", "a", "--devise", "host"], "--device"),
    ],
)
def test_a_wrong_flag_names_the_nearest(capsys, argv, near):
    assert near in wrong(capsys, *argv)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "profile_host.json"),
        (lambda text: "[]", "is not a latency profile of this version"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "is not a latency profile of this version"),
        (lambda text: text.replace('"overhead_ms": 0.5', '"overhead_ms": -1'), "is a damaged latency profile"),
    ],
)
def test_a_spoilt_profile_is_told(capsys, profiled, spoil: Callable[[str], str], complaint):
    path = profiled / "profile_host.json"
    text = path.read_text()
    path.write_text(spoil(text))
    assert path.read_text() != text
    assert complaint in wrong(capsys, "budget", profiled, "--latency-ms", "2.2@host")


def test_a_profile_of_a_smaller_network_is_told(capsys, profiled):
    torch.manual_seed(1)
    wider = ModelSpec("dcase21", 3, (1, 20, 10), {**DENSE, "conv2": 20})
    checkpoint.save(profiled / "dense.ckpt", wider, build(wider))
    complaint = wrong(capsys, "budget", profiled, "--latency-ms", "2.2@host")
    assert "profile_host.json: is a profile of another network" in complaint


def test_the_objective_sensitivity_needs_a_run(capsys, run_folder):
    complaint = wrong(capsys, "budget", run_folder, "--params", "3k", "--objective", "sensitivity")
    assert "sensitivity: is measured on clips of the run; give a run folder" in complaint


# profile


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """What `profile` and `verify` were asked for; they answer the profile made by hand."""
    calls: list[dict] = []

    def profile(path, graph, device, settings):
        numbers = {"threads": settings.threads, "points": settings.points, "runs": settings.runs}
        calls.append({"file": path.name, "device": device, **numbers})
        return made_profile(device)

    def verify(profile, path, graph, widths_list):
        calls.append({"check": widths_list})
        return [
            {
                "widths": widths,
                "predicted_ms": made_ms(widths),
                "measured_ms": made_ms(widths) / 1.25,
                "relative_error": 0.25,
            }
            for widths in widths_list
        ]

    monkeypatch.setattr(profiling, "profile", profile)
    monkeypatch.setattr(profiling, "verify", verify)
    return calls


def test_profile_writes_the_table_a_budget_reads(capsys, run_folder, asked):
    (run_folder / "dense_int8.tflite").write_bytes(b"not read here")
    found = call_json(capsys, "profile", run_folder, "--points", "4", "--runs", "3", "--check", "3")
    assert asked[0] == {"file": "dense_int8.tflite", "device": "host", "threads": 1, "points": 4, "runs": 3}
    path = run_folder / "profile_host.json"
    assert (found["path"], found["device"], found["kind"]) == (str(path), "host", "measured")
    assert found["overhead_ms"] == 0.5
    assert [stage["groups"] for stage in found["stages"]][1] == ["conv1", "conv2"]
    assert found["overhead_ms"] + sum(stage["full_ms"] for stage in found["stages"]) == pytest.approx(made_ms(DENSE))
    assert len(found["check"]) == 3
    assert found["check"][0]["widths"] == DENSE
    assert all(1 <= width <= DENSE[name] for check in found["check"] for name, width in check["widths"].items())
    assert LatencyProfile.load(path).predict(DENSE) == pytest.approx(made_ms(DENSE))
    assert call_json(capsys, "budget", run_folder, "--latency-ms", "2.2@host")["reached"]["latency_ms"] <= 2.2


def test_profile_as_a_table(capsys, run_folder, asked, tmp_path):
    (run_folder / "dense_float32.tflite").write_bytes(b"not read here")
    path = tmp_path / "tables" / "host.json"
    argv = ["profile", run_folder, "--device", "host", "--format", "float32", "--threads", "2", "--out", path]
    code, out, err = call(capsys, *argv)
    assert code == 0
    assert asked[0]["file"] == "dense_float32.tflite"
    assert asked[0]["threads"] == 2
    assert path.is_file()
    assert not (run_folder / "profile_host.json").exists()
    assert f"{path}: 4 stages" in err
    for text in ("at full width", "conv1 x conv2", "a call", "whole networks", "+25.0 %"):
        assert text in out


def test_a_profile_need_not_be_checked(capsys, run_folder, asked):
    (run_folder / "dense_int8.tflite").write_bytes(b"not read here")
    assert call_json(capsys, "profile", run_folder, "--check", "0")["check"] == []
    assert len(asked) == 1
    code, out, _ = call(capsys, "profile", run_folder, "--check", "0")
    assert code == 0
    assert "whole networks" not in out


def test_profile_needs_the_file_of_the_dense_network(capsys, run_folder, asked):
    complaint = wrong(capsys, "profile", run_folder)
    assert "dense_int8.tflite: is not there; finish the run with --export.dense-formats int8" in complaint
    complaint = wrong(capsys, "profile", run_folder, "--format", "float32")
    assert "dense_float32.tflite: is not there" in complaint
    (run_folder / "dense.ckpt").unlink()
    assert "dense.ckpt" in wrong(capsys, "profile", run_folder)
    assert asked == []


def test_a_file_that_cannot_be_profiled_is_told(capsys, run_folder):
    """The real profiler: nothing is measured, since the file is none, or the numbers are out of range."""
    path = run_folder / "dense_int8.tflite"
    path.write_bytes(b"not a model")
    assert "dense_int8.tflite" in wrong(capsys, "profile", run_folder)
    assert "give at least 2 points" in wrong(capsys, "profile", run_folder, "--points", "1")
    assert not (run_folder / "profile_host.json").exists()


def test_a_registry_network_shares_its_budget_with_the_front_end_of_its_preset(capsys):
    flags = ("--input", "1x40x51", "--peak-ram", "100k", "--include-frontend", "--criterion", "l1")
    answer = call_json(capsys, "budget", "dcase21", *flags)
    assert answer["frontend"]["peak_ram"] > 0
    assert answer["asked"] == {"peak_ram": 100_000}


def test_a_budget_on_the_streaming_program(capsys, run_folder, monkeypatch):
    """Without a toolchain the figures are estimated, and both the answer and its JSON say so."""
    monkeypatch.setattr(fit_program, "can_link", lambda: False)
    argv = ("budget", run_folder, "--peak-ram", "6kB", "--runtime", "stream")
    answer = call_json(capsys, *argv)
    assert (answer["runtime"], answer["kind"]) == ("stream", "estimated")
    assert answer["reached"]["peak_ram"] <= answer["asked"]["peak_ram"] == 6000
    assert answer["proven"]
    code, out, _ = call(capsys, *argv)
    assert code == 0
    assert "of the whole program, estimated" in " ".join(out.split())
    code, _, err = call(capsys, "budget", run_folder, "--peak-ram", "1kB", "--runtime", "stream")
    assert code == 3
    assert "program are estimated" in err
    assert "most of it in 'stack and other variables'" in err


def test_cost_tells_what_streaming_takes(capsys, run_folder):
    """Seven rows of the inputs of three 7 x 7 layers, and what pools and dense layers keep; far less than the arena."""
    runtimes = call_json(capsys, "cost", "dcase21")["runtimes"]
    assert runtimes["tflm"] == {"arena_bytes": 640_000}
    assert runtimes["stream"]["walk"] == "width"
    assert 15_000 < runtimes["stream"]["state_bytes"] < 20_000
    code, out, _ = call(capsys, "cost", "bcresnet")
    assert code == 0
    assert "Not as streaming C: runtime stream: the network is not planned" in " ".join(out.split())
