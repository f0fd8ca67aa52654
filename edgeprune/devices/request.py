"""A request to measure files on a device: which files, on which inputs, how often, and within what time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError

CLIPS = 10
"""Inputs on which a device's outputs are compared with the reference before anything is reported."""
TIMEOUT_S = 600.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """Network inputs that a device's outputs are checked on.

    Attributes:
        values: float32 `[n, ...]`, each shaped as the file's input without its batch (TFLite's layout), not quantised.
        source: where they come from, in words, such as `10 test clips of tut2017, fold 1`.
    """

    values: NDArray[np.float32]
    source: str


@dataclass(frozen=True)
class DeviceOptions:
    """Settings that one kind of device takes.

    Attributes:
        clock_hz: Cortex-M4: the processor's clock, for a time from the estimated cycles; None: no time.
        benchmark_model: Android: TFLite's benchmark_model for the phone's processor; None: from the user's settings.
        engine: Cortex-M: what makes C of a file: `stream` (edgeprune's own), or `cmsis-nn` (bakenn, for comparison).
        xnnpack: host: use the XNNPACK delegate, as LiteRT does by default.
    """

    clock_hz: float | None = None
    benchmark_model: Path | None = None
    engine: str = "stream"
    xnnpack: bool = True


@dataclass(frozen=True, eq=False)
class BenchRequest:
    """A measurement to make.

    Attributes:
        device: as on the command line: `host`, `tflm`, `cortex-m4`, `ssh://user@host:22`, `adb:SERIAL`, `browser` ...
        inputs: gives the inputs of a file.
        threads: thread counts; each gets its own records. Devices with one core take 1 alone.
        runs: timed runs of each file, where the device has a clock.
        timeout_s: a device that gives no answer is cut off after this time.
    """

    device: str
    paths: tuple[Path, ...]
    inputs: Callable[[Path], Inputs]
    threads: tuple[int, ...] = (1,)
    runs: int = 50
    timeout_s: float = TIMEOUT_S
    options: DeviceOptions = DeviceOptions()

    def check(self) -> None:
        """Refuse numbers out of range."""
        if not self.paths:
            raise EdgepruneError(f"device {self.device}: no file to measure; give at least one .tflite file.")
        if not self.threads or min(self.threads) < 1 or self.runs < 1:
            counts = f"thread counts {list(self.threads)} and {self.runs} runs"
            raise EdgepruneError(f"device {self.device}: {counts}; give counts of 1 or more.")
        if not 0 < self.timeout_s < float("inf"):
            raise EdgepruneError(f"device {self.device}: a limit of {self.timeout_s:g} seconds; give a positive one.")

    def check_one_core(self) -> None:
        """Refuse several threads, for devices with one core."""
        if set(self.threads) != {1}:
            raise EdgepruneError(f"device {self.device}: has one core; leave --threads out.")
