"""Sweeps done by the stand-in, and what it noted."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from edgeprune.comparing.sweeping.grid import Grid
from edgeprune.comparing.sweeping.plan import SweepPlan, make_plan
from edgeprune.recipe import Recipe

HALF, QUARTER = "runs/operator_norm-keep0.5-seed0-fold1", "runs/operator_norm-keep0.25-seed0-fold1"
STAND_IN = (str(Path(__file__).parent / "stand_in.py"),)


def plan_of(recipe: Recipe, out: Path, **axes) -> SweepPlan:
    """A sweep in `out`, two runs at a time; without controls unless given."""
    return make_plan(recipe, Grid(**{"controls": (), **axes}), out, alone=False, threads=1)


def order(out: Path, **orders: str) -> None:
    """What the stand-in shall do in cells, by folder with `__` for `/`."""
    out.mkdir(exist_ok=True)
    (out / "orders.json").write_text(json.dumps({name.replace("__", "/"): what for name, what in orders.items()}))


def calls(out: Path) -> list[list[str]]:
    """What the stand-in noted."""
    path = out / "calls.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


def started(out: Path) -> list[str]:
    """Cells in the order they were started, each as often as it was."""
    return [words[1] for words in calls(out) if words[0] == "start"]


def verb_command(*argv: str | Path) -> list[str]:
    """A process that sweeps with the stand-in, as `edgeprune sweep` would."""
    code = (
        "import sys; from edgeprune.cli.verbs import sweep; from edgeprune.comparing.sweeping import work; "
        "from edgeprune.exit_codes import guarded; "
        f"work.COMMAND = {STAND_IN!r}; sys.exit(guarded(sweep.main, sys.argv[1:], 'edgeprune sweep'))"
    )
    return [sys.executable, "-c", code, *map(str, argv)]


def wait_for(reached: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end, "it was not reached"
        time.sleep(0.01)


def hanging(out: Path, script: Path, *flags: str) -> tuple[subprocess.Popen, list[int]]:
    """A sweep whose third cell hangs, and the processes that it started."""
    order(out, **{QUARTER.replace("/", "__"): "hang"})
    command = verb_command(script, "--keep", "0.5,0.25", "--controls", "none", "--out", out, "--jobs", "2", *flags)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # what a shell puts into the background ignores Ctrl-C, and so would the sweep
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: "pids" in [words[0] for words in calls(out)] and HALF in (out / "seconds.json").read_text())
    pids = next(words[1:] for words in calls(out) if words[0] == "pids")
    return process, [int(pid) for pid in pids]


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
