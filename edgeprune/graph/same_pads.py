"""Padding of its own that the convolution after it takes in, because together they are TFLite's SAME padding."""

from typing import Any

from torch import fx

from edgeprune.graph.operators import METHODS, argument, filler_of, operation, shape_of, sizes
from edgeprune.graph.padding import same_padding, spans


def is_taken_in(pad: fx.Node) -> bool:
    """Whether a pad of zeros is read by one convolution alone, which pads nothing itself, and amounts to SAME."""
    users = list(pad.users)
    if len(users) != 1 or METHODS.get(operation(users[0])) != "convolution" or argument(users[0], 0) is not pad:
        return False
    convolution, before = users[0], shape_of(pad.args[0])[2:]
    axes, own = len(before), argument(users[0], 4)
    pads_itself = own != "valid" if isinstance(own, str) else any(sizes(convolution, 4, 0, axes))
    amounts: Any = pad.args[1]  # from the last axis on, in pairs
    amounts = [int(amount) for amount in amounts]
    if pads_itself or filler_of(pad) != 0 or len(amounts) != 2 * axes:
        return False
    pairs = [(amounts[place], amounts[place + 1]) for place in range(len(amounts) - 2, -1, -2)]
    kernel = spans(shape_of(argument(convolution, 1))[2:], sizes(convolution, 5, 1, axes))
    return pairs == same_padding(before, kernel, sizes(convolution, 3, 1, axes))
