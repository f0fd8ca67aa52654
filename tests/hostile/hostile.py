"""How hostile inputs are tried: each goes to the real reader, and ends in a value or in one short refusal.

A test makes its kind of input with `try_inputs` and hands the tally to the fixture `hold`. The input of a number is the
same in every run: `make(randomness(kind, number))`. Readers written in C belong in a child process with limits.
"""

import os
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edgeprune.errors import LONGEST_MESSAGE, EdgepruneError

INPUTS = int(os.environ.get("EDGEPRUNE_HOSTILE", "200"))
"""Inputs of each kind; `make hostile` tries 10,000."""
LONGEST_S = 10
MOST_BYTES = 2 << 30

T = TypeVar("T")


@dataclass
class Tally:
    """What became of the inputs of one kind; `faults` says what went wrong, and with which input."""

    kind: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def randomness(kind: str, number: int) -> random.Random:
    """The source of the input of this number: the same in every run."""
    return random.Random(f"{kind} {number}")


def try_inputs(kind: str, make: Callable[[random.Random], T], read: Callable[[T], Any], inputs: int = INPUTS) -> Tally:
    """Make each input and read it; only an EdgepruneError with a short message may be raised.

    The peak memory of the process may not grow by `MOST_BYTES`, and no input may take longer than `LONGEST_S`.
    """
    tally, start, before = Tally(kind), time.perf_counter(), peak_bytes()
    for number in range(inputs):
        fault = ""
        made = make(randomness(kind, number))
        try:
            with time_limit(LONGEST_S):
                read(made)
        except EdgepruneError as error:
            tally.refused += 1
            fault = faulty_message(str(error))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fault = "".join(traceback.format_exception(error, limit=-6))[-1500:]
        if fault:
            tally.faults.append(f"{kind} {number}: {str(made)[:300]!r}\n{fault}")
    if peak_bytes() - before > MOST_BYTES:
        tally.faults.append(f"{kind}: memory grew by {(peak_bytes() - before) / 2**30:.1f} GiB")
    tally.inputs, tally.seconds = inputs, time.perf_counter() - start
    return tally


def faulty_message(message: str) -> str:
    """What is wrong with a refusal's message, or nothing."""
    if len(message) > LONGEST_MESSAGE:
        return f"the message has {len(message)} characters: {message[:200]}..."
    if not message.isprintable():
        return f"the message holds a line break or a control character: {message!r}"
    return ""


def peak_bytes() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a block of Python that computes longer, or waits ten times as long.

    A processor that is shared by many takes its time: what the block waits for it does not count.
    """

    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 10 * seconds))
    previous = [(number, signal.signal(number, stop)) for number, _, _ in timers]
    for _, timer, limit in timers:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for number, handler in previous:
            signal.signal(number, handler)
