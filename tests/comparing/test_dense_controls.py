from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import RECIPE, change, dense, pruned, write_run

from edgeprune.comparing.compare import compare
from edgeprune.comparing.comparison import Comparison, Variant
from edgeprune.recipe import Model


def controls(comparison: Comparison) -> list[Variant]:
    return [variant for variant in comparison.variants if variant.role == "dense"]


def accuracies(variant: Variant) -> dict[tuple[int, int], float]:
    return {(run.seed, run.fold): run.score("accuracy", "int8") for run in variant.runs}


def test_runs_that_share_a_dense_network_tell_of_it_once(tmp_path) -> None:
    for seed, accuracy in ((0, 0.75), (1, 0.77)):
        for params in (20_000, 10_000):
            write_run(tmp_path / f"{params} {seed}", pruned(seed, params=params), dense_accuracy=accuracy)
    comparison = compare([tmp_path])
    (control,) = controls(comparison)
    assert control.name == "dense"
    assert accuracies(control) == {(0, 1): 0.75, (1, 1): 0.77}
    assert (control.accuracy["int8"].mean, control.accuracy["int8"].n) == (pytest.approx(0.76), 2)
    assert control.cost["params"].mean == 46_000
    assert control.bytes["int8"].mean == 58_000
    assert not any("dense networks" in note for note in comparison.notes)


def test_a_run_of_a_control_has_the_figures_of_its_unpruned_network(tmp_path) -> None:
    write_run(tmp_path, pruned(), accuracy=0.7, dense_accuracy=0.75)
    (control,) = controls(compare([tmp_path]))
    (run,) = control.runs
    assert (run.network, run.folder.path) == ("dense", tmp_path)
    assert run.file("int8").name == "dense_int8.tflite"
    assert run.figures.cost.params == 46_000
    assert run.figures.widths == {"conv1": 16}


def test_dense_runs_come_first_and_gaps_are_filled(tmp_path) -> None:
    write_run(tmp_path / "dense 0", dense(0), accuracy=0.75, dense_accuracy=None, dense_log_loss=0.9)
    for seed in (0, 1):
        write_run(tmp_path / f"pruned {seed}", pruned(seed), dense_accuracy=0.75 + seed / 100)
    (control,) = controls(compare([tmp_path]))
    assert [(run.folder.path.name, run.network) for run in control.runs] == [
        ("dense 0", "pruned"),
        ("pruned 1", "dense"),
    ]
    assert accuracies(control) == {(0, 1): 0.75, (1, 1): 0.76}


def test_a_sweep_whose_pruned_runs_have_no_dense_files_has_its_dense_runs_as_control(tmp_path) -> None:
    for seed in range(3):
        own = {"accuracy": 0.75, "dense_accuracy": 0.75, "dense_formats": ()}
        write_run(tmp_path / "dense" / f"{seed}", dense(seed), **own)
        write_run(tmp_path / "runs" / f"{seed}", pruned(seed), accuracy=0.7, dense_accuracy=0.75, dense_formats=())
    comparison = compare([tmp_path])
    (control,) = controls(comparison)
    assert [run.network for run in control.runs] == ["pruned"] * 3
    (difference, _) = comparison.variants[1].differences
    assert (difference.estimate.n, difference.estimate.mean) == (3, pytest.approx(-0.05))
    assert not any("dense networks" in note for note in comparison.notes)


def test_different_dense_networks_of_a_seed_are_told_and_most_decide(tmp_path) -> None:
    for number, (params, name) in enumerate(((20_000, "lone"), (10_000, "shared"), (5_000, "shared"))):
        accuracy = 0.6 if name == "lone" else 0.75
        write_run(tmp_path / str(number), pruned(0, params=params), dense_accuracy=accuracy, dense_name=name)
    comparison = compare([tmp_path])
    (control,) = controls(comparison)
    assert accuracies(control) == {(0, 1): 0.75}
    assert (
        sum("different dense networks of the same seed and fold (seed 0, fold 1)" in n for n in comparison.notes) == 1
    )


def test_networks_of_other_models_have_controls_of_their_own(tmp_path) -> None:
    for name in ("dcase21", "vggish"):
        recipe = replace(pruned(), model=Model(name=name))
        write_run(tmp_path / name, recipe, dense_accuracy=0.75 if name == "dcase21" else 0.8, dense_name=name)
    comparison = compare([tmp_path])
    assert [variant.name for variant in controls(comparison)] == ["dense, dcase21", "dense, vggish"]
    against = {variant.name: {d.against for d in variant.differences} for variant in comparison.variants[2:]}
    assert against == {"dcase21": {"dense, dcase21"}, "vggish": {"dense, vggish"}}


def test_a_network_taken_from_a_checkpoint_is_one_whatever_the_training_settings_say(tmp_path) -> None:
    """With `dense_from` the settings of the training decide nothing: the files tell that it is the same network."""
    for seed in (0, 1):
        for lr in (0.002, 0.001):
            recipe = replace(
                pruned(seed), train=replace(RECIPE.train, lr=lr), dense_from=Path(f"seed{seed}/dense.ckpt")
            )
            write_run(tmp_path / f"{lr} {seed}", recipe, dense_name=f"checkpoint {seed}")
    comparison = compare([tmp_path])
    assert [variant.name for variant in controls(comparison)] == ["dense"]
    assert all(len(variant.differences) == 2 for variant in comparison.variants[1:])


def test_without_a_dense_file_of_the_format_there_is_no_difference(tmp_path) -> None:
    write_run(tmp_path, pruned(), dense_formats=("float32",))
    comparison = compare([tmp_path], "int8")
    (control,) = controls(comparison)
    assert list(control.accuracy) == ["float32"]
    assert comparison.variants[1].differences == ()
    assert "No accuracy of a file in int8: dense." in comparison.notes


def test_a_result_that_tells_nothing_of_a_dense_network_has_no_control(tmp_path) -> None:
    write_run(tmp_path, pruned(), dense_formats=())
    change(tmp_path / "result.json", dense=None)
    comparison = compare([tmp_path])
    assert [variant.role for variant in comparison.variants] == ["variant"]
    assert comparison.controls == ()
