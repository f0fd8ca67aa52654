"""Recurrent layers, matrix products and attention: what they cost, and which channels may go."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from torch import fx

from edgeprune.graph.coupling import Numbers, fixed_numbers
from edgeprune.graph.draft import Value
from edgeprune.graph.operators import argument, nodes_in, operation, shape_of
from edgeprune.graph.tracer import Tracer
from edgeprune.graph.unfollowed import unknown


def recurrent(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """GRU, LSTM and plain recurrent layers: the channels they read may go, their own units stay."""
    x = tracer.value(node.args[0])
    params: Any = node.args[2]
    has_biases, layers, _, _, both, _ = (argument(node, place) for place in range(3, 9))
    directions = 2 if both else 1
    each = len(params) // (layers * directions) if isinstance(params, list | tuple) else 0
    if x is None or len(x.shape) != 3 or each != (4 if has_biases else 2) or len(inputs) > 1:
        unknown(tracer, node, inputs)
        return
    if x.axis != 2:
        tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} reads another axis than its channels")
    tracer.read(x)
    gates, units = {"gru": 3, "lstm": 4}.get(operation(node), 1), shape_of(params[1])[1]
    read = x.numbers if x.axis == 2 else fixed_numbers(x.shape[2])
    for direction in range(directions):
        tracer.cut(tracer.constants[params[direction * each].name].tensor, 1, read, False, "")
    own = fixed_numbers(directions * units)
    again = not tracer.once(tracer.constants[params[0].name])
    positions = tracer.positions(x.shape) // x.shape[2]
    for layer in range(layers):
        before = read if layer == 0 else own
        sources = [x] if layer == 0 else [tracer.values[node.name]]
        summed = np.concatenate([before, fixed_numbers(units)])
        biases = fixed_numbers(2 * gates * len(own) if has_biases and not again else 0)
        draft = tracer.operate(
            node,
            "recurrent",
            sources,
            2,
            own,
            path=tracer.path(params[0]),
            kernel=gates,
            inputs=summed,
            positions=positions,
            biases=biases,
            holds_weights=not again,
        )
    tracer.more_parts(node, draft)


def product(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A product of two tensors that sums over some axes, as a matrix product does.

    Channels that it sums over go together on both sides. Those on an axis of one side alone, or on an axis that both
    sides share, are on that axis of the output.
    """
    operands = nodes_in(list(node.args))
    letters = _letters(node, [shape_of(operand) for operand in operands])
    if letters is None:
        unknown(tracer, node, inputs)
        return
    *sides, out = letters
    sizes: dict[str, int] = {}
    for side, operand in zip(sides, operands, strict=True):
        for letter, size in zip(side, shape_of(operand), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    macs = prod(sizes.values())
    constants = [constant for constant in map(tracer.constant, operands) if constant is not None]
    values = sum(constant.size for constant in constants if tracer.once(constant))
    channels, numbers, awake = _followed(tracer, node, operands, letters)
    summed = fixed_numbers(0) if not channels or channels in out else numbers
    axis = out.index(channels) if channels and channels in out else max(0, len(out) - 1)
    weights = [side for side, operand in zip(sides, operands, strict=True) if tracer.constant(operand) is not None]
    layer = bool(len(summed) and values) and len(weights[0]) == 2 and weights[0].strip(channels) in out
    if layer:  # a matrix that a dense layer could hold: as many weights as channels times outputs
        axis = out.index(weights[0].strip(channels))
    own = numbers if channels and channels in out else fixed_numbers(sizes[out[axis]] if out else 1)
    places = len(own) * max(1, len(summed))
    tracer.operate(
        node,
        "matmul",
        inputs,
        axis,
        own,
        awake,
        kernel=1,
        inputs=summed,
        positions=max(1, (macs // tracer.clips if macs % tracer.clips == 0 else macs) // places),
        values=0 if layer else values,
        holds_weights=layer,
    )


def _letters(node: fx.Node, shapes: list[tuple[int, ...]]) -> tuple[str, str, str] | None:
    """A product in the notation of `einsum`: the axes of both sides and of the output; None of more than two sides."""
    if len(shapes) != 2:
        return None
    if operation(node) == "einsum":
        sides, arrow, out = str(node.args[0]).replace(" ", "").partition("->")
        first, _, second = sides.partition(",")
        plain = bool(arrow) and all(letter.isalpha() for letter in first + second + out)
        return (
            (first, second, out)
            if plain and len(set(first)) == len(first) and len(set(second)) == len(second)
            else None
        )
    batch = "abcdefgh"[: max(2, *map(len, shapes)) - 2]

    def of(rank: int, last: str) -> str:
        return last if rank > 1 else "z"

    sides_of = [batch[len(batch) - max(0, len(shape) - 2) :] for shape in shapes]
    first = sides_of[0] + of(len(shapes[0]), "yz")
    second = sides_of[1] + of(len(shapes[1]), "zx")
    return first, second, batch + "".join(letter for letter in "yx" if letter in first + second)


def _followed(
    tracer: Tracer, node: fx.Node, operands: list[fx.Node], letters: tuple[str, str, str]
) -> tuple[str, Numbers, str]:
    """The axis of a product on which filters lie, these, and what makes something else than zero of a silent one.

    The axis is "" where there is none, also where filters are frozen since they meet channels that stay.
    """
    reason = f"{tracer.describe(node)} multiplies it with channels that stay"
    *sides, out = letters
    values = [tracer.value(operand) for operand in operands]
    axes = [
        side[value.axis] if value is not None and value.follows else ""
        for side, value in zip(sides, values, strict=True)
    ]
    named = {axis for axis in axes if axis}
    follow = [value for value, axis in zip(values, axes, strict=True) if value is not None and axis]
    if len(named) == 1:
        axis = named.pop()
        numbers = follow[0].numbers
        for side, operand, value in zip(sides, operands, values, strict=True):
            size = shape_of(operand)[side.index(axis)] if axis in side else 1
            constant = tracer.constant(operand)
            if value is not None and value.follows:
                tracer.coupling.unite(numbers, value.numbers, reason)
            elif constant is not None and size > 1:
                tracer.cut_constant(constant, side.index(axis), numbers, False, reason)
            elif size > 1:
                tracer.coupling.freeze(numbers, reason)
        awake = follow[0].awake if all(value.awake for value in follow) else ""
        if awake and axis not in out:
            tracer.read(follow[0])
        return axis, numbers, awake if axis in out else ""
    for value in follow:
        tracer.coupling.freeze(value.numbers, reason)
    return "", fixed_numbers(0), ""


def attention(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """Scaled dot-product attention: the products with keys and with values."""
    query, key, value = (shape_of(argument(node, place)) for place in range(3))
    macs = prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    reason = f"{tracer.describe(node)} mixes its channels"
    out = shape_of(node)
    positions = max(1, macs // tracer.clips // out[1])
    tracer.lose_track(node, "matmul", inputs, reason, kernel=1, positions=positions, holds_weights=False)
