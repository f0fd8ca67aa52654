"""Max-pools of an ONNX graph in the form that TFLite has.

TFLite's MAX_POOL_2D pads nothing or SAME. For other padding, and for windows that reach over the edge because the size
is rounded up, the tensor would be padded with the lowest float32, which no int8 range can hold.
"""

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from edgeprune.convert.onnx_file import attributes, each, explicit_pads
from edgeprune.graph.padding import same_padding


def plain_max_pools(model: Any) -> int:
    """Rewrite the max-pools of an `onnx.ModelProto` that TFLite lacks, in place and with the same outputs.

    Rounding up becomes padding at the end (SAME, for a 2x2 pool). Padding that is still not SAME becomes zeros around
    the tensor where a ReLU made it, since none of its values is below zero. Other padding stays.

    Returns:
        how many pools changed; if any did, shapes must be inferred again.
    """
    graph = model.graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    changed = 0
    for place, node in reversed(list(enumerate(graph.node))):
        settings = attributes(node)
        automatic = settings.get("auto_pad", b"NOTSET") != b"NOTSET"
        if node.op_type != "MaxPool" or automatic or set(settings.get("dilations", [1])) != {1}:
            continue
        sizes, kernel = shapes[node.input[0]][2:], settings["kernel_shape"]
        strides, pads = each(node, "strides", len(sizes)), explicit_pads(node, len(sizes))
        rounds_up = bool(settings.get("ceil_mode", 0))
        if rounds_up:
            pads = [_rounded_down(*axis) for axis in zip(sizes, kernel, strides, pads, strict=True)]
        irregular = any(map(any, pads)) and pads != same_padding(sizes, kernel, strides)
        around = irregular and made_by.get(node.input[0]) == "Relu"
        befores, afters = zip(*pads, strict=True)
        if around:
            amounts = np.array([0, 0, *befores, 0, 0, *afters], dtype=np.int64)
            graph.initializer.append(numpy_helper.from_array(amounts, f"{node.name}_pads"))
            names = [node.input[0], f"{node.name}_pads"], [f"{node.name}_padded"], f"{node.name}_pad"
            graph.node.insert(place, helper.make_node("Pad", *names))
            node.input[0] = f"{node.name}_padded"
            befores = afters = (0,) * len(pads)
        if around or rounds_up:
            del node.attribute[:]
            kept = {"kernel_shape": kernel, "strides": strides, "pads": [*befores, *afters]}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in kept.items())
            changed += 1
    return changed


def _rounded_down(size: int, window: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Padding of an axis that makes rounding down give the size of rounding up."""
    before, after = pads
    # in PyTorch the last window begins inside the tensor or in the padding before it
    begins = min(-(-(size + before + after - window) // stride) * stride, (size + before - 1) // stride * stride)
    return before, max(0, begins + window - size - before)
