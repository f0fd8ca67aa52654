"""Trackers that training reports to beside `history.csv`: TensorBoard and MLflow, both optional."""

import os
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.recipe import Train

TRACKERS = ("csv", "tensorboard", "mlflow")
"""CSV is always written: `training/PART/history.csv` of a run."""
SETTINGS = "trackers.json"
"""File of a run folder with trackers beyond the recipe's: `{tensorboard: bool, mlflow: {uri, run_id} | null}`."""


def loggers(train: Train, folder: Path) -> list[Any]:
    """Lightning's loggers for a training.

    Args:
        folder: of the training, RUN/training/PART; PART goes before the names of MLflow's metrics.
    """
    path = folder.parent.parent / SETTINGS
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    trackers: list[Any] = []
    if train.tensorboard or settings.get("tensorboard"):
        require("tensorboard")
        from lightning.pytorch.loggers import TensorBoardLogger

        trackers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    if settings.get("mlflow"):
        trackers.append(_mlflow_logger(settings["mlflow"], folder.name))
    return trackers


def require(name: str) -> None:
    """Raise EdgepruneError if a tracker is unknown or not installed."""
    from importlib.util import find_spec

    from edgeprune.errors import unknown_name

    if name not in TRACKERS:
        raise unknown_name("tracker", name, TRACKERS)
    if name != "csv" and find_spec(name) is None:
        raise EdgepruneError(f"{name}: is not installed; pip install 'edgeprune[{name}]'.")


def mlflow_client(uri: str) -> Any:
    """MLflow's client for a tracking server's address, a database or a folder."""
    require("mlflow")
    _prepare_mlflow(uri)
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _mlflow_logger(run: dict[str, str], part: str) -> Any:
    require("mlflow")
    _prepare_mlflow(run["uri"])
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(tracking_uri=run["uri"], run_id=run["run_id"], prefix=part)


def _prepare_mlflow(uri: str) -> None:
    """Set up MLflow before its import: since 3.7 a folder, which needs no server, must be allowed explicitly."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
