"""The grid of a sweep: budgets, criteria, seeds and folds crossed, the controls beside them, and each cell's recipe."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import from_plain
from edgeprune.recipe import Budget, Prune, Recipe
from edgeprune.units import format_size

Role = Literal["dense", "scratch", "random", "variant"]
CONTROLS: tuple[str, ...] = ("dense", "scratch", "random")
LIMITS = {"params": "params", "macs": "macs", "peak_ram": "ram", "flash": "flash"}
"""Limits that are axes of a grid, and their names in a cell's folder name."""
RANDOM: Literal["random"] = "random"
"""The criterion of the control that prunes by chance."""


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep, which are all crossed; an empty axis stands for the recipe's own value.

    Attributes:
        params, macs, peak_ram, flash: limits, as in `recipe.Budget`.
        keep: values of `prune.keep`. With any of these five axes the recipe's own limits and keep are set aside.
        controls: some of `dense`, `scratch`, `random`. The dense runs are always made: the others start from them.
    """

    params: tuple[int, ...] = ()
    macs: tuple[int, ...] = ()
    peak_ram: tuple[int, ...] = ()
    flash: tuple[int, ...] = ()
    keep: tuple[float, ...] = ()
    criteria: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    folds: tuple[int, ...] = ()
    controls: tuple[str, ...] = CONTROLS

    def check(self) -> "Grid":
        """Raise EdgepruneError if a value is wrong; return self."""
        from edgeprune.pruning.scores import criterion

        for name in self.criteria:
            criterion(name)
        for name in self.controls:
            if name not in CONTROLS:
                raise unknown_name("control", name, [*CONTROLS, "none"])
        for share in self.keep:
            replace(Prune(), keep=share).check()
        for axis in ("seeds", "folds"):
            if any(number < (axis == "folds") for number in getattr(self, axis)):
                raise EdgepruneError(f"--{axis}: give whole numbers from {int(axis == 'folds')}.")
        for axis, values in asdict(self).items():
            if len(set(values)) < len(values):
                raise EdgepruneError(f"--{axis.replace('_', '-')}: a value stands there twice; name each once.")
        return self

    def budgets(self, recipe: Recipe) -> list[tuple[Budget, float]]:
        """Every budget with its keep; the recipe's own where no axis is given."""
        axes = {name: getattr(self, name) for name in LIMITS}
        if not any(axes.values()) and not self.keep:
            return [(recipe.budget, recipe.prune.keep)]
        crossed = product(*(values or (None,) for values in axes.values()), self.keep or (1.0,))
        return [(replace(recipe.budget, **dict(zip(axes, limits, strict=True))), keep) for *limits, keep in crossed]

    @staticmethod
    def from_dict(value: dict[str, Any]) -> "Grid":
        """A grid from the JSON of its `asdict`."""
        try:
            return from_plain(Grid, value, "grid.")
        except TypeError as error:
            raise EdgepruneError(f"the grid does not fit this version of edgeprune ({error}).") from error


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    role: Role
    criterion: str
    budget: Budget
    keep: float
    seed: int
    fold: int

    @property
    def folder(self) -> str:
        """Run folder under the sweep's, such as `runs/l1-params20k-seed0-fold1`; `whole` where nothing is limited."""
        if self.role == "dense":
            return f"dense/{self._ends()}"
        limits = [f"{LIMITS[name]}{format_size(value)}" for name, value in self.budget.sizes().items()]
        limits += [f"keep{self.keep!r}"] if self.keep < 1 else []
        name = "scratch" if self.role == "scratch" else self.criterion
        return f"runs/{'-'.join([name, *(limits or ['whole']), self._ends()])}"

    @property
    def dense_folder(self) -> str:
        """Folder of the dense run that this one starts from."""
        return replace(self, role="dense").folder

    def _ends(self) -> str:
        return f"seed{self.seed}-fold{self.fold}"


def cells(grid: Grid, recipe: Recipe) -> list[Cell]:
    """All runs of a grid, seed by seed and fold by fold, each dense run before those that start from it."""
    from edgeprune.pruning.scores import criterion

    criteria = grid.criteria or (recipe.prune.criterion,)
    # A dense run scores its filters but loses none, so it takes a criterion that looks at no clips.
    of_dense = "l1" if criterion(recipe.prune.criterion).active else recipe.prune.criterion
    kinds: list[tuple[Role, str]] = [(RANDOM if name == RANDOM else "variant", name) for name in criteria]
    if RANDOM in grid.controls and RANDOM not in criteria:
        kinds.append((RANDOM, RANDOM))
    if "scratch" in grid.controls:
        kinds.append(("scratch", criteria[0]))
    runs = []
    for seed, fold in product(grid.seeds or (recipe.seed,), grid.folds or (recipe.data.fold,)):
        runs.append(Cell("dense", of_dense, Budget(), 1.0, seed, fold))
        for (budget, keep), (role, name) in product(grid.budgets(recipe), kinds):
            runs.append(Cell(role, name, budget, keep, seed, fold))
    return runs


def recipe_of(cell: Cell, base: Recipe, out: Path, devices: Sequence[str], threads: int) -> Recipe:
    """The recipe of a cell, from the sweep's, whose paths are absolute as `out` is; `threads` where it has none."""
    dense = cell.role == "dense"
    train = replace(base.train, threads=base.train.threads or threads)
    finetune = replace(base.finetune, threads=base.finetune.threads or threads)
    prune = replace(base.prune, criterion=cell.criterion, keep=cell.keep, restart=cell.role == "scratch")
    if dense or cell.role == "scratch":
        prune = replace(prune, steps=1)
    if dense:
        prune = replace(prune, objective=Prune.objective, profile=None)
    return replace(
        base,
        data=replace(base.data, fold=cell.fold),
        train=train,
        finetune=replace(finetune, epochs=0) if dense else finetune,
        prune=prune,
        budget=cell.budget,
        export=replace(base.export, dense_formats=()),  # the unpruned network's files are the dense run's own
        bench=replace(base.bench, devices=tuple(devices)),
        seed=cell.seed,
        dense_from=base.dense_from if dense else out / cell.dense_folder / "dense.ckpt",
        out=out / cell.folder,
    )
