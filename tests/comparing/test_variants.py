from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import RECIPE, change, dense, pruned, write_run

from edgeprune.comparing.load import load_runs
from edgeprune.comparing.variants import group_runs, name_groups, role_of
from edgeprune.recipe import Bench, Budget, Data, Export, Model, Prune, Recipe, Train


def groups(root: Path, *recipes: Recipe):
    for number, recipe in enumerate(recipes):
        write_run(root / f"{number:03d}", recipe)
    return group_runs(load_runs([root])[0])


def names(root: Path, *recipes: Recipe) -> list[str]:
    found, _ = groups(root, *recipes)
    return name_groups(found)


def test_seed_fold_and_machine_make_no_other_variant(tmp_path) -> None:
    base = pruned(0)
    found, notes = groups(
        tmp_path,
        base,
        replace(base, seed=1, out=Path("elsewhere"), dense_from=Path("other/dense.ckpt")),
        replace(base, seed=2, data=Data(name="tut2017", fold=2, root=Path("/data"), cache=Path("/c"), workers=4)),
        replace(base, seed=3, train=replace(base.train, threads=8), finetune=replace(base.finetune, threads=2)),
        replace(base, seed=4, bench=Bench(runs=3, devices=("tflm",)), export=Export(("int8", "float32"), ())),
    )
    assert [len(group.runs) for group in found] == [5]
    assert notes == []


@pytest.mark.parametrize(
    "other",
    [
        replace(pruned(1), prune=Prune(criterion="l1")),
        replace(pruned(1), budget=Budget(params=10_000)),
        replace(pruned(1), model=Model(width=0.5)),
        replace(pruned(1), finetune=Train(epochs=10)),
        replace(pruned(1), export=replace(RECIPE.export, calibration_clips=50)),
        replace(pruned(1), data=Data(name="tut2017", train_share=0.5)),
    ],
)
def test_what_changes_the_network_makes_another(tmp_path, other) -> None:
    found, _ = groups(tmp_path, pruned(0), other)
    assert len(found) == 2
    assert len(set(name_groups(found))) == 2


def test_runs_of_an_earlier_version_are_of_the_same_variant(tmp_path) -> None:
    write_run(tmp_path / "old", pruned(0))
    change(tmp_path / "old" / "recipe.json", prune__restart=None, budget__include_frontend=None, bench__devices=None)
    write_run(tmp_path / "new", pruned(1))
    assert len(group_runs(load_runs([tmp_path])[0])[0]) == 1


def test_a_repeated_seed_counts_once_and_the_finished_run_counts(tmp_path) -> None:
    write_run(tmp_path / "a", pruned(0))
    (tmp_path / "a" / "result.json").unlink()
    write_run(tmp_path / "b", pruned(0))
    write_run(tmp_path / "c", pruned(0))
    (found,), notes = group_runs(load_runs([tmp_path])[0])
    assert [run.folder.path.name for run in found.runs] == ["b"]
    assert len(notes) == 1
    assert "2 runs repeat the seed and fold" in notes[0]


def test_dense_runs_are_one_variant_whatever_was_not_pruned(tmp_path) -> None:
    one = dense(0)
    two = replace(dense(1), prune=Prune(criterion="l1"), finetune=Train(epochs=0, lr=0.5))
    (found,), _ = groups(tmp_path, one, two)
    assert (found.role, len(found.runs)) == ("dense", 2)


@pytest.mark.parametrize(
    ("recipe", "role"),
    [
        (dense(), "dense"),
        (pruned(), "variant"),
        (pruned(criterion="random"), "random"),
        (pruned(restart=True), "scratch"),
        (pruned(restart=True, criterion="random"), "scratch"),
        (pruned(params=None, keep=0.5), "variant"),
        (pruned(params=None), "variant"),  # nothing pruned, but trained on
        (replace(dense(), budget=Budget(latency_ms="1@host")), "variant"),
    ],
)
def test_roles(recipe, role) -> None:
    assert role_of(recipe.to_dict()) == role


def test_names_tell_what_differs(tmp_path) -> None:
    assert names(
        tmp_path,
        dense(),
        pruned(params=20_000),
        pruned(params=10_000),
        pruned(params=20_000, criterion="l1"),
        pruned(params=20_000, criterion="random"),
        pruned(params=20_000, restart=True),
        pruned(params=None, keep=0.25),
        pruned(params=None),
    ) == [
        "dense",
        "operator_norm, params 20k",
        "operator_norm, params 10k",
        "l1, params 20k",
        "random, params 20k",
        "scratch, operator_norm, params 20k",
        "operator_norm, keep 0.25",
        "operator_norm, no budget",
    ]


def test_names_of_limits_that_are_no_counts(tmp_path) -> None:
    base = pruned(params=None)
    assert names(
        tmp_path,
        replace(base, budget=Budget(peak_ram=32_000)),
        replace(base, budget=Budget(flash=20_000, macs=7_283_420)),
        replace(base, budget=Budget(latency_ms="0.8@cortex-m4")),
        replace(
            base, budget=Budget(params=20_000, include_frontend=True), prune=Prune(multiple_of=8, allocation="uniform")
        ),
    ) == [
        "solver, peak ram 32kB",
        "solver, macs 7.283M, flash 20kB",
        "solver, latency 0.8 ms on cortex-m4",
        "multiple of 8, uniform, params 20k, include frontend",
    ]


def test_one_variant_is_named_by_what_it_is(tmp_path) -> None:
    assert names(tmp_path, pruned()) == ["operator_norm, params 20k"]


def test_sizes_that_look_alike_are_told_in_full(tmp_path) -> None:
    assert names(tmp_path, pruned(params=7_283_420), pruned(params=7_283_430)) == ["params 7283.42k", "params 7283.43k"]


def test_other_fields_are_told_only_where_names_would_be_the_same(tmp_path) -> None:
    base = pruned()
    found = names(
        tmp_path,
        base,
        replace(base, train=replace(base.train, lr=0.01, mixup=0.0)),
        pruned(params=10_000),
        replace(dense(), model=Model(name="vggish")),
        dense(),
    )
    assert found == [
        "params 20k, train.lr 0.002",
        "params 20k, train.lr 0.01",
        "params 10k",
        "dense, vggish",
        "dense, dcase21",
    ]
