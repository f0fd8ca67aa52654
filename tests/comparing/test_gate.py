import json

import pytest
from run_folders import change, pruned, timing, write_decisions, write_run
from scipy import stats

from edgeprune.comparing.gate import Limits, judge
from edgeprune.errors import CheckFailedError, EdgepruneError

TIMED = "model_int8.tflite"


@pytest.fixture
def sides(tmp_path):
    """A run and an earlier one, equal but for what a test changes."""
    for side in ("new", "old"):
        write_run(tmp_path / side, pruned(), accuracy=0.7, latency=[timing(TIMED, 1.0)])
    return tmp_path / "new", tmp_path / "old"


def accuracy(folder, value: float) -> None:
    change(folder / "result.json", artefacts__int8__accuracy__accuracy=value)


def latency(folder, *rows) -> None:
    change(folder / "result.json", latency=list(rows))


def test_equal_runs_pass(sides) -> None:
    new, old = sides
    gate = judge([new], [old], Limits(latency=1.05, bytes=1.0))
    gate.require()
    (match,) = gate.matches
    assert (match.pairs, match.old, match.new, match.breaches) == (1, 0.7, 0.7, ())
    assert [ratio.ratio for ratio in match.latency] == [1.0]
    assert gate.summary() == (
        f"{new} against {old}, int8, 1 variant, 1 pair of runs: accuracy (0.00 points, a drop of 1.00 is allowed), "
        "latency on host, size of the file."
    )


@pytest.mark.parametrize(("now", "passes"), [(0.69, True), (0.6899, False), (0.75, True), (0.69 - 1e-12, True)])
def test_a_drop_is_held_to_its_limit(sides, now, passes) -> None:
    new, old = sides
    accuracy(new, now)
    gate = judge([new], [old], Limits(drop=0.01))
    assert (gate.breaches == []) == passes
    assert gate.matches[0].old - gate.matches[0].new == pytest.approx(0.7 - now)


def test_every_breach_is_in_one_sentence(sides) -> None:
    new, old = sides
    accuracy(new, 0.65)
    change(new / "result.json", artefacts__int8__bytes=30_000)
    latency(new, timing(TIMED, 1.2))
    gate = judge([new], [old], Limits(0.01, 1.05, 1.1))
    with pytest.raises(CheckFailedError) as caught:
        gate.require()
    sentence = str(caught.value)
    assert sentence == (
        f"{new}: is worse than {old} (int8): accuracy fell by 5.00 points of 1.00 allowed, from 70.00 % to 65.00 %; "
        "host took 1.00 and takes 1.20 ms (measured), x1.200 of 1.05 allowed; the file grew from 25,000 to 30,000 B, "
        "x1.200 of 1.1 allowed; find out what changed, or raise the limit on purpose."
    )
    assert caught.value.exit_code == 4


def test_limits_that_are_not_given_are_not_checked(sides) -> None:
    new, old = sides
    change(new / "result.json", artefacts__int8__bytes=90_000)
    latency(new, timing(TIMED, 9.0))
    gate = judge([new], [old], Limits())
    gate.require()
    assert gate.matches[0].latency[0].ratio == 9.0


@pytest.mark.parametrize(
    "other", [{"cpu": "Cortex-A72"}, {"cpu": None}, {"kind": "estimated"}, {"unit": "cycles"}, {"threads": 2}]
)
def test_latency_is_compared_only_on_the_same_machine(sides, other) -> None:
    new, old = sides
    latency(new, timing(TIMED, 9.0, **other))
    judge([new], [old], Limits()).require()
    gate = judge([new], [old], Limits(latency=1.05))
    assert gate.matches[0].latency == ()
    told = (
        f"{new}: cannot be held to {old} (int8): latency on host was not measured as in the baseline; measure it on "
        "both sides in the same way, or leave out its limit."
    )
    with pytest.raises(CheckFailedError) as caught:
        gate.require()
    assert str(caught.value) == told
    assert not gate.to_dict()["passed"]
    assert any("latency on host is not compared, as it was measured otherwise: AMD EPYC, measured, ms" in note
               for note in gate.notes)  # fmt: skip
    assert "no latency" in gate.summary()


def test_a_device_of_the_baseline_alone_is_told(sides) -> None:
    new, old = sides
    rows = [timing(TIMED, 1.0), timing(TIMED, 1e6, device="cortex-m4", kind="emulated", unit="instructions", cpu=None)]
    latency(old, *rows)
    gate = judge([new], [old], Limits(latency=1.05))
    assert [ratio.device for ratio in gate.matches[0].latency] == ["host"]
    assert any("latency on cortex-m4 is not compared, as it is in the baseline alone" in note for note in gate.notes)
    assert gate.unmeasured == ["latency on cortex-m4 was not measured as in the baseline"]
    assert gate.table().rows[0][-1] == "not measured"
    latency(new, *rows[:1], {**rows[1], "median": 1.06e6})
    assert judge([new], [old], Limits(latency=1.05)).breaches == [
        "cortex-m4 took 1,000,000 and takes 1,060,000 instructions (emulated), x1.060 of 1.05 allowed"
    ]


def test_what_was_to_be_held_and_never_measured_fails(sides) -> None:
    new, old = sides
    for side in sides:
        latency(side)
        change(side / "result.json", artefacts__int8__bytes=None)
    judge([new], [old], Limits()).require()
    assert judge([new], [old], Limits(latency=1.05)).unmeasured == ["latency was never measured in the baseline"]
    sizes = ["the size of the file is not known", "the size of the file is not known in the baseline"]
    assert judge([new], [old], Limits(bytes=1.0)).unmeasured == sizes


@pytest.mark.parametrize(("side", "where"), [(0, ""), (1, " in the baseline")])
def test_an_accuracy_that_was_never_measured_fails(sides, side, where) -> None:
    change(sides[side] / "result.json", artefacts__int8__accuracy=None)
    gate = judge([sides[0]], [sides[1]], Limits())
    with pytest.raises(CheckFailedError, match=f"its accuracy in int8 was never measured{where};"):
        gate.require()


def test_clips_tell_whether_a_drop_is_chance(sides) -> None:
    new, old = sides
    write_decisions(old, [True] * 70 + [False] * 30)
    write_decisions(new, [True] * 60 + [False] * 10 + [True] * 5 + [False] * 25)  # 10 lost, 5 gained
    accuracy(new, 0.65)
    gate = judge([new], [old], Limits())
    (match,) = gate.matches
    assert match.chance.clips == 100
    assert match.chance.p_value == pytest.approx(stats.binomtest(5, 15, 0.5).pvalue)
    assert match.chance.low < -0.05 < match.chance.high
    assert "(no more than chance on 100 clips, McNemar p 0.302)" in gate.breaches[0]


def test_a_drop_that_is_more_than_chance_is_called_so(sides) -> None:
    new, old = sides
    write_decisions(old, [True] * 100)
    write_decisions(new, [True] * 80 + [False] * 20)
    accuracy(new, 0.5)
    assert "(more than chance on 100 clips" in judge([new], [old], Limits()).breaches[0]


def test_single_runs_of_different_seeds_are_compared_on_the_same_clips(tmp_path) -> None:
    for side, seed in (("new", 1), ("old", 0)):
        write_run(tmp_path / side, pruned(seed), accuracy=0.7)
        write_decisions(tmp_path / side, [True] * 70 + [False] * 30)
    gate = judge([tmp_path / "new"], [tmp_path / "old"], Limits())
    assert gate.matches[0].chance.p_value == 1.0
    assert any("the seeds differ, 0 and now 1" in note for note in gate.notes)


def test_other_evaluation_clips_are_refused(sides) -> None:
    new, old = sides
    change(new / "result.json", data__sha256="other")
    with pytest.raises(EdgepruneError, match="another split of the data"):
        judge([new], [old], Limits())
    write_decisions(old, [True] * 10)
    write_decisions(new, [True] * 10, names="other")
    with pytest.raises(EdgepruneError, match="another split of the data"):
        judge([new], [old], Limits())
    # another training part, the same evaluation part: the predictions tell
    write_decisions(new, [True] * 10)
    assert judge([new], [old], Limits()).matches[0].pairs == 1


def test_settings_of_single_runs_may_differ(tmp_path) -> None:
    write_run(tmp_path / "new", pruned(params=5_000, criterion="l1"), accuracy=0.7)
    write_run(tmp_path / "old", pruned(), accuracy=0.7)
    gate = judge([tmp_path / "new"], [tmp_path / "old"], Limits())
    assert [match.name for match in gate.matches] == ["l1, params 5k"]


def sweep(root, criteria=("operator_norm", "l1"), drop: float = 0.0, seeds=range(3), epochs: int = 20):
    for criterion in criteria:
        for seed in seeds:
            folder = write_run(root / criterion / str(seed), pruned(seed, criterion=criterion), accuracy=0.7 - drop)
            change(folder / "recipe.json", finetune__epochs=epochs)
    return root


def test_sweeps_are_matched_point_by_point(tmp_path) -> None:
    """Also where a field changed that is no axis of theirs."""
    old = sweep(tmp_path / "old", ("operator_norm", "l1", "l2"))
    new = sweep(tmp_path / "new", ("operator_norm", "l1", "random"), epochs=10)
    accuracy(new / "l1" / "0", 0.6)
    gate = judge([new], [old], Limits(0.02))
    assert {match.name: match.pairs for match in gate.matches} == {"operator_norm": 3, "l1": 3}
    assert gate.breaches == ["l1: accuracy fell by 3.33 points of 2.00 allowed, from 70.00 % to 66.67 %"]
    assert any(note == "Not in the baseline: random." for note in gate.notes)
    assert any(note == "In the baseline alone: l2." for note in gate.notes)


def test_only_seeds_that_both_have_count(tmp_path) -> None:
    old = sweep(tmp_path / "old", ("l1",), seeds=range(2))
    new = sweep(tmp_path / "new", ("l1",), seeds=range(1, 4))
    accuracy(new / "l1" / "3", 0.1)
    gate = judge([new], [old], Limits())
    assert (gate.matches[0].pairs, gate.breaches) == (1, [])
    assert any("compared over the seeds and folds that both have (1)" in note for note in gate.notes)
    apart = sweep(tmp_path / "apart", ("l1",), seeds=range(7, 9), drop=0.2)
    gate = judge([apart], [old], Limits())
    assert gate.matches[0].pairs == 0
    assert gate.breaches == ["accuracy fell by 20.00 points of 1.00 allowed, from 70.00 % to 50.00 %"]
    assert any("means over all runs are compared" in note for note in gate.notes)


def test_a_clip_of_several_seeds_is_drawn_with_all_of_them(tmp_path) -> None:
    for side in ("old", "new"):
        for seed in range(2):
            folder = write_run(tmp_path / side / str(seed), pruned(seed), accuracy=0.7)
            write_decisions(folder, [side == "old" or clip % 4 > 0 for clip in range(40)])
    chance = judge([tmp_path / "new"], [tmp_path / "old"], Limits(1.0)).matches[0].chance
    assert (chance.clips, chance.p_value) == (80, None)
    # 40 clips of which 10 are lost, not 80: the interval is that of 40 draws
    half = 1.96 * (0.25 * 0.75 / 40) ** 0.5
    assert (chance.low, chance.high) == pytest.approx((-0.25 - half, -0.25 + half), abs=0.03)


def test_a_variant_that_fails_now_is_a_breach(tmp_path) -> None:
    old, new = sweep(tmp_path / "old"), sweep(tmp_path / "new")
    for seed in range(3):
        (new / "l1" / str(seed) / "result.json").unlink()
    gate = judge([new], [old], Limits())
    assert gate.breaches == ["l1: has no result any more"]
    with pytest.raises(CheckFailedError):
        gate.require()


def test_nothing_to_compare_is_wrong_input(tmp_path) -> None:
    old = sweep(tmp_path / "old", ("l1", "l2"))
    with pytest.raises(EdgepruneError, match="no variant with an accuracy in int8 is both there and in"):
        judge([sweep(tmp_path / "new", ("random", "taylor"))], [old], Limits())
    folder = write_run(tmp_path / "cut off", pruned())
    (folder / "result.json").unlink()
    with pytest.raises(EdgepruneError, match="has not finished"):
        judge([folder], [old / "l1"], Limits())


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"drop": -0.1}, "--max-drop"),
        ({"drop": 5}, "--max-drop"),
        ({"drop": float("nan")}, "--max-drop"),
        ({"latency": 0}, "--max-latency"),
        ({"bytes": float("inf")}, "--max-bytes"),
    ],
)
def test_limits_out_of_range_are_refused(limits, told) -> None:
    with pytest.raises(EdgepruneError, match=told):
        Limits(**limits)


def test_it_is_plain_values(sides) -> None:
    new, old = sides
    latency(old, timing(TIMED, 0.0))
    accuracy(new, 0.6)
    found = json.loads(json.dumps(judge([new], [old], Limits(latency=2.0)).to_dict(), allow_nan=False))
    assert found["passed"] is False
    assert found["matches"][0]["drop"] == pytest.approx(0.1)
    assert found["matches"][0]["latency"][0]["ratio"] is None
    assert len(found["matches"][0]["breaches"]) == 2
