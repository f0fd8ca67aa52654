"""A sweep at work: every cell is done once, failures are reported, and a sweep that was killed goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeprune import console
from edgeprune.comparing.sweeping.grid import Cell
from edgeprune.comparing.sweeping.jobs import Engine, Job, Outcome, work_through
from edgeprune.comparing.sweeping.plan import CellState, SweepPlan
from edgeprune.comparing.sweeping.tracking import Tracking
from edgeprune.comparing.sweeping.work import STDERR
from edgeprune.errors import EdgepruneError
from edgeprune.files import cannot_write, read_object
from edgeprune.results.json_fields import whole
from edgeprune.results.result import Result


@dataclass(frozen=True)
class CellEnd:
    """The state of a cell at the end of a sweep.

    Attributes:
        state: `done` or `failed`; `begun` or `new` where the sweep did not reach it.
        reason: why it failed; "" where it did not.
        seconds: how long the run took; None where it was interrupted.
    """

    cell: Cell
    state: CellState
    reason: str
    exit_code: int
    seconds: float | None
    result: Result | None


def sweep(plan: SweepPlan, make_engine: Callable[[], Engine], tracking: Tracking | None = None) -> list[CellEnd]:
    """Do every cell that has no result; the engine is made if there is anything to do."""
    with _locked(plan):
        plan.write()
        for cell in plan.recipes:
            if plan.state(cell) == "done":  # the sweep may have been killed just after the run's end
                (plan.folder(cell).path / STDERR).unlink(missing_ok=True)
        tracking = tracking or Tracking(plan)
        tracking.begin()
        cells = plan.open_cells()
        if cells:
            _do(plan, cells, make_engine(), tracking)
        else:
            console.say(f"{plan.out}: all {len(plan.recipes)} runs are done; nothing is computed again")
        return [_end(plan, cell) for cell in plan.recipes]


def _end(plan: SweepPlan, cell: Cell) -> CellEnd:
    state, folder = plan.state(cell), plan.folder(cell)
    failure = read_object(folder.failure_file) if state == "failed" else {}
    result = folder.result() if state == "done" else None
    seconds = plan.seconds().get(cell.folder)
    return CellEnd(cell, state, str(failure.get("reason", "")), whole(failure.get("exit_code")) or 0, seconds, result)


@contextmanager
def _locked(plan: SweepPlan) -> Iterator[None]:
    import filelock

    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(plan.out / ".lock", timeout=0), console.logging_to(plan.out / "log.txt"):
            yield
    except filelock.Timeout as error:
        raise EdgepruneError(f"{plan.out}: another sweep works in this folder; wait for it or choose --out.") from error
    except OSError as error:
        raise cannot_write(error.filename or plan.out, error) from error


def _do(plan: SweepPlan, cells: list[Cell], engine: Engine, tracking: Tracking) -> None:
    total, done = len(plan.recipes), len(plan.recipes) - len(cells)
    by_job = {plan.job(cell): cell for cell in cells}
    fresh = {cell for cell in cells if plan.state(cell) == "new"}
    earlier = f", {done} of them done before" if done else ""
    console.say(f"sweep {plan.base.name}: {total} runs in {plan.out}{earlier}; {engine.slots} at a time")
    with console.progress("sweep", total) as bar:
        bar.update(bar.task_ids[0], completed=done)

        def started(job: Job) -> None:
            tracking.open(by_job[job])
            console.say(f"{by_job[job].folder}: started")

        def ended(job: Job, outcome: Outcome) -> None:
            nonlocal done
            cell, done = by_job[job], done + 1
            bar.advance(bar.task_ids[0])
            if outcome.ok and cell in fresh:
                plan.keep_seconds(cell, outcome.seconds)
            how = f"done in {outcome.seconds:.0f} s" if outcome.ok else f"failed: {outcome.reason}"
            console.say(f"{cell.folder}: {how} ({done} of {total})")
            tracking.close(cell)

        work_through(list(by_job), engine, started, ended)
