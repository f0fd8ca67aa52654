"""What `edgeprune sweep` prints: the plan of a dry run, and how every run ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.reporting.numbers import format_decimal, format_exact, format_percent
from edgeprune.reporting.scores import MAIN

if TYPE_CHECKING:
    from edgeprune.comparing.sweeping.plan import SweepPlan
    from edgeprune.comparing.sweeping.sweep import CellEnd
    from edgeprune.results.result import Result


def show_plan(plan: "SweepPlan", jobs: int, threads: int, as_json: bool) -> None:
    """Print every cell and an estimate of the time; nothing is run."""
    from edgeprune.comparing.sweeping.estimate import estimates, total_seconds

    open_cells, no_estimate, kinds = plan.open_cells(), "", []
    try:
        with only_results():
            kinds = estimates(plan, open_cells, threads)
    except EdgepruneError as error:
        no_estimate = str(error)
    total = total_seconds(kinds, jobs)
    cells = [
        {"folder": cell.folder, "role": cell.role, "criterion": cell.criterion, "state": plan.state(cell)}
        for cell in plan.recipes
    ]
    if as_json:
        found = {"kind": "estimated", "seconds": total, "jobs": jobs, "threads": threads, "of": kinds}
        estimate = None if no_estimate else found
        print_json({"out": plan.out, "cells": cells, "estimate": estimate, "not_estimated": no_estimate})
        return
    print_table("", ("run", "role", "state"), [(cell["folder"], cell["role"], cell["state"]) for cell in cells])
    print(f"{len(cells)} runs in {plan.out}, {len(cells) - len(open_cells)} of them done.")
    if no_estimate:
        print(f"No estimate of the time: {no_estimate}")
    elif kinds:
        rows = [(one.kind, one.runs, _duration(one.seconds), one.how) for one in kinds]
        print_table("estimated", ("kind", "runs", "each", "from"), rows)
        print(f"estimated: {_duration(total)} in all, {jobs} at a time with {threads} thread(s) each.")


def show_ends(plan: "SweepPlan", ends: "Sequence[CellEnd]", as_json: bool) -> int:
    """Print how every cell ended; returns the exit code, 4 if any failed."""
    failed = [end for end in ends if end.state != "done"]
    code = CheckFailedError.exit_code if failed else 0
    if as_json:
        print_json({"out": plan.out, "failed": len(failed), "cells": [_end_json(plan, end) for end in ends]})
        return code
    rows = [
        (end.cell.folder, end.state, *_figures(end.result), "" if end.seconds is None else _duration(end.seconds))
        for end in ends
    ]
    tasks = {end.result.task for end in ends if end.result is not None}
    score = MAIN[tasks.pop()] if len(tasks) == 1 else "accuracy"
    columns = ("run", "state", "file", score, "log loss", "parameters", "MACs", "bytes", "time")
    print_table("", columns, rows)
    for end in failed:
        print(f"{end.cell.folder}: {end.reason or 'was not reached.'}")
    print(f"{len(ends) - len(failed)} of {len(ends)} runs are done; their folders are in {plan.out}.")
    return code


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{hours:g} h"


def _figures(result: "Result | None") -> tuple[str, ...]:
    """Format, accuracy, log loss, parameters, MACs and bytes of the file that ships."""
    file = None if result is None else result.shipped
    if result is None or file is None:
        return ("",) * 6
    cost, scores = result.networks["pruned"].cost, file.scores
    return (
        file.format,
        format_percent(scores.main, 1),
        format_decimal(scores.log_loss),
        *map(format_exact, (cost.params, cost.macs, file.bytes)),
    )


def _end_json(plan: "SweepPlan", end: "CellEnd") -> dict[str, Any]:
    cell = end.cell
    value: dict[str, Any] = {
        "folder": plan.folder(cell).path,
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
    if end.result is not None:
        pruned = end.result.networks["pruned"]
        value |= {"params": pruned.cost.params, "macs": pruned.cost.macs}
        value["formats"] = {file.key: {**file.scores.columns(), "bytes": file.bytes} for file in end.result.files}
    return value
