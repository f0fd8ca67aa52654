"""Whether an exported file still computes what the network does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from edgeprune.convert.export_form import Output
from edgeprune.convert.onnx_file import input_shape_of, load_onnx
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.interpreter import TFLiteModel

ONNX_TOLERANCE = 1e-5
FLOAT32_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportParity:
    """An exported file against its reference, over the same clips.

    Attributes:
        max_abs_error: largest difference of an output, in the output's unit (probability, or logit).
        label_flips: clips whose most likely class is another one; of independent probabilities, clips with a class on
            the other side of one half.
        transposes: TRANSPOSE operators in the file.
        clips: clips compared.
    """

    max_abs_error: float
    label_flips: int
    transposes: int
    clips: int


def reference_outputs(model: nn.Module, inputs: NDArray[np.float32], output: Output = "softmax") -> NDArray[np.float32]:
    """Outputs `[n, classes]` of the trained network in evaluation mode, as a file that ends in `output` gives them."""
    training = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    model.eval()
    outputs = []
    try:
        with torch.inference_mode():
            for batch in torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).split(32):
                logits = model(batch.to(device)).float()
                ends = {"softmax": logits.softmax(1), "sigmoid": logits.sigmoid(), "logits": logits}
                outputs.append(ends[output].cpu())
    finally:
        model.train(training)
    return torch.cat(outputs).numpy()


def check_onnx(
    model: nn.Module, onnx_path: Path | str, inputs: NDArray[np.float32], tolerance: float = ONNX_TOLERANCE
) -> ExportParity:
    """Compare an ONNX file, ending in probabilities or in logits, with the trained network on `inputs`.

    Inputs are `[n, channels, height, width]`; `tolerance` is the largest difference allowed.
    """
    graph = load_onnx(onnx_path)
    inputs = _checked_inputs(inputs, input_shape_of(graph)[1:], onnx_path)
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = np.concatenate([session.run(None, {name: clip[np.newaxis]})[0] for clip in inputs])
    ends: dict[str, Output] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
    output = ends.get(graph.graph.node[-1].op_type, "logits")
    reference = reference_outputs(model, inputs, output)
    return _compare(reference, outputs, onnx_path, 0, tolerance, output == "sigmoid")


def check_tflite(
    reference_probabilities: NDArray[np.float32],
    path: Path | str,
    inputs: NDArray[np.float32],
    format: str,
    tolerance: float = FLOAT32_TOLERANCE,
) -> ExportParity:
    """Compare a TFLite file, run by the interpreter, with the outputs of its network.

    Args:
        reference_probabilities: float32 `[n, classes]` of `reference_outputs` (logits for a file that ends in logits).
        inputs: float32 `[n, channels, height, width]`.
        format: one of `tflite_export.FORMATS`; only float32 is held to `tolerance`, quantised files are measured.
        tolerance: largest difference allowed of a float32 file.
    """
    model = TFLiteModel(path)
    _, height, width, channels = model.input_shape
    inputs = _checked_inputs(inputs, (channels, height, width), path)
    outputs = model.predict(np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)))
    transposes = model.operators().count("TRANSPOSE")
    limit = tolerance if format == "float32" else None
    independent = model.operators()[-1] == "LOGISTIC"
    return _compare(reference_probabilities, outputs, path, transposes, limit, independent)


def _checked_inputs(inputs: NDArray[np.float32], shape: tuple[int, ...], path: Path | str) -> NDArray[np.float32]:
    inputs = np.asarray(inputs, dtype=np.float32)
    if len(inputs) == 0 or inputs.shape[1:] != shape:
        raise EdgepruneError(
            f"{path}: inputs are {list(inputs.shape)}, it takes {['n', *shape]}; give at least one clip."
        )
    if not np.isfinite(inputs).all():
        raise EdgepruneError(f"{path}: the inputs hold NaN or infinity; check the features.")
    return inputs


def _compare(
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    path: Path | str,
    transposes: int,
    tolerance: float | None,
    independent: bool,
) -> ExportParity:
    if reference.shape != outputs.shape:
        raise EdgepruneError(
            f"{path}: gives {list(outputs.shape)} where the reference has {list(reference.shape)}; they are of "
            "different networks or clips."
        )
    error = float(np.abs(outputs.astype(np.float64) - reference).max())
    if not np.isfinite(error):
        raise CheckFailedError(f"{path}: gives NaN or infinity where the network does not; train or export it again.")
    if tolerance is not None and error > tolerance:
        raise CheckFailedError(
            f"{path}: differs from the trained network by {error:.3g}, more than {tolerance:g}; export it again."
        )
    if independent:
        flips = int(((outputs >= 0.5) != (reference >= 0.5)).any(axis=1).sum())
    else:
        flips = int((outputs.argmax(axis=1) != reference.argmax(axis=1)).sum())
    return ExportParity(error, flips, transposes, len(outputs))
