"""What a sweep is going to do, and its folder: `sweep.json`, `dense/...` and `runs/...`, each a run folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeprune.comparing.sweeping.grid import Cell, Grid, cells, recipe_of, with_absolute_paths
from edgeprune.comparing.sweeping.jobs import FAILED, RESULT, Job
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import RECIPE, differences, from_dict

SCHEMA = 1
SWEEP, SECONDS = "sweep.json", "seconds.json"
HOST = "host"
_PLACES = ("out", "data.root", "data.cache", "data.workers", "train.threads", "finetune.threads")
"""Fields that may differ between two starts of the same run: where things lie, and how many cores there are."""


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        out: its folder, absolute.
        base: the recipe that every cell varies, its paths absolute.
        recipes: of every cell, in the order they are done.
        host_timing: latency is measured on this machine, which has one run at a time.
    """

    out: Path
    base: Recipe
    grid: Grid
    recipes: Mapping[Cell, Recipe]
    host_timing: bool

    def folder(self, cell: Cell) -> Path:
        return self.out / cell.folder

    def job(self, cell: Cell) -> Job:
        return Job(self.folder(cell), None if cell.role == "dense" else self.out / cell.dense_folder)

    def state(self, cell: Cell) -> str:
        """`done`, `failed`, `begun` or `new`."""
        folder = self.folder(cell)
        states = {"done": RESULT, "failed": FAILED, "begun": "log.txt"}
        return next((state for state, name in states.items() if (folder / name).is_file()), "new")

    def open_cells(self) -> list[Cell]:
        """Those without a result."""
        return [cell for cell in self.recipes if self.state(cell) != "done"]

    def write(self) -> None:
        """Write `sweep.json`, then the recipe of every cell that has no result.

        Raises:
            EdgepruneError: a folder holds a run with other settings.
        """
        for cell, recipe in self.recipes.items():
            _refuse_other_run(self.folder(cell), recipe)
        write_json(
            self.out / SWEEP,
            {
                "schema": SCHEMA,
                "name": self.base.name,
                "grid": asdict(self.grid),
                "host_timing": self.host_timing,
                "recipe": self.base.to_dict(),
                "cells": [_described(cell) for cell in self.recipes],
            },
        )
        for cell in self.open_cells():
            write_json(self.folder(cell) / RECIPE, self.recipes[cell].to_dict())

    def seconds(self) -> dict[str, float]:
        """How long cells took, by folder: those that nobody interrupted."""
        path = self.out / SECONDS
        found: dict[str, float] = read_json(path) if path.is_file() else {}
        return found

    def keep_seconds(self, cell: Cell, seconds: float) -> None:
        write_json(self.out / SECONDS, {**self.seconds(), cell.folder: round(seconds, 3)})


def make_plan(recipe: Recipe, grid: Grid, out: Path, alone: bool, threads: int) -> Plan:
    """The sweep of a grid in a folder; nothing is written.

    Args:
        alone: one run at a time has this machine for itself.
        threads: of the CPU, for each run.

    Raises:
        EdgepruneError: a value cannot be, or the folder holds a sweep that this one does not continue or extend.
    """
    out, base = out.absolute(), with_absolute_paths(recipe)
    if (out / RESULT).is_file() or (out / RECIPE).is_file():
        raise EdgepruneError(f"{out}: is the folder of a run; choose another --out for the sweep.")
    stored = _stored(out)
    timing = alone if stored is None else bool(stored["host_timing"])
    if timing and not alone:
        raise EdgepruneError(
            f"{out}: this sweep times its files on this machine, which must do nothing else; go on with --engine local "
            "--jobs 1, or choose another --out."
        )
    plan = Plan(out, base, grid.check(), _recipes(base, grid, out, timing, threads), timing)
    if stored is not None:
        old = _recipes(from_dict(stored["recipe"]), Grid.from_dict(stored["grid"]), out, timing, threads)
        _refuse_other_sweep(out, old, plan.recipes)
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
    stored: dict[str, Any] = read_json(path)
    if stored.get("schema") != SCHEMA:
        raise EdgepruneError(f"{path}: was written by another version of edgeprune; choose another --out.")
    return stored


def _recipes(base: Recipe, grid: Grid, out: Path, timing: bool, threads: int) -> dict[Cell, Recipe]:
    devices = [name for name in base.bench.devices if timing or name != HOST]
    return {cell: recipe_of(cell, base, out, devices, threads) for cell in cells(grid, base)}


def _refuse_other_sweep(out: Path, old: Mapping[Cell, Recipe], new: Mapping[Cell, Recipe]) -> None:
    by_folder = {cell.folder: recipe for cell, recipe in new.items()}
    for cell, recipe in old.items():
        if cell.folder not in by_folder:
            raise EdgepruneError(
                f"{out}: holds a sweep that also has {cell.folder}; name all it has (more may be added), or choose "
                "another --out."
            )
        changed = _changes(recipe.to_dict(), by_folder[cell.folder])
        if changed:
            raise EdgepruneError(
                f"{out}: holds a sweep whose {cell.folder} has other settings ({'; '.join(changed)}); choose another "
                "--out."
            )


def _refuse_other_run(folder: Path, recipe: Recipe) -> None:
    if not (folder / RECIPE).is_file():
        return
    changed = _changes(from_dict(read_json(folder / RECIPE)).to_dict(), recipe)
    if changed:
        raise EdgepruneError(f"{folder}: holds a run with other settings ({'; '.join(changed)}); choose another --out.")


def _changes(old: dict[str, Any], new: Recipe) -> list[str]:
    """What differs between two recipes of a cell, places left out; its dense network moves with the sweep."""
    found = differences(old, new.to_dict())
    moved = () if new.dense_from is None or new.dense_from.parent.parent.name != "dense" else ("dense_from",)
    return [line for line in found if line.split(":")[0] not in (*_PLACES, *moved)]


def _check(plan: Plan) -> None:
    """What can be known to be wrong before hours of work."""
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


def _described(cell: Cell) -> dict[str, Any]:
    return {"folder": cell.folder, **asdict(cell)}
