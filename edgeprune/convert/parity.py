"""Whether an exported file still computes what the network does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from edgeprune.convert.export_form import Output
from edgeprune.convert.onnx_file import input_shape_of, load_onnx
from edgeprune.convert.onnx_to_tf import FileAxes, in_file
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.tflite.interpreter import TFLiteModel

ONNX_TOLERANCE = 1e-5
FLOAT32_TOLERANCE = 1e-4
FLOAT16_TOLERANCE = 1e-2
"""Of the outputs' range: a float16 has 11 bits."""
INTEGER_NOISE = 0.5
"""Most that the root mean square difference of a file with integers may be, of the outputs' standard deviation.

Right files of this package's networks have up to 0.2 (int8) and 0.1 (int16x8, dynamic); those of a network with other
weights 0.8 and more."""
INTEGER_FLIPS = 0.1
"""Most clips of another class, of those whose class the network prefers by more than that noise."""


@dataclass(frozen=True)
class Limit:
    """How near a file must be to its network.

    Attributes:
        format: one of `tflite_export.FORMATS`.
        tolerance: largest difference of a float32 file, of the outputs' largest where that is above 1.
        steps: of each output, between two values that it can have; 0 where it is no integer.
    """

    format: str = "float32"
    tolerance: float = FLOAT32_TOLERANCE
    steps: Sequence[float] = ()

    def check(
        self, number: int, reference: NDArray[np.float32], error: float, outputs: NDArray[np.float32], path: Path | str
    ) -> float:
        """Refuse an output by its largest `error` or its noise; returns the noise that is allowed."""
        if self.format in ("float32", "float16"):
            scale = max(1.0, float(np.abs(reference).max())) if self.format == "float32" else float(np.ptp(reference))
            limit = (self.tolerance if self.format == "float32" else FLOAT16_TOLERANCE) * scale
            if error > limit:
                raise CheckFailedError(
                    f"{path}: differs from the trained network by {error:.3g}, more than {limit:.3g}; export it again."
                )
            return limit
        # an output cannot be nearer than its own steps
        allowed = max(INTEGER_NOISE * float(reference.std()), 2 * self.steps[number] if self.steps else 0.0)
        noise = float(np.sqrt(np.mean((outputs.astype(np.float64) - reference) ** 2)))
        if noise > allowed:
            raise CheckFailedError(
                f"{path}: differs from the trained network by {noise:.3g} (root mean square), more than the "
                f"{allowed:.3g} that rounding explains; calibrate with inputs like those it will get, or export it as "
                "float32."
            )
        return allowed


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
    (outputs,) = network_outputs(model, inputs, output)
    return outputs


def network_outputs(
    model: nn.Module, inputs: NDArray[np.float32], output: Output = "softmax"
) -> list[NDArray[np.float32]]:
    """Every output `[n, ...]` of the network; `output` is of the first."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    ends = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid}
    batches = []
    with evaluating(model), torch.inference_mode():
        for batch in torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).split(1):
            first, *others = (values.float() for values in flat(model(batch.to(device))))
            first = ends[output](first) if output in ends else first
            batches.append([values.cpu() for values in (first, *others)])
    return [torch.cat(values).numpy() for values in zip(*batches, strict=True)]


def flat(outputs: Any) -> Iterator[torch.Tensor]:
    """The tensors that a network gives, in the order in which the exporter to ONNX writes them."""
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, Mapping | tuple | list):
        for value in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from flat(value)


def check_onnx(
    model: nn.Module,
    onnx_path: Path | str,
    inputs: NDArray[np.float32],
    tolerance: float = ONNX_TOLERANCE,
    output: Output | None = None,
) -> ExportParity:
    """Compare an ONNX file with the trained network on `inputs`.

    Args:
        inputs: `[n, ...]` as the network takes them.
        tolerance: largest difference allowed, of the outputs' largest where that is above 1.
        output: what the file ends in; None: what its last operator says.
    """
    graph = load_onnx(onnx_path)
    inputs = _checked_inputs(inputs, input_shape_of(graph)[1:], onnx_path)
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    runs = [session.run(None, {name: clip[np.newaxis]}) for clip in inputs]
    outputs = [np.concatenate(values) for values in zip(*runs, strict=True)]
    ends: dict[str, Output] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
    output = output or ends.get(graph.graph.node[-1].op_type, "logits")
    return compare(network_outputs(model, inputs, output), outputs, onnx_path, Limit(tolerance=tolerance), output)


def check_tflite(
    reference: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    path: Path | str,
    inputs: NDArray[np.float32],
    format: str,
    tolerance: float | None = None,
    axes: tuple[FileAxes, Sequence[FileAxes]] | None = None,
    output: Output | None = None,
) -> ExportParity:
    """Compare a TFLite file, run by the interpreter, with the outputs of its network.

    Args:
        reference: float32 `[n, classes]` of `reference_outputs`, or every output of `network_outputs`.
        inputs: float32 `[n, ...]` as the network takes them.
        format: one of `tflite_export.FORMATS`, which decides how near a file must be.
        tolerance: largest difference allowed of a float32 file; None: `FLOAT32_TOLERANCE`.
        axes: which of the network's axes those of the file's input and outputs are; None: an image, channels last.
        output: what the file ends in; None: what its last operator says.
    """
    model = TFLiteModel(path)
    input_axes, output_axes = axes or ((0, 2, 3, 1), [(0, 1)])
    shape = [size for size, axis in sorted(zip(model.input_shape, input_axes, strict=True), key=_by_axis) if axis]
    inputs = _checked_inputs(inputs, tuple(shape), path)
    outputs = model.predict_all(in_file(inputs, input_axes))
    operators, steps = model.operators(), [model.step(number) for number in range(model.outputs)]
    wanted = [reference] if isinstance(reference, np.ndarray) else list(reference)
    wanted = [in_file(values, one) for values, one in zip(wanted, output_axes, strict=True)]
    limit = Limit(format, FLOAT32_TOLERANCE if tolerance is None else tolerance, steps)
    if output is None:
        output = "sigmoid" if operators[-1] == "LOGISTIC" else "softmax"
    return compare(wanted, outputs, path, limit, output, operators.count("TRANSPOSE"))


def _by_axis(pair: tuple[int, int | None]) -> int:
    return -1 if pair[1] is None else pair[1]


def _checked_inputs(inputs: NDArray[np.float32], shape: tuple[int, ...], path: Path | str) -> NDArray[np.float32]:
    inputs = np.asarray(inputs, dtype=np.float32)
    if len(inputs) == 0 or inputs.shape[1:] != shape:
        raise EdgepruneError(
            f"{path}: inputs are {list(inputs.shape)}, it takes {['n', *shape]}; give at least one clip."
        )
    if not np.isfinite(inputs).all():
        raise EdgepruneError(f"{path}: the inputs hold NaN or infinity; check the features.")
    return inputs


def compare(
    reference: Iterable[NDArray[np.float32]],
    outputs: Iterable[NDArray[np.float32]],
    path: Path | str,
    limit: Limit,
    output: Output = "softmax",
    transposes: int = 0,
) -> ExportParity:
    """Hold outputs `[n, ...]` to those of the network; `output` says what the first gives.

    Raises:
        CheckFailedError: they differ by more than a right file of the format does.
    """
    parities = []
    for number, (wanted, given) in enumerate(zip(reference, outputs, strict=True)):
        if wanted.shape != given.shape:
            raise EdgepruneError(
                f"{path}: gives {list(given.shape)} where the reference has {list(wanted.shape)}; they are of "
                "different networks or clips."
            )
        error = float(np.abs(given.astype(np.float64) - wanted).max())
        if not np.isfinite(error):
            raise CheckFailedError(
                f"{path}: gives NaN or infinity where the network does not; train or export it again."
            )
        kind: Output = output if number == 0 and wanted.ndim == 2 else "none"
        allowed = limit.check(number, wanted, error, given, path)
        sure = int(_flipped(wanted, given, kind, allowed).sum())
        if sure > max(1, INTEGER_FLIPS * len(given)):
            raise CheckFailedError(
                f"{path}: gives another class on {sure} of {len(given)} clips that the trained network is sure of; "
                "calibrate with inputs like those it will get, or export it as float32."
            )
        flips = int(_flipped(wanted, given, kind, 0.0).sum())
        parities.append(ExportParity(error, flips, transposes, len(given)))
    return max(parities, key=lambda parity: parity.max_abs_error)


def _flipped(
    reference: NDArray[np.float32], outputs: NDArray[np.float32], kind: Output, margin: float
) -> NDArray[np.bool_]:
    """For each clip whether its class is another one, and was preferred by more than `margin`."""
    if kind == "none":
        return np.zeros(len(reference), bool)
    if kind == "sigmoid" or reference.shape[1] == 1:
        middle = 0.0 if kind == "logits" else 0.5
        crossed = ((outputs >= middle) != (reference >= middle)) & (np.abs(reference - middle) >= margin)
        return np.asarray(crossed.any(axis=1))
    rows = np.arange(len(reference))
    best, given = reference.argmax(axis=1), outputs.argmax(axis=1)
    return (best != given) & (reference[rows, best] - reference[rows, given] >= margin)
