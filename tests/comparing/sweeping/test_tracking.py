"""MLflow: one run a cell in one experiment, wherever the sweep's folder lies."""

import pytest
from sweeps import HALF, order, plan_of

from edgeprune.comparing.sweeping.engine_local import LocalEngine
from edgeprune.comparing.sweeping.sweep import sweep
from edgeprune.comparing.sweeping.tracking import Tracking
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.training.trackers import SETTINGS, mlflow_client

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture
def mlflow(monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'edgeprune[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def do(plan, *names: str) -> None:
    sweep(plan, lambda: LocalEngine(2, 1), Tracking(plan, names))


def runs(plan) -> dict:
    client = mlflow_client((plan.out / "mlruns").as_uri())
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    return {run.info.run_name: run for run in found}


def test_results_and_failures_of_every_cell(recipe, tmp_path, mlflow):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "fail"})
    plan = plan_of(recipe, out, keep=(0.5, 0.25))
    do(plan, "csv", "mlflow")
    found = runs(plan)
    assert {name: run.info.status for name, run in found.items()} == {
        "dense-seed0-fold1": "FINISHED",
        "operator_norm-keep0.5-seed0-fold1": "FAILED",
        "operator_norm-keep0.25-seed0-fold1": "FINISHED",
    }
    run = found["operator_norm-keep0.25-seed0-fold1"].data
    assert run.params["prune.criterion"] == "operator_norm"
    assert run.params["prune.keep"] == "0.25"
    assert run.metrics["int8.accuracy"] == 0.5
    assert run.metrics["params"] == 46_000
    folder = out / "runs" / "operator_norm-keep0.25-seed0-fold1"
    assert run.tags["artefact.int8"] == str(folder / "model_int8.tflite")
    assert found["operator_norm-keep0.5-seed0-fold1"].data.tags["reason"] == "NAME: was wrong; do better"
    # the run itself is told where to log its epochs
    assert read_json(folder / SETTINGS)["mlflow"]["run_id"] == found[folder.name].info.run_id
    order(out)
    do(plan_of(recipe, out, keep=(0.5, 0.25)), "mlflow")
    assert {run.info.status for run in runs(plan).values()} == {"FINISHED"}
    assert len(runs(plan)) == 3


def test_asked_for_later_it_holds_what_was_done_before(recipe, tmp_path, mlflow):
    do(plan_of(recipe, tmp_path / "s", keep=(0.5,)))
    assert not list((tmp_path / "s").rglob(SETTINGS))
    do(plan_of(recipe, tmp_path / "s", keep=(0.5,)), "mlflow")
    (tmp_path / "s").rename(tmp_path / "moved")
    plan = plan_of(recipe, tmp_path / "moved", keep=(0.5, 0.25))
    do(plan, "mlflow")
    client = mlflow_client((plan.out / "mlruns").as_uri())
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert sorted(run.info.run_name for run in found) == sorted(
        cell.folder.removeprefix("runs/").replace("/", "-") for cell in plan.recipes
    )
    assert {run.data.metrics["int8.log_loss"] for run in found} == {1.5}


def test_tensorboard_is_asked_for_in_the_runs_folder(recipe, tmp_path):
    plan = plan_of(recipe, tmp_path / "s", keep=(0.5,))
    do(plan, "tensorboard")
    assert read_json(tmp_path / "s" / HALF / SETTINGS) == {"tensorboard": True, "mlflow": None}


def test_an_unknown_tracker(recipe, tmp_path):
    with pytest.raises(EdgepruneError, match="tracker 'tensorbored' is unknown; perhaps you meant 'tensorboard'"):
        Tracking(plan_of(recipe, tmp_path / "s"), ("tensorbored",))
