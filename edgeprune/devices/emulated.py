"""Instructions and memory of int8 networks on emulated boards: QEMU runs the C code that would ship.

An instruction is not a cycle: loads that wait for flash, branches and multiplications take more than one, and a
Cortex-M7 may start two at once. Counts compare networks on one processor.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import cycles, qemu
from edgeprune.devices.boards import board_of
from edgeprune.devices.network_program import NetworkCode, NetworkProgram
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.tflm import reference_micro
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.firmware.c11 import CompiledLayer
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.cost import cost_of_tflite
from edgeprune.tflite.flatbuffer import operators

LAYER_CLIPS = 3
"""Clips on which the instructions of each layer are counted; the counts hardly depend on the clip."""

Engine = Callable[[Path, Path, str], NetworkCode]
"""Compiles a file into a folder for a device."""


def measure_emulated(request: BenchRequest, engine: Engine) -> list[Measurement]:
    """Count the instructions and memory of each file, whose outputs must be TFLite Micro's, byte for byte.

    Median and percentiles are over the clips.
    """
    board_of(request.device)
    request.check()
    request.check_one_core()
    if request.options.clock_hz and request.device not in cycles.BOARDS:
        known = ", ".join(cycles.BOARDS)
        raise EdgepruneError(
            f"device {request.device}: a time needs an estimate of cycles, which only {known} has; leave --clock out."
        )
    tools = qemu.versions(request.device)
    return [_measure_file(request, path, engine, tools) for path in request.paths]


def _measure_file(request: BenchRequest, path: Path, engine: Engine, tools: dict[str, str]) -> Measurement:
    say(f"{request.device}: compiling {path.name} and running it in QEMU")
    with scratch_folder() as folder:
        code = engine(path, folder, request.device)
        inputs = request.inputs(path)
        stored, expected = reference_micro(code.tflite, inputs, request.device)
        program = NetworkProgram(request, path, code, folder)
        bare, stack_bytes = program.bare()
        counts = program.check(stored, expected)
        layers = program.layers(stored[:LAYER_CLIPS], expected[:LAYER_CLIPS])
        estimated = _estimate(program, stored)
    instructions, macs = float(np.median(counts)), cost_of_tflite(path).macs
    detail: dict[str, Any] = {
        "board": board_of(request.device).description,
        "note": "instructions are not cycles: a time needs the board itself",
        "optimise": qemu.OPTIMISE,
        "macs": macs,
        "instructions_per_mac": round(instructions / macs, 3) if macs else None,
        "flash_bytes": bare.flash_bytes,
        "stack_bytes": stack_bytes,
        **code.facts,
        **estimated,
        "by_layer": _name_layers(path, code.layers, layers),
        **tools,
        "inputs": inputs.source,
        "outputs": f"byte for byte those of TFLite Micro on {len(counts)} clips",
    }
    ram_bytes = bare.ram_bytes + stack_bytes
    return Measurement.of_runs(
        request.device, "emulated", "instructions", path, counts, peak_ram_bytes=ram_bytes, detail=detail
    )


def _estimate(program: NetworkProgram, stored: NDArray[Any]) -> dict[str, Any]:
    """Cycles and, at a clock, the time of an inference; a note where this computer cannot estimate them."""
    request = program.request
    if request.device not in cycles.BOARDS:
        return {}
    try:
        calibration = cycles.calibrate(request.device, request.timeout_s)
        counted = program.cycles(stored)
    except CheckFailedError:
        raise
    except EdgepruneError as error:
        return {"no_estimate_of_cycles": str(error)}
    value = counted.with_refill(calibration.refill)
    least, *_, most = (counted.with_refill(refill) for refill in cycles.REFILLS)
    published = f"{cycles.PUBLISHED_DMIPS} DMIPS/MHz"
    estimates: dict[str, Any] = {
        "estimated_cycles": {
            "value": value,
            "least": least,
            "most": most,
            "assumes": f"memory without wait states; {calibration.refill} cycles to fill the pipeline, of 1 to 3",
            "source": "executed blocks, and the cycle table of Arm DDI 0439B, section 3.3.1",
            "error": f"{calibration.error:+.1%} on a loop like Dhrystone, for which Arm publishes {published}",
        }
    }
    if clock_hz := request.options.clock_hz:
        estimates["estimated_ms"] = {
            "value": round(value / clock_hz * 1e3, 3),
            "assumes": f"the estimated cycles, at {clock_hz / 1e6:g} MHz",
        }
    return estimates


def _name_layers(path: Path, layers: tuple[CompiledLayer, ...], counts: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Instructions of each layer, with its name from `edgeprune cost`."""
    costs = iter(cost_of_tflite(path).by_layer)  # has no entry for operators that only rename memory
    pairs = [(name, None if name == "RESHAPE" else next(costs, None)) for name in operators(path)]
    described = []
    for layer, instructions in zip(layers, counts, strict=True):
        operator, entry = ("", None) if layer.operator is None else pairs[layer.operator]
        name, macs = (entry.name, entry.macs) if entry else ("", 0)
        counted = {"kernel": layer.kernel, "macs": macs, "instructions": float(instructions)}
        described.append({"name": name, "operator": operator, **counted})
    return described
