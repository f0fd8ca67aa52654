"""The check of a device's outputs against the file's own: without it no latency is reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.errors import CheckFailedError
from edgeprune.tflite.flatbuffer import operator_names, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel

TOLERANCE = 0.06
"""Largest difference of a probability between kernels that round differently: XNNPACK's integers may be a step apart a
layer, which softmax turns into several hundredths. Of numbers of another kind it is a share of their range."""
DEPTH_TOLERANCE = 0.02
"""The same times the root of the number of operators, where that is more: rounding adds up by chance. MobileNetV3-Small
has 108, and right kernels were seen 0.14 apart (80 clips of ESC-10, XNNPACK)."""
FLOAT_TOLERANCE = 1e-3
"""The same share for a file that computes in float32 alone."""
NOISE = 0.5
"""Largest root mean square of all differences, as a share of the outputs' own standard deviation."""
STEPS = 4
"""Steps of an output, or of the logits before its softmax, that kernels may be apart whatever the range."""


_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)


@dataclass(frozen=True, eq=False)
class Expected:
    """The inputs `[n, ...]` a file is checked on, and its outputs `[n, classes]`, as `reference` gives them.

    `source` names where the inputs come from.
    """

    path: Path
    inputs: NDArray[Any]
    outputs: NDArray[Any]
    source: str

    @staticmethod
    def of(request: BenchRequest, path: Path, several: bool = False) -> Expected:
        inputs = request.inputs(path)
        return Expected(path, *reference(path, inputs, several), inputs.source)


def reference(path: Path | str, inputs: Inputs, several: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs `[n, ...]` and outputs `[n, classes]` by TFLite's plain kernels, both as the file stores them.

    `several` outputs are taken where they may be: as real numbers, beside each other.
    """
    model = TFLiteModel(path, xnnpack=False)
    stored = stored_inputs(model, inputs)
    run = model.invoke_flat if several else model.invoke_raw
    outputs = np.concatenate([run(one[np.newaxis]).reshape(1, -1) for one in stored])
    return stored, outputs


def stored_inputs(model: TFLiteModel, inputs: Inputs) -> NDArray[Any]:
    """Inputs `[n, ...]` as the file stores them, in its shape."""
    stored = model.quantise(inputs.values)
    return stored.reshape(len(stored), *model.input_shape[1:])


def check_exact(device: str, path: Path | str, expected: NDArray[Any], outputs: NDArray[Any]) -> None:
    """Refuse outputs that are not byte for byte those of the reference."""
    where = f"device {device}: {Path(path).name}"
    if outputs.shape != expected.shape or outputs.dtype != expected.dtype:
        given, due = f"{outputs.dtype} {list(outputs.shape)}", f"{expected.dtype} {list(expected.shape)}"
        raise CheckFailedError(f"{where} gave {given} where {due} was due; nothing was measured.")
    if wrong := int((outputs != expected).any(axis=1).sum()):
        clips = f"{wrong} of {len(expected)} clips"
        raise CheckFailedError(f"{where} computes something else on {clips}; nothing was measured.")


def tolerance(path: Path | str, expected: NDArray[Any]) -> float:
    """The largest difference of an output's values that kernels explain, by what the output is.

    Args:
        expected: the outputs `[n, values]` as the file stores them.
    """
    model, unpacked = TFLiteModel(path), unpack_model(path)
    graph = unpacked.subgraphs[0]
    names = operator_names(unpacked)[: len(graph.operators)]
    whole = all(tensor.type not in _INTEGERS for tensor in graph.tensors)
    rounding = TOLERANCE if whole else max(TOLERANCE, DEPTH_TOLERANCE * len(names) ** 0.5)
    ends = [place for place, name in enumerate(names) if name in ("SOFTMAX", "LOGISTIC")]
    if model.outputs == 1 and ends and set(names[ends[-1] + 1 :]) <= {"QUANTIZE", "DEQUANTIZE", "RESHAPE"}:
        logits = graph.tensors[graph.operators[ends[-1]].inputs[0]].quantization
        scales = [] if logits is None or logits.scale is None else list(logits.scale)
        # a difference d of two logits moves a probability by tanh(d / 4) at most
        return max(rounding, float(np.tanh(2 * STEPS * scales[0] / 4)) if len(scales) == 1 else 0.0)
    values = model.dequantise(expected)
    step = max(model.step(number) for number in range(model.outputs))
    return max(STEPS * step, (FLOAT_TOLERANCE if whole else rounding) * float(np.ptp(values)))


def check_close(device: str, path: Path | str, expected: NDArray[Any], outputs: NDArray[Any]) -> float:
    """The largest difference of real values from the reference; more than `tolerance` is refused.

    So are the outputs of another network; see `is_another`.
    """
    if outputs.shape != expected.shape or outputs.dtype != expected.dtype:
        check_exact(device, path, expected, outputs)
    model, limit = TFLiteModel(path), tolerance(path, expected)
    due = model.dequantise(expected).astype(np.float64)
    differences = model.dequantise(outputs).astype(np.float64) - due
    error = float(np.abs(differences).max())
    if not error <= limit:
        excess = f"differs from the reference by {error:.3g}, more than {limit:.3g}"
        raise CheckFailedError(f"device {device}: {Path(path).name} {excess}; nothing was measured.")
    step = max(model.step(number) for number in range(model.outputs))
    if is_another(differences, due, step):
        where = f"device {device}: {Path(path).name}"
        raise CheckFailedError(f"{where} computes something else than the reference; nothing was measured.")
    return error


def is_another(differences: NDArray[np.float64], expected: NDArray[np.float64], step: float) -> bool:
    """Whether differences together are as large as what the outputs tell: then another network computed them."""
    noise = float(np.sqrt(np.mean(differences**2)))
    return noise > max(NOISE * float(expected.std()), STEPS * step)
