"""Where training tells its progress."""

import sys
from pathlib import Path

import pytest
from random_patches import RECIPE, run

from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json
from edgeprune.recipe import Train
from edgeprune.training import trackers
from edgeprune.training.trackers import SETTINGS, loggers, mlflow_client


def test_nothing_but_csv_unless_asked(tmp_path):
    assert loggers(Train(), tmp_path / "training" / "dense") == []


def test_tensorboard_by_the_recipe_or_by_the_folder(tmp_path):
    pytest.importorskip("tensorboard", reason="needs TensorBoard: pip install 'edgeprune[tensorboard]'")
    folder = tmp_path / "training" / "dense"
    assert len(loggers(Train(tensorboard=True), folder)) == 1
    write_json(tmp_path / SETTINGS, {"tensorboard": True, "mlflow": None})
    (logger,) = loggers(Train(tensorboard=True), folder)
    assert Path(logger.log_dir) == folder / "tensorboard"


def test_mlflow_has_every_epoch_and_the_weights_do_not_change(tmp_path):
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'edgeprune[mlflow]'")
    uri = (tmp_path / "store").as_uri()
    client = mlflow_client(uri)
    run_id = client.create_run(client.create_experiment("scenes")).info.run_id
    write_json(tmp_path / "run" / SETTINGS, {"tensorboard": False, "mlflow": {"uri": uri, "run_id": run_id}})
    _, plain = run(tmp_path / "plain" / "training" / "dense")
    _, history = run(tmp_path / "run" / "training" / "dense")
    assert history == plain
    logged = client.get_metric_history(run_id, "dense-train_loss")
    assert [(row.step, row.value) for row in logged] == [(row["epoch"], row["train_loss"]) for row in history]
    assert len(client.get_metric_history(run_id, "dense-val_accuracy")) >= RECIPE.epochs


def test_a_tracker_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(EdgepruneError, match=r"mlflow: is not installed; pip install 'edgeprune\[mlflow\]'"):
        mlflow_client("file:///nowhere")
    assert "csv" in trackers.TRACKERS
    trackers.require("csv")
