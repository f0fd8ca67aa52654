"""`edgeprune sweep`: a grid of budgets, criteria and seeds as runs, with controls; goes on where it stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeprune.cli.command import parse_command
from edgeprune.cli.output import only_results
from edgeprune.cli.sweep_output import show_ends, show_plan
from edgeprune.comparing.sweeping.grid import CONTROLS, LIMITS, Grid
from edgeprune.console import say
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Names, Numbers, Shares, Sizes, parse_flags
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import load_recipe

if TYPE_CHECKING:
    from edgeprune.comparing.sweeping.jobs import Engine
    from edgeprune.comparing.sweeping.plan import SweepPlan

PROGRAM = "edgeprune sweep RECIPE"


@dataclass(frozen=True)
class SweepCommand:
    """Run a recipe over a grid: every budget with every criterion, seed and fold, and the controls of each.

    Each list is an axis of its own and all are crossed: `--params 40k,20k --macs 8M` gives two budgets. With any of
    --params, --macs, --peak-ram, --flash and --keep the recipe's own limits and prune.keep are set aside.

    Every cell is an ordinary run in a folder of its own. The dense network is trained once a seed and fold, and all
    others start from it. A sweep that is started again goes on: runs that are done are not repeated, those that failed
    are tried again, and longer lists add cells. Exit code 4 if any run failed.

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
    """Runs at a time, which share this machine's cores unless --train.threads says how many each takes (default: 2,
    or 1 on one core). With more than one, or with Ray, nothing is timed on the host: the others would disturb it. On a
    cluster each asks for cores / jobs of this machine, and Ray starts as many as its cores allow."""
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
    """`sweep RECIPE [flags of the sweep and of its recipe]`; returns the exit code."""
    if args and args[0] in ("-h", "--help"):
        print("usage: edgeprune sweep NAME|PATH.py|RUN|RUN/recipe.json [OPTIONS] [FLAGS OF THE RECIPE]\n")
        parse_command(SweepCommand, ["--help"], PROGRAM)
    if not args or args[0].startswith("-"):
        raise EdgepruneError(
            "sweep: name the recipe first: edgeprune sweep NAME|PATH.py|RUN|RUN/recipe.json [--params 40k,20k ...]."
        )
    stored = load_recipe(args[0])
    command, recipe_flags = parse_command(SweepCommand, args[1:], PROGRAM, return_unknown_args=True)
    _refuse_misspelt(recipe_flags)
    recipe = parse_flags(stored, recipe_flags)
    _refuse_limits(command.grid(), stored, recipe)
    return _sweep(command, recipe)


def _refuse_misspelt(recipe_flags: Sequence[str]) -> None:
    """Name the sweep's flag that a misspelt one is near to; among the recipe's flags nothing like it would be found."""
    own, of_recipe = (
        [f"--{name.replace('_', '-')}" for name in kind.__dataclass_fields__] for kind in (SweepCommand, Recipe)
    )
    for arg in recipe_flags:
        flag = arg.split("=")[0].replace("_", "-")
        if flag.startswith("--") and "." not in flag and flag not in of_recipe:
            near = get_close_matches(flag, own, n=1, cutoff=0.7)
            if near:
                raise EdgepruneError(f"'{arg}' is no flag of sweep; perhaps you meant '{near[0]}'.")


def _refuse_limits(grid: Grid, stored: Recipe, recipe: Recipe) -> None:
    """Refuse limits that are given both as axes and by the recipe's flags: the axes would set the others aside."""
    axes = [name for name in (*LIMITS, "keep") if getattr(grid, name)]
    if not axes:
        return
    changed = [f"budget.{name}" for name in LIMITS if getattr(stored.budget, name) != getattr(recipe.budget, name)]
    changed += ["prune.keep"] if stored.prune.keep != recipe.prune.keep else []
    for field in changed:
        flag, axis = field.replace("_", "-"), axes[0].replace("_", "-")
        raise EdgepruneError(f"--{flag}: beside --{axis} give it as --{flag.partition('.')[2]}.")


def _sweep(command: SweepCommand, recipe: Recipe) -> int:
    from edgeprune.comparing.sweeping.plan import is_timed, make_plan
    from edgeprune.comparing.sweeping.sweep import sweep
    from edgeprune.comparing.sweeping.tracking import Tracking
    from edgeprune.cores import cores

    if command.jobs is not None and command.jobs < 1:
        raise EdgepruneError(f"--jobs {command.jobs}: give at least 1.")
    if command.address is not None and command.engine != "ray":
        raise EdgepruneError("--address: is of a Ray cluster; add --engine ray.")
    out = command.out or Path("sweeps") / recipe.name
    local = command.engine == "local"
    jobs = command.jobs or (1 if local and is_timed(out) else min(2, cores()))
    threads = recipe.train.threads or max(1, cores() // jobs)
    plan = make_plan(recipe, command.grid(), out, alone=local and jobs == 1, threads=threads)
    if command.dry_run:
        show_plan(plan, jobs, threads, command.json)
        return 0
    if not plan.host_timing and "host" in recipe.bench.devices:
        say("runs that share the host are not timed on it; --jobs 1 has them timed, or `edgeprune bench` later")
    with only_results():
        ends = sweep(plan, lambda: _engine(command, plan, jobs, threads), Tracking(plan, command.track))
    return show_ends(plan, ends, command.json)


def _engine(command: SweepCommand, plan: "SweepPlan", jobs: int, threads: int) -> "Engine":
    if command.engine == "local":
        from edgeprune.comparing.sweeping.engine_local import LocalEngine

        return LocalEngine(jobs, threads)
    from edgeprune.comparing.sweeping.engine_ray import RayEngine

    train = plan.base.train
    gpus = train.devices if train.accelerator == "gpu" else 0
    # a cluster is given all jobs: Ray knows how many fit
    slots = jobs if command.address is None else len(plan.recipes)
    return RayEngine(slots, threads, address=command.address, gpus=gpus)
