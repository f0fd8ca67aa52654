"""From a trained network to an ONNX file."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import atomic_path

if TYPE_CHECKING:
    from torch import nn

# Well known to onnxruntime, onnx2tf and the vendors' compilers alike.
OPSET = 18


def export_onnx(model: "nn.Module", input_shape: tuple[int, int, int], path: Path | str, softmax: bool = True) -> Path:
    """Write the export form of `model` (see `edgeprune.convert.export_form`) as ONNX, input `input`, output `output`.

    The batch is fixed at one clip: a device classifies one clip at a time, its memory planner needs static shapes,
    and onnx2tf tells a channel axis from the others by those shapes. The same network gives the same bytes.

    Args:
        model: network from `[n, channels, height, width]` to logits `[n, classes]`.
        input_shape: `(channels, height, width)`.
        path: the file to write; it is complete or absent.
        softmax: end in probabilities rather than logits.

    Returns:
        `path`.

    Raises:
        EdgepruneError: the network cannot be exported, or the file cannot be written.
    """
    import onnx
    import torch

    from edgeprune.convert.export_form import export_form
    from edgeprune.convert.onnx_pools import plain_max_pools

    path = Path(path)
    form = export_form(model, softmax)
    example = torch.zeros(1, *input_shape)
    with atomic_path(path) as temporary:
        try:
            # The TorchScript exporter keeps the layers' names and no source paths of this machine; it is ten times
            # quicker than the newer one, and its warning of deprecation would only puzzle a user.
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    form,
                    (example,),
                    str(temporary),
                    input_names=["input"],
                    output_names=["output"],
                    opset_version=OPSET,
                    dynamo=False,
                )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise EdgepruneError(
                f"{type(model).__name__}: cannot be exported to ONNX with input {input_shape} ({reason}); "
                "use layers and an input size the network supports."
            ) from error
        # Without the shape of every tensor onnx2tf guesses layouts, and guesses wrong.
        graph = onnx.shape_inference.infer_shapes(onnx.load(temporary), strict_mode=True, data_prop=True)
        if plain_max_pools(graph):
            del graph.graph.value_info[:]
            graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, temporary)
    return path


def load_onnx(path: Path | str) -> Any:
    """Read and check an ONNX file; returns an `onnx.ModelProto`.

    Raises:
        EdgepruneError: the file is missing, truncated or not a valid ONNX model.
    """
    import onnx

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
    """Shape of the only input of an `onnx.ModelProto`, `[1, channels, height, width]`.

    Raises:
        EdgepruneError: there is not exactly one input with fixed sizes.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shape = tuple(axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim) if len(inputs) == 1 else ()
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise EdgepruneError(
            "the ONNX model must have one input of fixed shape [1, channels, height, width]; export it with edgeprune."
        )
    return shape
