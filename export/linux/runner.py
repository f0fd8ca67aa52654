"""Time TFLite files on a Linux board and print the times and outputs as one JSON document.

Needs Python 3.7 or newer, numpy, and one of ai-edge-litert, tflite-runtime and tensorflow. No root, no network.

    python3 runner.py FOLDER

FOLDER holds the files and a `job.json`:

    {"files": [{"model": "model.tflite", "inputs": "clips.npy"}],
     "threads": [1, 2], "runs": 50, "warmup": 5, "timeout_s": 600}

`clips.npy` is `[clips, ...]`: each clip shaped as the model's input without its batch of 1, in the model's own input
type (quantised already where that is an integer). `numpy.save("clips.npy", clips)` writes it.

The document holds `results`, one for each thread count and file: `model`, `threads`, `times_ns` (inference only),
`outputs` (`[clips, classes]`, null for what is not finite) with `outputs_dtype`, `delegate` (whether XNNPACK or another
delegate took part of the network; null: not known), `peak_ram_bytes` (the most resident memory of a fresh process that
runs the file once, Python included) and `ram_before_model_bytes`. It also holds the interpreter, Python, numpy,
processor and its features, board, cores, system, clock governor, temperatures and load; null for what cannot be read.
In every round each file runs once, and the order rotates, so that a drift of the board's speed hits all files alike.

When something fails, `{"error": "..."}` is printed and the exit code is 1.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

INTERPRETERS = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
"""Modules with an `Interpreter`, in the order they are tried, and the packages they come in."""
CPU_FEATURES = ("fma", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "neon", "asimd", "asimddp", "i8mm")
"""Instruction sets of x86 and Arm by which kernels are fast or slow, as Linux names them; *vnni, *dp and i8mm: int8."""


class JobError(Exception):
    """One sentence about a failure."""


def main(arguments: list[str]) -> int:
    """Run as the program; returns the exit code."""
    if len(arguments) == 1:
        return answer(lambda: supervise(arguments[0]))
    # The other forms are for processes that this program starts: the interpreter may crash or hang, and the peak memory
    # of one file can only be measured in a process of its own.
    if len(arguments) == 2 and arguments[0] == "--own-group":
        os.setpgid(0, 0)  # so that whoever started this can end it together with its processes
        return answer(lambda: supervise(arguments[1]))
    if len(arguments) == 2 and arguments[0] == "--time":
        return answer(lambda: time_files(arguments[1], read_job(arguments[1])))
    if len(arguments) == 4 and arguments[0] == "--memory":
        return answer(lambda: memory_of(arguments[1], int(arguments[2]), int(arguments[3])))
    return answer(usage)


def usage() -> dict[str, Any]:
    raise JobError("usage: runner.py FOLDER, where FOLDER holds a job.json")


def answer(work: Callable[[], dict[str, Any]]) -> int:
    """Print what `work` returns, or its error, as the only thing on standard output."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print go to standard error
    try:
        result, code = work(), 0
    except JobError as error:
        result, code = {"error": str(error)}, 1
    except Exception as error:
        result, code = {"error": f"{type(error).__name__}: {first_line(error)}"}, 1
    stream.write(json.dumps(result, allow_nan=False) + "\n")
    stream.close()
    return code


def supervise(folder: str) -> dict[str, Any]:
    """Time the files in one process, find the memory of each in another, and describe the board."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # the process that is waited for is ended first
    job = read_job(folder)
    deadline = time.monotonic() + job["timeout_s"]
    before = {"temperatures_c": temperatures(), "load_average": load_average()}
    timed = in_process(["--time", folder], deadline, job["timeout_s"])
    after = {"temperatures_c": temperatures(), "load_average": load_average()}
    for result in timed["results"]:
        number = result.pop("number")
        result.update(memory_in_process(folder, number, result["threads"], deadline))
    return {**timed, "before": before, "after": after, **describe_board()}


def read_job(folder: str) -> dict[str, Any]:
    """`job.json`, checked, with the defaults filled in."""
    path = os.path.join(folder, "job.json")
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except OSError as error:
        raise JobError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise JobError(f"{path} is not JSON ({error})") from error
    job = {"threads": [1], "runs": 50, "warmup": 5, "timeout_s": 600, **(content if isinstance(content, dict) else {})}
    lists = all(isinstance(job.get(key), list) and job[key] for key in ("files", "threads"))
    good = lists and all(is_entry(entry) for entry in job["files"])
    good = good and all(is_count(value, 1) for value in [*job["threads"], job["runs"]]) and is_count(job["warmup"], 0)
    if not good or not isinstance(job["timeout_s"], (int, float)) or not job["timeout_s"] > 0:
        raise JobError(
            f'{path}: give "files" (each with "model" and "inputs"), "threads" and "runs" of 1 or more, "warmup" of 0 '
            'or more, and "timeout_s" above 0'
        )
    return job


def is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("model", "inputs"))


def is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def in_process(arguments: list[str], deadline: float, limit_s: float) -> dict[str, Any]:
    """The document this program prints in another process, which is ended at the deadline."""
    command = [sys.executable, os.path.abspath(__file__), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        out = process.communicate(timeout=max(0.1, deadline - time.monotonic()))[0]
    except subprocess.TimeoutExpired as error:
        raise JobError(f"gave no answer in {limit_s:g} s and was stopped") from error
    finally:
        process.kill()  # without effect on a process that has ended
        process.wait()
    try:
        result: dict[str, Any] = json.loads(out.decode("utf-8"))
    except ValueError as error:
        raise JobError(f"the interpreter crashed ({ending(process.returncode)})") from error
    if "error" in result:
        raise JobError(result["error"])
    return result


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def memory_in_process(folder: str, number: int, threads: int, deadline: float) -> dict[str, int | None]:
    """`peak_ram_bytes` and `ram_before_model_bytes`; None where they cannot be found."""
    unknown: dict[str, int | None] = {"peak_ram_bytes": None, "ram_before_model_bytes": None}
    if status_bytes("VmHWM") is None or time.monotonic() > deadline:
        return unknown
    try:
        return in_process(["--memory", folder, str(number), str(threads)], deadline, 0)
    except JobError:
        return unknown


def memory_of(folder: str, number: int, threads: int) -> dict[str, int | None]:
    """Load one file, run it once, and measure the memory of that."""
    entry = read_job(folder)["files"][number]
    load_runtime()
    before = status_bytes("VmRSS")
    Candidate(folder, number, entry, threads).run(0)
    return {"peak_ram_bytes": status_bytes("VmHWM"), "ram_before_model_bytes": before}


def time_files(folder: str, job: dict[str, Any]) -> dict[str, Any]:
    """Times and outputs of all files at all thread counts, and the versions of what ran them."""
    numpy, (_, package, version) = load_numpy(), load_runtime()
    results = []
    for threads in job["threads"]:
        candidates = [Candidate(folder, number, entry, threads) for number, entry in enumerate(job["files"])]
        for candidate in candidates:
            candidate.run_clips()
        for turn in range(job["warmup"] + job["runs"]):
            first = turn % len(candidates)
            for candidate in candidates[first:] + candidates[:first]:
                elapsed = candidate.run(turn)
                if turn >= job["warmup"]:
                    candidate.times_ns.append(elapsed)
        results += [candidate.result() for candidate in candidates]
    return {
        "results": results,
        "interpreter": f"{package} {version}" if version else package,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }


class Candidate:
    """A loaded file, its clips, its outputs, and the times of its runs so far."""

    def __init__(self, folder: str, number: int, entry: dict[str, str], threads: int) -> None:
        self.name, self.number, self.threads = entry.get("name", entry["model"]), number, threads
        self.times_ns: list[int] = []
        self.outputs: list[Any] = []
        runtime, package, version = load_runtime()
        try:
            self.interpreter = runtime.Interpreter(os.path.join(folder, entry["model"]), num_threads=threads)
            self.interpreter.allocate_tensors()
            (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise JobError(cannot_load(self.name, error, f"{package} {version or ''}".strip())) from error
        self.clips = load_clips(folder, entry["inputs"], self.name, self.input)

    def run(self, turn: int) -> int:
        """One inference, in nanoseconds; the clips take turns."""
        clip = turn % len(self.clips)
        self.interpreter.set_tensor(self.input["index"], self.clips[clip : clip + 1])
        try:
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            return time.perf_counter_ns() - start
        except (ValueError, RuntimeError) as error:
            raise JobError(f"{self.name} cannot be run ({first_line(error)})") from error

    def run_clips(self) -> None:
        """Run every clip once and keep the outputs."""
        for clip in range(len(self.clips)):
            self.run(clip)
            self.outputs.append(self.interpreter.get_tensor(self.output["index"]).reshape(-1))

    def result(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "number": self.number,
            "threads": self.threads,
            "times_ns": self.times_ns,
            "outputs": [[plain(value) for value in row.tolist()] for row in self.outputs],
            "outputs_dtype": str(self.outputs[0].dtype),
            "delegate": self.delegate(),
        }

    def delegate(self) -> bool | None:
        """Whether a delegate took part of the network, from a method that interpreters do not promise."""
        try:
            return any(operator["op_name"] == "DELEGATE" for operator in self.interpreter._get_ops_details())
        except Exception:
            return None


def load_clips(folder: str, file: str, model: str, tensor: dict[str, Any]) -> Any:
    """`[clips, ...]` of the shape and type of the input tensor."""
    numpy = load_numpy()
    try:
        clips = numpy.load(os.path.join(folder, file), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise JobError(f"{file} cannot be read ({first_line(error)})") from error
    shape, clip_shape, dtype = (
        [int(size) for size in tensor["shape"]],
        [1, *clips.shape[1:]],
        numpy.dtype(tensor["dtype"]),
    )
    if not clips.size or shape != clip_shape or clips.dtype != dtype:
        raise JobError(f"{model} takes {dtype} {shape} but {file} holds {clips.dtype} {clip_shape}")
    return clips


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return value if not isinstance(value, float) or abs(value) < float("inf") else None


def cannot_load(name: str, error: Exception, runtime: str) -> str:
    """The reason why an interpreter refuses a file: on boards mostly that it is older than the exporter."""
    operator = re.search(r"builtin opcode '(\w+)' version '(\d+)'", str(error))
    if not operator:
        return f"{name} cannot be loaded by {runtime} ({first_line(error)})"
    return (
        f"{name} has {operator.group(1)} of version {operator.group(2)}, which the board's {runtime} does not know "
        "(files with dynamic range need a newer one); install ai-edge-litert there, or export to int8 or float32"
    )


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def load_numpy() -> ModuleType:
    try:
        import numpy
    except Exception as error:
        raise JobError(f"{here()} has no numpy that loads ({first_line(error)}); install numpy there") from error
    return numpy


def load_runtime() -> tuple[ModuleType, str, str | None]:
    """The module with the interpreter, its package and the package's version; None where there is no version."""
    load_numpy()
    broken = []
    for name, package in INTERPRETERS:
        try:
            return importlib.import_module(name), package, version_of(name, package)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != name.split(".")[0]:
                broken.append(f"{package}: {first_line(error)}")
        except Exception as error:  # such as a build for another numpy
            broken.append(f"{package}: {first_line(error)}")
    reasons = f" that loads ({'; '.join(broken)})" if broken else ""
    raise JobError(f"{here()} has no TFLite interpreter{reasons}; install ai-edge-litert or tflite-runtime there")


def version_of(module: str, package: str) -> str | None:
    try:
        from importlib import metadata  # Python 3.8

        return metadata.version(package)
    except Exception:
        return getattr(sys.modules.get(module.split(".")[0]), "__version__", None)


def here() -> str:
    return f"{sys.executable} (Python {platform.python_version()})"


def describe_board() -> dict[str, Any]:
    """Processor and its features, board, cores, system and clock governor."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": cpu_value("model name"),
        "cpu_features": cpu_features(),
        "board": read_text("/proc/device-tree/model"),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def cpu_features() -> str | None:
    """Those of `CPU_FEATURES` that the processor has, such as "fma, avx2"; "" for none of them."""
    flags = cpu_value("flags") or cpu_value("Features")  # on x86, on Arm
    return None if flags is None else ", ".join(name for name in CPU_FEATURES if name in flags.split())


def cpu_value(name: str) -> str | None:
    """A line of Linux's description of the first processor."""
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def temperatures() -> dict[str, float] | None:
    """Degrees Celsius by the name of the sensor; None where there is none."""
    degrees: dict[str, float] = {}
    for zone in sorted(glob.glob("/sys/class/thermal/thermal_zone*")):
        text, name = read_text(os.path.join(zone, "temp")), read_text(os.path.join(zone, "type"))
        if text is not None and text.lstrip("-").isdigit():
            number = os.path.basename(zone)
            degrees[f"{name} ({number})" if name else number] = int(text) / 1000
    return degrees or None


def load_average() -> list[float] | None:
    """Of the last 1, 5 and 15 minutes."""
    try:
        return list(os.getloadavg())
    except OSError:
        return None


def status_bytes(name: str) -> int | None:
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def read_text(path: str) -> str | None:
    """The text of a file of the system, None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip("\0 \n") or None
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
