"""Convolutions and dense layers: their filters, what they read, their weights and MACs."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from torch import fx

from edgeprune.graph.coupling import Numbers, fixed_numbers
from edgeprune.graph.draft import Constant, Draft, Value
from edgeprune.graph.operators import argument, operation, padding_of, shape_of
from edgeprune.graph.tracer import Tracer
from edgeprune.graph.unfollowed import unknown


def convolution(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A convolution; of a grouped one, the channels and filters of each of its groups go together."""
    weight, bias, groups = argument(node, 1), argument(node, 2), argument(node, 6) or 1
    filters, channels, *kernel = shape_of(weight)
    x = _channels_on(tracer, node, inputs, 1, len(kernel) + 2)
    if x is None:
        return
    path = layer_of(tracer, weight)
    own = _filters(tracer, path, filters)
    positions = tracer.positions(shape_of(node)) // filters
    x = padded(tracer, node, x, path)
    summed = x.numbers
    if groups == 1:
        kind = "conv"
        _cut_inputs(tracer, node, weight, 1, x)
    else:
        kind = "depthwise" if groups == filters and channels == 1 else "grouped conv"
        summed = fixed_numbers(0 if kind == "depthwise" else channels)
        _unite_groups(tracer, node, x, own, groups)
    _weigh(tracer, node, kind, x, own, path, inputs=summed, kernel=prod(kernel), positions=positions)
    _cut_filters(tracer, node, weight, bias, 0, own)


def transpose_convolution(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A transposed convolution, whose MACs are those of each value it reads."""
    weight, bias, groups = argument(node, 1), argument(node, 2), argument(node, 6) or 1
    channels, filters, *kernel = shape_of(weight)
    x = _channels_on(tracer, node, inputs, 1, len(kernel) + 2)
    if x is None:
        return
    path = layer_of(tracer, weight)
    own = _filters(tracer, path, filters * groups)
    positions = tracer.positions(x.shape) // channels
    summed = x.numbers
    if groups == 1:
        _cut_inputs(tracer, node, weight, 0, x)
        _cut_filters(tracer, node, weight, bias, 1, own)
    else:
        summed = fixed_numbers(channels // groups)
        _unite_groups(tracer, node, x, own, groups)
        if path is not None:
            tracer.cut(_tensor(tracer, weight), 0, x.numbers, True, "")
        _cut_filters(tracer, node, None, bias, 1, own)
    _weigh(tracer, node, "transpose conv", x, own, path, inputs=summed, kernel=prod(kernel), positions=positions)


def dense(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    weight, bias = argument(node, 1), argument(node, 2)
    rank = len(shape_of(node.args[0]))
    x = _channels_on(tracer, node, inputs, rank - 1, rank)
    if x is None:
        return
    path, filters = layer_of(tracer, weight), shape_of(weight)[0]
    own = _filters(tracer, path, filters, dense=True)
    positions = tracer.positions(shape_of(node)) // filters
    _cut_inputs(tracer, node, weight, 1, x)
    _weigh(tracer, node, "dense", x, own, path, inputs=x.numbers, kernel=1, positions=positions)
    _cut_filters(tracer, node, weight, bias, 0, own)


def layer_of(tracer: Tracer, weight: Any) -> str | None:
    """Path of the layer whose own weight this is, also where weight norm makes it."""
    if not isinstance(weight, fx.Node):
        return None
    constant = tracer.constant(weight)
    if constant is not None and constant.tensor:
        path = constant.tensor.rpartition(".")[0]
        return path if path in tracer.layers and constant.tensor == f"{path}.weight" else None
    if operation(weight) in ("_weight_norm", "_weight_norm_interface"):
        path = (tracer.path(weight.args[0]) or "").removesuffix(".parametrizations.weight")
        return path if path in tracer.layers else None
    return None


def _channels_on(tracer: Tracer, node: fx.Node, inputs: Sequence[Value], axis: int, rank: int) -> Value | None:
    """What a layer with constant weights reads, with the channels on the axis where it sums over them.

    None, and an unknown operator, of a layer whose weights are computed from the input.
    """
    x = tracer.value(node.args[0])
    if x is None or len(inputs) > 1 or len(x.shape) != rank:
        unknown(tracer, node, inputs)
        return None
    if x.axis == axis:
        return x
    tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} reads another axis than its channels")
    return Value(x.shape, axis, fixed_numbers(x.shape[axis]), x.memory)


def _filters(tracer: Tracer, path: str | None, count: int, dense: bool = False) -> Numbers:
    """The filters of a layer; fixed channels where its weight is no layer's own."""
    return fixed_numbers(count) if path is None else tracer.coupling.layer(path, count, dense)


def _tensor(tracer: Tracer, weight: Any) -> str:
    """The name of a weight; `PATH.weight` of one that weight norm makes."""
    constant = tracer.constant(weight)
    path = layer_of(tracer, weight)
    return f"{path}.weight" if path is not None else constant.tensor if constant is not None else ""


def _cut_inputs(tracer: Tracer, node: fx.Node, weight: Any, axis: int, x: Value) -> None:
    """Let a weight's input axis go with the channels it reads."""
    tracer.read(x)
    if _tensor(tracer, weight):
        reason = f"{tracer.describe(node)} reads other channels with the same weights"
        tracer.cut(_tensor(tracer, weight), axis, x.numbers, False, reason)
    else:
        tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} has weights that are computed")


def _cut_filters(tracer: Tracer, node: fx.Node, weight: Any, bias: Any, axis: int, own: Numbers) -> None:
    """Let weights and bias go with the filters."""
    reason = f"{tracer.describe(node)} shares its weights or its bias"
    if weight is not None and layer_of(tracer, weight) is not None:
        tracer.cut(_tensor(tracer, weight), axis, own, True, reason)
    constant = tracer.constant(bias)
    if constant is not None and not tracer.cut_constant(
        constant, 0, own, True, f"{tracer.describe(node)} has a bias that is computed"
    ):
        tracer.coupling.freeze(own, f"{tracer.describe(node)} has a bias that is no parameter")


def _unite_groups(tracer: Tracer, node: fx.Node, x: Value, own: Numbers, groups: int) -> None:
    """Let the channels and the filters of each group of a convolution go together."""
    reason = f"{tracer.describe(node)} filters channels that stay"
    table = np.concatenate([x.numbers.reshape(groups, -1), own.reshape(groups, -1)], axis=1)
    tracer.coupling.unite_rows(table.T, reason)


def _weigh(tracer: Tracer, node: fx.Node, kind: str, x: Value, own: Numbers, path: str | None, **sizes: Any) -> Draft:
    """Add a layer. The weights of one that runs again are counted once, and so is each bias."""
    weight, bias = argument(node, 1), tracer.constant(argument(node, 2))
    again = not tracer.once(Constant(shape_of(weight), _tensor(tracer, weight), root=weight.name))
    biases = own if bias is not None and tracer.once(bias) else fixed_numbers(0)
    return tracer.operate(node, kind, [x], x.axis, own, path=path, biases=biases, holds_weights=not again, **sizes)


def padded(tracer: Tracer, node: fx.Node, x: Value, path: str | None) -> Value:
    """The tensor that a layer reads: its input, or the output of a PAD that is put before it."""
    if len(x.shape) < 3 or x.axis != 1:
        return x
    pads = padding_of(node, x.shape[2:], shape_of(node)[2:])
    if not pads:
        return x
    sizes = [size + first + last for size, (first, last) in zip(x.shape[2:], pads, strict=True)]
    value = Value((*x.shape[:2], *sizes), 1, x.numbers, len(tracer.memory), x.awake)
    tracer.memory.append(value)
    tracer.drafts.append(Draft(f"{tracer.name(node, path, 'pool')}.pad", "pad", (x.memory,), value))
    return value
