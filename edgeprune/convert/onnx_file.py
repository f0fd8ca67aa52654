"""Reading an ONNX file."""

from pathlib import Path
from typing import Any

import onnx

from edgeprune.errors import EdgepruneError


def load_onnx(path: Path | str) -> Any:
    """Read and check an ONNX file; returns an `onnx.ModelProto`."""
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise EdgepruneError(f"{path}: there is no such ONNX file.") from error
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise EdgepruneError(f"{path}: is not a whole ONNX model ({reason}); export it again.") from error
    if not model.graph.node:
        raise EdgepruneError(f"{path}: is an ONNX file without a single operator; export it again.")
    return model


def input_shape_of(model: Any) -> tuple[int, ...]:
    """Shape of the only input of an `onnx.ModelProto`, `[1, channels, height, width]`."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shape = tuple(axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim) if len(inputs) == 1 else ()
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise EdgepruneError(
            "the ONNX model must have one input of fixed shape [1, channels, height, width]; export it with edgeprune."
        )
    return shape
