"""PyTorch's operators by what they do to the channel axis, and where they leave it."""

from math import prod
from typing import Any

from torch import fx

from edgeprune.graph.padding import Pads, conv_padding, pool_padding, spans

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
FREE = frozenset(
    {"dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias", "to", "_to_copy"}
)
"""They compute nothing on a device."""
FUSED = frozenset({"relu", "relu6", "hardtanh"})
"""Activations that TFLite fuses into the operator before them, if that is of a kind in `FUSING`."""
ACTIVATIONS = frozenset(
    {
        "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
        "sigmoid", "tanh", "softplus", "clamp", "clamp_min", "clamp_max", "neg", "abs", "exp", "log", "sqrt", "rsqrt",
        "square", "pow", "reciprocal", "softmax", "log_softmax",
    }
)  # fmt: skip
POOLS = frozenset(
    {
        "max_pool1d", "max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d",
        "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    }
)  # fmt: skip
REDUCTIONS = frozenset({"mean", "sum", "amax", "amin", "max", "min"})
SHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "permute", "transpose", "t"})
PAIRS = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
PADS = frozenset({"pad", "constant_pad_nd", "zero_pad2d", "reflection_pad1d", "reflection_pad2d"})


def kept_axis(before: tuple[int, ...], axis: int, after: tuple[int, ...]) -> tuple[int | None, int]:
    """Where a reshape leaves the channel axis, and how many values of the new axis a channel takes.

    Channels stay apart if what comes before them stays as it is and the axes behind them are merged into theirs.

    Returns:
        None as the axis where they do not.
    """
    ahead, channels = prod(before[:axis]), before[axis]
    behind = prod(before[axis + 1 :])
    for place in range(1, len(after)):
        if prod(after[:place]) == ahead and after[place] % channels == 0:
            repeat = after[place] // channels
            if behind % repeat == 0:
                return place, repeat
    return None, 1


def permuted_axis(node: fx.Node, name: str, axis: int, dims: int) -> int | None:
    """Where a permutation of the axes puts the channel axis; None where it takes the place of the batch."""
    if name == "permute":
        order = [int(place) % dims for place in node.args[1]]  # type: ignore[union-attr,arg-type]
    else:
        one, two = (0, 1) if name == "t" else (int(node.args[1]) % dims, int(node.args[2]) % dims)  # type: ignore[arg-type]
        order = list(range(dims))
        order[one], order[two] = order[two], order[one]
    return order.index(axis) if order[0] == 0 else None


def reduced_axes(node: fx.Node, dims: int) -> tuple[set[int], bool]:
    """Axes a reduction sums up (all where it names none), and whether they stay with size one."""
    named: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    keep = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim", False))
    if named is None or named == []:
        return set(range(dims)), keep
    return {int(axis) % dims for axis in (named if isinstance(named, list | tuple) else [named])}, keep


def pad_touches(node: fx.Node, axis: int, dims: int) -> bool:
    """Whether a padding adds to the channel axis; sizes are given from the last axis on, in pairs."""
    sizes: Any = node.args[1]
    place = 2 * (dims - 1 - axis)
    return any(int(size) != 0 for size in sizes[place : place + 2])


def padding_of(node: fx.Node, name: str, before: tuple[int, ...], after: tuple[int, ...]) -> Pads:
    """What a PAD of its own adds to the input of a convolution or pool `name`."""
    axes = len(before)
    if name in CONVOLUTIONS:
        padding: Any = node.args[4] if len(node.args) > 4 else 0
        if isinstance(padding, str):
            return []
        weight: Any = node.args[1]
        dilation = _each(node.args[5] if len(node.args) > 5 else 1, axes)
        kernel = spans(weight.meta["val"].shape[2:], dilation)
        stride = _each(node.args[3] if len(node.args) > 3 else 1, axes)
        return conv_padding(before, after, kernel, stride, [(pad, pad) for pad in _each(padding, axes)])
    if name.startswith(("max_pool", "avg_pool")):
        kernel = _each(node.args[1], axes)
        stride = _each((len(node.args) > 2 and node.args[2]) or kernel, axes)
        pads = [(pad, pad) for pad in _each(node.args[3] if len(node.args) > 3 else 0, axes)]
        zeros_count = name.startswith("avg_pool") and (len(node.args) <= 5 or bool(node.args[5]))
        if zeros_count and any(map(any, pads)):  # which they do not in TFLite's SAME
            return pads
        return pool_padding(before, after, kernel, stride, pads)
    return []


def _each(value: Any, axes: int) -> list[int]:
    """A size for every axis, of one for all or one each."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(size) for size in (values * axes if len(values) == 1 else values)]


def shape_of(node: Any) -> tuple[int, ...]:
    """Shape of a node's output, or of its first one."""
    value = node.meta["val"]
    value = value[0] if isinstance(value, tuple | list) else value
    return tuple(int(size) for size in value.shape)


def argument(node: fx.Node, position: int) -> Any:
    """An argument by its place in the operator's schema; None where it is not given."""
    if len(node.args) > position:
        return node.args[position]
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return node.kwargs.get(names[position])


def operation(node: fx.Node) -> str:
    """Name of the operator without its overload, the same for its in-place form."""
    name = str(getattr(node.target, "_schema", None) and node.target._schema.name).partition("::")[2]  # type: ignore[union-attr]
    return name.rstrip("_")


def nodes_in(value: Any) -> list[fx.Node]:
    """The nodes among arguments."""
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, list | tuple):
        return [node for item in value for node in nodes_in(item)]
    return []
