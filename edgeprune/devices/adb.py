"""Latency of TFLite files on an Android phone: TFLite's own benchmark_model, over adb; the phone keeps nothing."""

import math
import os
import re
import secrets
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.settings import setting, settings_path
from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.tflite.interpreter import TFLiteModel

BENCHMARK_MODEL = "EDGEPRUNE_BENCHMARK_MODEL"
"""Environment: the benchmark_model for the phone's processor."""
SETTING = "android.benchmark_model"
WARMUP = 5
_PLACE = "/data/local/tmp"
"""The folder of a phone where adb may write and run programs."""
_CLEAN_S = 15.0
_REFUSALS = {
    "unauthorized": "has not allowed this computer; unlock the phone and confirm USB debugging",
    "more than one": "is one of several; give its serial as adb:SERIAL (adb devices lists them)",
    "no devices": "is not there; connect a phone with USB debugging switched on",
    "not found": "is not there; adb devices lists the ones that are",
    "authorizing": "has not allowed this computer yet; unlock the phone and confirm USB debugging",
    "offline": "does not answer; reconnect the phone",
    "no permissions": "cannot be used by this user; set the udev rules of Android phones",
    "insufficient permissions": "cannot be used by this user; set the udev rules of Android phones",
}
"""What adb says about a phone it does not reach, and what that means."""
_PROPERTIES = {
    "manufacturer": "ro.product.manufacturer",
    "phone": "ro.product.model",
    "android": "ro.build.version.release",
    "abi": "ro.product.cpu.abi",
    "cpu": "ro.soc.model",
    "board": "ro.board.platform",
}
"""Names in `Measurement.detail` and the system properties they come from."""


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files, one after the other, with benchmark_model on a phone.

    benchmark_model and the files go into a fresh folder under /data/local/tmp, which is removed afterwards. Each clip
    is run once and its output fetched (`--output_filepath`) and compared with the reference, within
    `checks.TOLERANCE`; only then the file is timed, on the first clip, and that output compared too.

    Args:
        request: `device` is `adb:SERIAL`, or `adb:` where only one phone is connected; `options.benchmark_model`
            comes before the environment's `EDGEPRUNE_BENCHMARK_MODEL` and the setting `android.benchmark_model`;
            `timeout_s` is for each run.

    Returns:
        One record a thread count and file, in that order; `kind` is `measured`, `unit` is `ms`. Where benchmark_model
        prints no percentiles, `median` is the mean and `p5` and `p95` are the least and the largest run, as
        `detail["statistics"]` tells. `peak_ram_bytes` is what benchmark_model calls the overall memory footprint: how
        much the peak of its resident memory grew.

    Raises:
        EdgepruneError: a wrong serial, something missing, no answer in time, or a benchmark_model that cannot write
            outputs.
        CheckFailedError: the phone computes something else.
    """
    phone = _Phone.connect(request)
    benchmark = find_benchmark_model(request)
    about = phone.describe()
    folder = f"{_PLACE}/edgeprune-{secrets.token_hex(8)}"
    try:
        phone.shell(f"mkdir {folder} && chmod 700 {folder}")
        phone.push(benchmark, f"{folder}/benchmark_model")
        phone.shell(f"chmod 700 {folder}/benchmark_model")
        tasks = [_Task.prepare(request, phone, folder, number, path) for number, path in enumerate(request.paths)]
        return [
            _measure_file(request, phone, task, threads, {**about, "benchmark_model_sha256": sha256_file(benchmark)})
            for threads in request.threads
            for task in tasks
        ]
    finally:
        phone.clean(folder)


def parse(device: str) -> str | None:
    """The serial in `adb:SERIAL`, None in `adb:`.

    Raises:
        EdgepruneError: it is something else, or could pass for an option of adb.
    """
    prefix, _, serial = device.partition(":")
    if prefix != "adb" or ":" not in device or not re.fullmatch(r"([A-Za-z0-9._:][A-Za-z0-9._:-]*)?", serial):
        shown = device if device.isprintable() else repr(device)
        raise EdgepruneError(f"device {shown}: is no phone; give adb: or adb:SERIAL, as adb devices lists it.")
    return serial or None


def find_benchmark_model(request: BenchRequest) -> Path:
    """The benchmark_model to use: the job's, else the environment's, else the setting's.

    Raises:
        EdgepruneError: none is named, or there is no file.
    """
    named = request.options.benchmark_model or os.environ.get(BENCHMARK_MODEL) or setting(SETTING)
    if not named:
        raise EdgepruneError(
            f"device {request.device}: needs TFLite's benchmark_model for the phone's processor; name it with "
            f"--benchmark-model, in {BENCHMARK_MODEL} or as {SETTING} in {settings_path()}."
        )
    path = Path(named).expanduser().absolute()  # no name may begin with "-"
    if not path.is_file():
        raise EdgepruneError(f"device {request.device}: {path} is no file; name TFLite's benchmark_model there.")
    return path


@dataclass(frozen=True)
class _Phone:
    """A phone that adb reaches."""

    device: str
    command: tuple[str, ...]
    timeout_s: float

    @classmethod
    def connect(cls, request: BenchRequest) -> "_Phone":
        serial = parse(request.device)
        request.check()
        adb = require("adb", request.device)
        phone = cls(request.device, (adb, "-s", serial) if serial else (adb,), request.timeout_s)
        done = phone.call("get-state")
        if done.returncode == 0 and done.stdout.strip().endswith(b"device"):
            return phone
        said = (done.stderr + done.stdout).decode("utf-8", "replace")
        for words, meaning in _REFUSALS.items():
            if words in said:
                raise EdgepruneError(f"device {request.device}: {meaning}.")
        raise EdgepruneError(f"device {request.device}: cannot be used ({last_line(said.encode())}); see adb devices.")

    def call(self, *words: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[bytes]:
        return run_tool([*self.command, *words], self.device, timeout_s or self.timeout_s)

    def shell(self, line: str) -> str:
        """What a line of the phone's shell prints; it must succeed."""
        done = self.call("shell", line)
        if done.returncode:
            raise self._failed(line.split(" ", 1)[0], done)
        return done.stdout.decode("utf-8", "replace")

    def push(self, path: Path, target: str) -> None:
        done = self.call("push", str(path.absolute()), target)
        if done.returncode:
            raise self._failed("adb push", done)

    def pull(self, source: str) -> bytes | None:
        """The content of a file, None where there is none."""
        with tempfile.TemporaryDirectory(prefix="edgeprune-adb-") as folder:
            local = Path(folder) / "pulled"
            done = self.call("pull", source, str(local))
            return local.read_bytes() if done.returncode == 0 and local.is_file() else None

    def describe(self) -> dict[str, Any]:
        """What the phone says about itself; None for what it does not tell."""
        asked = [f"echo {name}=$(getprop {shlex.quote(key)})" for name, key in _PROPERTIES.items()]
        asked.append("echo governor=$(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)")
        lines = (line.partition("=") for line in self.shell("; ".join(asked)).splitlines())
        found = {name: value.strip() or None for name, _, value in lines}
        return {name: found.get(name) for name in (*_PROPERTIES, "governor")}

    def abi(self) -> str:
        """The kind of programs it runs, such as `arm64-v8a`."""
        return self.shell("getprop ro.product.cpu.abi").strip() or "the phone's processor"

    def temperatures(self) -> dict[str, float] | None:
        """Degrees Celsius by the name of the sensor; None where none can be read."""
        line = (
            "for zone in /sys/class/thermal/thermal_zone*; do echo $(cat $zone/type 2>/dev/null)"
            "=$(cat $zone/temp 2>/dev/null); done"
        )
        found = {}
        for text in self.shell(line).splitlines():
            name, _, value = text.rpartition("=")
            if re.fullmatch(r"-?\d+", value.strip()):
                degrees = int(value)
                found[name] = degrees / 1000 if abs(degrees) >= 1000 else float(degrees)  # some sensors give degrees
        return found or None

    def clean(self, folder: str) -> None:
        """Remove the folder, and end what still runs from it; a phone that is gone keeps both until it restarts."""
        line = f"[ -f {folder}/pid ] && kill -9 $(cat {folder}/pid) 2>/dev/null; rm -rf {folder}"
        try:
            removed = self.call("shell", line, timeout_s=_CLEAN_S).returncode == 0
        except EdgepruneError:
            removed = False
        if not removed:
            say(f"{self.device}: {folder} could not be removed; remove it by hand")

    def _failed(self, what: str, done: subprocess.CompletedProcess[bytes]) -> EdgepruneError:
        reason = last_line(done.stderr if done.stderr.strip() else done.stdout)
        return EdgepruneError(f"device {self.device}: {what} failed ({reason}); check the phone and its free memory.")


@dataclass(frozen=True, eq=False)
class _Task:
    """A file on the phone, its clips there, and what must come out."""

    path: Path
    model: str
    clips: tuple[str, ...]
    shape: str
    source: str
    expected: NDArray[Any]

    @classmethod
    def prepare(cls, request: BenchRequest, phone: _Phone, folder: str, number: int, path: Path) -> "_Task":
        """Push the file and its clips, under names of our own."""
        inputs = request.inputs(path)
        stored, expected = checks.reference(path, inputs)
        model = f"{folder}/model{number}.tflite"
        phone.push(path, model)
        clips = tuple(f"{folder}/input{number}_{clip}.bin" for clip in range(len(stored)))
        with tempfile.TemporaryDirectory(prefix="edgeprune-adb-") as local:
            for name, clip in zip(clips, stored, strict=True):
                raw = Path(local) / "clip"
                raw.write_bytes(clip.tobytes())
                phone.push(raw, name)
        shape = ",".join(str(size) for size in TFLiteModel(path).input_shape)
        return cls(Path(path), model, clips, shape, inputs.source, expected)


def _measure_file(
    request: BenchRequest, phone: _Phone, task: _Task, threads: int, about: dict[str, Any]
) -> Measurement:
    say(f"{request.device}: checking and timing {task.path.name}, {request.runs} runs, {threads} thread(s)")
    outputs = [_run(request, phone, task, clip, threads, runs=1, warmup=1)[0] for clip in range(len(task.clips))]
    error = checks.check_close(request.device, task.path, task.expected, np.stack(outputs))
    before = phone.temperatures()
    output, said = _run(request, phone, task, 0, threads, request.runs, WARMUP)
    checks.check_close(request.device, task.path, task.expected[:1], output[np.newaxis])
    times = parse_times(request.device, said)
    return Measurement(
        device=request.device,
        kind="measured",
        unit="ms",
        median=times.median_us / 1000,
        p5=times.p5_us / 1000,
        p95=times.p95_us / 1000,
        runs=times.runs,
        peak_ram_bytes=times.peak_ram_bytes,
        threads=threads,
        model=task.path.name,
        sha256=sha256_file(task.path),
        detail={
            **about,
            "runtime": "TFLite's benchmark_model",
            "statistics": times.statistics,
            "init_ms": times.init_ms,
            "xnnpack": _used_xnnpack(said),
            "warmup": WARMUP,
            "cut_short": times.runs < request.runs,
            "temperatures_before_c": before,
            "temperatures_after_c": phone.temperatures(),
            "peak_ram": "growth of the peak resident memory of benchmark_model, as it prints it",
            "checked": f"within {error:.2g} of TFLite's on {len(outputs)} inputs",
            "inputs": task.source,
        },
    )


def _run(
    request: BenchRequest, phone: _Phone, task: _Task, clip: int, threads: int, runs: int, warmup: int
) -> tuple[NDArray[Any], str]:
    """Run benchmark_model on a clip: the output, and what it printed."""
    folder = task.model.rpartition("/")[0]
    written = f"{folder}/output{secrets.token_hex(4)}.bin"
    flags = {
        "graph": task.model,
        "input_layer": "input",  # any name will do: there is one input
        "input_layer_shape": task.shape,
        "input_layer_value_files": f"input:{task.clips[clip]}",
        "output_filepath": written,
        "num_threads": threads,
        "num_runs": runs,
        "min_secs": 0,  # else short runs are repeated for a second
        "max_secs": math.ceil(request.timeout_s),
        "warmup_runs": warmup,
        "warmup_min_secs": 0,
        "use_xnnpack": "true",
    }
    words = [f"{folder}/benchmark_model", *(f"--{name}={value}" for name, value in flags.items())]
    # The shell's own number becomes that of benchmark_model, so that it can be ended when it hangs.
    done = phone.call("shell", f"echo $$ > {folder}/pid; exec {shlex.join(words)}")
    said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace").replace("\r", "")
    _refuse_old(request.device, said)
    content = phone.pull(written)
    if done.returncode or "Inference timings in us" not in said:
        raise EdgepruneError(
            f"device {request.device}: benchmark_model did not run {task.path.name} "
            f"({_reason(said, done.returncode)}); check the file, and that the benchmark_model is for {phone.abi()}."
        )
    if content is None:
        raise _cannot_write(request.device)
    if len(content) != task.expected[0].nbytes:
        raise EdgepruneError(
            f"device {request.device}: benchmark_model wrote {len(content)} bytes for {task.path.name} where "
            f"{task.expected[0].nbytes} were due; give one that writes the outputs as they are."
        )
    return np.frombuffer(content, dtype=task.expected.dtype), said


def _refuse_old(device: str, said: str) -> None:
    """Refuse a benchmark_model that passes over flags which the check needs."""
    unknown = _unknown_flags(said)
    if "--output_filepath" in unknown:
        raise _cannot_write(device)
    needed = {"--input_layer_value_files", "--input_layer_shape", "--input_layer", "--min_secs", "--num_threads"}
    if unknown & needed:
        raise EdgepruneError(
            f"device {device}: this benchmark_model does not know {', '.join(sorted(unknown & needed))}; give a newer "
            "one."
        )


def _unknown_flags(said: str) -> set[str]:
    found = re.search(r"Unconsumed cmdline flags:(.*)", said)
    return {word.partition("=")[0] for word in found[1].split()} if found else set()


def _used_xnnpack(said: str) -> bool | None:
    """Whether XNNPACK took part of the network; None where it is not told."""
    if "--use_xnnpack" in _unknown_flags(said) or "will not be executed by the delegate" in said:
        return False
    return True if re.search(r"will be (completely|partially) executed by the delegate", said) else None


def _cannot_write(device: str) -> EdgepruneError:
    return EdgepruneError(
        f"device {device}: this benchmark_model cannot write outputs, without which nothing is measured; give one that "
        "knows --output_filepath (TensorFlow 2.11 and newer have it)."
    )


def _reason(said: str, code: int) -> str:
    """The line of an error, else the last one."""
    lines = [line for line in said.splitlines() if re.search(r"\b(error|failed|cannot|not executable)\b", line, re.I)]
    text = re.sub(r"^(ERROR|FATAL): ", "", (lines or [last_line(said.encode())])[0].strip()).rstrip(".")
    return text if said.strip() else f"exit code {code}"


@dataclass(frozen=True)
class Times:
    """What benchmark_model found, in microseconds of one inference.

    Attributes:
        statistics: what `p5_us`, `median_us` and `p95_us` really are.
    """

    runs: int
    p5_us: float
    median_us: float
    p95_us: float
    statistics: str
    init_ms: float | None
    peak_ram_bytes: int | None


def parse_times(device: str, said: str) -> Times:
    """Read what benchmark_model printed: its last line `count=...` is about the timed runs, the one before on warm-up.

    Newer ones end it in `p5= median= p95=`. Older ones print `first= curr= min= max= avg= std=`; of runs that all took
    equally long, every one prints `curr=` alone. (tensorflow/core/util/stats_calculator.h,
    tensorflow/lite/tools/benchmark/benchmark_model.cc.)

    Raises:
        EdgepruneError: there is no such line, or no run.
    """
    lines = re.findall(r"\bcount=\d+.*", said)
    values = {name: float(value) for name, value in re.findall(r"(\w+)=([0-9.eE+]+)", lines[-1])} if lines else {}
    runs = int(values.get("count", 0))
    if {"p5", "median", "p95"} <= values.keys():
        p5, median, p95, what = values["p5"], values["median"], values["p95"], "percentiles"
    elif {"min", "max", "avg"} <= values.keys():
        p5, p95 = values["min"], values["max"]
        median = min(max(values["avg"], p5), p95)  # the mean is printed with 6 digits, the others with all
        what = "mean in place of the median, least and largest run in place of p5 and p95: it prints no percentiles"
    elif "curr" in values:
        p5 = median = p95 = values["curr"]
        what = "all runs took equally long"
    else:
        runs = 0
    if runs < 1:
        raise EdgepruneError(f"device {device}: benchmark_model printed no times; give one of TFLite's own.")
    init = re.search(r"Inference timings in us: Init: ([0-9.eE+]+)", said)
    memory = re.search(r"[Mm]emory footprint.*\(MB\): init=[0-9.eE+-]+ overall=([0-9.eE+]+)", said)
    return Times(
        runs,
        p5,
        median,
        p95,
        what,
        float(init[1]) / 1000 if init else None,
        round(float(memory[1]) * 1024**2) if memory else None,
    )
