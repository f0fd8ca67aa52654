import json

import pytest
from run_folders import change, pruned, write_decisions, write_run

from edgeprune.comparing.comparison import RunRecord
from edgeprune.comparing.load import load_runs, predictions_of
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json, write_text


def test_runs_are_found_at_any_depth_and_once(tmp_path) -> None:
    write_run(tmp_path / "sweep" / "runs" / "a", pruned(0))
    write_run(tmp_path / "sweep" / "b", pruned(1))
    write_run(tmp_path / "sweep" / "b" / "within a run", pruned(2))
    write_run(tmp_path / "sweep" / ".trash" / "c", pruned(3))
    write_text(tmp_path / "sweep" / "plan.json", "{}")
    runs, notes = load_runs([tmp_path, tmp_path / "sweep" / "b", tmp_path / "sweep"])
    assert [(run.folder.name, run.seed, run.fold) for run in runs] == [("b", 1, 1), ("a", 0, 1)]
    assert notes == []


def test_what_is_not_compared_is_not_kept(tmp_path) -> None:
    write_run(tmp_path, pruned())
    (run,), _ = load_runs([tmp_path])
    text = json.dumps(run.result)
    assert not any(name in text for name in ("by_layer", "confusion", "history", "before_finetuning"))
    assert run.result["widths"]["pruned"] == {"conv1": 8}
    assert run.result["artefacts"]["int8"]["accuracy"]["accuracy"] == 0.7
    assert run.result["recipe"]["budget"]["params"] == 20_000


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
    reasons = {run.folder.name: run.reason for run in runs}
    assert all(run.result is None for run in runs)
    assert reasons["failed"] == "failed: the disk was full"
    assert reasons["cut off"] == "has not finished"
    assert reasons["mute"] == "failed: for a reason that is not told"
    assert "is not valid JSON" in reasons["damaged"]
    assert "artefacts should be an object" in reasons["listless"]
    assert notes == []


def test_a_result_of_a_later_layout_is_not_guessed_at(tmp_path) -> None:
    write_run(tmp_path, pruned())
    change(tmp_path / "result.json", schema=2)
    (run,), _ = load_runs([tmp_path])
    assert run.result is None
    assert "schema is 2" in run.reason


def test_a_folder_without_a_readable_recipe_is_told_and_left_out(tmp_path) -> None:
    write_run(tmp_path / "good", pruned())
    write_text(tmp_path / "bad" / "recipe.json", "{")
    write_json(tmp_path / "odd" / "recipe.json", {"seed": "many", "data": {}})
    write_json(tmp_path / "empty" / "recipe.json", {"seed": 1})
    write_json(tmp_path / "early" / "failed.json", {"reason": "no such recipe"})
    runs, notes = load_runs([tmp_path])
    assert [run.folder.name for run in runs] == ["good"]
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


def test_predictions_are_those_of_the_network_a_record_stands_for(tmp_path) -> None:
    write_decisions(tmp_path, [True, False])
    write_decisions(tmp_path, [True, True], "dense_int8")
    record = RunRecord(tmp_path, "a", 0, 1, {})
    assert predictions_of(record, "int8").predicted == ["bus", "park"]
    assert predictions_of(RunRecord(tmp_path, "a", 0, 1, {}, stage="dense"), "int8").predicted == ["bus", "bus"]
    assert predictions_of(record, "float32") is None
