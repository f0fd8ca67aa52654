"""Cycles and memory of int8 files on Arm's Ethos-U accelerators, estimated by Arm's compiler Vela."""

import csv
import importlib.metadata
import importlib.util
import math
import shutil
import sys
from collections import Counter
from pathlib import Path

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.tools import last_line, run_tool
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.flatbuffer import describe_tensors, operators, unpack_model

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""Accelerators that Vela knows; the last number is MACs a cycle."""
SYSTEMS = {
    "ethos-u55": "Ethos_U55_High_End_Embedded",
    "ethos-u65": "Ethos_U65_Embedded",
    "ethos-u85": "Ethos_U85_SYS_Flash_High",
}
"""System configurations of Vela's Arm/vela.ini: for each family a microcontroller with SRAM, 0.5 GB/s of flash and a
clock of 500 MHz, so that the figures of the families are comparable."""
MEMORY_MODE = "Shared_Sram"
"""Activations in SRAM, shared with the processor; weights stay in flash, as with TFLite Micro."""


def check_name(device: str) -> None:
    """Refuse an accelerator that Vela does not know."""
    if device not in ACCELERATORS:
        raise unknown_name("device", device, ACCELERATORS)


def measure(request: BenchRequest) -> list[Measurement]:
    """Estimate the cycles and memory of each file with Vela.

    Nothing is run on the accelerator or on a model of it. TFLite runs the file itself, so that a broken one gets no
    figures, and the network compiled by Vela must have the same ends. `peak_ram_bytes` is the whole SRAM that Vela lays
    out: activations and the buffers of weights. Operators that stay on the processor are in `detail["cpu_operators"]`,
    and their time is not in the cycles.
    """
    check_name(request.device)
    if importlib.util.find_spec("ethosu") is None or importlib.util.find_spec("ethosu.vela") is None:
        raise EdgepruneError(f"device {request.device}: needs the package ethos-u-vela; pip install 'edgeprune[mcu]'.")
    request.check_one_core()
    return [_measure_file(request, path) for path in request.paths]


def _measure_file(request: BenchRequest, path: Path) -> Measurement:
    device = request.device
    types = sorted({dtype for side in _ends(path) for dtype, _ in side})
    if not set(types) <= {"int8", "int16"}:
        ends = f"{' and '.join(types)} ends, Ethos-U takes int8 and int16"
        raise EdgepruneError(f"device {device}: {path.name} has {ends}; export it as int8.")
    inputs = request.inputs(path)
    checks.reference(path, inputs)
    say(f"{device}: compiling {path.name} with Vela")
    with scratch_folder() as folder:
        row, on_cpu = _compile(request, path, folder)
    cycles = _number(row, "cycles_total", device)
    if cycles <= 0:
        reason = f"{', '.join(sorted(on_cpu))} stay on the processor"
        raise EdgepruneError(
            f"device {device}: none of {path.name} runs on the accelerator ({reason}); export it as int8."
        )
    kib = 1024  # the unit of Vela's memories
    sram_bytes = round(kib * _number(row, "sram_memory_used", device))
    detail = {
        "estimate": "estimated by Arm's Vela, nothing was run; operators on the processor are not in the cycles",
        "accelerator": row.get("accelerator_configuration"),
        "system_config": row.get("system_config"),
        "memory_mode": row.get("memory_mode"),
        "clock_hz": _number(row, "core_clock", device),
        "inference_ms": 1e3 * _number(row, "inference_time", device),
        "npu_cycles": round(_number(row, "cycles_npu", device)),
        "total_cycles": round(cycles),
        "macs": round(_number(row, "nn_macs", device)),  # pooling included
        "flash_bytes": round(kib * _number(row, "off_chip_flash_memory_used", device)),
        "cpu_operators": dict(on_cpu),
        "inputs": inputs.source,
        "compiler": f"ethos-u-vela {importlib.metadata.version('ethos-u-vela')}",
    }
    return Measurement.of_runs(device, "estimated", "cycles", path, [cycles], peak_ram_bytes=sram_bytes, detail=detail)


def _ends(path: Path) -> list[list[tuple[str, list[int]]]]:
    """Type and shape of the inputs, and of the outputs."""
    return [[(end["dtype"], end["shape"]) for end in side] for side in describe_tensors(unpack_model(path))]


def _compile(request: BenchRequest, path: Path, folder: Path) -> tuple[dict[str, str], Counter[str]]:
    """The row of Vela's summary, and the number of operators of each kind that stay on the processor.

    Vela gets a copy with a plain name in a fresh folder, because it writes beside its input.
    """
    shutil.copyfile(path, folder / "network.tflite")
    command: list[str | Path] = [sys.executable, "-m", "ethosu.vela", "network.tflite"]
    command += ["--accelerator-config", request.device, "--config", "Arm/vela.ini", "--memory-mode", MEMORY_MODE]
    command += ["--system-config", SYSTEMS[request.device.rpartition("-")[0]], "--output-dir", "out"]
    done = run_tool(command, request.device, request.timeout_s, cwd=folder)
    summaries, compiled = list((folder / "out").glob("*_summary_*.csv")), folder / "out" / "network_vela.tflite"
    if done.returncode or len(summaries) != 1 or not compiled.is_file():
        reason = last_line(done.stderr if done.stderr.strip() else done.stdout)
        raise EdgepruneError(f"device {request.device}: Vela cannot compile {path.name} ({reason}); export it as int8.")
    if _ends(path) != _ends(compiled):
        fault = f"Vela compiled {path.name} to a network with other ends"
        raise EdgepruneError(f"device {request.device}: {fault}; install another version of it.")
    with summaries[0].open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) != 1:
        raise EdgepruneError(f"device {request.device}: Vela's summary has {len(rows)} rows; install another version.")
    # Vela puts the operators it compiled into a custom operator of its own.
    return rows[0], Counter(name for name in operators(compiled) if name != "ethos-u")


def _number(row: dict[str, str], name: str, device: str) -> float:
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise EdgepruneError(f"device {device}: Vela's summary has no {name}; install another version of it.")
    return value
