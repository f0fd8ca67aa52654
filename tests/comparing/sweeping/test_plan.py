"""A sweep's folder: what may be continued or extended there, and what is refused before hours of work."""

import re
from dataclasses import replace

import pytest
from sweeps import plan_of

from edgeprune.comparing.sweeping.grid import Grid
from edgeprune.comparing.sweeping.plan import make_plan
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.units import parse_size


def refused(said: str):
    return pytest.raises(EdgepruneError, match=re.escape(said))


def test_it_is_written_with_every_cells_recipe(recipe, tmp_path):
    plan = plan_of(recipe, tmp_path / "s", keep=(0.5, 0.25))
    assert not (tmp_path / "s").exists()
    plan.write()
    said = read_json(tmp_path / "s" / "sweep.json")
    assert said["recipe"] == recipe.to_dict()
    assert said["grid"]["keep"] == [0.5, 0.25]
    for cell in said["cells"]:
        assert (tmp_path / "s" / cell["folder"] / "recipe.json").is_file()
    assert {plan.state(cell) for cell in plan.recipes} == {"new"}


def test_cells_may_be_added_but_none_left_out(recipe, tmp_path):
    out = tmp_path / "s"
    plan_of(recipe, out, keep=(0.5,), criteria=("l1",)).write()
    plan_of(recipe, out, keep=(0.25, 0.5), criteria=("operator_norm", "l1"), seeds=(1, 0)).write()
    with refused("also has runs/operator_norm-keep0.25-seed1-fold1"):
        plan_of(recipe, out, keep=(0.5,), criteria=("l1",), seeds=(0, 1))
    with refused("also has dense/seed1-fold1"):
        plan_of(recipe, out, keep=(0.25, 0.5), criteria=("operator_norm", "l1"))


def test_other_settings_are_refused_other_places_are_not(recipe, tmp_path):
    out = tmp_path / "s"
    plan_of(recipe, out).write()
    with refused("train.epochs: 1 -> 2"):
        plan_of(replace(recipe, train=replace(recipe.train, epochs=2)), out)
    moved = replace(recipe, data=replace(recipe.data, root=tmp_path / "elsewhere"))
    assert make_plan(moved, Grid(controls=()), out, alone=False, threads=4)


def test_scratch_follows_the_first_criterion(recipe, tmp_path):
    plan_of(recipe, tmp_path / "s", criteria=("l1", "l2"), controls=("scratch",)).write()
    with refused("runs/scratch-macs1M-keep0.75-seed0-fold1 has other settings (prune.criterion: l1 -> l2)"):
        plan_of(recipe, tmp_path / "s", criteria=("l2", "l1"), controls=("scratch",))


def test_a_moved_folder_goes_on(recipe, tmp_path):
    plan_of(recipe, tmp_path / "s").write()
    (tmp_path / "s").rename(tmp_path / "moved")
    plan = plan_of(recipe, tmp_path / "moved")
    plan.write()
    cell = list(plan.recipes)[1]
    there = read_json(plan.folder(cell).recipe_file)["dense_from"]
    assert there == str(tmp_path / "moved" / "dense" / "seed0-fold1" / "dense.ckpt")


def test_a_folder_that_holds_something_else(recipe, tmp_path):
    out = tmp_path / "s"
    plan = plan_of(recipe, out)
    plan.write()
    with refused("is the folder of a run"):
        plan_of(recipe, plan.folder(next(iter(plan.recipes))).path)
    changed = replace(plan.recipes[next(iter(plan.recipes))], seed=9)
    write_json(out / "dense" / "seed0-fold1" / "recipe.json", changed.to_dict())
    with refused("seed: 9 -> 0"):
        plan.write()
    write_json(out / "sweep.json", {"schema": 99})
    with refused("another version"):
        plan_of(recipe, out)


def test_runs_that_share_the_machine_are_not_timed_on_it(recipe, tmp_path):
    bench, export = replace(recipe.bench, devices=("host", "tflm")), replace(recipe.export, formats=("int8",))
    recipe = replace(recipe, bench=bench, export=export)
    shared = plan_of(recipe, tmp_path / "s")
    assert {one.bench.devices for one in shared.recipes.values()} == {("tflm",)}
    alone = make_plan(recipe, Grid(controls=()), tmp_path / "t", alone=True, threads=2)
    assert {one.bench.devices for one in alone.recipes.values()} == {("host", "tflm")}
    alone.write()
    with refused("must do nothing else"):
        plan_of(recipe, tmp_path / "t")
    shared.write()  # and what began without goes on without
    later = make_plan(recipe, Grid(controls=()), tmp_path / "s", alone=True, threads=2)
    assert {one.bench.devices for one in later.recipes.values()} == {("tflm",)}


def test_a_latency_that_would_be_profiled_beside_other_runs(recipe, tmp_path):
    limited = replace(recipe, budget=replace(recipe.budget, latency_ms="0.8@host"))
    with refused("give --prune.profile"):
        plan_of(limited, tmp_path / "s")
    assert make_plan(limited, Grid(), tmp_path / "s", alone=True, threads=2)


@pytest.mark.parametrize(
    ("change", "axes", "said"),
    [
        ({"formats": ("int7",)}, {}, "int7"),
        ({}, {"folds": (1, 7)}, "synthetic has no such fold; it has 1"),
        ({"restart": True}, {}, "a control that a sweep makes by itself"),
    ],
)
def test_wrong_values_are_told_before_anything_is_done(recipe, tmp_path, change, axes, said):
    wrong = replace(
        recipe,
        export=replace(recipe.export, formats=change.get("formats", recipe.export.formats)),
        prune=replace(recipe.prune, restart=change.get("restart", False)),
    )
    with refused(said):
        plan_of(wrong, tmp_path / "s", **axes)
    assert not (tmp_path / "s").exists()


def test_the_budget_of_a_folder_is_the_one_its_name_says(recipe, tmp_path):
    plan = plan_of(recipe, tmp_path / "s", params=(40_000, 1_234), flash=(29_200,))
    for cell, one in plan.recipes.items():
        if cell.role == "variant":
            params, flash = re.search(r"params([\d.kM]+)-flash([\d.kM]+)-", one.out.name).groups()
            assert one.budget.sizes() == {"params": parse_size(params), "flash": parse_size(flash)}
