"""PyTorch's operators by what they do to the channel axis, and where they leave it."""

from math import prod
from typing import Any

from torch import fx

from edgeprune.graph.kinds import kinds_by_name
from edgeprune.graph.padding import Pads, conv_padding, pool_padding, spans

PAIRS = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
METHODS = dict.fromkeys(PAIRS, "pointwise") | kinds_by_name(
    {
        "convolution": "conv1d conv2d conv3d",
        "transpose_convolution": "conv_transpose1d conv_transpose2d conv_transpose3d",
        "dense": "linear",
        "recurrent": "gru lstm rnn_tanh rnn_relu",
        "product": "matmul mm bmm einsum",
        "attention": "scaled_dot_product_attention",
        "batch_norm": "batch_norm",
        "channel_norm": "instance_norm group_norm",
        "layer_norm": "layer_norm rms_norm",
        "prelu": "prelu",
        "glu": "glu",
        "free": "dropout feature_dropout alpha_dropout clone contiguous detach alias to _to_copy",
        "fused": "relu relu6 hardtanh",
        "pointwise": "leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid sigmoid tanh softplus clamp "
        "clamp_min clamp_max neg abs exp log sqrt rsqrt square pow reciprocal log_sigmoid threshold hardshrink "
        "softshrink rsub where type_as",
        "along": "softmax log_softmax cumsum cumprod logcumsumexp",
        "view": "view reshape flatten unflatten unsqueeze squeeze permute transpose t movedim swapaxes swapdims "
        "view_as reshape_as",
        "rearrange": "slice select narrow chunk split split_with_sizes tensor_split unbind expand expand_as repeat "
        "repeat_interleave flip roll pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle unfold",
        "pool": "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d "
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d",
        "resize": "upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d",
        "reduce": "mean sum amax amin max min std var prod norm linalg_vector_norm logsumexp median argmax argmin",
        "join": "cat stack",
        "pad": "pad constant_pad_nd zero_pad2d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
        "alike": "zeros_like ones_like full_like",
    }
)
"""By name of an operator, the function of the tracer that takes it.

`free` operators compute nothing on a device. TFLite fuses `fused` ones into the operator before them where it can.
"""
KINDS = kinds_by_name(
    {
        "slice": "slice select narrow unfold",
        "split": "chunk split split_with_sizes tensor_split unbind",
        "expand": "expand expand_as repeat repeat_interleave",
        "move": "flip roll pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle",
        "arg": "argmax argmin",
    }
)
"""The kind of operators that a function of the tracer takes together with others."""
_PRODUCTS = frozenset(
    {"addmm", "baddbmm", "addmv", "addr", "addbmm", "mv", "dot", "vdot", "inner", "outer", "tensordot", "kron"}
)
_WITH_MACS = ("fft_", "_fft", "linalg_", "stft", "istft", "cdist", "_cdist", "bilinear", "_trilinear", "grid_sampler")


def may_multiply(node: fx.Node) -> bool:
    """Whether an operator the tracer does not know may have MACs, as none of PyTorch's other plain operators has."""
    schema = getattr(node.target, "_schema", None)
    plain = schema is not None and str(schema.name).startswith(("aten::", "prims::"))
    name = operation(node)
    return (
        not plain
        or name in _PRODUCTS
        or name.startswith(_WITH_MACS)
        or any(part in name for part in ("conv", "attention", "_cell"))
    )


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
    """The axis where a permutation puts the channels; None of operators that are no permutation."""
    if name == "permute":
        order = [int(place) % dims for place in node.args[1]]  # type: ignore[union-attr,arg-type]
    elif name not in ("transpose", "t", "swapaxes", "swapdims"):
        return None
    else:
        one, two = (0, 1) if name == "t" else (int(node.args[1]) % dims, int(node.args[2]) % dims)  # type: ignore[arg-type]
        order = list(range(dims))
        order[one], order[two] = order[two], order[one]
    return order.index(axis)


def reduced_axes(node: fx.Node, dims: int) -> tuple[set[int], bool]:
    """The axes that a reduction sums over (all where it names none), and whether they stay with size one."""
    named, keep = named_argument(node, "dim"), bool(named_argument(node, "keepdim"))
    if named is None or named == []:
        return set(range(dims)), keep
    return {int(axis) % dims for axis in (named if isinstance(named, list | tuple) else [named])}, keep


def padding_of(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> Pads:
    """The padding that an operator of its own, a PAD, adds to the input of a convolution or pool."""
    name, axes = operation(node), len(before)

    if METHODS[name] == "convolution":
        if isinstance(argument(node, 4), str):
            return []
        kernel = spans(shape_of(argument(node, 1))[2:], sizes(node, 5, 1, axes))
        pads = [(pad, pad) for pad in sizes(node, 4, 0, axes)]
        return conv_padding(before, after, kernel, sizes(node, 3, 1, axes), pads)
    if name.startswith(("max_pool", "avg_pool")):
        kernel = sizes(node, 1, 1, axes)
        pads = [(pad, pad) for pad in sizes(node, 3, 0, axes)]
        counts_zeros = name.startswith("avg_pool") and argument(node, 5) in (None, True)
        if counts_zeros and any(map(any, pads)):  # TFLite's SAME does not count them
            return pads
        return pool_padding(before, after, kernel, sizes(node, 2, kernel, axes), pads)
    return []


def filler_of(pad: fx.Node) -> float | None:
    """The number that a padding puts around a tensor; None where it repeats the tensor's own values."""
    if named_argument(pad, "mode") not in (None, "constant"):
        return None
    repeats = operation(pad).startswith(("reflection", "replication"))
    return None if repeats else float(named_argument(pad, "value") or 0)


def sizes(node: fx.Node, position: int, default: Any, axes: int) -> list[int]:
    """An argument as one number for each of so many axes."""
    value = argument(node, position) or default
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(size) for size in (values * axes if len(values) == 1 else values)]


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
    return node.kwargs.get(names[position]) if position < len(names) else None


def named_argument(node: fx.Node, name: str) -> Any:
    """An argument by its name in the operator's schema; None where it is not given, or the operator has none."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return argument(node, names.index(name)) if name in names else None


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
