"""A module of one's own as ONNX and TFLite files, held to what it computes and costs."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_args

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeprune import console
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.parity import ExportParity, check_onnx, check_tflite, flat, network_outputs
from edgeprune.convert.tflite_export import FORMATS, Conversion, check_formats, convert_network
from edgeprune.errors import CheckFailedError, EdgepruneError, first_line, unknown_name
from edgeprune.files import cannot_write
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.recipe import LogMel
from edgeprune.running.network_file import NetworkFile
from edgeprune.tflite.cost import cost_of_tflite
from edgeprune.tflite.description import Description, Output
from edgeprune.tflite.own_description import own_description
from edgeprune.tflite.sidecar import write_sidecar
from edgeprune.version import __version__

if TYPE_CHECKING:
    from edgeprune.graph.cost import Cost

PARITY_INPUTS = 100
"""Inputs on which the files are compared with the module."""
_PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})


class ExportSettings(TypedDict, total=False):
    """What `edgeprune.export` takes beside a module and its inputs; see there."""

    labels: Sequence[str] | None
    frontend: LogMel | None
    normalisation: tuple[Any, Any] | None
    output: Output
    formats: Sequence[str] | None
    name: str
    out: Path | str


@dataclass(frozen=True)
class ExportedNetwork(os.PathLike[str]):
    """The files of a module; as a path it is the int8 file, or the first where there is none.

    Attributes:
        onnx: the ONNX file.
        files: TFLite files, by format.
        parity: how near each is to the module, by format; `onnx` among them.
        cost: of the module.
        transposes: places where the files move values in memory, since no order suits all operators.
    """

    onnx: Path
    files: dict[str, NetworkFile]
    parity: dict[str, ExportParity]
    cost: "Cost"
    transposes: tuple[str, ...]

    def __getitem__(self, format: str) -> NetworkFile:
        return self.files[format]

    def __fspath__(self) -> str:
        return str(self.files.get("int8", next(iter(self.files.values()))).path)


def export_module(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], calibration: Any, settings: ExportSettings
) -> ExportedNetwork:
    """See `edgeprune.export`."""
    if unknown := sorted(settings.keys() - ExportSettings.__annotations__.keys()):
        raise unknown_name("setting of export", unknown[0], ExportSettings.__annotations__)
    output: Output = settings.get("output", "softmax")
    name, out = settings.get("name", "model"), Path(settings.get("out", "."))
    formats = _formats(settings.get("formats"), calibration)
    example = _one_input(model, example)
    inputs = _inputs(model, example, calibration)
    _check_output(model, example, output)
    shape = tuple(example.shape[1:])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    path = export_onnx(model, shape, out / f"{name}.onnx", output)
    _check_twice(model, path, output)
    parity = {"onnx": check_onnx(model, path, inputs, output=output)}
    description = _description(model, path, settings)
    metadata = {**description.to_dict(), "edgeprune": __version__}
    calibrated = inputs if calibration is None else _array(calibration)
    conversion = convert_network(path, out, formats, calibrated, metadata, prefix=name)
    if conversion.transposes:
        places = ", ".join(place or "its forward" for place in dict.fromkeys(conversion.transposes))
        console.say(f"note: values are moved in memory (TRANSPOSE) in {places}, since no order suits all operators")
    reference = network_outputs(model, inputs, output)
    planned = _cost(model, example)
    for format, file in conversion.files.items():
        parity[format] = _checked(file, format, (reference, inputs), conversion, output, planned)
        kept = {"parity": asdict(parity[format]), "parity_onnx": asdict(parity["onnx"])}
        write_sidecar(file, description, kept)
    files = {format: NetworkFile(file, description) for format, file in conversion.files.items()}
    return ExportedNetwork(path, files, parity, planned, conversion.transposes)


def _formats(names: Sequence[str] | None, calibration: Any) -> tuple[str, ...]:
    integers = ("int8", "int16x8")
    default = FORMATS if calibration is not None else tuple(name for name in FORMATS if name not in integers)
    formats = check_formats(default if names is None else names)
    if calibration is None and (wrong := [name for name in formats if name in integers]):
        raise EdgepruneError(f"export: {wrong[0]} needs calibration inputs; give some of the training split.")
    return formats


def _one_input(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The first example, `[1, ...]`, float32."""
    if isinstance(example, tuple):
        if len(example) != 1:
            name = type(model).__name__
            raise EdgepruneError(f"{name}: takes {len(example)} inputs, and a file has one; join them in the module.")
        (example,) = example
    return example[:1].detach().cpu().float()


def _inputs(model: nn.Module, example: Tensor, calibration: Any) -> NDArray[np.float32]:
    """Inputs that the files are compared on: of the calibration, else noise as strong as the example or 1."""
    if calibration is None:
        scale = float(example.std()) if example.numel() > 1 and float(example.std()) > 0 else 1.0
        noise = np.random.default_rng(0).standard_normal((20, *example.shape[1:])).astype(np.float32)
        return float(example.mean()) + scale * noise
    values = _array(calibration)
    if values.shape[1:] != tuple(example.shape[1:]):
        raise EdgepruneError(
            f"{type(model).__name__}: calibration inputs are {list(values.shape[1:])}, the example is "
            f"{list(example.shape[1:])}; give inputs of one shape."
        )
    rows = np.unique(np.linspace(0, len(values) - 1, min(PARITY_INPUTS, len(values))).round().astype(int))
    return values[rows]


def _array(calibration: Any) -> NDArray[np.float32]:
    values = calibration.detach().cpu().numpy() if isinstance(calibration, Tensor) else calibration
    return np.ascontiguousarray(values, dtype=np.float32)


def _check_output(model: nn.Module, example: Tensor, output: Output) -> None:
    """Refuse an `output` that does not exist, or that does not fit what the module gives."""
    name = type(model).__name__
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if output not in get_args(Output):
        raise EdgepruneError(f"output '{output}': choose from {', '.join(get_args(Output))}.")
    try:
        with evaluating(model), torch.inference_mode():
            outputs = list(flat(model(example.to(device))))
    except Exception as error:
        raise EdgepruneError(
            f"{name}: does not take an input of {list(example.shape)} ({first_line(error)}); give the one it takes."
        ) from error
    if not outputs:
        raise EdgepruneError(f"{name}: gives no tensor; return one.")
    if output not in ("softmax", "sigmoid"):
        return
    if len(outputs) > 1:
        raise EdgepruneError(
            f"{name}: gives {len(outputs)} outputs; put {output} into the module where it belongs, and give "
            "output='none'."
        )
    shape = list(outputs[0].shape)
    if len(shape) != 2 and output == "softmax":
        raise EdgepruneError(f"{name}: gives {shape}, and softmax is over [n, classes]; give output='none'.")
    if shape[-1] == 1 and output == "softmax":
        raise EdgepruneError(
            f"{name}: gives one value, whose softmax is always 1; give output='sigmoid' for a probability, 'logits' or "
            "'none'."
        )


def _check_twice(model: nn.Module, path: Path, output: Output) -> None:
    """Refuse a softmax or sigmoid behind a module that ends in one."""
    if output not in ("softmax", "sigmoid"):
        return
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    made_by = {result: node.op_type for node in nodes for result in node.output}
    before = made_by.get(nodes[-1].input[0], "")
    if before in _PROBABILITIES:
        path.unlink()
        raise EdgepruneError(
            f"{type(model).__name__}: ends in {before} itself, so {output} would be taken twice; give output='none'."
        )


def _description(model: nn.Module, path: Path, settings: ExportSettings) -> Description:
    graph = onnx.load(str(path)).graph
    given = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim]
    made = [size.dim_value for size in graph.output[0].type.tensor_type.shape.dim]
    # channels last, as in the file; of three axes those with the front-end's frames first
    shape = [given[0], *given[2:], given[1]] if len(given) == 4 else given
    frontend = settings.get("frontend")
    if len(given) == 3 and (frontend is None or given[1] == frontend.mels):
        shape = [given[0], 1, given[2], given[1]]
    return own_description(
        type(model).__name__,
        shape,
        made[-1],
        settings.get("labels"),
        frontend,
        settings.get("normalisation"),
        settings.get("output", "softmax"),
    )


def _cost(model: nn.Module, example: Tensor) -> "Cost":
    from edgeprune.graph.cost import count
    from edgeprune.graph.trace import trace

    return count(trace(model, example))


def _check_cost(planned: "Cost", file: Path) -> None:
    """Refuse a file that costs more than the module, or computes much less: one of the two was counted wrongly.

    A converter leaves out norms that do nothing, and the product of a recurrent layer's first state; small constants
    of its own come on top.
    """
    if planned.unknown:
        return
    cost = cost_of_tflite(file)
    off = cost.macs < 0.95 * planned.macs or cost.macs > planned.macs
    if off or cost.params > 1.05 * planned.params + 256:
        raise CheckFailedError(
            f"{file}: has {cost.params:,} parameters and {cost.macs:,} MACs where the module has "
            f"{planned.params:,} and {planned.macs:,}; please report this network."
        )


def _checked(
    file: Path,
    format: str,
    compared: tuple[list[NDArray[np.float32]], NDArray[np.float32]],
    conversion: Conversion,
    output: Output,
    planned: "Cost",
) -> ExportParity:
    """Hold a file to the module; one that fails is not kept."""
    reference, inputs = compared
    axes = conversion.input_axes, conversion.output_axes
    try:
        _check_cost(planned, file)
        return check_tflite(reference, file, inputs, format, axes=axes, output=output)
    except CheckFailedError:
        file.unlink()
        raise
