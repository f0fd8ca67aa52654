"""`edgeprune sweep`: a grid of budgets, criteria and seeds as runs, with controls; goes on where it stopped."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.constructors import PrimitiveConstructorSpec

from edgeprune.cli.output import only_results, print_json
from edgeprune.comparing.sweeping.grid import CONTROLS, LIMITS, Grid
from edgeprune.console import print_table, say
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.flags import Names, parse_flags
from edgeprune.recipe import Recipe
from edgeprune.units import format_size, parse_size

if TYPE_CHECKING:
    from edgeprune.comparing.sweeping.jobs import Engine
    from edgeprune.comparing.sweeping.plan import Plan
    from edgeprune.comparing.sweeping.sweep import CellEnd

PROGRAM = "edgeprune sweep"
USAGE = f"usage: {PROGRAM} NAME|PATH.py|RUN|RUN/recipe.json [OPTIONS] [FLAGS OF THE RECIPE]\n"


def _list_of(read: Callable[[str], Any], metavar: str, show: Callable[[Any], str] = str) -> PrimitiveConstructorSpec:
    """A flag whose value is a list with commas."""

    def from_text(args: list[str]) -> tuple[Any, ...]:
        try:
            return tuple(read(part.strip()) for part in args[0].split(",") if part.strip())
        except EdgepruneError as error:
            raise ValueError(str(error)) from error

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=from_text,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(show, value))],
    )


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise EdgepruneError(f"'{text}' is no whole number; write a list like 0,1,2.")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise EdgepruneError(f"'{text}' is no share; write a list like 0.5,0.25.") from error


Sizes = Annotated[tuple[int, ...], _list_of(parse_size, "40k,20k,...", format_size)]
Shares = Annotated[tuple[float, ...], _list_of(_share, "0.5,0.25,...")]
Numbers = Annotated[tuple[int, ...], _list_of(_whole, "0,1,...")]


@dataclass(frozen=True)
class SweepCommand:
    """Run a recipe over a grid: every budget with every criterion, seed and fold, and the controls of each.

    Each list is an axis of its own and all are crossed: `--params 40k,20k --macs 8M` gives two budgets. With any of
    --params, --macs, --peak-ram, --flash and --keep the recipe's own limits and prune.keep are set aside.

    Every cell is an ordinary run in a folder of its own. The dense network is trained once a seed and fold, and all
    others start from it. Started again, a sweep goes on: what is done is not repeated, what failed is tried again, and
    longer lists add cells. Exit code 4 if any run failed.

    All other flags are those of the recipe, as --data.root X or --train.epochs 10; `edgeprune run RECIPE --help` lists
    them.
    """

    params: Sizes = ()
    """Limits on parameters."""
    macs: Sizes = ()
    """Limits on multiply-accumulates."""
    peak_ram: Sizes = ()
    """Limits on peak int8 activation memory, bytes."""
    flash: Sizes = ()
    """Limits on int8 weights and int32 biases, bytes."""
    keep: Shares = ()
    """Largest share of its filters that any layer keeps."""
    criteria: Names = ()
    """How filters are judged (default: the recipe's)."""
    seeds: Numbers = ()
    """Seeds (default: the recipe's)."""
    folds: Numbers = ()
    """Folds of the official split (default: the recipe's)."""
    controls: Names = CONTROLS
    """What the cells are compared with, or none. dense: not pruned; scratch: as small as with the first criterion, but
    trained from random weights for the same epochs in all; random: pruned by chance."""
    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine; ray: tasks of Ray, whose workers must all see the sweep's folder."""
    address: str | None = None
    """Ray: the cluster's, auto or host:port (default: Ray is started on this machine)."""
    jobs: int | None = None
    """Runs at a time, which share this machine's cores (default: 2, or 1 on one core). With more than one, or with Ray,
    nothing is timed on the host: the others would disturb it. On a cluster each asks for cores / jobs of this machine,
    and Ray starts as many as its cores allow."""
    out: Path | None = None
    """Folder of the sweep (default: sweeps/NAME)."""
    dry_run: bool = False
    """Show the cells and an estimate of the time; nothing is run or written."""
    track: Names = ("csv",)
    """Where training and results are followed: csv (always), tensorboard, mlflow (in the sweep's folder, or where
    MLFLOW_TRACKING_URI says)."""
    json: bool = False
    """Print JSON."""

    def grid(self) -> Grid:
        controls = () if self.controls == ("none",) else self.controls
        axes = {name: getattr(self, name) for name in (*LIMITS, "keep", "criteria", "seeds", "folds")}
        return Grid(**axes, controls=controls)


def main(args: list[str]) -> int:
    """`sweep RECIPE [flags of the sweep and of its recipe]`; returns the exit code.

    Raises:
        EdgepruneError: a wrong value, or a folder that holds another sweep.
    """
    if args and args[0] in ("-h", "--help"):
        print(USAGE)
        _parse(["--help"])
    if not args or args[0].startswith("-"):
        raise EdgepruneError(
            "sweep: name the recipe first: edgeprune sweep NAME|PATH.py|RUN|RUN/recipe.json [--params 40k,20k ...]."
        )
    from edgeprune.recipe_files import load_recipe

    found = load_recipe(args[0])
    verb, rest = _parse(args[1:])
    _refuse_misspelt(rest)
    recipe = parse_flags(found, rest)
    _refuse_limits(verb.grid(), found, recipe)
    return _go(verb, recipe)


def _parse(args: Sequence[str]) -> tuple[SweepCommand, list[str]]:
    import tyro

    about = f"{SweepCommand.__doc__}\n\nBeside these flags: --quiet (only results), --debug (show tracebacks)."
    verb, rest = tyro.cli(
        SweepCommand,
        args=list(args),
        prog=f"{PROGRAM} RECIPE",
        description=about,
        config=(tyro.conf.FlagCreatePairsOff,),
        return_unknown_args=True,
    )
    return verb, list(rest)


def _refuse_misspelt(rest: Sequence[str]) -> None:
    """A flag of the sweep, misspelt, would be looked for among the recipe's, and nothing like it found."""
    own = [f"--{name.replace('_', '-')}" for name in SweepCommand.__dataclass_fields__]
    of_recipe = [f"--{name.replace('_', '-')}" for name in Recipe.__dataclass_fields__]
    for arg in rest:
        flag = arg.split("=")[0].replace("_", "-")
        if flag.startswith("--") and "." not in flag and flag not in of_recipe:
            near = get_close_matches(flag, own, n=1, cutoff=0.7)
            if near:
                raise EdgepruneError(f"'{arg}' is no flag of sweep; perhaps you meant '{near[0]}'.")


def _refuse_limits(grid: Grid, before: Recipe, after: Recipe) -> None:
    """Limits are given as axes, or by the recipe's own flags, but not by both: the axes would set the others aside."""
    given = [name for name in (*LIMITS, "keep") if getattr(grid, name)]
    fixed = [name for name in LIMITS if getattr(before.budget, name) != getattr(after.budget, name)]
    for name in fixed if given else []:
        flag = name.replace("_", "-")
        raise EdgepruneError(f"--budget.{flag}: beside --{given[0].replace('_', '-')} give it as --{flag}.")
    if given and before.prune.keep != after.prune.keep:
        raise EdgepruneError(f"--prune.keep: beside --{given[0].replace('_', '-')} give it as --keep.")


def _go(verb: SweepCommand, recipe: Recipe) -> int:
    from edgeprune.comparing.sweeping.engine_local import cores
    from edgeprune.comparing.sweeping.plan import is_timed, make_plan
    from edgeprune.comparing.sweeping.sweep import sweep
    from edgeprune.comparing.sweeping.tracking import Tracking

    if verb.jobs is not None and verb.jobs < 1:
        raise EdgepruneError(f"--jobs {verb.jobs}: give at least 1.")
    if verb.address is not None and verb.engine != "ray":
        raise EdgepruneError("--address: is of a Ray cluster; add --engine ray.")
    out = verb.out or Path("sweeps") / recipe.name
    local = verb.engine == "local"
    jobs = verb.jobs or (1 if local and is_timed(out) else min(2, cores()))
    threads = max(1, cores() // jobs)
    plan = make_plan(recipe, verb.grid(), out, alone=local and jobs == 1, threads=threads)
    if verb.dry_run:
        return _show_plan(verb, plan, jobs, threads)
    if not plan.host_timing and "host" in recipe.bench.devices:
        say("runs that share the host are not timed on it; --jobs 1 has them timed, or `edgeprune bench` later")
    with only_results():
        found = sweep(plan, lambda: _engine(verb, plan, jobs, threads), Tracking(plan, verb.track))
    return _show_ends(verb, plan, found)


def _engine(verb: SweepCommand, plan: "Plan", jobs: int, threads: int) -> "Engine":
    if verb.engine == "local":
        from edgeprune.comparing.sweeping.engine_local import LocalEngine

        return LocalEngine(jobs, threads)
    from edgeprune.comparing.sweeping.engine_ray import RayEngine

    train = plan.base.train
    gpus = train.devices if train.accelerator == "gpu" else 0
    # on a cluster all are handed over: Ray knows how many fit
    slots = jobs if verb.address is None else len(plan.recipes)
    return RayEngine(slots, threads, address=verb.address, gpus=gpus)


# What is printed


def _show_plan(verb: SweepCommand, plan: "Plan", jobs: int, threads: int) -> int:
    from edgeprune.comparing.sweeping.estimate import estimates, total_seconds

    waiting, untold, found = plan.open_cells(), "", []
    try:
        with only_results():
            found = estimates(plan, waiting, threads)
    except EdgepruneError as error:
        untold = str(error)
    total = total_seconds(found, jobs)
    cells = [
        {"folder": cell.folder, "role": cell.role, "criterion": cell.criterion, "state": plan.state(cell)}
        for cell in plan.recipes
    ]
    if verb.json:
        estimate = {"kind": "estimated", "seconds": total, "jobs": jobs, "of": found} if not untold else None
        print_json({"out": plan.out, "cells": cells, "estimate": estimate, "not_estimated": untold})
        return 0
    print_table("", ("run", "role", "state"), [(cell["folder"], cell["role"], cell["state"]) for cell in cells])
    print(f"{len(cells)} runs in {plan.out}, {len(cells) - len(waiting)} of them done.")
    if untold:
        print(f"No estimate of the time: {untold}")
        return 0
    if found:
        rows = [(one.kind, one.runs, _duration(one.seconds), one.how) for one in found]
        print_table("estimated", ("kind", "runs", "each", "from"), rows)
        print(f"estimated: {_duration(total)} in all, {jobs} at a time with {threads} threads each.")
    return 0


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{hours:g} h"


def _show_ends(verb: SweepCommand, plan: "Plan", found: Sequence["CellEnd"]) -> int:
    failed = [end for end in found if end.state != "done"]
    code = CheckFailedError.exit_code if failed else 0
    if verb.json:
        print_json({"out": plan.out, "failed": len(failed), "cells": [_told(plan, end) for end in found]})
        return code
    rows = [
        (end.cell.folder, end.state, *_figures(end.result), "" if end.seconds is None else _duration(end.seconds))
        for end in found
    ]
    columns = ("run", "state", "file", "accuracy", "log loss", "parameters", "MACs", "bytes", "time")
    print_table("", columns, rows)
    for end in failed:
        print(f"{end.cell.folder}: {end.reason or 'was not reached.'}")
    print(f"{len(found) - len(failed)} of {len(found)} runs are done; their folders are in {plan.out}.")
    return code


def _shipped(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Format and artefact that stand for a run: int8, else the first."""
    artefacts: dict[str, dict[str, Any]] = result["artefacts"]
    name = "int8" if "int8" in artefacts else next(iter(artefacts))
    return name, artefacts[name]


def _figures(result: dict[str, Any]) -> tuple[str, ...]:
    if not result:
        return ("",) * 6
    name, artefact = _shipped(result)
    accuracy, cost = artefact["accuracy"], result["pruned"]["cost"]
    return (
        name,
        f"{100 * accuracy['accuracy']:.1f} %",
        f"{accuracy['log_loss']:.3f}",
        f"{cost['params']:,}",
        f"{cost['macs']:,}",
        f"{artefact['bytes']:,}",
    )


def _told(plan: "Plan", end: "CellEnd") -> dict[str, Any]:
    cell = end.cell
    told: dict[str, Any] = {
        "folder": plan.folder(cell),
        "role": cell.role,
        "criterion": cell.criterion,
        "budget": cell.budget.sizes(),
        "keep": cell.keep,
        "seed": cell.seed,
        "fold": cell.fold,
        "state": end.state,
        "reason": end.reason,
        "exit_code": end.exit_code,
        "seconds": end.seconds,
    }
    if end.result:
        cost = end.result["pruned"]["cost"]
        told |= {"params": cost["params"], "macs": cost["macs"]}
        told["formats"] = {
            name: {
                "accuracy": artefact["accuracy"]["accuracy"],
                "log_loss": artefact["accuracy"]["log_loss"],
                "bytes": artefact["bytes"],
            }
            for name, artefact in end.result["artefacts"].items()
        }
    return told
