"""A run on a few synthetic clips, as a process that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeprune.recipe import Bench, Budget, Data, Export, LogMel, Model, Prune, Recipe, Train

FORMATS = ("float32", "int8")


def tiny(out: Path, cache: Path) -> Recipe:
    """60 one-second clips to train on, 30 to test on, a network of a quarter of the width."""
    return Recipe(
        name="tiny",
        data=Data(clips_per_scene=9, root=cache / "scenes", cache=cache, validation=0.2),
        frontend=LogMel.dcase21(16000, 1.0),
        model=Model(width=0.25),
        train=Train(epochs=3, batch_size=16, threads=1),
        prune=Prune(keep=0.75),
        budget=Budget(macs=1_000_000),
        finetune=Train(epochs=3, batch_size=16, distillation=0.5, threads=1),
        export=Export(formats=FORMATS, dense_formats=("float32",), calibration_clips=20),
        bench=Bench(runs=3),
        out=out,
    )


def same_but_times(result: dict[str, Any]) -> dict[str, Any]:
    """A result without latency, versions and the folder."""
    kept = {name: value for name, value in result.items() if name not in ("latency", "versions")}
    return kept | {"recipe": {name: value for name, value in kept["recipe"].items() if name != "out"}}


def start(recipe: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(recipe), *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool], limit_s: float = 600) -> None:
    """SIGKILL the process and its children as soon as `reached`."""
    end = time.monotonic() + limit_s
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "the stage was not reached"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
