"""TFLite's own benchmark_model for Android: where it is, and how its output is read."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices.request import BenchRequest
from edgeprune.devices.settings import setting, settings_path
from edgeprune.devices.tools import last_line
from edgeprune.errors import EdgepruneError

BENCHMARK_MODEL = "EDGEPRUNE_BENCHMARK_MODEL"
"""Environment: the benchmark_model for the phone's processor."""
SETTING = "android.benchmark_model"
_NEEDED_FLAGS = {"--input_layer_value_files", "--input_layer_shape", "--input_layer", "--min_secs", "--num_threads"}


def find_benchmark_model(request: BenchRequest) -> Path:
    """The benchmark_model to use: the request's, else the environment's, else the setting's."""
    name = request.options.benchmark_model or os.environ.get(BENCHMARK_MODEL) or setting(SETTING)
    if not name:
        raise EdgepruneError(
            f"device {request.device}: needs TFLite's benchmark_model for the phone's processor; name it with "
            f"--benchmark-model, in {BENCHMARK_MODEL} or as {SETTING} in {settings_path()}."
        )
    path = Path(name).expanduser().absolute()  # no name may begin with "-"
    if not path.is_file():
        raise EdgepruneError(f"device {request.device}: {path} is no file; name TFLite's benchmark_model there.")
    return path


@dataclass(frozen=True)
class Times:
    """Times that benchmark_model prints, in microseconds of one inference; None where it prints nothing.

    `statistics` names what `p5_us`, `median_us` and `p95_us` really are; `peak_ram_bytes` is the growth of the peak
    resident memory.
    """

    runs: int
    p5_us: float
    median_us: float
    p95_us: float
    statistics: str
    init_ms: float | None
    peak_ram_bytes: int | None


def parse_times(device: str, output: str) -> Times:
    """Read the output of benchmark_model: its last line `count=...` is about the timed runs, an earlier one on warm-up.

    Newer ones end it in `p5= median= p95=`. Older ones print `first= curr= min= max= avg= std=`. Of runs that all took
    equally long, both print `curr=` alone. (tensorflow/core/util/stats_calculator.h,
    tensorflow/lite/tools/benchmark/benchmark_model.cc.)
    """
    line = (re.findall(r"\bcount=\d+.*", output) or [""])[-1]
    values = {name: float(value) for name, value in re.findall(r"(\w+)=([0-9.eE+]+)", line)}
    if {"p5", "median", "p95"} <= values.keys():
        times, statistics = (values["p5"], values["median"], values["p95"]), "percentiles"
    elif {"min", "max", "avg"} <= values.keys():
        # the mean is printed with 6 digits, the others with all
        mean = min(max(values["avg"], values["min"]), values["max"])
        times = values["min"], mean, values["max"]
        statistics = (
            "mean in place of the median, least and largest run in place of p5 and p95: it prints no percentiles"
        )
    else:
        times, statistics = (values.get("curr", -1.0),) * 3, "all runs took equally long"
    runs = int(values.get("count", 0))
    if runs < 1 or times[0] < 0:
        raise EdgepruneError(f"device {device}: benchmark_model printed no times; give one of TFLite's own.")
    init = re.search(r"Inference timings in us: Init: ([0-9.eE+]+)", output)
    memory = re.search(r"[Mm]emory footprint.*\(MB\): init=[0-9.eE+-]+ overall=([0-9.eE+]+)", output)
    init_ms = float(init[1]) / 1000 if init else None
    peak_ram_bytes = round(float(memory[1]) * 1024**2) if memory else None
    return Times(runs, *times, statistics, init_ms, peak_ram_bytes)


def refuse_old(device: str, output: str) -> None:
    """Refuse a benchmark_model that ignores flags which the check of the outputs needs."""
    unknown = _unknown_flags(output)
    if "--output_filepath" in unknown:
        raise cannot_write(device)
    if needed := ", ".join(sorted(unknown & _NEEDED_FLAGS)):
        raise EdgepruneError(f"device {device}: this benchmark_model does not know {needed}; give a newer one.")


def cannot_write(device: str) -> EdgepruneError:
    return EdgepruneError(
        f"device {device}: this benchmark_model cannot write outputs, without which nothing is measured; give one that "
        "knows --output_filepath (TensorFlow 2.11 and newer have it)."
    )


def used_xnnpack(output: str) -> bool | None:
    """Whether XNNPACK took part of the network; None where the output does not show it."""
    if "--use_xnnpack" in _unknown_flags(output) or "will not be executed by the delegate" in output:
        return False
    return True if re.search(r"will be (completely|partially) executed by the delegate", output) else None


def failure_reason(output: str, code: int) -> str:
    """The first line of an error, else the last line."""
    if not output.strip():
        return f"exit code {code}"
    lines = [line for line in output.splitlines() if re.search(r"\b(error|failed|cannot|not executable)\b", line, re.I)]
    return re.sub(r"^(ERROR|FATAL): ", "", (lines or [last_line(output.encode())])[0].strip()).rstrip(".")


def _unknown_flags(output: str) -> set[str]:
    line = re.search(r"Unconsumed cmdline flags:(.*)", output)
    return {word.partition("=")[0] for word in line[1].split()} if line else set()
