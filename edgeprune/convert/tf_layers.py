"""Layers of an ONNX graph in TensorFlow: convolutions, pools, dense layers, products of matrices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.convert.memory_order import Axes, OrderedTensor, Pieces, isolate, new_axes, places_of
from edgeprune.convert.onnx_file import attributes, each, explicit_pads
from edgeprune.convert.tf_builder import TfBuilder, handles
from edgeprune.graph.padding import Pads, conv_padding, pool_padding, reached, spans


def image(builder: TfBuilder, given: Any) -> OrderedTensor:
    """A value `[n, channels, (height,) width]` as TFLite's layers take it: `[n, height, width, channels]`."""
    value = builder.straight(builder.value(given))
    axes = value.axes
    if len(axes) not in (3, 4):
        raise builder.refusal(f"TFLite has it for one and two dimensions, not for {len(axes) - 2}")
    height = () if len(axes) == 3 else axes[2]
    return builder.moved(value, (axes[0], height, axes[-1], axes[1]))


def _from_image(tensor: Any, batch: Pieces, dimensions: int) -> OrderedTensor:
    """A new value of a layer's output `[n, height, width, channels]`."""
    _, height, width, channels = (int(size) for size in tensor.shape)
    rows, columns, filters = new_axes((height, width, channels))
    axes: Axes = (batch, filters, columns) if dimensions == 1 else (batch, filters, rows, columns)
    return OrderedTensor(tensor, axes, (batch, rows, columns, filters))


def _of_image(values: Any, dimensions: int, filler: Any) -> list[Any]:
    """Settings of height and width, of those that an operator has for its dimensions."""
    return [filler, *values] if dimensions == 1 else list(values)


@handles("Conv")
def _conv(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, settings = builder.tf, attributes(node)
    x = image(builder, given[0])
    weight, bias = given[1], given[2] if len(given) > 2 else None
    if isinstance(weight, OrderedTensor):
        raise builder.refusal("its weights are computed by the network")
    dimensions, groups = len(x.axes) - 2, settings.get("group", 1)
    pads, strides, dilations, weight = _conv_settings(node, weight, dimensions)
    tensor, padding = _padded(builder, x, node, weight.shape[2:], strides, dilations, pads)
    channels = int(tensor.shape[3])
    if groups > 1 and groups == channels:
        kernel = weight.reshape(channels, -1, *weight.shape[2:]).transpose(2, 3, 0, 1)
        y = tf.raw_ops.DepthwiseConv2dNative(
            input=tensor,
            filter=tf.constant(kernel),
            strides=[1, *strides, 1],
            padding=padding,
            dilations=[1, *dilations, 1],
        )
    else:
        kernel = tf.constant(weight.transpose(2, 3, 1, 0))
        y = tf.nn.conv2d(tensor, kernel, strides, padding, dilations=dilations)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return _from_image(y, x.axes[0], dimensions)


def _conv_settings(node: Any, weight: NDArray[Any], dimensions: int) -> tuple[Pads, list[int], list[int], NDArray[Any]]:
    """Padding, strides and dilations of height and width, and the weights with both."""
    pads = _of_image(explicit_pads(node, dimensions), dimensions, (0, 0))
    strides = _of_image(each(node, "strides", dimensions), dimensions, 1)
    dilations = _of_image(each(node, "dilations", dimensions), dimensions, 1)
    return pads, strides, dilations, weight[:, :, np.newaxis] if dimensions == 1 else weight


def _padded(
    builder: TfBuilder, x: OrderedTensor, node: Any, window: Any, strides: list[int], dilations: list[int], pads: Pads
) -> tuple[Any, str]:
    """The tensor with the padding that TFLite's layers lack, and the one they do."""
    before = tuple(int(size) for size in x.tensor.shape[1:3])
    kernel = spans(window, dilations)
    after = tuple(
        (size + sum(pad) - span) // step + 1
        for size, pad, span, step in zip(before, pads, kernel, strides, strict=True)
    )
    explicit = conv_padding(before, after, kernel, strides, pads)
    if explicit:
        return builder.tf.pad(x.tensor, [(0, 0), *explicit, (0, 0)]), "VALID"
    return x.tensor, "SAME" if any(map(any, pads)) else "VALID"


@handles("ConvTranspose")
def _conv_transpose(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, x, weight = builder.tf, image(builder, given[0]), given[1]
    dimensions = len(x.axes) - 2
    pads, strides, dilations, weight = _conv_settings(node, weight, dimensions)
    if attributes(node).get("group", 1) != 1 or set(dilations) != {1}:
        raise builder.refusal("TFLite has none with groups or dilation")
    extra = _of_image(attributes(node).get("output_padding", [0] * dimensions), dimensions, 0)
    n, height, width, _ = (int(size) for size in x.tensor.shape)
    kernel = tf.constant(weight.transpose(2, 3, 1, 0))
    totals = [span - step for span, step in zip(weight.shape[2:], strides, strict=True)]
    same = [(total // 2, total - total // 2) for total in totals]
    if pads == same and not any(extra):
        shape = [n, height * strides[0], width * strides[1], weight.shape[1]]
        y = tf.nn.conv2d_transpose(x.tensor, kernel, shape, strides, "SAME")
        return _from_image(y if len(given) < 3 else tf.nn.bias_add(y, given[2]), x.axes[0], dimensions)
    full = [
        (size - 1) * step + span for size, step, span in zip((height, width), strides, weight.shape[2:], strict=True)
    ]
    y = tf.nn.conv2d_transpose(x.tensor, kernel, [n, *full, weight.shape[1]], strides, "VALID")
    if any(extra):
        y = tf.pad(y, [(0, 0), *((0, more) for more in extra), (0, 0)])
    (top, bottom), (left, right) = pads
    y = y[:, top : full[0] + extra[0] - bottom, left : full[1] + extra[1] - right]
    if len(given) > 2:
        y = tf.nn.bias_add(y, given[2])
    return _from_image(y, x.axes[0], dimensions)


@handles("MaxPool AveragePool")
def _pool(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, settings, x = builder.tf, attributes(node), image(builder, given[0])
    dimensions, average = len(x.axes) - 2, node.op_type == "AveragePool"
    if set(each(node, "dilations", dimensions)) != {1}:
        raise builder.refusal("TFLite has none with dilation")
    window = _of_image(settings["kernel_shape"], dimensions, 1)
    strides = _of_image(each(node, "strides", dimensions), dimensions, 1)
    given_pads = _of_image(explicit_pads(node, dimensions), dimensions, (0, 0))
    before = tuple(int(size) for size in x.tensor.shape[1:3])
    after = tuple(
        _pooled(*each_axis, bool(settings.get("ceil_mode", 0)))
        for each_axis in zip(before, window, strides, given_pads, strict=True)
    )
    zeros_count = average and bool(settings.get("count_include_pad", 0)) and any(map(any, given_pads))
    pads = reached(before, after, window, strides, given_pads)
    function = tf.nn.avg_pool2d if average else tf.nn.max_pool2d
    if not zeros_count and not pool_padding(before, after, window, strides, given_pads):
        y = function(x.tensor, window, strides, "SAME" if any(map(any, pads)) else "VALID")
        return _from_image(y, x.axes[0], dimensions)
    edges = [(0, 0), *pads, (0, 0)]
    lowest = 0.0 if average else float(np.finfo(np.float32).min)
    y = function(tf.pad(x.tensor, edges, constant_values=lowest), window, strides, "VALID")
    if average:
        y = _recounted(builder, y, before, (window, strides), (pads, given_pads), zeros_count)
    return _from_image(y, x.axes[0], dimensions)


def _pooled(size: int, window: int, stride: int, pads: tuple[int, int], rounds_up: bool) -> int:
    """The size after a pool; rounded up, the last window begins inside the tensor or in the padding before it."""
    room = size + sum(pads) - window
    if not rounds_up:
        return room // stride + 1
    return min(-(-room // stride), (size + pads[0] - 1) // stride) + 1


def _recounted(
    builder: TfBuilder, y: Any, before: tuple[int, ...], moves: Any, both_pads: tuple[Pads, Pads], zeros_count: bool
) -> Any:
    """Means over padded windows as means over the places that count."""
    window, strides = moves
    pads, given_pads = both_pads
    shares = []
    for size, span, step, (first, last), (own_first, own_last) in zip(
        before, window, strides, pads, given_pads, strict=True
    ):
        counted = np.zeros(size + first + last)
        start = first - own_first if zeros_count else first
        counted[start : first + size + (own_last if zeros_count else 0)] = 1
        starts = range(0, len(counted) - span + 1, step)
        shares.append(np.array([counted[at : at + span].mean() for at in starts]))
    share = np.outer(*shares)
    if (share == 1).all():
        return y
    return y * (1 / share)[np.newaxis, :, :, np.newaxis].astype(np.float32)


@handles("MatMul Gemm")
def _matmul(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    settings = attributes(node)
    x, weight = given[:2]
    if settings.get("transA"):
        raise builder.refusal("its first matrix is transposed")
    if isinstance(weight, np.ndarray):
        weight = (weight.T if settings.get("transB") else weight) * np.float32(settings.get("alpha", 1.0))
        if weight.ndim == 2:
            if len(given) < 3:
                return dense(builder, x, weight, None)
            bias = given[2] * np.float32(settings.get("beta", 1.0))
            return dense(builder, x, weight, np.broadcast_to(bias, weight.shape[1:]))
    elif settings.get("transB"):
        raise builder.refusal("its second matrix is computed and transposed")
    return _product(builder, builder.value(x), builder.value(weight))


def dense(builder: TfBuilder, x: OrderedTensor, weight: NDArray[Any], bias: NDArray[Any] | None) -> OrderedTensor:
    """A dense layer on the last axis of `x`, weights `[inputs, outputs]`; columns follow the order in memory."""
    tf, summed = builder.tf, x.axes[-1]
    rest = tuple(piece for piece in x.order if piece not in summed)
    inside = tuple(piece for piece in x.order if piece in summed)
    columns = new_axes([weight.shape[1]])[0]
    if x.order != (*rest, *inside) and (y := _dense_by_frame(builder, x, weight, bias, columns)) is not None:
        return y
    outer = tuple(piece for axis in x.axes[:-1] for piece in axis)
    outer = rest if x.order == (*rest, *inside) else outer
    x = builder.moved(x, (outer, inside))
    y = tf.matmul(x.tensor, tf.constant(weight[places_of(summed, inside)]))
    y = y if bias is None else tf.nn.bias_add(y, bias)
    value = OrderedTensor(y, (*x.axes[:-1], columns), (outer, columns))
    natural = (*x.axes[:-1], columns)
    same = tuple(piece for axis in natural for piece in axis) == value.order
    return builder.moved(value, natural) if same and len(natural) > 1 else value


def _dense_by_frame(
    builder: TfBuilder, x: OrderedTensor, weight: NDArray[Any], bias: NDArray[Any] | None, columns: Pieces
) -> OrderedTensor | None:
    """A dense layer over channels and one side of an image, at each place of the other: a convolution without SAME."""
    summed = x.axes[-1]
    kept = tuple(piece for piece in x.order if piece not in summed)
    before, after = x.order[: x.order.index(kept[0])], x.order[x.order.index(kept[-1]) + 1 :]
    if x.order != (*before, *kept, *after) or not before or not after:
        return None
    tf, x = builder.tf, builder.moved(x, ((), before, kept, after))
    _, height, _, channels = (int(size) for size in x.tensor.shape)
    rows = weight[places_of(summed, (*before, *after))].reshape(height, 1, channels, -1)
    y = tf.nn.conv2d(x.tensor, tf.constant(rows), 1, "VALID")
    y = y if bias is None else tf.nn.bias_add(y, bias)
    return OrderedTensor(y, (*x.axes[:-1], columns), ((), (), kept, columns))


def _product(builder: TfBuilder, left: OrderedTensor, right: OrderedTensor) -> OrderedTensor:
    """A product of two matrices, or of stacks of them, that the network computes."""
    rank = max(len(left.axes), len(right.axes))
    if min(len(left.axes), len(right.axes)) < 2:
        raise builder.refusal("it multiplies a vector")
    left, right = (builder.value_in_order(builder.straight(value)) for value in (left, right))
    y = builder.tf.matmul(left.tensor, right.tensor)
    axes = new_axes([int(size) for size in y.shape])
    assert len(axes) == rank
    return OrderedTensor(y, axes, axes)


@handles("GlobalAveragePool GlobalMaxPool")
def _global_pool(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    function = builder.tf.reduce_mean if node.op_type == "GlobalAveragePool" else builder.tf.reduce_max
    return reduced(builder, given[0], list(range(2, len(given[0].axes))), True, function)


def reduced(builder: TfBuilder, value: OrderedTensor, axes: list[int], keep: bool, function: Any) -> OrderedTensor:
    """A reduction over axes of the network, which stay as axes of one value or (not `keep`) go."""
    gone = tuple(piece for axis in axes for piece in value.axes[axis])
    memory: Axes = value.memory
    for piece in gone:
        memory = isolate(memory, (piece,))[0]
    value = builder.moved(value, memory)
    at = [number for number, axis in enumerate(memory) if axis and axis[0] in gone]
    left = tuple(() if number in axes else axis for number, axis in enumerate(value.axes))
    if not keep:
        left = tuple(axis for number, axis in enumerate(value.axes) if number not in axes)
    units = keep or len(left) > 2  # layers after it take them
    y = function(value.tensor, axis=at, keepdims=units) if at else value.tensor
    return OrderedTensor(
        y, left, tuple(() if number in at else axis for number, axis in enumerate(memory) if units or number not in at)
    )
