"""The estimate of a dry run: from runs that have finished, else from counted steps."""

from dataclasses import replace

import pytest
from sweeps import plan_of

from edgeprune.comparing.sweeping import estimate
from edgeprune.comparing.sweeping.estimate import EXPORT_S, Estimate, estimates, shape_of, total_seconds
from edgeprune.data.scene_data import load_scenes
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data


@pytest.fixture
def step_s(monkeypatch) -> float:
    """Every step takes a hundredth of a second."""
    monkeypatch.setattr(estimate, "step_seconds", lambda *_: 0.01)
    return 0.01


def test_steps_are_those_of_the_epochs(recipe, tmp_path, step_s):
    recipe = replace(recipe, train=replace(recipe.train, epochs=30), finetune=replace(recipe.finetune, epochs=7))
    plan = plan_of(recipe, tmp_path / "s", params=(2_000, 1_000), seeds=(0, 1), controls=("random", "scratch"))
    found = {one.kind: (one.runs, one.seconds) for one in estimates(plan, plan.open_cells(), 1)}
    batches = 3  # 48 clips, 16 a batch
    assert found == {
        "dense": (2, pytest.approx(batches * 30 * step_s + EXPORT_S)),
        "pruned": (8, pytest.approx(batches * 7 * step_s + EXPORT_S)),
        "scratch": (4, pytest.approx(batches * 37 * step_s + EXPORT_S)),
    }


def test_runs_that_have_finished_tell_more(recipe, tmp_path, step_s):
    plan = plan_of(recipe, tmp_path / "s", keep=(0.5, 0.25), seeds=(0, 1))
    dense, half, quarter, *_ = plan.recipes
    for cell, seconds in ((dense, 100.0), (half, 30.0), (quarter, 50.0)):
        plan.keep_seconds(cell, seconds)
    found = estimates(plan, list(plan.recipes)[3:], 1)
    assert [(one.kind, one.runs, one.seconds) for one in found] == [("dense", 1, 100.0), ("pruned", 2, 40.0)]
    assert [one.how for one in found] == ["mean of 1 finished run", "mean of 2 finished runs"]


def test_runs_at_a_time_share_the_work_but_none_overtakes_its_dense_run():
    dense, pruned = Estimate("dense", 1, 100.0, ""), Estimate("pruned", 10, 10.0, "")
    assert total_seconds([dense, pruned], 1) == 200
    assert total_seconds([dense, pruned], 4) == 110
    assert total_seconds([], 2) == 0


def test_the_count_is_what_training_sees(recipe):
    found, data = shape_of(recipe), load_scenes(recipe.data, recipe.frontend)
    assert found.patches == len(data.patches(data.train))
    assert (found.classes, found.input_shape) == (data.classes, data.input_shape)


def test_the_count_of_real_clips(recipe, shared_data):
    esc10 = replace(recipe, data=Data(name="esc10", root=shared_data / "esc10", validation=0.0))
    assert shape_of(esc10).patches == 320 * 4  # five seconds, patches of one second that do not overlap
    with pytest.raises(EdgepruneError, match=r"--data\.root"):
        shape_of(replace(recipe, data=Data(name="esc10")))


def test_a_step_is_timed_on_the_dense_network(recipe, monkeypatch):
    seconds = iter([0.0, 9.0, 9.0, 11.0, 11.0, 12.0, 12.0, 17.0])
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(seconds))
    assert estimate.step_seconds(recipe, shape_of(recipe), 1) == 2.0  # the median of 2, 1 and 5; the first is left out
