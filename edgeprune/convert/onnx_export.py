"""From a trained network to an ONNX file."""

import io
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from edgeprune.convert.export_form import Output, export_form
from edgeprune.convert.onnx_file import check_folder
from edgeprune.convert.onnx_pools import plain_max_pools
from edgeprune.convert.parity import flat
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import write_bytes

OPSET = 18
"""onnxruntime and the vendors' compilers take it."""


def export_onnx(model: nn.Module, input_shape: tuple[int, ...], path: Path | str, output: Output = "softmax") -> Path:
    """Write the export form of `model` (see `edgeprune.convert.export_form`) as ONNX, input `input`, output `output`.

    The batch is fixed at one clip: a device classifies one clip at a time, and its memory planner needs static shapes.
    The same network gives the same bytes. Further outputs are `output_1`, `output_2` ...

    Args:
        input_shape: without the batch, such as `(channels, height, width)`.
        output: what the file ends in; logits and none put nothing behind the network.
    """
    check_folder(Path(path).parent)
    example = torch.zeros(1, *input_shape)
    form = export_form(model, output, example)
    with torch.no_grad():
        try:
            outputs = form(example)
        except Exception as error:
            raise _not_exported(model, input_shape, error) from error
    several = [] if isinstance(outputs, torch.Tensor) else list(flat(outputs))
    names = ["output", *(f"output_{place}" for place in range(1, len(several)))]
    stream = io.BytesIO()  # what PyTorch writes itself fails without a reason where the disk is full
    try:
        # The TorchScript exporter keeps the layers' names, writes no source paths of this machine, and is ten
        # times quicker than the newer one; its warning of deprecation would only puzzle a user.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.register_custom_op_symbolic("aten::mT", _transposed, OPSET)  # which the exporter lacks
            torch.onnx.export(
                form,
                (example,),
                stream,  # type: ignore[arg-type]  # which the exporter takes without dynamo
                input_names=["input"],
                output_names=names,
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise _not_exported(model, input_shape, error) from error
    # the conversion needs the shape of every tensor
    exported = onnx.load_from_string(stream.getvalue())
    graph = onnx.shape_inference.infer_shapes(exported, strict_mode=True, data_prop=True)
    if any(node.op_type == "Pad" for node in graph.graph.node):
        graph = _folded_pads(graph)
    if plain_max_pools(graph):
        del graph.graph.value_info[:]
        graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)
    onnx.checker.check_model(graph, full_check=True)
    write_bytes(path, graph.SerializeToString())
    return Path(path)


def _transposed(graph: Any, matrices: Any) -> Any:
    """The last two axes of a tensor in the other order, as an operator of ONNX."""
    rank = matrices.type().dim()
    return graph.op("Transpose", matrices, perm_i=[*range(rank - 2), rank - 1, rank - 2])


def _folded_pads(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with zero padding of its own folded into the convolution after it."""
    import onnxsim

    folded, _ = onnxsim.simplify(graph)
    return onnx.shape_inference.infer_shapes(folded, strict_mode=True, data_prop=True)


def _not_exported(model: nn.Module, input_shape: tuple[int, ...], error: Exception) -> EdgepruneError:
    reason = first_line(error)[:300]
    return EdgepruneError(
        f"{type(model).__name__}: cannot be exported to ONNX with input {input_shape} ({reason}); "
        "use layers and an input size the network supports."
    )
