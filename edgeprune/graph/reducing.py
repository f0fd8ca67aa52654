"""Operators that work along axes: pools, resizes, reductions, softmax; they keep channels apart on other axes."""

from collections.abc import Sequence

from torch import fx

from edgeprune.graph.draft import Value
from edgeprune.graph.elementwise import pointwise, zero_in_zero_out
from edgeprune.graph.layers import padded
from edgeprune.graph.operators import KINDS, argument, operation, reduced_axes, shape_of
from edgeprune.graph.rearranging import paired
from edgeprune.graph.tracer import Tracer

_SUMS = frozenset({"sum", "norm", "linalg_vector_norm"})
"""What a silent filter adds nothing to."""


def pool(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    x, axes = inputs[0], int(operation(node).split("pool")[1][0])
    if x.follows and x.axis >= len(x.shape) - axes:
        tracer.lose_track(node, "pool", inputs, f"{tracer.describe(node)} mixes its channels")
        return
    x = padded(tracer, node, x, None)
    draft = tracer.operate(node, "pool", [x], x.axis, x.numbers, x.awake)
    _second_output(tracer, node, draft.output)


def resize(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    x = inputs[0]
    if x.follows and x.axis != 1:
        tracer.lose_track(node, "resize", inputs, f"{tracer.describe(node)} mixes its channels")
    else:
        tracer.operate(node, "resize", [x], x.axis, x.numbers, x.awake)


def reduce(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    x, name = inputs[0], operation(node)
    kind = KINDS.get(name, "reduce")
    if name in ("max", "min") and len(inputs) > 1:
        pointwise(tracer, node, inputs)
        return
    axes, keep = reduced_axes(node, len(x.shape))
    if x.axis in axes:
        if not x.follows or (name in _SUMS and not x.awake):
            out = tracer.fixed(shape_of(node))
            draft = tracer.operate(node, kind, [x], out.axis, out.numbers)
            tracer.more_parts(node, draft)
        else:
            tracer.lose_track(node, kind, [x], f"{tracer.describe(node)} mixes its channels")
        return
    axis = x.axis if keep else x.axis - sum(1 for removed in axes if removed < x.axis)
    awake = x.awake or ("" if zero_in_zero_out(tracer, node) else tracer.describe(node))
    draft = tracer.operate(node, kind, [x], axis, x.numbers, awake)
    _second_output(tracer, node, draft.output)


def along(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """An operator along one axis that gives a tensor of the same shape."""
    x = inputs[0]
    if x.follows and int(argument(node, 1)) % len(x.shape) == x.axis:
        tracer.lose_track(node, "activation", inputs, f"{tracer.describe(node)} mixes its channels")
        return
    awake = x.awake or ("" if zero_in_zero_out(tracer, node) else tracer.describe(node))
    tracer.operate(node, "activation", [x], x.axis, x.numbers, awake)


def glu(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A gated linear unit: of each pair of channels one is multiplied with the sigmoid of the other."""
    x = inputs[0]
    dim = argument(node, 1)
    if (-1 if dim is None else int(dim)) % len(x.shape) != x.axis:
        tracer.operate(node, "activation", [x], x.axis, x.numbers, x.awake)
        return
    numbers = paired(tracer, x.numbers)
    tracer.operate(node, "activation", [x], x.axis, numbers, x.awake)


def _second_output(tracer: Tracer, node: fx.Node, first: Value) -> None:
    """The indices beside the values of a maximum, which lie as the values do."""
    if isinstance(node.meta["val"], tuple | list):
        draft = tracer.made_by[node.name]
        second = Value(first.shape, first.axis, first.numbers, 0, tracer.describe(node))
        tracer.add_parts(node, draft, [first, second])
