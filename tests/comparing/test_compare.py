from dataclasses import replace

import pytest
from run_folders import change, pruned, timing, write_run

from edgeprune.comparing.compare import compare
from edgeprune.comparing.comparison import Comparison, MeanEstimate, PairedDifference, Variant
from edgeprune.comparing.report.report import render_comparison
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json, write_text
from edgeprune.recipe import Data
from edgeprune.results.run_folder import RunState


def variant(comparison: Comparison, name: str) -> Variant:
    return next(one for one in comparison.variants if one.name == name)


def to(comparison: Comparison, name: str, control: str, metric: str = "accuracy") -> PairedDifference:
    (found,) = [one for one in variant(comparison, name).differences if (one.against, one.metric) == (control, metric)]
    return found


@pytest.fixture
def seeds(tmp_path):
    """Three seeds of a variant and its controls; differences to dense -0.05, -0.06, -0.04."""
    for seed, (own, dense) in enumerate(((0.70, 0.75), (0.71, 0.77), (0.69, 0.73))):
        common = {"dense_accuracy": dense, "dense_log_loss": 0.9}
        write_run(tmp_path / f"own{seed}", pruned(seed), accuracy=own, log_loss=1.0 + seed / 10, **common)
        write_run(tmp_path / f"random{seed}", pruned(seed, criterion="random"), accuracy=own - 0.1, **common)
        write_run(tmp_path / f"scratch{seed}", pruned(seed, restart=True), accuracy=own, params=14_000, **common)
    return tmp_path


def test_means_intervals_and_paired_differences(seeds) -> None:
    found = compare([seeds])
    assert found.format == "int8"
    assert [one.name for one in found.variants] == ["dense", "operator_norm", "random", "scratch, operator_norm"]
    assert [one.role for one in found.variants] == ["dense", "variant", "random", "scratch"]
    assert found.controls == ("dense", "random", "scratch, operator_norm")
    own = variant(found, "operator_norm")
    # t(2) = 4.30265; the std of 0.70, 0.71, 0.69 is 0.01
    half = 4.30265 * 0.01 / 3**0.5
    accuracy = own.accuracy["int8"]
    assert (accuracy.n, accuracy.mean, accuracy.std) == (3, pytest.approx(0.70), pytest.approx(0.01))
    assert (accuracy.low, accuracy.high) == pytest.approx((0.70 - half, 0.70 + half), abs=1e-7)
    difference = to(found, "operator_norm", "dense")
    assert difference.estimate.mean == pytest.approx(-0.05)
    assert (difference.estimate.low, difference.estimate.high) == pytest.approx((-0.05 - half, -0.05 + half), abs=1e-7)
    assert difference.p_value == 0.25  # the smallest of three pairs
    assert to(found, "operator_norm", "dense", "log_loss").estimate.mean == pytest.approx(0.2)
    assert own.cost["peak_ram_bytes"] == MeanEstimate(30_000, 3, 0.0, 30_000, 30_000)
    assert own.bytes["int8"].mean == 25_000
    assert any("the smallest: 3 pairs 0.25" in note for note in found.notes)
    assert any("how much the seeds vary on the same evaluation clips" in note for note in found.notes)


def test_folders_may_be_one_or_many_paths_or_text(seeds) -> None:
    names = {"dense", "operator_norm", "random", "scratch, operator_norm"}
    for runs in (seeds, str(seeds), [str(seeds)], iter(sorted(seeds.iterdir()))):
        assert {one.name for one in compare(runs).variants} == names


def test_controls_of_the_same_budget_are_compared_with(seeds) -> None:
    for seed in range(3):
        write_run(seeds / f"small{seed}", pruned(seed, params=5_000, criterion="random"), accuracy=0.2)
    found = compare([seeds])
    own = "operator_norm, params 20k"
    assert {one.against for one in variant(found, own).differences} == {
        "dense",
        "random, params 20k",
        "scratch, operator_norm, params 20k",
    }
    assert to(found, own, "random, params 20k").estimate.mean == pytest.approx(0.1)
    equal = to(found, own, "scratch, operator_norm, params 20k")
    assert (equal.estimate, equal.p_value) == (MeanEstimate(0.0, 3, 0.0, 0.0, 0.0), 1.0)
    assert {one.against for one in variant(found, "random, params 5k").differences} == {"dense"}


def test_the_nearest_control_of_a_budget_is_taken(seeds) -> None:
    write_run(seeds / "l1", pruned(0, criterion="l1"), accuracy=0.7)
    write_run(seeds / "l1 scratch", pruned(0, criterion="l1", restart=True), accuracy=0.6)
    found = compare([seeds])
    assert "scratch, l1" in {one.against for one in variant(found, "l1").differences}
    assert "scratch, operator_norm" in {one.against for one in variant(found, "operator_norm").differences}


def test_fronts_are_over_means(seeds) -> None:
    found = compare([seeds])
    everything = ("macs", "params", "flash_bytes", "peak_ram_bytes")
    fronts = {one.name: one.pareto for one in found.variants}
    # scratch has the variant's accuracy for less, and is no candidate all the same
    assert fronts == {"dense": everything, "operator_norm": everything, "scratch, operator_norm": (), "random": ()}


def test_intervals_of_shares_end_at_0_and_100_percent(tmp_path) -> None:
    for seed, accuracy in enumerate((0.99, 0.90)):  # t(1) is 12.7: plainly 0.945 ± 0.57
        write_run(
            tmp_path / str(seed), pruned(seed), accuracy=accuracy, dense_accuracy=0.05, params=15_000 * (seed + 1)
        )
    own = compare([tmp_path]).variants[1]
    assert own.accuracy["int8"].high == 1.0
    assert own.accuracy["int8"].low == pytest.approx(0.945 - 12.7062 * 0.045, abs=1e-5)
    assert own.cost["params"].low == 0.0
    assert own.difference(["dense"], "accuracy").estimate.high == 1.0


def test_one_seed_gives_no_interval_and_no_p(tmp_path) -> None:
    write_run(tmp_path, pruned(), accuracy=0.7, dense_accuracy=0.75)
    found = compare([tmp_path])
    difference = to(found, "operator_norm, params 20k", "dense")
    assert difference.estimate == MeanEstimate(pytest.approx(-0.05), 1)
    assert difference.p_value is None
    assert any(note.startswith("One run only (every variant)") for note in found.notes)


def test_runs_without_a_counterpart_are_counted(seeds) -> None:
    write_run(seeds / "more", pruned(7), accuracy=0.9, dense_formats=())
    found = compare([seeds])
    assert variant(found, "operator_norm").accuracy["int8"].n == 4
    assert to(found, "operator_norm", "dense").estimate.n == 3
    (note,) = [note for note in found.notes if "without a counterpart" in note]
    assert "operator_norm against dense (1 of 4)" in note
    assert "operator_norm against random (1 of 4)" in note


def test_runs_of_another_split_are_no_pair(tmp_path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"own{seed}", pruned(seed))
        write_run(tmp_path / f"random{seed}", pruned(seed, criterion="random"), split="b" * 64 if seed else "a" * 64)
    found = compare([tmp_path])
    assert to(found, "operator_norm", "random").estimate.n == 1
    assert any("on another split of the data" in n and "operator_norm against random (1)" in n for n in found.notes)
    assert any("Not all runs of fold 1" in note for note in found.notes)


def test_folds_widen_the_interval(tmp_path) -> None:
    accuracies = [0.5, 0.6, 0.7, 0.6, 0.6]
    for fold, accuracy in enumerate(accuracies, start=1):
        sizes = {"train": 240, "validation": 80, "test": 80}
        write_run(tmp_path / str(fold), pruned(0, fold), accuracy=accuracy, dense_accuracy=0.7, clips=sizes)
    found = compare([tmp_path])
    half = 2.77645 * (0.02 / 4) ** 0.5 * (1 / 5 + 1 / 4) ** 0.5
    accuracy = variant(found, "operator_norm, params 20k").accuracy["int8"]
    assert (accuracy.mean, accuracy.high) == pytest.approx((0.6, 0.6 + half), abs=1e-6)
    difference = to(found, "operator_norm, params 20k", "dense").estimate
    assert (difference.mean, difference.high) == pytest.approx((-0.1, -0.1 + half), abs=1e-6)
    assert any("Nadeau and Bengio" in note and "too small" in note for note in found.notes)


def test_runs_that_failed_are_told_and_do_not_count(seeds) -> None:
    (seeds / "own2" / "result.json").unlink()
    write_json(seeds / "own2" / "failed.json", {"reason": "budget: cannot be met"})
    write_text(seeds / "own1" / "result.json", "{")
    found = compare([seeds])
    own = variant(found, "operator_norm")
    assert (len(own.runs), own.accuracy["int8"].n) == (3, 1)
    assert [run.state for run in own.runs] == [RunState.DONE, RunState.DAMAGED, RunState.FAILED]
    (note,) = [note for note in found.notes if "without a result" in note]
    assert "2 runs without a result are left out" in note
    assert "own2 failed: budget: cannot be met" in note
    assert "own1 is damaged" in note


def test_a_variant_that_failed_altogether_is_there(seeds) -> None:
    write_json(seeds / "lost" / "recipe.json", pruned(0, params=1).to_dict())
    found = compare([seeds])
    lost = variant(found, "operator_norm, params 1")
    assert (lost.accuracy, lost.cost, lost.pareto, lost.differences) == ({}, {}, (), ())


def test_the_format_is_int8_where_all_have_it(tmp_path) -> None:
    both = ("float32", "int8")
    write_run(tmp_path / "a", pruned(0), formats=both, dense_formats=both)
    write_run(tmp_path / "b", pruned(0, params=10_000), formats=both, dense_formats=both)
    assert compare([tmp_path]).format == "int8"
    assert compare([tmp_path], "float32").format == "float32"
    write_run(tmp_path / "b", pruned(0, params=10_000), formats=("float32",), dense_formats=both)
    found = compare([tmp_path])
    assert found.format == "float32"
    assert "No accuracy of a file in int8: params 10k." in compare([tmp_path], "int8").notes


def test_a_format_that_nobody_has_is_refused(tmp_path) -> None:
    write_run(tmp_path, pruned())
    with pytest.raises(EdgepruneError, match=r"float16: no run has such a file.*there are: int8"):
        compare([tmp_path], "float16")
    with pytest.raises(EdgepruneError, match="perhaps you meant 'float16'"):
        compare([tmp_path], "flot16")


def test_runs_none_of_which_has_finished_are_no_comparison(tmp_path) -> None:
    write_json(tmp_path / "recipe.json", pruned().to_dict())
    with pytest.raises(EdgepruneError, match=r"No run has a result yet \(.*has not finished\)"):
        compare([tmp_path])


def test_latency_is_the_median_by_device_and_says_its_kind(tmp_path) -> None:
    for seed, median in enumerate((0.5, 0.9, 0.6)):
        rows = [
            timing("model_int8.tflite", median),
            timing("model_int8.tflite", median / 2, threads=2),
            timing("dense_int8.tflite", 2.0),
            timing("model_int8.tflite", 1e6, device="cortex-m4", kind="emulated", unit="instructions", cpu=None),
            timing("model_int8.tflite", 30_000, device="tflm", unit="arena_bytes", cpu=None),
        ]
        write_run(tmp_path / str(seed), pruned(seed), latency=rows)
    found = compare([tmp_path])
    told = {(one.device, one.kind, one.unit): one.estimate for one in found.variants[1].latency}
    assert set(told) == {
        ("host", "measured", "ms"),
        ("host, 2 threads", "measured", "ms"),
        ("cortex-m4", "emulated", "instructions"),
    }
    host = told["host", "measured", "ms"]
    assert (host.mean, host.n, host.low) == (0.6, 3, None)
    assert found.variants[0].latency[0].estimate.mean == 2.0
    assert any("separate runs" in note for note in found.notes)


def test_latencies_of_different_processors_are_kept_apart(tmp_path) -> None:
    for seed, cpu in enumerate(("AMD EPYC", "Cortex-A72")):
        write_run(tmp_path / str(seed), pruned(seed), latency=[timing("model_int8.tflite", 1.0 + seed, cpu=cpu)])
    found = compare([tmp_path])
    told = {one.device: one.estimate.mean for one in found.variants[1].latency}
    assert told == {"host (AMD EPYC)": 1.0, "host (Cortex-A72)": 2.0}
    assert any("host was more than one processor (AMD EPYC; Cortex-A72)" in note for note in found.notes)


def test_processors_of_one_name_are_kept_apart_by_their_features(tmp_path) -> None:
    for seed, features in enumerate(("avx2", "avx2, avx512_vnni")):
        row = timing("model_int8.tflite", 1.0 + seed)
        row["detail"] |= {"cpu_features": features}
        write_run(tmp_path / str(seed), pruned(seed), latency=[row])
    told = {one.device: one.estimate.mean for one in compare([tmp_path]).variants[1].latency}
    assert told == {"host (AMD EPYC, avx2)": 1.0, "host (AMD EPYC, avx2, avx512_vnni)": 2.0}


def test_phones_are_kept_apart_by_what_their_browsers_call_themselves(tmp_path) -> None:
    for seed, agent in enumerate(("<b>Firefox</b>", "Chrome $x_$")):
        row = timing("model_int8.tflite", 1.0 + seed, device="browser://0.0.0.0:0", cpu=None)
        write_run(tmp_path / str(seed), pruned(seed), latency=[{**row, "detail": {"user_agent": agent}}])
    found = compare([tmp_path])
    told = {one.device: one.estimate.mean for one in found.variants[1].latency}
    assert told == {"browser://0.0.0.0:0 (<b>Firefox</b>)": 1.0, "browser://0.0.0.0:0 (Chrome $x_$)": 2.0}
    assert "<b>Firefox" not in render_comparison(found)


def test_figures_that_are_missing_are_left_out(tmp_path) -> None:
    write_run(tmp_path, pruned())
    change(
        tmp_path / "result.json",
        artefacts__int8__cost=None,
        pruned__cost__arena_bytes=None,
        artefacts__int8__bytes=None,
        artefacts__int8__accuracy__log_loss=None,
    )
    own = compare([tmp_path]).variants[1]
    assert set(own.cost) == {"params", "macs", "flash_bytes"}
    assert own.bytes == {}
    assert own.log_loss == {}
    assert [one.metric for one in own.differences] == ["accuracy"]
    assert "peak_ram_bytes" not in own.pareto


def test_settings_are_the_fields_that_differ(tmp_path) -> None:
    write_run(tmp_path / "a", pruned())
    write_run(tmp_path / "b", replace(pruned(criterion="l1"), data=Data(name="tut2017", validation=0.0)))
    found = compare([tmp_path])
    told = [one.settings for one in found.variants if one.role == "variant"]
    assert told == [
        {"data.validation": 0.15, "prune.criterion": "operator_norm"},
        {"data.validation": 0.0, "prune.criterion": "l1"},
    ]
