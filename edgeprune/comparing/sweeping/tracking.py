"""Results of a sweep where people follow experiments: one MLflow run a cell, all in one experiment."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeprune.comparing.sweeping.grid import Cell
from edgeprune.comparing.sweeping.jobs import FAILED, RESULT
from edgeprune.comparing.sweeping.plan import Plan
from edgeprune.files import read_json, write_json
from edgeprune.training.trackers import SETTINGS, mlflow_client, require

_COSTS = ("params", "macs", "flash_bytes", "peak_ram_bytes")
_SCORES = ("accuracy", "macro_accuracy", "log_loss")
_LONGEST = 500


class Tracking:
    """Trackers of a sweep.

    Args:
        names: some of `csv`, which is always there, `tensorboard` and `mlflow`. MLflow's are kept where
            MLFLOW_TRACKING_URI says, else in `mlruns` in the sweep's folder.

    Raises:
        EdgepruneError: a name is unknown, or its package is not installed.
    """

    def __init__(self, plan: Plan, names: Sequence[str] = ()) -> None:
        for name in names:
            require(name)
        self.plan, self.names = plan, names
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or (plan.out / "mlruns").as_uri()
        self._client: Any = None
        self._experiment = ""

    def begin(self) -> None:
        """Open the experiment, and tell it of cells that were done before anybody asked for it."""
        if "mlflow" not in self.names:
            return
        self._client = mlflow_client(self.uri)
        found = self._client.get_experiment_by_name(self.plan.base.name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(self.plan.base.name)
        for cell in self.plan.recipes:
            if self.plan.state(cell) == "done" and not self._run_id(cell):
                self.open(cell)
                self.close(cell)

    def open(self, cell: Cell) -> None:
        """Before a cell's run begins: leave word for it in its folder."""
        settings: dict[str, Any] = {"tensorboard": "tensorboard" in self.names, "mlflow": None}
        if self._client is not None:
            settings["mlflow"] = {"uri": self.uri, "run_id": self._run_id(cell) or self._new_run(cell)}
        path = self.plan.folder(cell) / SETTINGS
        if any(settings.values()):
            write_json(path, settings)
        else:
            path.unlink(missing_ok=True)

    def close(self, cell: Cell) -> None:
        """After it: its results, or why there are none."""
        run_id = self._run_id(cell)
        if self._client is None or not run_id:
            return
        folder = self.plan.folder(cell)
        self._client.set_tag(run_id, "folder", str(folder))
        self._client.set_tag(run_id, "reason", "")
        if not (folder / RESULT).is_file():
            reason = read_json(folder / FAILED)["reason"]
            self._client.set_tag(run_id, "reason", reason[:_LONGEST])
            self._client.set_terminated(run_id, "FAILED")
            return
        result = read_json(folder / RESULT)
        for name, value in metrics(result).items():
            self._client.log_metric(run_id, name, value)
        for format, artefact in result["artefacts"].items():
            self._client.set_tag(run_id, f"artefact.{format}", str(folder / artefact["path"]))
        self._client.set_terminated(run_id, "FINISHED")

    def _run_id(self, cell: Cell) -> str:
        """Of the cell's run in this store, wherever the store lies now; "" where it has none."""
        path = self.plan.folder(cell) / SETTINGS
        kept = (read_json(path) if path.is_file() else {}).get("mlflow")
        if self._client is None or not kept:
            return ""
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_run(kept["run_id"]).info.run_id)
        except MlflowException:
            return ""

    def _new_run(self, cell: Cell) -> str:
        from mlflow.entities import Param

        name = cell.folder.removeprefix("runs/").replace("/", "-")
        tags = {"mlflow.runName": name, "role": cell.role, "mlflow.source.name": "edgeprune sweep"}
        run_id = str(self._client.create_run(self._experiment, tags=tags).info.run_id)
        fields = dict(flattened(self.plan.recipes[cell].to_dict()))
        self._client.log_batch(run_id, params=[Param(name, value) for name, value in fields.items()])
        return run_id


def metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a result by name, such as `int8.accuracy`, `int8.bytes` and `macs`."""
    found = {name: float(result["pruned"]["cost"][name]) for name in _COSTS if name in result["pruned"]["cost"]}
    for format, artefact in result["artefacts"].items():
        found |= {f"{format}.{name}": float(artefact["accuracy"][name]) for name in _SCORES}
        found[f"{format}.bytes"] = float(artefact["bytes"])
    return found


def flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a recipe by dotted name, as text; those that are not set are left out."""
    for name, content in value.items():
        if isinstance(content, Mapping):
            yield from flattened(content, f"{prefix}{name}.")
        elif content is not None and content != "":
            yield f"{prefix}{name}", str(content)[:_LONGEST]
