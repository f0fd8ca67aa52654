"""Max-pools of an ONNX graph in the form that TFLite has.

TFLite's MAX_POOL_2D pads nothing or SAME. For other padding, and for windows that reach over the edge because the size
is rounded up, onnx2tf pads the tensor with the lowest float32, which no int8 range can hold.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from edgeprune.graph.padding import Pads, same_padding


def plain_max_pools(model: Any) -> int:
    """Rewrite max-pools that TFLite lacks, in place and with the same outputs.

    Rounding up becomes padding at the end (SAME, for a 2x2 pool). Padding that is still not SAME becomes zeros around
    the tensor where a ReLU made it, since none of its values is below zero. Other padding stays.

    Args:
        model: an `onnx.ModelProto` with the shapes of its tensors.

    Returns:
        how many pools changed; if any did, shapes must be inferred again.
    """
    graph = model.graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    made_by = {name: node for node in graph.node for name in node.output}
    changed = 0
    for place, node in reversed(list(enumerate(graph.node))):
        settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        automatic = settings.get("auto_pad", b"NOTSET") != b"NOTSET"
        if node.op_type != "MaxPool" or automatic or set(settings.get("dilations", [1])) != {1}:
            continue
        sizes, kernel = shapes[node.input[0]][2:], settings["kernel_shape"]
        strides = settings.get("strides", [1] * len(sizes))
        rounds_up = bool(settings.get("ceil_mode", 0))
        pads = _explicit(sizes, kernel, strides, list(settings.get("pads", [0] * 2 * len(sizes))), rounds_up)
        source = made_by.get(node.input[0])
        around = (
            any(pads)
            and _pairs(pads) != same_padding(sizes, kernel, strides)
            and source is not None
            and source.op_type == "Relu"
        )
        if around:
            _pad_before(graph, place, node, pads)
            pads = [0] * len(pads)
        if around or rounds_up:
            del node.attribute[:]
            kept = {"kernel_shape": kernel, "strides": strides, "pads": pads}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in kept.items())
            changed += 1
    return changed


def _explicit(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: list[int], rounds_up: bool
) -> list[int]:
    """Padding `[before ..., after ...]` that makes rounding down give the size of rounding up."""
    axes = len(sizes)
    if rounds_up:
        for axis, (size, window, stride) in enumerate(zip(sizes, kernel, strides, strict=True)):
            # in PyTorch the last window begins inside the tensor or in the padding before it
            begins = min(
                -(-(size + pads[axis] + pads[axes + axis] - window) // stride) * stride,
                (size + pads[axis] - 1) // stride * stride,
            )
            pads[axes + axis] = max(0, begins + window - size - pads[axis])
    return pads


def _pairs(pads: Sequence[int]) -> Pads:
    """ONNX's padding `[before ..., after ...]` as one pair an axis."""
    axes = len(pads) // 2
    return list(zip(pads[:axes], pads[axes:], strict=True))


def _pad_before(graph: Any, place: int, node: Any, pads: Sequence[int]) -> None:
    """Pad a pool's input with zeros by an operator of its own."""
    axes = len(pads) // 2
    amounts = f"{node.name}_pads"
    all_pads = [0, 0, *pads[:axes], 0, 0, *pads[axes:]]
    graph.initializer.append(numpy_helper.from_array(np.array(all_pads, dtype=np.int64), amounts))
    padded = helper.make_node("Pad", [node.input[0], amounts], [f"{node.name}_padded"], f"{node.name}_pad")
    node.input[0] = padded.output[0]
    graph.node.insert(place, padded)
