"""Trackers that training reports to beside `history.csv`: TensorBoard and MLflow, both optional."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import read_object
from edgeprune.recipe import Train

TRACKERS = ("csv", "tensorboard", "mlflow")
"""CSV is always written: `training/PART/history.csv` of a run."""
SETTINGS = "trackers.json"
"""File of a run folder with trackers beyond the recipe's: `{tensorboard: bool, mlflow: {uri, run_id} | null}`."""


def loggers(train: Train, folder: Path) -> list[Any]:
    """Lightning's loggers for the training of RUN/training/PART; PART goes before the names of MLflow's metrics."""
    path = folder.parent.parent / SETTINGS
    settings = read_object(path) if path.is_file() else {}
    run = settings.get("mlflow")
    if run and not (isinstance(run, dict) and {"uri", "run_id"} <= run.keys()):
        raise EdgepruneError(f"{path}: names no run of MLflow; start the sweep again.")
    trackers: list[Any] = []
    if train.tensorboard or settings.get("tensorboard"):
        require("tensorboard")
        from lightning.pytorch.loggers import TensorBoardLogger

        trackers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    if run:
        _prepare_mlflow(run["uri"])
        from lightning.pytorch.loggers import MLFlowLogger

        trackers.append(MLFlowLogger(tracking_uri=run["uri"], run_id=run["run_id"], prefix=folder.name))
    return trackers


def require(name: str) -> None:
    """Raise EdgepruneError if a tracker is unknown or not installed."""
    if name not in TRACKERS:
        raise unknown_name("tracker", name, TRACKERS)
    if name != "csv" and find_spec(name) is None:
        raise EdgepruneError(f"{name}: is not installed; pip install 'edgeprune[{name}]'.")


def mlflow_client(uri: str) -> Any:
    """MLflow's client for a tracking server's address, a database or a folder."""
    _prepare_mlflow(uri)
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _prepare_mlflow(uri: str) -> None:
    """Set up MLflow before its import: since 3.7 a folder, which needs no server, must be allowed explicitly."""
    require("mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
