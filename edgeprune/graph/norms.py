"""Norms: their scale and shift go with the channels; one that mixes channels keeps them all."""

from collections.abc import Sequence

from torch import fx

from edgeprune.graph.coupling import fixed_numbers
from edgeprune.graph.draft import Value
from edgeprune.graph.operators import argument, nodes_in, operation
from edgeprune.graph.tracer import Tracer
from edgeprune.graph.unfollowed import held_values


def batch_norm(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    x, scale = inputs[0], argument(node, 1)
    constant = tracer.constant(scale)
    name = constant.tensor if constant is not None else ""
    awake = _cut_norm(tracer, node, x, (1, 2, 3, 4))
    before = tracer.made_by.get(nodes_in(node.args[0])[0].name)
    if before is not None and before.foldable:
        before.norm_scale = before.norm_scale or name
        if tracer.producer(node) is before:
            before.norm = before.output.numbers
            tracer.stand_for(node, Value(x.shape, x.axis, x.numbers, x.memory, awake), foldable=False)
            return
    # the axis of the batch norm may be another one than that of the channels, such as the mel bands
    norm = x.numbers if x.axis == 1 else fixed_numbers(x.shape[1])
    # a view that makes a channel of each band of mels is undone in the file, where constants cover every mel
    bands = x.axis == 1 and len(x.shape) == 4 and x.follows and x.numbers[0] == x.numbers[1]
    ships = x.shape[2] if bands else 1
    path = tracer.path(scale)
    tracer.operate(node, "scale", [x], x.axis, x.numbers, awake, path, norm=norm, ships=ships, norm_scale=name)


def channel_norm(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """Instance norm, and group norm: the channels of each of its groups go together."""
    x, instance = inputs[0], operation(node) == "instance_norm"
    if not instance:
        groups = int(argument(node, 1))
        module = tracer.path(argument(node, 2))
        if x.axis != 1 or groups == 1 or module is None:
            _mixes(tracer, node, x)
            return
        if x.follows:
            tracer.coupling.unite_rows(x.numbers.reshape(groups, -1).T, f"{tracer.describe(node)} mixes it")
    weight = argument(node, 1 if instance else 2)
    awake = _cut_norm(tracer, node, x, (1, 2, 3, 4) if instance else (2, 3, 5, 6))
    kernel = 2 if weight is not None and tracer.once(tracer.constants[weight.name]) else 0
    tracer.operate(node, "norm", [x], x.axis, x.numbers, awake, tracer.path(weight), kernel=kernel)


def layer_norm(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A norm over the last axes: channels among them are mixed, others pass."""
    x, last = inputs[0], len(argument(node, 1))
    if x.follows and x.axis >= len(x.shape) - last:
        _mixes(tracer, node, x)
        return
    bias = argument(node, 3) if operation(node) == "layer_norm" else None
    awake = x.awake or (tracer.describe(node) if bias is not None else "")
    path = tracer.path(argument(node, 2))
    tracer.operate(node, "norm", [x], x.axis, x.numbers, awake, path, values=held_values(tracer, node))


def _cut_norm(tracer: Tracer, node: fx.Node, x: Value, places: tuple[int, int, int, int]) -> str:
    """Let scale, shift, mean and variance, the arguments at `places`, go with the channels.

    Returns what makes something else than zero of a silent filter: nothing where the scale and the shift go with it.
    """
    if x.axis != 1:
        return x.awake or (tracer.describe(node) if x.follows else "")
    reason = f"{tracer.describe(node)} is shared with channels that stay"
    constants = [tracer.constant(argument(node, place)) for place in places]
    for place, constant in enumerate(constants):
        if constant is not None and constant.tensor and constant.exact:
            tracer.cut(constant.tensor, 0, x.numbers, place < 3, reason)
        elif constant is not None:
            tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} has a scale or shift that is computed")
    return x.awake if constants[0] is None else ""


def _mixes(tracer: Tracer, node: fx.Node, x: Value) -> None:
    tracer.lose_track(
        node, "norm", [x], f"{tracer.describe(node)} computes each channel from all", values=held_values(tracer, node)
    )
