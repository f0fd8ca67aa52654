"""Operators that work on each element: sums, products, activations, and what is made like another tensor.

Filters that meet at one place of the output go together. A learned vector that meets them goes with them.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import fx

from edgeprune.graph.coupling import Numbers, fixed_numbers
from edgeprune.graph.draft import Constant, Value
from edgeprune.graph.kinds import FUSING, SCALE, SCALES
from edgeprune.graph.operators import PAIRS, argument, nodes_in, operation, shape_of
from edgeprune.graph.tracer import Tracer


def pointwise(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """Any operator on one or several tensors, element by element, with broadcasting."""
    name = operation(node)
    axis, numbers = meet(tracer, node, inputs, shape_of(node))
    silent, values, kernel, learned = _constants(tracer, node, axis, numbers)
    kind = name if name in PAIRS else "activation" if len(inputs) == 1 else "other"
    if name in SCALES and any(constant.size > 1 for constant in _constants_of(tracer, node)):
        kind = SCALE
    awake = "" if _stays_zero(tracer, node, inputs, silent) else awake_by(tracer, node, inputs)
    tracer.operate(node, kind, inputs, axis, numbers, awake, values=values, kernel=kernel, learned=learned)


def fused(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    before = tracer.producer(node)
    if before is not None and before.kind in FUSING:
        tracer.stand_for(node, inputs[0], foldable=False)
    else:
        pointwise(tracer, node, inputs)


def free(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    tracer.stand_for(node, inputs[0])


def alike(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """Zeros or another number in the shape of a tensor, so they go with its filters."""
    x = inputs[0]
    zero = operation(node) == "zeros_like" or argument(node, 1) == 0
    tracer.operate(node, "other", [], x.axis, x.numbers, "" if zero else tracer.describe(node))


def prelu(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    x, slope = inputs[0], tracer.constant(node.args[1])
    if slope is None or slope.size == 1:
        tracer.operate(node, "activation", inputs, x.axis, x.numbers, x.awake)
        return
    reason = f"the slopes of {tracer.describe(node)} do not lie along its channels"
    kernel = int(tracer.once(slope))
    if x.axis == 1:
        tracer.cut_constant(slope, len(slope.shape) - 1, x.numbers, False, reason)
        tracer.operate(node, "activation", [x], x.axis, x.numbers, x.awake, kernel=kernel)
    else:
        tracer.operate(node, "activation", [x], x.axis, x.numbers, x.awake, values=kernel * slope.size)


def meet(tracer: Tracer, node: fx.Node, inputs: Sequence[Value], out: tuple[int, ...]) -> tuple[int, Numbers]:
    """The channel axis of the output and what lies on it, where tensors are broadcast to the shape `out`.

    Filters at the same place go together. Those that meet fixed channels, or filters on another axis, stay.
    """
    reason = f"{tracer.describe(node)} joins it with channels that stay"
    wide = [value for value in inputs if value.follows]
    main = max(wide or inputs, key=lambda value: len(value.shape))
    axis = main.axis + len(out) - len(main.shape)
    for value in inputs:
        own = axis - (len(out) - len(value.shape))
        size = value.shape[own] if 0 <= own < len(value.shape) else 1
        if value is main:
            continue
        if value.follows and value.axis == own:
            tracer.coupling.unite(main.numbers, value.numbers, reason)
        else:
            if value.follows:
                tracer.coupling.freeze(value.numbers, f"{tracer.describe(node)} joins it with channels on another axis")
            if size > 1:
                tracer.coupling.freeze(main.numbers, reason)
    places = out[axis] if out else 1
    return axis, main.numbers if len(main.numbers) == places else fixed_numbers(places)


def awake_by(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> str:
    return next((value.awake for value in inputs if value.awake), "") or tracer.describe(node)


def zero_in_zero_out(tracer: Tracer, node: fx.Node, **replaced: Any) -> bool:
    """Whether the operator makes zero of inputs that are zero; tried with a few zeros in place of silent inputs."""

    def small(arg: fx.Node) -> Any:
        value = tracer.value(arg)
        if arg.name in replaced:
            return replaced[arg.name]
        if value is None or value.awake or not value.follows:
            raise ValueError(arg.name)
        return torch.zeros([min(2, size) for size in value.shape], dtype=arg.meta["val"].dtype)

    with suppress(Exception):  # an operator that does not take so few zeros is not known to keep them
        made = node.target(*fx.map_arg(node.args, small), **fx.map_arg(node.kwargs, small))  # type: ignore[operator]
        made = made[0] if isinstance(made, tuple | list) else made
        return bool((made == 0).all())
    return False


def _stays_zero(tracer: Tracer, node: fx.Node, inputs: Sequence[Value], silent: Sequence[str]) -> bool:
    """Whether a silenced filter puts out zero behind the operator; `silent` constants are zero where it is silent."""
    name = operation(node)
    asleep = [value for value in inputs if value.follows and not value.awake]
    if name == "mul":
        return bool(asleep)
    if name == "div":
        over, under = tracer.value(node.args[0]), tracer.value(node.args[1])
        return over in asleep and (under is None or not under.follows or bool(under.awake))
    constants = {name: torch.zeros(()) for name in silent}
    if name == "where" and isinstance(node.args[0], fx.Node):
        choices = (torch.tensor(True), torch.tensor(False))
        return all(zero_in_zero_out(tracer, node, **constants, **{node.args[0].name: either}) for either in choices)
    return zero_in_zero_out(tracer, node, **constants)


def _constants_of(tracer: Tracer, node: fx.Node) -> list[Constant]:
    return [tracer.constants[arg.name] for arg in nodes_in(list(node.args)) if arg.name in tracer.constants]


def _constants(tracer: Tracer, node: fx.Node, axis: int, numbers: Numbers) -> tuple[list[str], int, int, bool]:
    """Which constants are zero for silenced filters; their values in all, and by channel; whether all are learned."""
    rank, name = len(shape_of(node)), operation(node)
    silent: list[str] = []
    values = kernel = 0
    learned = True
    for arg in nodes_in(list(node.args)):
        constant = tracer.constant(arg)
        if constant is None:
            continue
        own = axis - (rank - len(constant.shape))
        along = constant.shape[own] if 0 <= own < len(constant.shape) else 1
        if along > 1:
            reason = f"{tracer.describe(node)} gives each channel a constant of its own"
            if tracer.cut_constant(constant, own, numbers, name in ("add", "sub"), reason):
                silent.append(arg.name)
        if constant.size > 1 and tracer.once(constant):
            learned = learned and constant.tensor in tracer.learned
            values, kernel = (
                (values, kernel + constant.size // along) if along > 1 else (values + constant.size, kernel)
            )
    return silent, values, kernel, learned
