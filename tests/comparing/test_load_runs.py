from dataclasses import replace

import pytest
from run_folders import change, pruned, write_decisions, write_run

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.load import load_runs, predictions_of
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json, write_text
from edgeprune.results.run_folder import RunFolder, RunState


def test_runs_are_found_at_any_depth_and_once(tmp_path) -> None:
    write_run(tmp_path / "sweep" / "runs" / "a", pruned(0))
    write_run(tmp_path / "sweep" / "b", pruned(1))
    write_run(tmp_path / "sweep" / "b" / "within a run", pruned(2))
    write_run(tmp_path / "sweep" / ".trash" / "c", pruned(3))
    write_text(tmp_path / "sweep" / "plan.json", "{}")
    runs, notes = load_runs([tmp_path, tmp_path / "sweep" / "b", tmp_path / "sweep"])
    assert [(run.folder.path.name, run.seed, run.fold) for run in runs] == [("b", 1, 1), ("a", 0, 1)]
    assert notes == []


def test_what_is_not_compared_is_not_kept(tmp_path) -> None:
    write_run(tmp_path, pruned())
    (run,), _ = load_runs([tmp_path])
    assert (run.result.raw, run.result.history) == ({}, {})
    assert all(file.scores.confusion == () for file in run.result.files)
    assert all(network.cost.by_layer == () for network in run.result.networks.values())
    assert run.figures.widths == {"conv1": 8}
    assert run.score("accuracy", "int8") == 0.7
    assert run.recipe["budget"]["params"] == run.result.recipe["budget"]["params"] == 20_000


def test_a_run_without_a_result_tells_why(tmp_path) -> None:
    for seed, name in enumerate(("failed", "cut off", "mute", "damaged", "listless")):
        write_run(tmp_path / name, pruned(seed))
        if name not in ("damaged", "listless"):
            (tmp_path / name / "result.json").unlink()
    write_json(tmp_path / "failed" / "failed.json", {"reason": "the disk was full.", "exit_code": 2})
    write_text(tmp_path / "mute" / "failed.json", "[]")
    write_text(tmp_path / "damaged" / "result.json", '{"schema": 1, "arte')
    change(tmp_path / "listless" / "result.json", artefacts=[1])
    runs, notes = load_runs([tmp_path])
    reasons = {run.folder.path.name: run.problem for run in runs}
    assert {run.folder.path.name: run.state for run in runs} == {
        "failed": RunState.FAILED,
        "mute": RunState.FAILED,
        "cut off": RunState.UNFINISHED,
        "damaged": RunState.DAMAGED,
        "listless": RunState.DAMAGED,
    }
    assert all(run.result is None for run in runs)
    assert reasons["failed"] == "failed: the disk was full"
    assert reasons["cut off"] == "has not finished"
    assert reasons["mute"] == "failed: the reason cannot be read"
    assert "is not valid JSON" in reasons["damaged"]
    assert "artefacts should be an object" in reasons["listless"]
    assert notes == []


def test_a_result_of_a_later_layout_is_not_guessed_at(tmp_path) -> None:
    write_run(tmp_path, pruned())
    change(tmp_path / "result.json", schema=2)
    (run,), _ = load_runs([tmp_path])
    assert (run.result, run.state) == (None, RunState.DAMAGED)
    assert "schema is 2" in run.failure


@pytest.mark.parametrize(
    ("part", "value"),
    [("artefacts", []), ("widths", 3), ("artefacts", {"int8": {"parity": 4}}), ("data", [1]), ("latency", [1])],
)
def test_a_malformed_part_is_named(tmp_path, part, value) -> None:
    write_run(tmp_path, pruned())
    change(tmp_path / "result.json", **{part: value})
    (run,), _ = load_runs([tmp_path])
    assert run.state is RunState.DAMAGED
    assert run.failure.startswith(f"result.json: {part}")


def test_a_folder_without_a_readable_recipe_is_told_and_left_out(tmp_path) -> None:
    write_run(tmp_path / "good", pruned())
    write_text(tmp_path / "bad" / "recipe.json", "{")
    write_json(tmp_path / "odd" / "recipe.json", {"seed": "many", "data": {}})
    write_json(tmp_path / "empty" / "recipe.json", {"seed": 1})
    write_json(tmp_path / "early" / "failed.json", {"reason": "no such recipe"})
    runs, notes = load_runs([tmp_path])
    assert [run.folder.path.name for run in runs] == ["good"]
    told = "\n".join(notes)
    assert len(notes) == 4
    for text in (
        "bad",
        "seed or fold is no whole number",
        "names no data set",
        "failed: no such recipe, before it had",
    ):
        assert text in told


def test_a_result_outlives_an_earlier_failure(tmp_path) -> None:
    write_run(tmp_path, pruned())
    write_json(tmp_path / "failed.json", {"reason": "killed"})
    (run,), _ = load_runs([tmp_path])
    assert run.result is not None


def test_a_recipe_of_an_earlier_version_has_later_fields_at_their_defaults(tmp_path) -> None:
    write_run(tmp_path, pruned())
    change(tmp_path / "recipe.json", prune__restart=None, prune__multiple_of=None, bench=None)
    (run,), _ = load_runs([tmp_path])
    assert (run.recipe["prune"]["restart"], run.recipe["prune"]["multiple_of"]) == (False, 1)
    assert run.recipe["bench"]["runs"] == 50


def test_nothing_to_compare_is_an_error(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match="is no folder"):
        load_runs([tmp_path / "nowhere"])
    with pytest.raises(EdgepruneError, match="no run in it"):
        load_runs([tmp_path])
    write_text(tmp_path / "a" / "recipe.json", "{")
    with pytest.raises(EdgepruneError, match=r"no run in it.*not valid JSON"):
        load_runs([tmp_path])


def test_predictions_are_those_of_the_network_a_run_stands_for(tmp_path) -> None:
    write_decisions(tmp_path, [True, False])
    write_decisions(tmp_path, [True, True], "dense_int8")
    run = ComparedRun(RunFolder(tmp_path), 0, 1, {}, RunState.DONE)
    assert predictions_of(run, "int8").predicted == ["bus", "park"]
    assert predictions_of(replace(run, network="dense"), "int8").predicted == ["bus", "bus"]
    assert predictions_of(run, "float32") is None
