"""A run's folder: names of its files, its lock, and how far the run has come."""

import json
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
from stored_result import stored_result

from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Bench, Budget, Export, Prune, Recipe, Train
from edgeprune.results.run_folder import OtherRecipeError, RunFolder, RunState


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(name="mine", out=tmp_path / "run")


@pytest.fixture
def folder(recipe: Recipe) -> RunFolder:
    """A folder whose run was begun."""
    with RunFolder.open(recipe) as folder:
        return folder


def test_file_names(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    paths = {
        "recipe.json": folder.recipe_file,
        "result.json": folder.result_file,
        "report.html": folder.report_file,
        "log.txt": folder.log_file,
        "latency.json": folder.latency_file,
        "frontend.json": folder.frontend_file,
        "threads.json": folder.threads_file,
        "failed.json": folder.failure_file,
        "dense.ckpt": folder.checkpoint("dense"),
        "pruned.ckpt": folder.checkpoint("pruned"),
        "pruned_2.ckpt": folder.step_checkpoint(2),
        "training/finetune_1": folder.training("finetune_1"),
        "profile_host.json": folder.profile("host"),
        "dense.onnx": folder.onnx("dense"),
        "model.onnx": folder.onnx("pruned"),
        "dense_int8.tflite": folder.tflite("dense", "int8"),
        "model_int8.tflite": folder.tflite("pruned", "int8"),
        "predictions_dense_int8.csv": folder.predictions("dense", "int8"),
        "predictions_int8.csv": folder.predictions("pruned", "int8"),
    }
    assert {path.relative_to(tmp_path).as_posix() for path in paths.values()} == set(paths)
    assert all(path == tmp_path / name for name, path in paths.items())


def test_a_run_that_was_begun(folder, recipe) -> None:
    assert folder.is_run
    assert not folder.is_done
    assert folder.state() is RunState.UNFINISHED
    assert folder.recipe() == recipe
    assert RunFolder.existing(folder.path) == folder
    with pytest.raises(EdgepruneError, match=r"has no result\.json; give a run that has finished"):
        folder.result()


def test_a_run_that_is_done(folder) -> None:
    folder.result_file.write_text(json.dumps(stored_result()))
    assert folder.is_done
    assert folder.state() is RunState.DONE
    assert folder.result().name == "quickstart"
    assert folder.failure_reason() == ""


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 7}', '{"latency": 3}'])
def test_a_run_whose_result_cannot_be_read(folder, content) -> None:
    folder.result_file.write_text(content)
    assert folder.state() is RunState.DAMAGED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"reason": "no room on the disk."}', "no room on the disk"),
        ("{}", "the reason cannot be read"),
        ("[]", "the reason cannot be read"),
        ("{", "the reason cannot be read"),
    ],
)
def test_a_run_that_failed(folder, content, reason) -> None:
    folder.failure_file.write_text(content)
    assert folder.state() is RunState.FAILED
    assert folder.failure_reason() == reason


def test_a_result_counts_more_than_an_earlier_failure(folder) -> None:
    folder.failure_file.write_text('{"reason": "killed"}')
    folder.result_file.write_text(json.dumps(stored_result()))
    assert folder.state() is RunState.DONE


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path).is_run
    with pytest.raises(EdgepruneError, match=r"is not a run folder \(it holds no recipe\.json\)"):
        RunFolder.existing(tmp_path)


def test_the_same_recipe_opens_it_again(folder, recipe) -> None:
    elsewhere = replace(recipe, data=replace(recipe.data, root=Path("/elsewhere")))
    with RunFolder.open(elsewhere) as again:
        assert again == folder
    assert folder.recipe().data.root == Path("/elsewhere")


def test_relative_paths_are_found_from_another_working_folder(
    tmp_path: Path, recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    relative = replace(recipe, data=replace(recipe.data, name="card.toml", root=Path("clips"), cache=Path("cache")))
    with RunFolder.open(relative) as folder:
        path = folder.path.absolute()
    with RunFolder.open(relative):  # the same recipe again
        pass
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = RunFolder.existing(path).recipe().data
    assert (data.name, data.root, data.cache) == (str(tmp_path / "card.toml"), tmp_path / "clips", tmp_path / "cache")


def test_a_failed_start_takes_a_corrected_recipe(folder, recipe) -> None:
    """Nothing was trained yet, so nothing is lost."""
    folder.data_file.write_text("{}")
    corrected = replace(recipe, train=Train(epochs=1))
    with RunFolder.open(corrected):
        assert folder.recipe() == corrected
        assert not folder.data_file.exists()


def test_another_recipe_does_not_take_the_place_of_work(folder, recipe) -> None:
    state = folder.training("dense") / "last.ckpt"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"an epoch")
    other = replace(recipe, train=Train(epochs=1), budget=Budget(params="10k"))
    with pytest.raises(OtherRecipeError, match=r"train\.epochs: .* -> 1\); choose another --out") as caught:
        RunFolder.open(other).__enter__()
    assert caught.value.flags == ()
    assert folder.recipe() == recipe


AFTER_DENSE = {
    "budget": lambda recipe: replace(recipe, budget=Budget(params="10k")),
    "criterion": lambda recipe: replace(recipe, prune=Prune(criterion="l1")),
    "fine-tuning": lambda recipe: replace(recipe, finetune=Train(epochs=3)),
    "formats": lambda recipe: replace(recipe, export=Export(formats=("int8",))),
    "bench": lambda recipe: replace(recipe, bench=Bench(runs=3)),
    "recall": lambda recipe: replace(recipe, data=replace(recipe.data, detect_recall=0.8)),
}


@pytest.mark.parametrize("what", AFTER_DENSE)
def test_what_comes_after_the_dense_network_goes_on_from_it(what, folder, recipe) -> None:
    folder.checkpoint("dense").write_bytes(b"trained")
    folder.path.with_name("run-2").mkdir()
    changed = AFTER_DENSE[what](recipe)
    with pytest.raises(OtherRecipeError, match="none of which changes its dense network; go on from") as caught:
        RunFolder.open(changed).__enter__()
    third = folder.path.with_name("run-3")
    assert caught.value.flags == ("--dense-from", str(folder.checkpoint("dense")), "--out", str(third))
    for of_dense in (replace(changed, seed=1), replace(changed, train=Train(epochs=1))):
        with pytest.raises(OtherRecipeError, match="choose another --out"):
            RunFolder.open(of_dense).__enter__()


def test_two_processes_do_not_share_it(folder, recipe) -> None:
    with filelock.FileLock(folder.path / ".lock"), pytest.raises(EdgepruneError, match="another process works in"):
        RunFolder.open(recipe).__enter__()
    with RunFolder.open(recipe):
        pass


def test_what_is_said_goes_to_its_log(folder, recipe) -> None:
    from edgeprune import console

    with RunFolder.open(recipe):
        console.say("a line")
    console.say("another")
    lines = folder.log_file.read_text().splitlines()
    assert [line.endswith("a line") for line in lines] == [True]


def test_a_path_that_is_a_file_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgepruneError):
        RunFolder.open(Recipe(name="mine", out=tmp_path / "file" / "run")).__enter__()
