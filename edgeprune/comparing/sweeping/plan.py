"""What a sweep does, and its folder: `sweep.json`, and the run folders `dense/...` and `runs/...`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeprune.comparing.sweeping.grid import Cell, Grid, cells, recipe_of
from edgeprune.comparing.sweeping.jobs import Job
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_object, write_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import differences, from_dict, with_absolute_paths, write_recipe
from edgeprune.results.json_fields import numbers
from edgeprune.results.run_folder import RunFolder

SCHEMA = 1
SWEEP, SECONDS = "sweep.json", "seconds.json"
HOST = "host"
_PLACES = ("out", "data.root", "data.cache", "data.workers", "train.threads", "finetune.threads")
"""Fields that may differ between two starts of the same run: where files lie, and how many cores there are."""
CellState = Literal["done", "failed", "begun", "new"]


@dataclass(frozen=True)
class SweepPlan:
    """A sweep.

    Attributes:
        out: its folder, absolute.
        base: the recipe that every cell varies, its paths absolute.
        recipes: every cell's, in the order they are done.
        host_timing: whether latency is measured on this machine, which then does one run at a time.
    """

    out: Path
    base: Recipe
    grid: Grid
    recipes: Mapping[Cell, Recipe]
    host_timing: bool

    def folder(self, cell: Cell) -> RunFolder:
        return RunFolder(self.out / cell.folder)

    def job(self, cell: Cell) -> Job:
        return Job(self.out / cell.folder, None if cell.role == "dense" else self.out / cell.dense_folder)

    def state(self, cell: Cell) -> CellState:
        folder = self.folder(cell)
        if folder.is_done:
            return "done"
        if folder.failure_file.is_file():
            return "failed"
        return "begun" if folder.log_file.is_file() else "new"

    def open_cells(self) -> list[Cell]:
        """The cells without a result."""
        return [cell for cell in self.recipes if self.state(cell) != "done"]

    def write(self) -> None:
        """Write `sweep.json`, then the recipe of every cell that has no result."""
        for cell, recipe in self.recipes.items():
            folder = self.folder(cell)
            changed = _changes(folder.recipe().to_dict(), recipe) if folder.is_run else []
            if changed:
                other = f"{folder.path}: holds a run with other settings ({'; '.join(changed)})"
                raise EdgepruneError(f"{other}; choose another --out.")
        write_json(
            self.out / SWEEP,
            {
                "schema": SCHEMA,
                "name": self.base.name,
                "grid": asdict(self.grid),
                "host_timing": self.host_timing,
                "recipe": self.base.to_dict(),
                "cells": [{"folder": cell.folder, **asdict(cell)} for cell in self.recipes],
            },
        )
        for cell in self.open_cells():
            write_recipe(self.folder(cell).recipe_file, self.recipes[cell])

    def seconds(self) -> dict[str, float]:
        """How long cells took, by folder; a cell that was interrupted is absent."""
        path = self.out / SECONDS
        return numbers(read_object(path)) if path.is_file() else {}

    def keep_seconds(self, cell: Cell, seconds: float) -> None:
        write_json(self.out / SECONDS, {**self.seconds(), cell.folder: round(seconds, 3)})


def make_plan(base: Recipe, grid: Grid, out: Path, alone: bool, threads: int) -> SweepPlan:
    """The sweep of a grid in a folder; nothing is written. `alone`: each run has this machine for itself."""
    out, base = out.absolute(), with_absolute_paths(base)
    if RunFolder(out).is_done or RunFolder(out).is_run:
        raise EdgepruneError(f"{out}: is the folder of a run; choose another --out for the sweep.")
    stored = _stored(out)
    timing = alone if stored is None else bool(stored["host_timing"])
    if timing and not alone:
        timed = f"{out}: this sweep times its files on this machine, which must do nothing else"
        raise EdgepruneError(f"{timed}; go on with --engine local --jobs 1, or choose another --out.")
    plan = SweepPlan(out, base, grid.check(), _recipes(base, grid, out, timing, threads), timing)
    if stored is not None:
        old = _recipes(from_dict(stored["recipe"]), Grid.from_dict(stored["grid"]), out, timing, threads)
        by_folder = {cell.folder: recipe for cell, recipe in plan.recipes.items()}
        for cell, recipe in old.items():
            if cell.folder not in by_folder:
                missing = f"{out}: holds a sweep that also has {cell.folder}; name all it has (more may be added)"
                raise EdgepruneError(f"{missing}, or choose another --out.")
            if changed := _changes(recipe.to_dict(), by_folder[cell.folder]):
                other = f"{out}: holds a sweep whose {cell.folder} has other settings ({'; '.join(changed)})"
                raise EdgepruneError(f"{other}; choose another --out.")
    _check(plan)
    return plan


def is_timed(out: Path) -> bool:
    """Whether a sweep that was begun in the folder measures latency on this machine."""
    stored = _stored(out.absolute())
    return stored is not None and bool(stored["host_timing"])


def _stored(out: Path) -> dict[str, Any] | None:
    """Content of `sweep.json`; None where there is none."""
    path = out / SWEEP
    if not path.is_file():
        return None
    stored = read_object(path)
    if stored.get("schema") != SCHEMA or not {"host_timing", "recipe", "grid"} <= stored.keys():
        raise EdgepruneError(f"{path}: was written by another version of edgeprune; choose another --out.")
    return stored


def _recipes(base: Recipe, grid: Grid, out: Path, timing: bool, threads: int) -> dict[Cell, Recipe]:
    devices = [name for name in base.bench.devices if timing or name != HOST]
    return {cell: recipe_of(cell, base, out, devices, threads) for cell in cells(grid, base)}


def _changes(old: dict[str, Any], new: Recipe) -> list[str]:
    """The fields that differ between two recipes of a cell, apart from where files lie."""
    # a dense network of the sweep's own moves with its folder
    moved = () if new.dense_from is None or new.dense_from.parent.parent.name != "dense" else ("dense_from",)
    return [line for line in differences(old, new.to_dict()) if line.split(":")[0] not in (*_PLACES, *moved)]


def _check(plan: SweepPlan) -> None:
    """Refuse before hours of work what is known to go wrong."""
    from edgeprune.data.cards import load_card
    from edgeprune.running.check import check

    base = plan.base
    if base.prune.restart:
        raise EdgepruneError("prune.restart: is a control that a sweep makes by itself; leave it out.")
    if base.budget.latency_ms is not None and base.prune.profile is None and not plan.host_timing:
        raise EdgepruneError(
            "budget.latency_ms: runs that share a machine cannot profile it; give --prune.profile (see `edgeprune "
            "profile`), or --jobs 1."
        )
    card = load_card(base.data.name)
    for fold in plan.grid.folds:
        if card.folds and fold not in card.folds:
            there = ", ".join(map(str, card.folds))
            raise EdgepruneError(f"--folds {fold}: {card.name} has no such fold; it has {there}.")
    first = next(iter(plan.recipes))
    for cell, recipe in plan.recipes.items():
        if (cell.seed, cell.fold) == (first.seed, first.fold):
            check(recipe)
