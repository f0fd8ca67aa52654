"""Finding runs in folders and reading of each what a comparison needs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeprune.comparing.comparison import RunRecord
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import Predictions, read_predictions
from edgeprune.files import read_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import RECIPE
from edgeprune.reporting.tables import check_schema, part, records

FAILED = "failed.json"
"""What a sweep leaves of a run that failed: `{"reason": ...}`."""
_KEPT = (
    "schema",
    "seed",
    "versions",
    "data",
    "dense",
    "pruned",
    "budget",
    "artefacts",
    "latency",
    "frontend",
    "widths",
)
_LARGE = ("by_layer", "confusion", "classes", "before_finetuning")


@dataclass(frozen=True)
class FoundRun:
    """A run folder.

    Attributes:
        recipe: its fields, those newer than it at their defaults.
        result: the smaller parts of `result.json`; None of a run that failed, has not finished or is damaged.
        reason: why there is no result.
        stage: `pruned`, or `dense` where it stands for the unpruned network of the run (see `dense.py`).
    """

    folder: Path
    recipe: dict[str, Any]
    result: dict[str, Any] | None
    reason: str = ""
    stage: str = "pruned"

    @property
    def seed(self) -> int:
        return int(self.recipe["seed"])

    @property
    def fold(self) -> int:
        return int(self.recipe["data"]["fold"])


def load_runs(folders: Sequence[Path]) -> tuple[list[FoundRun], list[str]]:
    """All runs in some folders, each once, in the order of their paths, and notes on those that cannot be read.

    Args:
        folders: run folders, or folders that hold run folders at any depth.

    Raises:
        EdgepruneError: a folder is not there, or there is no run in any of them.
    """
    runs: list[FoundRun] = []
    notes: list[str] = []
    for folder in dict.fromkeys(found.resolve() for root in folders for found in _run_folders(Path(root), notes)):
        try:
            runs.append(_read_run(_short(folder)))
        except EdgepruneError as error:
            notes.append(f"Not compared: {error}")
    if not runs:
        told = f" ({notes[0]})" if notes else ""
        raise EdgepruneError(
            f"{', '.join(map(str, folders))}: there is no run in it, which would hold a {RECIPE}{told}; give run "
            "folders or a folder of them."
        )
    return runs, notes


def split_of(run: FoundRun) -> str:
    """Hash of the split a finished run was trained and evaluated on."""
    return str(part(run.result or {}, "data").get("sha256"))


def predictions_of(record: RunRecord, format: str) -> Predictions | None:
    """What a run's file of a number format said about every clip; None where the table is not there any more.

    Raises:
        EdgepruneError: the table is damaged.
    """
    prefix = "dense_" if record.stage == "dense" else ""
    path = record.folder / f"predictions_{prefix}{format}.csv"
    return read_predictions(path) if path.is_file() else None


def _run_folders(root: Path, notes: list[str]) -> Iterator[Path]:
    """Folders in `root` that hold a recipe or a failure, not those within them."""
    if not root.is_dir():
        raise EdgepruneError(f"{root}: is no folder; give a run folder, or a folder that holds run folders.")

    def unreadable(error: OSError) -> None:
        notes.append(f"Not compared: {error.filename}: cannot be read ({error.strerror}).")

    for path, folders, files in os.walk(root, onerror=unreadable):
        if RECIPE in files or FAILED in files:
            folders.clear()
            yield Path(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _short(folder: Path) -> Path:
    """The path from where the user stands, if it lies there."""
    here = Path.cwd()
    return folder.relative_to(here) if folder != here and folder.is_relative_to(here) else folder


def _read_run(folder: Path) -> FoundRun:
    if not (folder / RECIPE).is_file():
        raise EdgepruneError(f"{folder}: {_failure(folder)}, before it had a {RECIPE}.")
    recipe = _read_recipe(folder / RECIPE)
    if not (folder / "result.json").is_file():
        return FoundRun(folder, recipe, None, _failure(folder) if (folder / FAILED).is_file() else "has not finished")
    try:
        return FoundRun(folder, recipe, _read_result(folder / "result.json", recipe))
    except EdgepruneError as error:
        return FoundRun(folder, recipe, None, f"is damaged: {str(error).rstrip('.')}")


def _failure(folder: Path) -> str:
    try:
        reason = str(read_json(folder / FAILED)["reason"])
    except (EdgepruneError, KeyError, TypeError):
        reason = "for a reason that is not told"
    return f"failed: {reason.rstrip('.')}"


def _read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's fields as they are stored, newer ones at their defaults; nothing is asked of fields nobody knows."""
    stored = _object(path)
    if not isinstance(stored.get("data"), Mapping):
        raise EdgepruneError(f"{path}: names no data set; run the recipe again.")
    recipe = {**stored, **{name: {**fields, **part(stored, name)} for name, fields in _defaults().items()}}
    try:
        int(recipe["seed"]), int(recipe["data"]["fold"])
    except (KeyError, TypeError, ValueError) as error:
        raise EdgepruneError(f"{path}: its seed or fold is no whole number; run the recipe again.") from error
    return recipe


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """The fields of each part of a recipe."""
    whole = Recipe(name="")
    parts = {name: value for name, value in vars(whole).items() if hasattr(value, "__dataclass_fields__")}
    return {name: asdict(type(value)()) for name, value in parts.items()}


def _read_result(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    result = _object(path)
    check_schema(result)
    slim = {name: _slim(result[name]) for name in _KEPT if name in result}
    _check(slim)
    return {**slim, "recipe": recipe}


def _check(result: Mapping[str, Any]) -> None:
    """Raise EdgepruneError if a part that the comparison reads is of another kind."""
    for stage in ("dense", "pruned", "widths"):
        part(result, stage, *(["cost"] if stage != "widths" else []))
    part(result, "data", "clips")
    for name in part(result, "artefacts"):
        for key in ("accuracy", "cost"):
            part(result, "artefacts", name, key)
    for row in records(result, "latency"):
        part(row, "detail")


def _slim(value: Any) -> Any:
    """Without the parts that are large and not compared."""
    if isinstance(value, dict):
        return {name: _slim(inner) for name, inner in value.items() if name not in _LARGE}
    return [_slim(inner) for inner in value] if isinstance(value, list) else value


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise EdgepruneError(f"{path}: holds no object; run the recipe again.")
    return found
