"""Hostile inputs in a process of their own, which is started anew where one of them ends it."""

import json
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from hostile import INPUTS, LONGEST_S, Tally

LATEST_S = 120
"""Seconds on the wall after which an input hangs; those of the processor are counted, for machines that are busy."""
CHILD = Path(__file__).with_name("child.py")


class Kind(Protocol):
    """A kind of input; it is made with the folder that its files may lie in.

    Attributes:
        good: an input that is read without complaint.
    """

    good: Any

    def __init__(self, folder: Path) -> None: ...

    def make(self, random: random.Random) -> Any:
        """A hostile input."""

    def read(self, made: Any) -> None:
        """Do what the product does with it."""


def try_in_child(name: str, kind: type[Kind], folder: Path, inputs: int = INPUTS) -> Tally:
    """Make and read the inputs of a kind, whose class can be imported, in child processes."""
    tally, start, number = Tally(name), time.perf_counter(), 0
    while number < inputs:
        number = _one_child(kind, folder, number, inputs, tally)
    tally.inputs, tally.seconds = inputs, time.perf_counter() - start
    return tally


def _one_child(kind: type[Kind], folder: Path, first: int, stop: int, tally: Tally) -> int:
    """Read inputs until the process ends; the number to go on with."""
    command = [sys.executable, str(CHILD), kind.__module__, kind.__name__, str(first), str(stop), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(json.loads(line))
        lines.put(None)

    threading.Thread(target=collect, daemon=True).start()
    number, begun = first, False
    try:
        while (said := lines.get(timeout=LATEST_S if begun else 600)) is not None:
            number, begun = said["number"], "fault" not in said
            if begun:
                continue
            tally.refused += said["refused"]
            if said["fault"]:
                tally.faults.append(f"{tally.kind} {number}: {said['fault']}")
            if said["seconds"] > LONGEST_S:
                tally.faults.append(f"{tally.kind} {number}: took {said['seconds']:.0f} s of the processor")
            number += 1
        if process.wait() == 0:
            return stop
        what = signal.Signals(-process.returncode).name if process.returncode < 0 else f"exit code {process.returncode}"
    except queue.Empty:
        what = f"no answer within {LATEST_S} s"
    finally:
        process.kill()
        process.wait()
    if not begun and number == first:
        raise RuntimeError(f"{tally.kind}: the process that reads inputs does not start ({what})")
    tally.faults.append(f"{tally.kind} {number}: {what}")
    return number + 1
