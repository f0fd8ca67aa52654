"""Latency and memory of TFLite files on the machine this runs on."""

import json
import os
import platform
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
from edgeprune.devices.checks import check_close, check_exact, reference
from edgeprune.devices.job import Job
from edgeprune.devices.record import Measurement
from edgeprune.devices.tools import child_environment
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter, runtime_version

_MEMORY_TIMEOUT_S = 300


def measure(job: Job) -> list[Measurement]:
    """Time the job's files against each other, once each was found to compute what its plain kernels do.

    Returns:
        as `time_files`; `detail["max_abs_error"]` is the largest difference from the plain kernels on the job's inputs.

    Raises:
        EdgepruneError: as `time_files`.
        CheckFailedError: a file computes something else with XNNPACK than with the plain kernels.
    """
    checked = {path: _check_outputs(path, job) for path in job.paths}
    records = time_files(job.paths, job.threads, job.runs, xnnpack=job.xnnpack)
    for record, path in zip(records, list(job.paths) * len(job.threads), strict=True):
        record.detail.update(checked[path])
    return records


def _check_outputs(path: Path, job: Job) -> dict[str, Any]:
    inputs = job.inputs(path)
    stored, expected = reference(path, inputs)
    model = TFLiteModel(path, xnnpack=job.xnnpack)
    got = np.concatenate([model.invoke_raw(one[np.newaxis]).reshape(1, -1) for one in stored])
    if not job.xnnpack:
        check_exact(job.device, path, expected, got)
    return {"inputs": inputs.source, "max_abs_error": check_close(job.device, path, expected, got)}


def time_files(
    paths: Sequence[Path],
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    xnnpack: bool = True,
    max_seconds: float | None = None,
    seed: int = 0,
    memory: bool = True,
) -> list[Measurement]:
    """Time the files against each other on this machine.

    In every round each file runs once, and the order rotates from round to round, so that a drift of the machine's
    speed hits all files alike. Only the inference is timed, not the copying of its input. Nothing else should run
    meanwhile.

    Args:
        paths: .tflite files.
        threads: thread counts; each gets its own rounds and its own records.
        runs: timed rounds. 50 is what a published figure needs; fewer is the caller's choice and `Measurement.runs`
            tells.
        warmup: rounds before them that are not counted.
        xnnpack: use the XNNPACK delegate, as LiteRT does by default.
        max_seconds: stop early: a file that used up its equal share of this time (for int16 activations, which run on
            slow kernels on most computers) leaves the rounds with the runs it has, at least one, and
            `detail["cut_short"]` is True. None, the default, always completes `runs`.
        seed: of the random input: normal for float inputs, uniform over the whole range for integers.
        memory: also start a fresh process for each file and thread count to find the peak memory.

    Returns:
        One record a thread count and file, in that order; `kind` is `measured`, `unit` is `ms`. `peak_ram_bytes` is the
        most resident memory of a process that loads the file and runs it once, Python included (`VmHWM` of Linux, None
        elsewhere); `detail["ram_before_model_bytes"]` is what the process had before the model was loaded.

    Raises:
        EdgepruneError: no files, a number out of range, or a file that cannot be run.
    """
    _check(paths, threads, runs, warmup, max_seconds)
    share_s = None if max_seconds is None else max_seconds / (len(paths) * len(threads))
    machine = describe_machine()
    records = []
    for count in threads:
        say(f"host: timing {len(paths)} file(s), {runs} runs each, {count} thread(s)")
        candidates = [_Candidate.load(Path(path), count, xnnpack, seed) for path in paths]
        _run_rounds(candidates, runs, warmup, share_s)
        for candidate in candidates:
            ram = _memory_in_fresh_process(candidate.path, count, xnnpack) if memory else {"peak_ram": "not asked for"}
            records.append(_record(candidate, count, runs, {**machine, "xnnpack": xnnpack, "warmup": warmup, **ram}))
    return records


def describe_machine() -> dict[str, Any]:
    """Processor, cores this process may use, system, and the interpreter's version."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "runtime": runtime_version(),
    }


@dataclass
class _Candidate:
    """A loaded file and the times of its runs so far."""

    path: Path
    interpreter: Any
    inputs: list[tuple[int, NDArray[Any]]]
    spent_ns: int = 0
    times_ns: list[int] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, threads: int, xnnpack: bool, seed: int) -> "_Candidate":
        interpreter = load_interpreter(path, threads=threads, xnnpack=xnnpack)
        generator = np.random.default_rng(seed)
        inputs = [
            (tensor["index"], _random_input(path, tensor, generator)) for tensor in interpreter.get_input_details()
        ]
        return cls(path, interpreter, inputs)

    def run(self) -> int:
        """One inference, in nanoseconds."""
        for index, value in self.inputs:
            self.interpreter.set_tensor(index, value)
        try:
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            elapsed = time.perf_counter_ns() - start
        except (ValueError, RuntimeError) as error:
            raise EdgepruneError(f"{self.path.name}: its interpreter failed ({error}); export it again.") from error
        self.spent_ns += elapsed
        return elapsed


def _run_rounds(candidates: Sequence[_Candidate], runs: int, warmup: int, share_s: float | None) -> None:
    # No progress bar: its drawing thread would take time from the cores under test.
    def within(candidate: _Candidate) -> bool:
        return share_s is None or candidate.spent_ns < share_s * 1e9

    for turn in range(warmup + runs):
        first = turn % len(candidates)
        for candidate in [*candidates[first:], *candidates[:first]]:
            if turn < warmup and within(candidate):
                candidate.run()
            elif turn >= warmup and (within(candidate) or not candidate.times_ns):
                candidate.times_ns.append(candidate.run())


def _record(candidate: _Candidate, threads: int, runs: int, detail: dict[str, Any]) -> Measurement:
    p5, median, p95 = (float(value) for value in np.percentile(np.asarray(candidate.times_ns) / 1e6, [5, 50, 95]))
    return Measurement(
        device="host",
        kind="measured",
        unit="ms",
        median=median,
        p5=p5,
        p95=p95,
        runs=len(candidate.times_ns),
        peak_ram_bytes=detail.pop("peak_ram_bytes", None),
        threads=threads,
        model=candidate.path.name,
        sha256=sha256_file(candidate.path),
        detail={**detail, "timed": "inference only", "cut_short": len(candidate.times_ns) < runs},
    )


def _random_input(path: Path, tensor: dict[str, Any], generator: np.random.Generator) -> NDArray[Any]:
    shape, dtype = tuple(tensor["shape"]), np.dtype(tensor["dtype"])
    if np.issubdtype(dtype, np.floating):
        return generator.standard_normal(shape).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    raise EdgepruneError(f"{path.name}: takes {dtype} input, which cannot be drawn at random; give a numeric network.")


def _memory_in_fresh_process(path: Path, threads: int, xnnpack: bool) -> dict[str, Any]:
    """`peak_ram_bytes` and how it was found; a fresh process, as this one's peak holds everything it ever did."""
    if not Path("/proc/self/status").is_file():
        return {"peak_ram": "not known: this system has no /proc/self/status"}
    code = "import sys; from edgeprune.devices import host; host._print_memory(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(path), str(threads), str(int(xnnpack))]
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, timeout=_MEMORY_TIMEOUT_S, check=True, text=True
        )
        result: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return {"peak_ram": f"not known: the process that measures it failed ({type(error).__name__})"}
    return {**result, "peak_ram": "VmHWM of a fresh process, Python included"}


def _print_memory(path: str, threads: str, xnnpack: str) -> None:
    """What the fresh process does."""
    runtime_version()  # loads the interpreter's library, which is not the model's
    before = _status_bytes("VmRSS")
    _Candidate.load(Path(path), int(threads), bool(int(xnnpack)), seed=0).run()
    # Not getrusage: its peak is inherited from the parent across exec.
    print(json.dumps({"peak_ram_bytes": _status_bytes("VmHWM"), "ram_before_model_bytes": before}))


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _cpu_model() -> str:
    """The processor's name; on boards that do not tell it, the board's."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return platform.processor() or platform.machine() or "unknown"


def _check(paths: Sequence[Path], threads: Sequence[int], runs: int, warmup: int, max_seconds: float | None) -> None:
    if not paths:
        raise EdgepruneError("host: no file to measure; give at least one .tflite file.")
    if not threads or min(threads) < 1:
        raise EdgepruneError(f"host: thread counts {list(threads)}; give counts of 1 or more.")
    if runs < 1 or warmup < 0:
        raise EdgepruneError(
            f"host: {runs} runs after {warmup} of warm-up; give at least 1 run and no negative warm-up."
        )
    if max_seconds is not None and max_seconds <= 0:
        raise EdgepruneError(f"host: a limit of {max_seconds} seconds; give a positive one or none.")
