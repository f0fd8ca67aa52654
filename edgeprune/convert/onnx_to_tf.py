"""A network from an ONNX file as a function of TensorFlow, channels last."""

from dataclasses import dataclass
from math import isclose, prod
from typing import Any

import numpy as np
import onnx

from edgeprune.convert import tf_layers, tf_operators, tf_recurrent  # noqa: F401 (they register what they build)
from edgeprune.convert.memory_order import Axes, OrderedTensor, channels_last, new_axes, sizes
from edgeprune.convert.onnx_file import attributes
from edgeprune.convert.tf_builder import TfBuilder

FileAxes = tuple[int | None, ...]
"""For each axis of a tensor in the file the network's axis it is; None for one of size 1 that the network lacks."""


@dataclass(frozen=True)
class TfNetwork:
    """A network as a function that TensorFlow converts.

    Attributes:
        function: takes the input, gives the outputs by name: `output_00`, `output_01` ...
        input_axes: of its input.
        output_axes: of its outputs.
        transposes: modules for which values are moved in memory, where no order suits all.
    """

    function: Any
    input_axes: FileAxes
    output_axes: list[FileAxes]
    transposes: list[str]


def tf_network(model: Any) -> TfNetwork:
    """The network of an `onnx.ModelProto` of fixed shapes; of the orders an input may have, the one that moves least.

    Raises:
        UnsupportedOperatorError: TFLite lacks one of its operators.
    """
    graph = with_gelu(model.graph)
    constants = {tensor.name for tensor in graph.initializer}
    (given,) = [value for value in graph.input if value.name not in constants]
    axes = new_axes(size.dim_value for size in given.type.tensor_type.shape.dim)
    # an input of two axes has one order; an image's channels are last; of others that is tried
    orders = [channels_last(axes)] if len(axes) > 3 else [axes] if len(axes) < 3 else [channels_last(axes), axes]
    built = [_traced(graph, given.name, axes, memory) for memory in orders]
    return min(built, key=lambda network: len(network.transposes))


def _traced(graph: Any, name: str, axes: Axes, memory: Axes) -> TfNetwork:
    import tensorflow as tf

    builder = TfBuilder(graph)
    ends: list[OrderedTensor] = []

    def run(x: Any) -> dict[str, Any]:
        builder.transposes.clear()
        ends[:] = builder.build({name: OrderedTensor(x, axes, memory)})
        return {f"output_{place:02}": end.tensor for place, end in enumerate(ends)}

    signature = tf.TensorSpec(sizes(memory), tf.float32, name="input")
    function = tf.function(run, input_signature=[signature], autograph=False).get_concrete_function()
    input_axes = tuple(_numbers(axes, memory))
    return TfNetwork(function, input_axes, [_numbers(end.axes, end.memory) for end in ends], list(builder.transposes))


def _numbers(axes: Axes, memory: Axes) -> FileAxes:
    """Which axis each in memory is; axes of one value take the places that are left, in order."""
    filled = {axis: number for number, axis in enumerate(axes) if axis}
    units = [number for number, axis in enumerate(axes) if not axis]
    return tuple(filled[axis] if axis in filled else (units.pop(0) if units else None) for axis in memory)


def in_file(values: np.ndarray, axes: FileAxes) -> np.ndarray:
    """A network's array `[n, ...]` with the axes of the file."""
    kept = [axis for axis in axes if axis is not None]
    moved = values.transpose(kept)
    return np.ascontiguousarray(np.expand_dims(moved, [at for at, axis in enumerate(axes) if axis is None]))


def with_gelu(graph: Any) -> Any:
    """The graph with `x / sqrt(2)`, Erf, `+ 1`, `* x`, `* 0.5` as one Gelu, which TFLite has in place of Erf."""
    constants = _numbers_in(graph)
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    made_by = {name: node for node in graph.node for name in node.output}
    replaced = onnx.GraphProto()
    replaced.CopyFrom(graph)
    for erf in [node for node in graph.node if node.op_type == "Erf"]:
        scaled = made_by.get(erf.input[0])
        if scaled is None or scaled.op_type not in ("Div", "Mul"):
            continue
        root = 2**0.5 if scaled.op_type == "Div" else 0.5**0.5
        if not isclose(constants.get(scaled.input[1], 0.0), root, abs_tol=1e-4):
            continue
        x, last, factors = scaled.input[0], erf, []
        for operator in ("Add", "Mul", "Mul"):
            following = readers.get(last.output[0], [])
            if len(following) != 1 or following[0].op_type != operator:
                break
            others = [name for name in following[0].input if name != last.output[0]]
            factors += [constants.get(name, name) for name in others]
            last = following[0]
        if factors not in ([1.0, x, 0.5], [1.0, 0.5, x]):
            continue
        for node in replaced.node:
            if node.output[0] == last.output[0]:
                name = erf.name.removesuffix("Erf") + "Gelu"
                node.CopyFrom(onnx.helper.make_node("Gelu", [x], [last.output[0]], name=name))
    _drop_unused(replaced)
    return replaced


def _numbers_in(graph: Any) -> dict[str, float]:
    """The constants of one value, by name."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and "value" in attributes(node):
            constants[node.output[0]] = attributes(node)["value"]
    return {
        name: float(onnx.numpy_helper.to_array(tensor).item())
        for name, tensor in constants.items()
        if prod(tensor.dims) == 1
    }


def _drop_unused(graph: Any) -> None:
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
