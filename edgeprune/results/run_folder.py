"""A run's folder: the name of every file in it, its lock, and how far the run has come."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import count
from pathlib import Path

from edgeprune import console
from edgeprune.errors import EdgepruneError
from edgeprune.files import cannot_write, read_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import RECIPE, changed_fields, is_after_dense, load_recipe, write_recipe
from edgeprune.results.result import NetworkName, Result, artefact_key

FAILED = "failed.json"
"""A sweep writes it where a run failed: `{"reason": ...}`."""
_FILE_PREFIX: dict[NetworkName, str] = {"dense": "dense", "pruned": "model"}


class RunState(Enum):
    """How far a run has come."""

    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"


class OtherRecipeError(EdgepruneError):
    """A run folder holds the run of another recipe.

    Attributes:
        flags: that go on from the run's dense network in a folder of their own; empty where the recipe needs another
            dense network, or the run has none yet.
    """

    def __init__(self, path: Path, changed: Sequence[str], dense: Path | None = None, out: Path | None = None) -> None:
        self.flags = () if dense is None else ("--dense-from", str(dense), "--out", str(out))
        self.reason = f"{path}: holds a run with other settings ({'; '.join(changed)})"
        if self.flags:
            self.reason += ", none of which changes its dense network"
        advice = f"go on from that network with {shlex.join(self.flags)}" if self.flags else "choose another --out"
        super().__init__(f"{self.reason}; {advice}.")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; it need not exist yet."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        return self.path / RECIPE

    @property
    def result_file(self) -> Path:
        """Written last: where it is, the run is done."""
        return self.path / "result.json"

    @property
    def data_file(self) -> Path:
        """Hashes of the data that the run was begun with."""
        return self.path / "data.json"

    @property
    def threads_file(self) -> Path:
        """Threads that the run computed with at first, and after each start that changed them."""
        return self.path / "threads.json"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def latency_file(self) -> Path:
        return self.path / "latency.json"

    @property
    def program_file(self) -> Path:
        """RAM and flash of the linked program, where the budget limits them."""
        return self.path / "program.json"

    @property
    def frontend_file(self) -> Path:
        """Instructions of the front-end in C, kept because counting them is slow."""
        return self.path / "frontend.json"

    @property
    def failure_file(self) -> Path:
        return self.path / FAILED

    def checkpoint(self, network: NetworkName) -> Path:
        """`dense.ckpt` or `pruned.ckpt`."""
        return self.path / f"{network}.ckpt"

    def step_checkpoint(self, step: int) -> Path:
        """The network after one of several pruning steps that is not the last, counted from 1."""
        return self.path / f"pruned_{step}.ckpt"

    def training(self, part: str) -> Path:
        """Folder of a training's states and history: `dense`, `finetune`, `finetune_1` ..."""
        return self.path / "training" / part

    def profile(self, device: str) -> Path:
        """Latency table of the dense network's int8 file on a device."""
        return self.path / f"profile_{device}.json"

    def onnx(self, network: NetworkName) -> Path:
        """`dense.onnx` or `model.onnx`."""
        return self.path / f"{_FILE_PREFIX[network]}.onnx"

    def tflite(self, network: NetworkName, format: str) -> Path:
        """`dense_<format>.tflite` or `model_<format>.tflite`."""
        return self.path / f"{_FILE_PREFIX[network]}_{format}.tflite"

    def predictions(self, network: NetworkName, format: str) -> Path:
        """Class probabilities that the file of a format gives every clip of the evaluation part."""
        return self.path / f"predictions_{artefact_key(network, format)}.csv"

    @property
    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_file.is_file()

    @property
    def is_done(self) -> bool:
        return self.result_file.is_file()

    def state(self) -> RunState:
        """How far the run has come; `DAMAGED` where its result cannot be read."""
        if self.is_done:
            try:
                self.result()
            except EdgepruneError:
                return RunState.DAMAGED
            return RunState.DONE
        return RunState.FAILED if self.failure_file.is_file() else RunState.UNFINISHED

    def failure_reason(self) -> str:
        """Why a sweep's run failed, without a full stop; "" where it did not."""
        if not self.failure_file.is_file():
            return ""
        try:
            return str(read_json(self.failure_file)["reason"]).rstrip(".")
        except (EdgepruneError, KeyError, TypeError):
            return "the reason cannot be read"

    def recipe(self) -> Recipe:
        """The run's recipe, `out` set to this folder."""
        return load_recipe(str(self.path))

    def result(self) -> Result:
        """The run's result; refused where the run is not done."""
        if not self.is_done:
            raise EdgepruneError(f"{self.path}: has no result.json; give a run that has finished.")
        return Result.read(self.path)

    @staticmethod
    def existing(path: Path | str) -> RunFolder:
        """The folder of a run that was begun; any other is refused."""
        folder = RunFolder(Path(path))
        if not folder.is_run:
            raise EdgepruneError(f"{path}: is not a run folder (it holds no {RECIPE}); check the path.")
        return folder

    @contextmanager
    def locked(self) -> Iterator[RunFolder]:
        """Make the folder, lock it against other processes and open its log, for as long as the block runs."""
        import filelock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.path / ".lock", timeout=0), console.logging_to(self.log_file):
                yield self
        except filelock.Timeout as error:
            raise EdgepruneError(
                f"{self.path}: another process works in this run folder; wait for it or choose --out."
            ) from error
        except OSError as error:
            raise cannot_write(error.filename or self.path, error) from error

    @staticmethod
    @contextmanager
    def open(recipe: Recipe) -> Iterator[RunFolder]:
        """The recipe's folder, locked, with the recipe in it; refused where it holds the run of another recipe.

        A run that failed before its first epoch was over holds nothing to keep: a corrected recipe takes its place.
        """
        with RunFolder(recipe.folder()).locked() as folder:
            changed = changed_fields(folder.path, recipe) if folder.is_run else []
            if changed and (folder.is_done or any(folder.path.rglob("*.ckpt"))):
                raise folder._other_recipe(changed)
            if changed:
                folder.data_file.unlink(missing_ok=True)
            write_recipe(folder.recipe_file, recipe)
            yield folder

    def _other_recipe(self, changed: Sequence[str]) -> OtherRecipeError:
        dense = self.checkpoint("dense")
        if not dense.is_file() or not all(is_after_dense(field) for field in changed):
            return OtherRecipeError(self.path, changed)
        numbered = (self.path.with_name(f"{self.path.name}-{number}") for number in count(2))
        return OtherRecipeError(self.path, changed, dense, next(path for path in numbered if not path.exists()))


def load(run_folder: Path | str) -> Result:
    """The result of a finished run.

        edgeprune.load("runs/quickstart-fold1-seed0").table()

    Raises:
        EdgepruneError: it is not a run folder, the run has not finished, or its result cannot be read.
    """
    return RunFolder.existing(run_folder).result()
