"""The arena a file needs under TensorFlow Lite for Microcontrollers, measured with its own interpreter here."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.checks import Expected
from edgeprune.devices.micro_interpreter import MicroInterpreter, micro_interpreter, require_tflite_micro
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import TIMEOUT_S, BenchRequest, Inputs
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import TFLiteModel

STEP = 16
"""Bytes between two arenas tried; the planner aligns every tensor to as many."""
NOTE = (
    "x86-64 build: pointers are 8 bytes, so the tail (persistent part) is smaller on a 32-bit core; the head is the "
    "same with the same (reference) kernels; CMSIS-NN and ESP-NN may add scratch memory to the head"
)
_AMPLE = (1 << 24, 1 << 28, 1 << 30)
"""Arenas in which a network is first run, in this order; unused pages cost nothing."""
_EXACT = (np.dtype(np.int8), np.dtype(np.uint8))


def measure(request: BenchRequest) -> list[Measurement]:
    """Smallest tensor arena in which TFLite Micro gives the right outputs on every clip.

    Each file is first run in an ample arena, and its outputs are compared with TFLite's. int8 outputs are the same
    bytes except for a step of a dense layer now and then: TFLite's dense kernels round otherwise than those of
    microcontrollers (1 to 3 % of real clips; `detail["checked"]` counts them). Then smaller arenas are tried in a
    process of their own, each of which must give the same bytes as the first. No time is measured: this computer's says
    nothing about a microcontroller's. `detail` splits the used bytes into `head_bytes` (activations and scratch memory)
    and `tail_bytes` (the persistent part).
    """
    version = require_tflite_micro(request.device)
    request.check_one_core()
    return [_measure_file(request, path, version) for path in request.paths]


def _measure_file(request: BenchRequest, path: Path, version: str) -> Measurement:
    expected = Expected.of(request, path)
    say(f"{request.device}: looking for the smallest arena of {path.name}")
    with micro_interpreter(request.device, path, expected.inputs, request.timeout_s) as micro:
        outputs, used = _run_in_ample_arena(micro)
        checked = compare(request.device, path, expected.outputs, outputs, expected.inputs.dtype)
        arena = _smallest(micro, outputs, used)
    detail = {
        "head_bytes": used["head"],
        "tail_bytes": used["tail"],
        "operators": dict(Counter(operators(path))),
        "checked": checked,
        "inputs": expected.source,
        "runtime": f"tflite-micro {version}",
        "note": NOTE,
    }
    return Measurement.of_runs(
        request.device, "measured", "arena_bytes", path, [arena], peak_ram_bytes=arena, detail=detail
    )


def outputs(path: Path, stored: NDArray[Any], device: str = "tflm", timeout_s: float = TIMEOUT_S) -> NDArray[Any]:
    """TFLite Micro's outputs `[n, classes]` for inputs `[n, ...]` as the file stores them.

    For int8 files these are the bytes of other code for microcontrollers too, CMSIS-NN's among them.
    """
    require_tflite_micro(device)
    with micro_interpreter(device, path, stored, timeout_s) as micro:
        return _run_in_ample_arena(micro)[0]


def reference_micro(path: Path, inputs: Inputs, device: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs `[n, ...]` and outputs `[n, classes]` of a file as it stores them, by TFLite Micro's own interpreter.

    Other code for microcontrollers must give these very bytes. TFLite's plain kernels are no oracle for it: their dense
    layers round otherwise, so that an output is a step off on a few of a hundred clips. Fed noise, the ResNet of MLPerf
    Tiny is up to a fifth of a probability off.
    """
    stored = checks.stored_inputs(TFLiteModel(path, xnnpack=False), inputs)
    return stored, outputs(path, stored, device)


def compare(device: str, path: Path, expected: NDArray[Any], micro: NDArray[Any], input_dtype: np.dtype[Any]) -> str:
    """Compare TFLite Micro's outputs with TFLite's, both `[n, classes]`; returns the result in words."""
    if expected.dtype not in _EXACT or input_dtype not in _EXACT or micro.shape != expected.shape:
        error = checks.check_close(device, path, expected, micro)
        return f"within {error:.2g} of TFLite's on {len(expected)} inputs"
    scale = TFLiteModel(path, xnnpack=False).output_quantisation[0]
    differences = micro.astype(np.float64) - expected
    steps = np.abs(differences).max(axis=1)
    another = checks.is_another(differences, expected.astype(np.float64), 1.0)
    if another or steps.max() > max(1.0, checks.tolerance(path, expected) / scale):
        checks.check_exact(device, path, expected, micro)
    equal = int((steps == 0).sum())
    text = f"bytes equal to TFLite's on {equal} of {len(expected)} inputs"
    return text if equal == len(expected) else f"{text}, the others within {steps.max() * scale:.2g}"


def _run_in_ample_arena(micro: MicroInterpreter) -> tuple[NDArray[Any], dict[str, int]]:
    """Outputs `[n, classes]` in an arena with room to spare, and the bytes of its parts: `head` and `tail`."""
    for arena in _AMPLE:
        outputs = micro.run(arena, micro.clips)
        if outputs is not None:
            break
        if "missing:" not in micro.printed:  # printed where an arena is too small
            raise micro.refusal()
    else:
        raise EdgepruneError(
            f"device {micro.device}: {micro.path.name} needs an arena of more than 1 GiB; give a smaller network."
        )
    parts = dict(re.findall(r"Arena allocation (head|tail) (\d+) bytes", micro.printed))
    if parts.keys() != {"head", "tail"}:
        raise EdgepruneError(
            f"device {micro.device}: this version of tflite-micro records no allocations; install another one."
        )
    return outputs, {part: int(size) for part, size in parts.items()}


def _smallest(micro: MicroInterpreter, expected: NDArray[Any], used: dict[str, int]) -> int:
    """Smallest arena, in steps of 16 bytes, that gives `expected`; 16 bytes less was tried and does not."""

    def works(arena: int, clips: int) -> bool:
        outputs = micro.run(arena, clips)
        return outputs is not None and np.array_equal(outputs, expected[:clips])

    # Neither part alone is enough, both together nearly are: planning takes memory of its own for a while.
    low = used["head"] // STEP * STEP
    high = _round_up(used["head"] + used["tail"])
    if low and works(low, 1):
        low = 0
    ahead = STEP
    while not works(high, 1):
        low, high, ahead = high, high + ahead, 2 * ahead
        if high > _AMPLE[-1]:
            name = micro.path.name
            raise CheckFailedError(
                f"device {micro.device}: {name} gives its outputs in no smaller arena; run it again."
            )
    while True:
        while high - low > STEP:  # one clip is nearly always enough; the result is tried on all
            middle = min(_round_up((low + high) // 2), high - STEP)
            low, high = (low, middle) if works(middle, 1) else (middle, high)
        if works(high, len(expected)):
            return high
        low, high = high, high + STEP


def _round_up(size: int) -> int:
    return -(-size // STEP) * STEP
