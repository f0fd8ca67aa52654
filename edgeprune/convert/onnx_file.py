"""ONNX files, and what they say of their tensors and nodes: shapes, attributes, padding and names."""

from pathlib import Path
from typing import Any

import onnx

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.graph.padding import Pads

_KEPT = 1024
"""Bytes or values. A larger constant is a weight, and only its shape is needed; sizes of tensors are smaller."""


def load_onnx(path: Path | str) -> Any:
    """Read and check an ONNX file; returns an `onnx.ModelProto`."""
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise EdgepruneError(f"{path}: there is no such ONNX file.") from error
    except Exception as error:
        raise EdgepruneError(f"{path}: is not a whole ONNX model ({first_line(error)}); export it again.") from error
    if not model.graph.node:
        raise EdgepruneError(f"{path}: is an ONNX file without a single operator; export it again.")
    return model


def input_shape_of(model: Any) -> tuple[int, ...]:
    """Shape of the only input of an `onnx.ModelProto`, such as `[1, channels, height, width]`."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shape = tuple(axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim) if len(inputs) == 1 else ()
    if len(shape) < 2 or shape[0] != 1 or min(shape) < 1:
        raise EdgepruneError(
            "the ONNX model must have one input of fixed shape, a batch of 1 first; export it with edgeprune."
        )
    return shape


def with_shapes(path: Path, model: Any) -> Any:
    """The model with the shape of every tensor and without the values of its weights; an open batch becomes 1."""
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name not in held and sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = 1
        if value.name not in held and any(size.dim_value < 1 for size in sizes):
            named = [size.dim_param or size.dim_value for size in sizes]
            raise EdgepruneError(
                f"{path}: its input '{value.name}' is {named}, whose sizes are not fixed; export it with a fixed input "
                "size."
            )
    for tensor in graph.initializer:
        for values in ("raw_data", "float_data", "double_data", "int32_data"):
            if len(getattr(tensor, values)) > _KEPT:
                tensor.ClearField(values)
    for value in (*graph.value_info, *graph.output):
        if any(size.dim_value < 1 for size in value.type.tensor_type.shape.dim):  # follows from an open batch
            value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        reason = first_line(error)
        raise EdgepruneError(f"{path}: its shapes do not fit each other ({reason}); export it again.") from error


def attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def each(node: Any, name: str, axes: int) -> list[int]:
    """An attribute with a number for each axis, 1 where it is not given."""
    return list(attributes(node).get(name, [1] * axes))


def explicit_pads(node: Any, axes: int) -> Pads:
    """Explicit padding before and after, one pair an axis."""
    pads = attributes(node).get("pads", [0] * 2 * axes)
    return list(zip(pads[:axes], pads[axes:], strict=True))


def owner(weight: str) -> str:
    """Path of the layer that a weight belongs to, of `features.conv1.weight`: `features.conv1`."""
    stem, _, last = weight.rpartition(".")
    return stem if last == "weight" else ""


def module_path(node: Any) -> str:
    """Path of the module that a node is from, of `/features/conv1/Conv`: `features.conv1`."""
    pieces = [piece for piece in node.name.split("/") if piece]
    if pieces and pieces[-1].startswith(node.op_type):
        pieces = pieces[:-1]
    return ".".join(pieces)


def check_folder(folder: Path) -> None:
    """Refuse a folder whose path, as the system stores it, is not UTF-8: onnxruntime and TensorFlow take none."""
    try:
        str(folder.absolute()).encode("utf-8")
    except UnicodeEncodeError as error:
        raise EdgepruneError(
            f"{folder}: its path is not UTF-8, which onnxruntime and TensorFlow do not take; choose another folder."
        ) from error
