"""Latency and memory of TFLite files on this machine."""

import json
import platform
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices.checks import Expected, check_close, check_exact
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.tools import child_environment
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter, runtime_version
from edgeprune.tflite.trial_process import REFUSALS

_RUNNER = runpy.run_path(str(share_folder("export") / "linux" / "runner.py"))
"""The functions of the program that measures on Linux boards, which describe this machine as well."""


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files against each other, after their outputs were compared with those of TFLite's plain kernels."""
    xnnpack, checked = request.options.xnnpack, []
    for path in request.paths:
        expected = Expected.of(request, path, several=True)
        model = TFLiteModel(path, xnnpack=xnnpack)
        outputs = np.concatenate([model.invoke_flat(one[np.newaxis]) for one in expected.inputs])
        if not xnnpack:
            check_exact(request.device, path, expected.outputs, outputs)
        error = check_close(request.device, path, expected.outputs, outputs)
        checked.append({"inputs": expected.source, "max_abs_error": error})
    records = time_files(request.paths, request.threads, request.runs, xnnpack=xnnpack)
    for record, detail in zip(records, checked * len(request.threads), strict=True):
        record.detail.update(detail)
    return records


def time_files(
    paths: Sequence[Path],
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    xnnpack: bool = True,
    memory: bool = True,
) -> list[Measurement]:
    """Time the files against each other on this machine.

    In every round each file runs once, and the order rotates from round to round, so that a drift of the machine's
    speed hits all files alike. Only the inference is timed, not the copying of its random input. Nothing else should
    run meanwhile.

    Args:
        runs: timed rounds. A published figure needs 50.
        warmup: rounds before them that are not counted.
        memory: also start a fresh process for each file and thread count to find the peak memory.
    """
    if not paths:
        raise EdgepruneError("host: no file to measure; give at least one .tflite file.")
    if not threads or min(threads) < 1:
        raise EdgepruneError(f"host: thread counts {list(threads)}; give counts of 1 or more.")
    if runs < 1 or warmup < 0:
        raise EdgepruneError(f"host: {runs} runs after {warmup} of warm-up; give 1 run or more, no negative warm-up.")
    about = {**describe_machine(), "xnnpack": xnnpack, "warmup": warmup}
    records = []
    for count in threads:
        say(f"host: timing {len(paths)} file(s), {runs} runs each, {count} thread(s)")
        files = [LoadedFile.load(path, count, xnnpack) for path in paths]
        for turn in range(warmup + runs):  # no progress bar, whose drawing thread would take time from the cores
            first = turn % len(files)
            for file in [*files[first:], *files[:first]]:
                elapsed_ns = file.run()
                if turn >= warmup:
                    file.times_ns.append(elapsed_ns)
        for file in files:
            ram = _memory_in_fresh_process(file.path, count, xnnpack) if memory else {"peak_ram": "not asked for"}
            rest = {"peak_ram_bytes": ram.pop("peak_ram_bytes", None), "threads": count}
            rest["detail"] = {**about, **ram, "timed": "inference only", "cut_short": False}
            times_ms = np.asarray(file.times_ns) / 1e6
            records.append(Measurement.of_runs("host", "measured", "ms", file.path, times_ms, **rest))
    return records


def describe_machine() -> dict[str, Any]:
    """Processor (or board, where the system does not name it), its features, usable cores, system, and interpreter."""
    here = _RUNNER["describe_board"]()
    cpu = here["cpu"] or here["board"] or platform.processor() or platform.machine() or "unknown"
    about = {name: here[name] for name in ("cpu_features", "cores", "system")}
    return {"cpu": cpu, **about, "runtime": runtime_version()}


@dataclass
class LoadedFile:
    """A file in its interpreter, with random inputs and the times of its runs so far."""

    path: Path
    interpreter: Any
    inputs: list[tuple[int, NDArray[Any]]]
    spent_ns: int = 0
    times_ns: list[int] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, threads: int, xnnpack: bool = True) -> "LoadedFile":
        interpreter = load_interpreter(path, threads=threads, xnnpack=xnnpack)
        generator = np.random.default_rng(0)
        tensors = interpreter.get_input_details()
        return cls(path, interpreter, [(tensor["index"], _random_input(path, tensor, generator)) for tensor in tensors])

    def run(self) -> int:
        """One inference, in nanoseconds."""
        for index, value in self.inputs:
            self.interpreter.set_tensor(index, value)
        try:
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            elapsed_ns = time.perf_counter_ns() - start
        except REFUSALS as error:
            raise EdgepruneError(f"{self.path.name}: its interpreter failed ({error}); export it again.") from error
        self.spent_ns += elapsed_ns
        return elapsed_ns


def _random_input(path: Path, tensor: dict[str, Any], generator: np.random.Generator) -> NDArray[Any]:
    """Normal values for float inputs, uniform ones over the whole range for integers."""
    shape, dtype = tuple(tensor["shape"]), np.dtype(tensor["dtype"])
    if np.issubdtype(dtype, np.floating):
        return generator.standard_normal(shape).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    raise EdgepruneError(f"{path.name}: takes {dtype} input, which cannot be drawn at random; give a numeric network.")


def _memory_in_fresh_process(path: Path, threads: int, xnnpack: bool) -> dict[str, Any]:
    """`peak_ram_bytes` and how it was measured; this process's own peak would hold everything it ever did."""
    if not Path("/proc/self/status").is_file():
        return {"peak_ram": "not known: this system has no /proc/self/status"}
    code = "import sys; from edgeprune.devices import host; host._print_memory(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(path), str(threads), str(int(xnnpack))]
    try:
        done = subprocess.run(command, env=child_environment(), capture_output=True, timeout=300, check=True, text=True)
        result: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return {"peak_ram": f"not known: the process that measures it failed ({type(error).__name__})"}
    return {**result, "peak_ram": "VmHWM of a fresh process, Python included"}


def _print_memory(path: str, threads: str, xnnpack: str) -> None:
    """The work of the fresh process."""
    runtime_version()  # loads the interpreter's library, which does not belong to the model
    before = _RUNNER["status_bytes"]("VmRSS")
    LoadedFile.load(Path(path), int(threads), bool(int(xnnpack))).run()
    # Not getrusage: its peak is inherited from the parent across exec.
    print(json.dumps({"peak_ram_bytes": _RUNNER["status_bytes"]("VmHWM"), "ram_before_model_bytes": before}))
