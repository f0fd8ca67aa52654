"""Find runs in folders and read what a comparison needs of each."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import Predictions, read_predictions
from edgeprune.files import read_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import RECIPE
from edgeprune.results.json_fields import mapping
from edgeprune.results.result import Result
from edgeprune.results.run_folder import FAILED, RunFolder, RunState

_LARGE = {"by_layer", "confusion", "classes", "before_finetuning", "history"}


def load_runs(folders: Iterable[Path]) -> tuple[list[ComparedRun], list[str]]:
    """Read every run in some folders, at any depth, once; a note names each folder that cannot be read."""
    folders = list(folders)
    runs: list[ComparedRun] = []
    notes: list[str] = []
    paths = dict.fromkeys(path.resolve() for root in folders for path in _run_folders(root, notes))
    here = Path.cwd()
    for path in paths:
        shown = path.relative_to(here) if path != here and path.is_relative_to(here) else path
        try:
            runs.append(_read_run(RunFolder(shown)))
        except EdgepruneError as error:
            notes.append(f"Not compared: {error}")
    if not runs:
        reason = f" ({notes[0]})" if notes else ""
        nothing = f"{', '.join(map(str, folders))}: there is no run in it, which would hold a {RECIPE}{reason}"
        raise EdgepruneError(f"{nothing}; give run folders or a folder of them.")
    return runs, notes


def predictions_of(run: ComparedRun, format: str) -> Predictions | None:
    """The predictions of the run's file in a number format; None where the table is gone."""
    path = run.folder.predictions(run.network, format)
    return read_predictions(path) if path.is_file() else None


def _run_folders(root: Path, notes: list[str]) -> Iterator[Path]:
    """Folders in `root` that hold a recipe or a failure, but none within them."""
    if not root.is_dir():
        raise EdgepruneError(f"{root}: is no folder; give a run folder, or a folder that holds run folders.")

    def note(error: OSError) -> None:
        notes.append(f"Not compared: {error.filename}: cannot be read ({error.strerror}).")

    for path, folders, files in os.walk(root, onerror=note):
        if RECIPE in files or FAILED in files:
            folders.clear()
            yield Path(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _read_run(folder: RunFolder) -> ComparedRun:
    if not folder.is_run:
        raise EdgepruneError(f"{folder.path}: failed: {folder.failure_reason()}, before it had a {RECIPE}.")
    recipe = _read_recipe(folder.recipe_file)
    seed, fold = int(recipe["seed"]), int(recipe["data"]["fold"])
    if not folder.is_done:
        return ComparedRun(folder, seed, fold, recipe, folder.state(), failure=folder.failure_reason())
    try:
        # Without its largest parts, so that thousands of results fit into memory.
        stored = _without_large_parts(_read_object(folder.result_file))
        result = replace(Result.from_json({**stored, "recipe": {}}, folder.path), recipe=recipe, raw={})
        return ComparedRun(folder, seed, fold, recipe, RunState.DONE, result)
    except EdgepruneError as error:
        return ComparedRun(folder, seed, fold, recipe, RunState.DAMAGED, failure=str(error).rstrip("."))


def _read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's fields as stored, newer ones at their defaults; unknown fields are kept."""
    stored = _read_object(path)
    if not isinstance(stored.get("data"), Mapping):
        raise EdgepruneError(f"{path}: names no data set; run the recipe again.")
    recipe = {**stored, **{name: {**fields, **mapping(stored, name)} for name, fields in _defaults().items()}}
    try:
        int(recipe["seed"]), int(recipe["data"]["fold"])
    except (KeyError, TypeError, ValueError) as error:
        raise EdgepruneError(f"{path}: its seed or fold is no whole number; run the recipe again.") from error
    return recipe


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """The default fields of each part of a recipe."""
    parts = {name: value for name, value in vars(Recipe(name="")).items() if hasattr(value, "__dataclass_fields__")}
    return {name: asdict(type(value)()) for name, value in parts.items()}


def _without_large_parts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_large_parts(inner) for name, inner in value.items() if name not in _LARGE}
    return [_without_large_parts(inner) for inner in value] if isinstance(value, list) else value


def _read_object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise EdgepruneError(f"{path}: holds no object; run the recipe again.")
    return value
