"""Whether a device computes what the file says: without this no latency is reported."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.devices.job import Inputs
from edgeprune.errors import CheckFailedError
from edgeprune.tflite.interpreter import TFLiteModel

TOLERANCE = 0.06
"""Largest difference of a probability between kernels that round differently: XNNPACK's integers may be a step apart a
layer, which softmax turns into several hundredths."""


def reference(path: Path | str, inputs: Inputs) -> tuple[NDArray[Any], NDArray[Any]]:
    """What goes into the file and what must come out of it, as the file stores both.

    TFLite's plain kernels compute the outputs.

    Returns:
        `[n, ...]` inputs in the file's input type, `[n, classes]` outputs in its output type.
    """
    model = TFLiteModel(path, xnnpack=False)
    stored = model.quantise(inputs.values)
    outputs = np.concatenate([model.invoke_raw(one[np.newaxis]).reshape(1, -1) for one in stored])
    return stored, outputs


def reference_micro(path: Path | str, inputs: Inputs, device: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same by TFLite Micro's own interpreter, whose very bytes other code for microcontrollers must give.

    TFLite's plain kernels are no oracle for it: their dense layers round otherwise, so that an output is a step off on
    a few of a hundred clips.

    Raises:
        EdgepruneError: tflite-micro is not installed or cannot run the file.
        CheckFailedError: the two differ by more than their rounding explains.
    """
    from edgeprune.devices import tflm

    stored, expected = reference(path, inputs)
    outputs = tflm.outputs(Path(path), stored, device)
    tflm.compare(device, Path(path), expected, outputs, stored.dtype)
    return stored, outputs


def check_exact(device: str, path: Path | str, expected: NDArray[Any], got: NDArray[Any]) -> None:
    """Refuse outputs that are not byte for byte those of the reference.

    Raises:
        CheckFailedError: they differ, or are of another shape or type.
    """
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise CheckFailedError(
            f"device {device}: {Path(path).name} gave {got.dtype} {list(got.shape)} where {expected.dtype} "
            f"{list(expected.shape)} was due; nothing was measured."
        )
    wrong = int((got != expected).any(axis=1).sum())
    if wrong:
        raise CheckFailedError(
            f"device {device}: {Path(path).name} computes something else on {wrong} of {len(expected)} clips; "
            "nothing was measured."
        )


def check_close(device: str, path: Path | str, expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Refuse outputs whose real values are further than `TOLERANCE` from the reference's.

    Returns:
        the largest difference, in the unit of the output.

    Raises:
        CheckFailedError: one is further off or not a number, or the shape or type is another.
    """
    if got.shape != expected.shape or got.dtype != expected.dtype:
        check_exact(device, path, expected, got)
    model = TFLiteModel(path)
    error = float(np.abs(model.dequantise(got).astype(np.float64) - model.dequantise(expected)).max())
    if not error <= TOLERANCE:
        raise CheckFailedError(
            f"device {device}: {Path(path).name} differs from the reference by {error:.3g}, more than {TOLERANCE:g}; "
            "nothing was measured."
        )
    return error
