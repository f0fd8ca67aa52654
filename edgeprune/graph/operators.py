"""PyTorch's operators by what they do to the channel axis, and where they leave it."""

from math import prod
from typing import Any

from torch import fx

from edgeprune.graph.kinds import kinds_by_name
from edgeprune.graph.padding import Pads, conv_padding, pool_padding, spans

PAIRS = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
METHODS = dict.fromkeys(PAIRS, "pair") | kinds_by_name(
    {
        "convolution": "conv1d conv2d conv3d",
        "dense": "linear",
        "batch_norm": "batch_norm",
        "free": "dropout feature_dropout alpha_dropout clone contiguous detach alias to _to_copy",
        "fused": "relu relu6 hardtanh",
        "activation": "leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid sigmoid tanh softplus clamp "
        "clamp_min clamp_max neg abs exp log sqrt rsqrt square pow reciprocal softmax log_softmax",
        "reshape": "view reshape flatten unflatten unsqueeze squeeze permute transpose t",
        "pool": "max_pool1d max_pool2d max_pool2d_with_indices avg_pool1d avg_pool2d adaptive_avg_pool1d "
        "adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d",
        "reduce": "mean sum amax amin max min",
        "cat": "cat",
        "pad": "pad constant_pad_nd zero_pad2d reflection_pad1d reflection_pad2d",
    }
)
"""By name of an operator, the tracer's method that takes it; every other operator is unknown.

`free` operators compute nothing on a device. TFLite fuses `fused` ones into the operator before them where it can.
"""


def kept_axis(before: tuple[int, ...], axis: int, after: tuple[int, ...]) -> tuple[int | None, int]:
    """The axis where a reshape leaves the channels, and how many places on it each channel takes.

    The axis is None where the channels do not stay apart. They do if the axes before theirs keep their size and the
    axes behind it are merged into it.
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
    """The axis where a permutation puts the channels; None where it moves the batch."""
    if name == "permute":
        order = [int(place) % dims for place in node.args[1]]  # type: ignore[union-attr,arg-type]
    else:
        one, two = (0, 1) if name == "t" else (int(node.args[1]) % dims, int(node.args[2]) % dims)  # type: ignore[arg-type]
        order = list(range(dims))
        order[one], order[two] = order[two], order[one]
    return order.index(axis) if order[0] == 0 else None


def reduced_axes(node: fx.Node, dims: int) -> tuple[set[int], bool]:
    """The axes that a reduction sums over (all where it names none), and whether they stay with size one."""
    named: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    keep = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim", False))
    if named is None or named == []:
        return set(range(dims)), keep
    return {int(axis) % dims for axis in (named if isinstance(named, list | tuple) else [named])}, keep


def padding_of(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> Pads:
    """The padding that an operator of its own, a PAD, adds to the input of a convolution or pool."""
    name, axes = operation(node), len(before)

    def sizes(position: int, default: Any) -> list[int]:
        """An argument as one size for each axis."""
        value = argument(node, position) or default
        values = list(value) if isinstance(value, list | tuple) else [value]
        return [int(size) for size in (values * axes if len(values) == 1 else values)]

    if METHODS[name] == "convolution":
        if isinstance(argument(node, 4), str):
            return []
        kernel = spans(shape_of(argument(node, 1))[2:], sizes(5, 1))
        return conv_padding(before, after, kernel, sizes(3, 1), [(pad, pad) for pad in sizes(4, 0)])
    if name.startswith(("max_pool", "avg_pool")):
        kernel = sizes(1, 1)
        pads = [(pad, pad) for pad in sizes(3, 0)]
        counts_zeros = name.startswith("avg_pool") and argument(node, 5) in (None, True)
        if counts_zeros and any(map(any, pads)):  # TFLite's SAME does not count them
            return pads
        return pool_padding(before, after, kernel, sizes(2, kernel), pads)
    return []


def shape_of(node: Any) -> tuple[int, ...]:
    """Shape of a node's first output."""
    value = node.meta["val"]
    value = value[0] if isinstance(value, tuple | list) else value
    return tuple(int(size) for size in value.shape)


def argument(node: fx.Node, position: int) -> Any:
    """An argument by its position in the operator's schema; None where it is not given."""
    if len(node.args) > position:
        return node.args[position]
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return node.kwargs.get(names[position])


def operation(node: fx.Node) -> str:
    """The operator's name without its overload; an in-place form has the name of the other form."""
    schema = getattr(node.target, "_schema", None)
    return str(schema and schema.name).partition("::")[2].rstrip("_")


def nodes_in(value: Any) -> list[fx.Node]:
    """The nodes among arguments and in lists of them."""
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, list | tuple):
        return [node for item in value for node in nodes_in(item)]
    return []
