"""Padding of its own that the convolution after it takes in, because together they are TFLite's SAME padding."""

from typing import Any

from torch import fx

from edgeprune.graph.operators import METHODS, argument, named_argument, operation, shape_of
from edgeprune.graph.padding import same_padding, spans


def is_taken_in(pad: fx.Node) -> bool:
    """Whether a pad of zeros is read by one convolution alone, which pads nothing itself, and amounts to SAME."""
    users = list(pad.users)
    if len(users) != 1 or METHODS.get(operation(users[0])) != "convolution" or argument(users[0], 0) is not pad:
        return False
    zeros = named_argument(pad, "mode") in (None, "constant") and not named_argument(pad, "value")
    convolution, before = users[0], shape_of(pad.args[0])[2:]
    amounts: Any = pad.args[1]  # from the last axis on, in pairs
    amounts = [int(amount) for amount in amounts]
    if not zeros or "ion_pad" in operation(pad) or len(amounts) != 2 * len(before):
        return False
    pairs = [(amounts[place], amounts[place + 1]) for place in range(len(amounts) - 2, -1, -2)]
    kernel = spans(shape_of(argument(convolution, 1))[2:], _each(convolution, 5, 1, len(before)))
    if any(_each(convolution, 4, 0, len(before))):
        return False
    return pairs == same_padding(before, kernel, _each(convolution, 3, 1, len(before)))


def _each(node: fx.Node, position: int, default: int, axes: int) -> list[int]:
    """An argument of a convolution as one number for each axis; a padding in words, such as valid, is left to it."""
    value = argument(node, position)
    value = default if value is None else value
    if isinstance(value, str):
        return [0 if value == "valid" else 1] * axes
    values = [int(size) for size in (value if isinstance(value, list | tuple) else [value])]
    return values * axes if len(values) == 1 else values
