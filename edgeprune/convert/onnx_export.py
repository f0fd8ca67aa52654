"""From a trained network to an ONNX file."""

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from edgeprune.convert.export_form import Output, export_form
from edgeprune.convert.onnx_pools import plain_max_pools
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import atomic_path

OPSET = 18
"""onnxruntime, onnx2tf and the vendors' compilers all take it."""


def export_onnx(
    model: nn.Module, input_shape: tuple[int, int, int], path: Path | str, output: Output = "softmax"
) -> Path:
    """Write the export form of `model` (see `edgeprune.convert.export_form`) as ONNX, input `input`, output `output`.

    The batch is fixed at one clip: a device classifies one clip at a time, its memory planner needs static shapes, and
    onnx2tf infers the channel axis from them. The same network gives the same bytes.

    Args:
        input_shape: `(channels, height, width)`.
        output: what the file ends in.
    """
    form = export_form(model, output)
    with atomic_path(path) as temporary:
        try:
            # The TorchScript exporter keeps the layers' names, writes no source paths of this machine, and is ten
            # times quicker than the newer one; its warning of deprecation would only puzzle a user.
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    form,
                    (torch.zeros(1, *input_shape),),
                    str(temporary),
                    input_names=["input"],
                    output_names=["output"],
                    opset_version=OPSET,
                    dynamo=False,
                )
        except Exception as error:
            raise EdgepruneError(
                f"{type(model).__name__}: cannot be exported to ONNX with input {input_shape} ({first_line(error)}); "
                "use layers and an input size the network supports."
            ) from error
        # Without the shape of every tensor onnx2tf guesses layouts wrongly.
        graph = onnx.shape_inference.infer_shapes(onnx.load(temporary), strict_mode=True, data_prop=True)
        if any(node.op_type == "Pad" for node in graph.graph.node):
            graph = _folded_pads(graph)
        if plain_max_pools(graph):
            del graph.graph.value_info[:]
            graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, temporary)
    return Path(path)


def _folded_pads(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with zero padding of its own folded into the convolution after it.

    PyTorch writes the sizes of a pad as a chain of constants, which onnx2tf reads wrongly where it stays.
    """
    import onnxsim

    folded, _ = onnxsim.simplify(graph)
    return onnx.shape_inference.infer_shapes(folded, strict_mode=True, data_prop=True)
