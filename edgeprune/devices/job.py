"""What is asked of a device: which files, on which inputs, how often, and for how long at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIPS = 10
"""Inputs on which a device's outputs are compared with the reference before anything is reported."""
TIMEOUT_S = 600.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """Network inputs that a device's outputs are checked on.

    Attributes:
        values: float32 `[n, ...]` as the file's input is shaped without its batch (TFLite's layout), not quantised.
        source: where they come from, in words, such as `10 test clips of tut2017, fold 1`.
    """

    values: NDArray[np.float32]
    source: str


@dataclass(frozen=True, eq=False)
class Job:
    """A measurement to make.

    Attributes:
        device: as on the command line: `host`, `tflm`, `cortex-m4`, `ssh://user@host:22`, `adb:SERIAL` ...
        paths: .tflite files.
        inputs: gives the inputs for a file.
        threads: thread counts; each gets its own records (devices with one core take no other than 1).
        runs: timed runs of each file, where the device has a clock.
        timeout_s: after so many seconds a device that gives no answer is cut off.
        clock_hz: clock of the microcontroller, for an estimate of its time; None: no estimate.
        benchmark_model: Android only: TFLite's benchmark_model for the phone's processor.
        xnnpack: host only: with the XNNPACK delegate, as LiteRT runs by default.
    """

    device: str
    paths: tuple[Path, ...]
    inputs: Callable[[Path], Inputs]
    threads: tuple[int, ...] = (1,)
    runs: int = 50
    timeout_s: float = TIMEOUT_S
    clock_hz: float | None = None
    benchmark_model: Path | None = None
    xnnpack: bool = True
