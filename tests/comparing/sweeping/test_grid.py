"""Which cells a grid has, what they are called, and what each runs."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edgeprune.comparing.sweeping.grid import Grid, cells, recipe_of
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json
from edgeprune.recipe_files import from_dict, load_recipe, with_absolute_paths


def folders(grid: Grid, recipe) -> list[str]:
    return [cell.folder for cell in cells(grid, recipe)]


def test_lists_are_crossed_and_the_recipes_own_limits_set_aside(recipe):
    grid = Grid(params=(40_000, 20_000), macs=(8_000_000,))
    assert [(b.sizes(), keep) for b, keep in grid.budgets(recipe)] == [
        ({"params": 40_000, "macs": 8_000_000}, 1.0),
        ({"params": 20_000, "macs": 8_000_000}, 1.0),
    ]
    kept = [(b.sizes(), keep) for b, keep in Grid(keep=(0.5, 0.25), flash=(9,)).budgets(recipe)]
    assert kept == [({"flash": 9}, 0.5), ({"flash": 9}, 0.25)]


def test_without_lists_the_recipes_own_budget_holds(recipe):
    assert Grid().budgets(recipe) == [(recipe.budget, 0.75)]
    assert folders(Grid(controls=()), recipe) == ["dense/seed0-fold1", "runs/operator_norm-macs1M-keep0.75-seed0-fold1"]


def test_what_is_no_axis_stays_in_every_budget(recipe):
    limited = replace(recipe, budget=replace(recipe.budget, latency_ms="0.8@host", include_frontend=True))
    for budget, _ in Grid(params=(1, 2)).budgets(limited):
        assert (budget.latency_ms, budget.include_frontend) == ("0.8@host", True)


def test_controls_stand_beside_every_budget_seed_and_fold(recipe):
    grid = Grid(params=(40_000, 20_000), criteria=("operator_norm", "l1"), seeds=(0, 1), folds=(1, 2))
    found = cells(grid, recipe)
    roles = [cell.role for cell in found]
    assert {role: roles.count(role) for role in roles} == {"dense": 4, "variant": 16, "random": 8, "scratch": 8}
    # a dense run comes before all that start from it
    seen = set()
    for cell in found:
        seen |= {cell.folder} if cell.role == "dense" else set()
        assert cell.dense_folder in seen


def test_random_is_added_only_where_it_is_missing(recipe):
    named = cells(Grid(criteria=("random", "l1")), recipe)
    assert [cell.criterion for cell in named if cell.role == "random"] == ["random"]
    none = cells(Grid(criteria=("l1",), controls=()), recipe)
    assert [cell.role for cell in none] == ["dense", "variant"]


def test_folders_are_distinct_short_and_safe(recipe):
    grid = Grid(
        params=(29_200_123, 20_000),
        macs=(1, 1_500),
        peak_ram=(65_280,),
        flash=(46_512,),
        keep=(0.5, 0.25, 1 / 3, 1.0),
        criteria=("operator_norm", "operator_norm_unsigned", "l1"),
        seeds=(0, 12),
        folds=(1, 4),
    )
    found = folders(grid, recipe)
    assert len({name.lower() for name in found}) == len(found) == 4 + 16 * 4 * 5
    assert all(re.fullmatch(r"(dense|runs)/[A-Za-z0-9._-]+", name) and len(name) < 120 for name in found)
    assert "runs/l1-params29200.123k-macs1.5k-ram65.28k-flash46.512k-keep0.25-seed12-fold4" in found


def test_nothing_limited_is_said_so(recipe):
    assert folders(Grid(keep=(1.0,), controls=()), recipe)[1] == "runs/operator_norm-whole-seed0-fold1"


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (Grid(criteria=("operater_norm",)), "perhaps you meant 'operator_norm'"),
        (Grid(controls=("dense", "scrach")), "perhaps you meant 'scratch'"),
        (Grid(keep=(0.5, 1.5)), "at most 1, not 1.5"),
        (Grid(folds=(0,)), "--folds: give whole numbers from 1"),
        (Grid(peak_ram=(4, 5, 4)), "--peak-ram: a value stands there twice"),
    ],
)
def test_values_that_cannot_be(grid, said):
    with pytest.raises(EdgepruneError, match=re.escape(said)):
        grid.check()


def test_a_grid_is_read_back_from_json(tmp_path):
    from edgeprune.files import read_json

    grid = Grid(params=(40_000,), keep=(0.5, 1 / 3), criteria=("l1",), seeds=(0, 1), controls=("dense",))
    write_json(tmp_path / "grid.json", asdict(grid))
    assert Grid.from_dict(read_json(tmp_path / "grid.json")) == grid


def test_the_dense_run_loses_nothing_and_is_not_trained_twice(recipe, tmp_path):
    recipe = replace(recipe, prune=replace(recipe.prune, steps=3, objective="sensitivity", criterion="hrank"))
    cell = cells(Grid(seeds=(3,)), recipe)[0]
    found = recipe_of(cell, recipe, tmp_path, (), 1)
    assert (found.prune.keep, found.prune.steps, found.finetune.epochs, found.train.epochs) == (1.0, 1, 0, 1)
    assert not found.budget.sizes()
    assert found.prune.criterion == "l1"  # nothing is lost, so nothing need look at clips
    assert (found.seed, found.dense_from) == (3, None)


def test_cells_start_from_their_dense_run_and_differ_in_nothing_else(recipe, tmp_path):
    from edgeprune.recipe_files import differences

    grid = Grid(params=(2_000,), seeds=(0, 1), folds=(1, 2))
    for cell in cells(grid, recipe)[1:4]:
        found = recipe_of(cell, recipe, tmp_path, ("host",), 1)
        assert found.dense_from == tmp_path / "dense" / "seed0-fold1" / "dense.ckpt"
        changed = {line.split(":")[0] for line in differences(recipe.to_dict(), found.to_dict())}
        expected = {"budget.params", "budget.macs", "prune.keep", "dense_from", "export.dense_formats", "out"}
        expected |= {"train.threads", "finetune.threads"}
        expected |= {"random": {"prune.criterion"}, "scratch": {"prune.restart"}}.get(cell.role, set())
        assert changed == expected


@pytest.mark.parametrize(("train", "finetune"), [(3, 0), (0, 5), (3, 5)])
def test_threads_that_the_recipe_asks_for_are_kept(recipe, tmp_path, train, finetune):
    asked = replace(
        recipe, train=replace(recipe.train, threads=train), finetune=replace(recipe.finetune, threads=finetune)
    )
    for cell in cells(Grid(), asked):
        found = recipe_of(cell, asked, tmp_path, (), 2)
        assert (found.train.threads, found.finetune.threads) == (train or 2, finetune or 2)


def test_trained_from_scratch_in_one_step(recipe, tmp_path):
    stepped = replace(recipe, prune=replace(recipe.prune, steps=3))
    for cell in cells(Grid(), stepped):
        prune = recipe_of(cell, stepped, tmp_path, (), 1).prune.check()
        assert prune.steps == (3 if cell.role in ("variant", "random") else 1)


def test_a_cells_recipe_reads_in_any_directory(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loose = replace(recipe, data=replace(recipe.data, root=Path("here"), cache=None, name="my/card.toml"))
    found = with_absolute_paths(loose)
    assert (found.data.root, found.data.cache) == (tmp_path / "here", None)
    assert found.data.name == str(tmp_path / "my" / "card.toml")
    assert with_absolute_paths(recipe) == recipe
    cell = cells(Grid(), recipe)[1]
    written = recipe_of(cell, recipe, tmp_path, ("host",), 1)
    write_json(tmp_path / cell.folder / "recipe.json", written.to_dict())
    assert load_recipe(str(tmp_path / cell.folder)) == from_dict(written.to_dict()) == written
