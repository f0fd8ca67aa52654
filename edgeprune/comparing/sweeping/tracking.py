"""Results of a sweep in MLflow, a run for each cell in one experiment; TensorBoard for the trainings."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeprune.comparing.sweeping.grid import Cell
from edgeprune.comparing.sweeping.plan import SweepPlan
from edgeprune.files import read_object, write_json
from edgeprune.results.result import Result
from edgeprune.training.trackers import SETTINGS, mlflow_client, require

_COSTS = ("params", "macs", "flash_bytes", "arena_bytes", "peak_bound_bytes")
_SCORES = ("accuracy", "macro_accuracy", "log_loss", "mean_average_precision", "d_prime")
_LONGEST = 500


class Tracking:
    """Trackers of a sweep.

    Args:
        names: some of `csv`, which is always written, `tensorboard` and `mlflow`. MLflow's store is the one that
            MLFLOW_TRACKING_URI names, else `mlruns` in the sweep's folder.
    """

    def __init__(self, plan: SweepPlan, names: Sequence[str] = ()) -> None:
        for name in names:
            require(name)
        self.plan, self.names = plan, names
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or (plan.out / "mlruns").as_uri()
        self._client: Any = None
        self._experiment = ""

    def begin(self) -> None:
        """Open the experiment, and send it the results of cells that were done before it was asked for."""
        if "mlflow" not in self.names:
            return
        self._client = mlflow_client(self.uri)
        stored = self._client.get_experiment_by_name(self.plan.base.name)
        self._experiment = stored.experiment_id if stored else self._client.create_experiment(self.plan.base.name)
        for cell in self.plan.recipes:
            if self.plan.state(cell) == "done" and not self._run_id(cell):
                self.open(cell)
                self.close(cell)

    def open(self, cell: Cell) -> None:
        """Before a cell's run: write into its folder where its trainings log."""
        settings: dict[str, Any] = {"tensorboard": "tensorboard" in self.names, "mlflow": None}
        if self._client is not None:
            settings["mlflow"] = {"uri": self.uri, "run_id": self._run_id(cell) or self._new_run(cell)}
        path = self.plan.folder(cell).path / SETTINGS
        if any(settings.values()):
            write_json(path, settings)
        else:
            path.unlink(missing_ok=True)

    def close(self, cell: Cell) -> None:
        """After a cell's run: send its results, or why there are none."""
        run_id = self._run_id(cell)
        if self._client is None or not run_id:
            return
        folder = self.plan.folder(cell)
        self._client.set_tag(run_id, "folder", str(folder.path))
        self._client.set_tag(run_id, "reason", "")
        if not folder.is_done:
            self._client.set_tag(run_id, "reason", folder.failure_reason()[:_LONGEST])
            self._client.set_terminated(run_id, "FAILED")
            return
        result = folder.result()
        for name, value in metrics(result).items():
            self._client.log_metric(run_id, name, value)
        for file in result.files:
            self._client.set_tag(run_id, f"artefact.{file.key}", str(folder.path / file.path))
        self._client.set_terminated(run_id, "FINISHED")

    def _run_id(self, cell: Cell) -> str:
        """The id of the cell's run in this store, also after the store was moved; "" where it has none."""
        path = self.plan.folder(cell).path / SETTINGS
        stored = read_object(path).get("mlflow") if path.is_file() else None
        if self._client is None or not isinstance(stored, dict):
            return ""
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_run(str(stored.get("run_id"))).info.run_id)
        except MlflowException:
            return ""

    def _new_run(self, cell: Cell) -> str:
        from mlflow.entities import Param

        name = cell.folder.removeprefix("runs/").replace("/", "-")
        tags = {"mlflow.runName": name, "role": cell.role, "mlflow.source.name": "edgeprune sweep"}
        run_id = str(self._client.create_run(self._experiment, tags=tags).info.run_id)
        fields = flattened(self.plan.recipes[cell].to_dict())
        self._client.log_batch(run_id, params=[Param(name, value) for name, value in fields])
        return run_id


def metrics(result: Result) -> dict[str, float]:
    """Numbers of a result by name, such as `int8.accuracy`, `int8.bytes` and `macs`; those that are known."""
    cost = result.networks["pruned"].cost
    numbers = {name: getattr(cost, name) for name in _COSTS}
    for file in result.files:
        numbers |= {f"{file.key}.{name}": getattr(file.scores, name) for name in _SCORES}
        numbers[f"{file.key}.bytes"] = file.bytes
    return {name: float(value) for name, value in numbers.items() if value is not None}


def flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a recipe that are set: dotted name and text."""
    for name, content in value.items():
        if isinstance(content, Mapping):
            yield from flattened(content, f"{prefix}{name}.")
        elif content is not None and content != "":
            yield f"{prefix}{name}", str(content)[:_LONGEST]
