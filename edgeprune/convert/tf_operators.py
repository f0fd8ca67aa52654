"""Operators of an ONNX graph in TensorFlow that have no weights of their own: element by element, axes, sizes."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.convert.memory_order import OrderedTensor, Piece, channels_last, new_axes, places_of
from edgeprune.convert.memory_order import sizes as sizes_of
from edgeprune.convert.onnx_file import attributes
from edgeprune.convert.tf_builder import TfBuilder, handles, reshaped
from edgeprune.convert.tf_layers import image, reduced

# Element by element


@handles("Add Sub Mul Div Max Min Sum Pow Greater GreaterOrEqual Less LessOrEqual Equal And Or Where")
def _several(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf = builder.tf
    functions = {
        "Add": tf.add, "Sub": tf.subtract, "Mul": tf.multiply, "Div": tf.divide, "Pow": tf.pow,
        "Greater": tf.greater, "GreaterOrEqual": tf.greater_equal, "Less": tf.less, "LessOrEqual": tf.less_equal,
        "Equal": tf.equal, "And": tf.logical_and, "Or": tf.logical_or, "Where": tf.where,
    }  # fmt: skip
    folded = {"Max": tf.maximum, "Min": tf.minimum, "Sum": tf.add}
    if node.op_type == "Pow" and isinstance(given[1], np.ndarray) and given[1].size == 1 and given[1].item() == 2:
        return given[0].with_tensor(tf.square(given[0].tensor))
    if node.op_type in folded:
        result = given[0]
        for other in given[1:]:
            result = builder.combined([result, other], folded[node.op_type])
        return result
    return builder.combined(given, functions[node.op_type])


@handles("Relu Sigmoid Tanh Exp Log Sqrt Abs Neg Softplus Softsign Reciprocal Floor Ceil Round Sin Cos Not Gelu Mish "
         "HardSwish HardSigmoid LeakyRelu Elu Selu Celu Clip ThresholdedRelu")  # fmt: skip
def _one(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, value, settings = builder.tf, given[0], attributes(node)
    x = value.tensor

    def softplus(x: Any) -> Any:
        return tf.nn.relu(x) + tf.math.log(1.0 + tf.exp(-tf.abs(x)))

    alpha = settings.get("alpha")
    functions = {
        "Relu": tf.nn.relu, "Sigmoid": tf.sigmoid, "Tanh": tf.tanh, "Exp": tf.exp, "Log": tf.math.log,
        "Sqrt": tf.sqrt, "Abs": tf.abs, "Neg": tf.negative, "Floor": tf.floor, "Ceil": tf.math.ceil,
        "Round": tf.round, "Sin": tf.sin, "Cos": tf.cos, "Not": tf.logical_not,
        "Softplus": softplus,
        "Softsign": lambda x: x / (1.0 + tf.abs(x)),
        "Reciprocal": lambda x: 1.0 / x,
        "Gelu": lambda x: tf.nn.gelu(x, approximate=settings.get("approximate", b"none") == b"tanh"),
        "Mish": lambda x: x * tf.tanh(softplus(x)),
        "HardSwish": lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0),
        "HardSigmoid": lambda x: _hard_sigmoid(tf, x, settings),
        "LeakyRelu": lambda x: tf.nn.leaky_relu(x, 0.01 if alpha is None else alpha),
        "Elu": lambda x: tf.nn.elu(x) if alpha in (None, 1.0) else _elu(tf, x, alpha),
        "Celu": lambda x: _elu(tf, x, alpha or 1.0, 1 / (alpha or 1.0)),
        "Selu": lambda x: settings.get("gamma", 1.0507009873554805) * _elu(tf, x, alpha or 1.6732632423543772),
        "ThresholdedRelu": lambda x: tf.where(x > (alpha or 1.0), x, tf.zeros_like(x)),
        "Clip": lambda x: _clip(builder, x, settings, given[1:]),
    }  # fmt: skip
    return value.with_tensor(functions[node.op_type](x))


def _elu(tf: Any, x: Any, alpha: float, inside: float = 1.0) -> Any:
    return tf.nn.relu(x) + alpha * (tf.exp(-tf.nn.relu(-x) * inside) - 1.0)


def _hard_sigmoid(tf: Any, x: Any, settings: dict[str, Any]) -> Any:
    alpha, beta = settings.get("alpha", 0.2), settings.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)
    return tf.minimum(tf.nn.relu(x * alpha + beta), 1.0)


def _clip(builder: TfBuilder, x: Any, settings: dict[str, Any], limits: list[Any]) -> Any:
    tf = builder.tf
    low, high = ([*limits, None, None][place] for place in range(2))
    if isinstance(low, OrderedTensor) or isinstance(high, OrderedTensor):
        raise builder.refusal("its limits are computed by the network")
    least = float(settings.get("min", -np.inf) if low is None else low)
    most = float(settings.get("max", np.inf) if high is None else high)
    if least == 0:
        return tf.nn.relu6(x) if most == 6 else tf.nn.relu(x) if most == np.inf else tf.minimum(tf.nn.relu(x), most)
    x = x if least == -np.inf else tf.maximum(x, least)
    return x if most == np.inf else tf.minimum(x, most)


@handles("PRelu")
def _prelu(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf = builder.tf

    def prelu(x: Any, slope: NDArray[Any]) -> Any:
        slope = slope.reshape((1,) * (len(x.shape) - 1 - slope.ndim) + slope.shape)
        return tf.nn.relu(x) + tf.nn.relu(-x) * -slope  # TensorFlow's converter makes a PRELU of this form

    return builder.combined(given, prelu)


@handles("Identity Dropout Cast")
def _same(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    if node.op_type == "Cast" and given[0].tensor.dtype == builder.tf.bool:
        return given[0].with_tensor(builder.tf.cast(given[0].tensor, builder.tf.float32))
    value: OrderedTensor = given[0]
    return value


# Norms


@handles("BatchNormalization")
def _batch_norm(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    x, gain, offset, mean, variance = given[:5]
    scale = gain / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(x.axes) - 2))
    scaled = builder.combined([x, scale.astype(np.float32).reshape(shape)], builder.tf.multiply)
    shift = (offset - mean * scale).astype(np.float32).reshape(shape)
    return builder.combined([scaled, shift], builder.tf.add)


@handles("LayerNormalization InstanceNormalization")
def _norm(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, x, settings = builder.tf, given[0], attributes(node)
    rank, epsilon = len(x.axes), settings.get("epsilon", 1e-5)
    gain, offset = ([*given, None, None][place] for place in (1, 2))
    axes = list(range(2, rank))
    if node.op_type == "LayerNormalization":
        axes = list(range(settings.get("axis", -1) % rank, rank))
    else:
        gain, offset = (values.reshape((-1, *[1] * (rank - 2))) for values in (gain, offset))
    centred = builder.combined([x, reduced(builder, x, axes, True, tf.reduce_mean)], tf.subtract)
    squares = centred.with_tensor(tf.square(centred.tensor))
    variance = reduced(builder, squares, axes, True, tf.reduce_mean)
    inverse = variance.with_tensor(tf.math.rsqrt(variance.tensor + epsilon))
    y = builder.combined([centred, inverse], tf.multiply)
    y = y if gain is None or (gain == 1).all() else builder.combined([y, gain], tf.multiply)
    return y if offset is None or not offset.any() else builder.combined([y, offset], tf.add)


@handles("Softmax LogSoftmax")
def _softmax(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value = given[0]
    axis = attributes(node).get("axis", -1) % len(value.axes)
    value, at = builder.single(value, axis)
    memory = value.memory
    if any(memory[at + 1 :]) or not memory[at]:  # TFLite has it over the last axis alone
        memory = (*memory[:at], *memory[at + 1 :], memory[at])
        value = builder.moved(value, memory)
    elif at < len(memory) - 1:
        value = builder.moved(value, (*memory[:at], *memory[at + 1 :], memory[at]))
    function = builder.tf.nn.softmax if node.op_type == "Softmax" else builder.tf.nn.log_softmax
    return value.with_tensor(function(value.tensor))


@handles("ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 ReduceL1 ReduceSumSquare ReduceLogSumExp")
def _reduce(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, settings, x = builder.tf, attributes(node), given[0]
    named = given[1] if len(given) > 1 and given[1] is not None else settings.get("axes")
    rank = len(x.axes)
    axes = list(range(rank)) if named is None else [int(axis) % rank for axis in np.atleast_1d(named)]
    kind, keep = node.op_type.removeprefix("Reduce"), bool(settings.get("keepdims", 1))
    before = {"L2": tf.square, "SumSquare": tf.square, "L1": tf.abs, "LogSumExp": tf.exp}.get(kind)
    after = {"L2": tf.sqrt, "LogSumExp": tf.math.log}.get(kind)
    functions = {"Mean": tf.reduce_mean, "Max": tf.reduce_max, "Min": tf.reduce_min, "Prod": tf.reduce_prod}
    x = x if before is None else x.with_tensor(before(x.tensor))
    y = reduced(builder, x, axes, keep, functions.get(kind, tf.reduce_sum))
    return y if after is None else y.with_tensor(after(y.tensor))


# Axes


@handles("Reshape Flatten Squeeze Unsqueeze")
def _reshape(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    x, settings = given[0], attributes(node)
    shape, second = list(x.shape), [*given, None][1]
    if isinstance(second, OrderedTensor):
        raise builder.refusal("its sizes are computed by the network")
    if node.op_type == "Flatten":
        axis = settings.get("axis", 1) % (len(shape) + 1)
        shape = [prod(shape[:axis]), prod(shape[axis:])]
    elif node.op_type == "Squeeze":
        axes = [place for place, size in enumerate(shape) if size == 1] if second is None else second.tolist()
        shape = [size for place, size in enumerate(shape) if place not in {axis % len(shape) for axis in axes}]
    elif node.op_type == "Unsqueeze":
        rank = len(shape) + len(second)
        at, sizes = {int(axis) % rank for axis in second}, iter(shape)
        shape = [1 if place in at else next(sizes) for place in range(rank)]
    else:
        given_sizes = [shape[place] if size == 0 else int(size) for place, size in enumerate(second)]
        known = prod(size for size in given_sizes if size > 0)
        shape = [prod(shape) // known if size == -1 else size for size in given_sizes]
    return reshaped(builder, x, shape)


@handles("Transpose")
def _transpose(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value: OrderedTensor = given[0]
    order = attributes(node).get("perm") or list(reversed(range(len(value.axes))))
    return OrderedTensor(value.tensor, tuple(value.axes[axis] for axis in order), value.memory)


@handles("Concat")
def _concat(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    axis = attributes(node)["axis"]
    values = [builder.value(item) for item in given]
    axis %= len(values[0].axes)
    values = builder.unified(values, besides=axis)
    lead = max(values, key=lambda value: (len(value.order), prod(value.shape)))
    own = lead.axes[axis]
    first = next((place for place, group in enumerate(lead.memory) if set(group) & set(own)), len(lead.memory))
    rest = [tuple(piece for piece in group if piece not in own) for group in lead.memory]
    units = [place for place, group in enumerate(lead.memory) if not group]
    if not own and units:
        first = units[-1]
    elif first == len(lead.memory):
        rest.append(())
    elif rest[first] or sum(bool(set(group) & set(own)) for group in lead.memory) > 1:
        rest = [group for group in rest if group]
        first = min(first, len(rest))
        rest.insert(first, ())
    axes = [_spread(value.axes, axis, lead.axes) for value in values]
    tensors, places, start = [], [], 0
    for value in values:
        inside = tuple(piece for piece in value.order if piece in value.axes[axis])
        missing = {piece for group in rest for piece in group} - set(value.order)
        if missing:
            raise builder.refusal("its inputs have other sizes")
        tensors.append(builder.moved(value, (*rest[:first], inside, *rest[first + 1 :])).tensor)
        places.append(start + places_of(value.axes[axis], inside).reshape(-1))
        start += value.shape[axis]
    order = np.concatenate(places)
    piece = Piece(start, None if (order == np.arange(start)).all() else order)
    tensor = builder.tf.concat(tensors, first)
    return OrderedTensor(
        tensor, (*axes[0][:axis], (piece,), *axes[0][axis + 1 :]), (*rest[:first], (piece,), *rest[first + 1 :])
    )


def _spread(axes: Any, axis: int, lead: Any) -> Any:
    return tuple(lead[number] if number != axis else own for number, own in enumerate(axes))


@handles("Slice")
def _slice(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value, starts, ends = given[:3]
    if any(isinstance(item, OrderedTensor) for item in given[1:]):
        raise builder.refusal("where it begins and ends is computed by the network")
    axes = given[3] if len(given) > 3 and given[3] is not None else np.arange(len(starts))
    steps = given[4] if len(given) > 4 and given[4] is not None else np.ones(len(starts), np.int64)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        axis %= len(value.axes)
        kept = np.arange(value.shape[axis])[start:end:step]
        if len(kept) == value.shape[axis] and step == 1:
            continue
        value = _taken(builder, value, axis, kept, step)
    result: OrderedTensor = value
    return result


def _taken(builder: TfBuilder, value: OrderedTensor, axis: int, kept: NDArray[Any], step: int) -> OrderedTensor:
    """Evenly spaced places of an axis."""
    if not len(kept):
        raise builder.refusal("it leaves nothing")
    value, at = builder.single(value, axis)
    if step < 0:
        value = value.with_tensor(builder.tf.reverse(value.tensor, [at]))
        size = value.shape[axis]
        kept, step = size - 1 - kept, -step
    cut = [slice(None)] * at + [slice(int(kept[0]), int(kept[-1]) + 1, step)]
    return builder.renewed(value, axis, at, value.tensor[tuple(cut)])


@handles("Split")
def _split(builder: TfBuilder, node: Any, given: list[Any]) -> list[OrderedTensor]:
    value, settings = given[0], attributes(node)
    axis = settings.get("axis", 0) % len(value.axes)
    size = value.shape[axis]
    sizes = given[1].tolist() if len(given) > 1 and given[1] is not None else settings.get("split")
    if sizes is None:
        share = -(-size // len(node.output))
        sizes = [min(share, size - share * place) for place in range(len(node.output))]
    value, at = builder.single(value, axis)
    return [builder.renewed(value, axis, at, part) for part in builder.tf.split(value.tensor, sizes, at)]


@handles("Gather")
def _gather(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value, places = given
    if isinstance(places, OrderedTensor) or not isinstance(value, OrderedTensor) or places.ndim > 1:
        raise builder.refusal("which places it takes is computed by the network")
    axis = attributes(node).get("axis", 0) % len(value.axes)
    wanted = np.atleast_1d(places) % value.shape[axis]
    if len(wanted) == 1:
        value = _taken(builder, value, axis, wanted, 1)
    else:
        value, at = builder.single(value, axis)
        value = builder.renewed(value, axis, at, builder.tf.gather(value.tensor, wanted.astype(np.int32), axis=at))
    return value if places.ndim else reshaped(builder, value, [*value.shape[:axis], *value.shape[axis + 1 :]])


@handles("Pad")
def _pad(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value, amounts = given[:2]
    rank, mode = len(value.axes), attributes(node).get("mode", b"constant").decode()
    axes = given[3].tolist() if len(given) > 3 and given[3] is not None else list(range(rank))
    filler = float(given[2]) if len(given) > 2 and given[2] is not None else 0.0
    befores, afters = amounts[: len(axes)].tolist(), amounts[len(axes) :].tolist()
    if min(befores + afters) < 0 or mode not in ("constant", "reflect"):
        raise builder.refusal(f"TFLite has no padding by '{mode}'" if min(befores + afters) >= 0 else "it cuts off")
    padded = {axis % rank: ends for axis, *ends in zip(axes, befores, afters, strict=True) if any(ends)}
    for axis in padded:
        value, _ = builder.single(value, axis)
    places = {axis: builder.single(value, axis)[1] for axis in padded}
    edges = [(0, 0)] * len(value.memory)
    for axis, ends in padded.items():
        edges[places[axis]] = tuple(ends)
    more: dict[str, Any] = {"constant_values": filler} if mode == "constant" else {"mode": "REFLECT"}
    tensor = builder.tf.pad(value.tensor, edges, **more)
    for axis, place in places.items():
        value = builder.renewed(value, axis, place, tensor)
    return value


@handles("Expand Tile")
def _expand(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    value, sizes = given
    if isinstance(sizes, OrderedTensor):
        raise builder.refusal("its sizes are computed by the network")
    if node.op_type == "Expand":
        return _broadcast(builder, value, np.broadcast_shapes(value.shape, tuple(sizes.astype(int))))
    value = builder.value_in_order(builder.straight(value))
    tensor = builder.tf.tile(value.tensor, sizes.astype(np.int32))
    axes = new_axes([int(size) for size in tensor.shape])
    return OrderedTensor(tensor, axes, axes)


def _broadcast(builder: TfBuilder, value: OrderedTensor, shape: tuple[int, ...]) -> OrderedTensor:
    """The value with its axes of one value repeated."""
    axes = ((),) * (len(shape) - len(value.axes)) + value.axes
    if all(size == 1 or axis for axis, size in zip(axes, shape, strict=True)):
        return OrderedTensor(value.tensor, axes, value.memory)
    wide = tuple(axis or new for axis, new in zip(axes, new_axes(shape), strict=True))
    memory = channels_last(wide)
    narrow = tuple(axis if set(axis) <= set(value.order) else () for axis in memory)
    value = builder.moved(OrderedTensor(value.tensor, axes, value.memory), narrow)
    return OrderedTensor(builder.tf.broadcast_to(value.tensor, sizes_of(memory)), wide, memory)


@handles("Resize Upsample")
def _resize(builder: TfBuilder, node: Any, given: list[Any]) -> OrderedTensor:
    tf, settings, x = builder.tf, attributes(node), image(builder, given[0])
    if len(x.axes) != 4:
        raise builder.refusal("TFLite has it for images alone")
    mode = settings.get("mode", b"nearest").decode()
    where = settings.get("coordinate_transformation_mode", b"half_pixel").decode()
    if len(given) > 3 and given[3] is not None:
        sizes = [int(size) for size in given[3][2:]]
    else:
        scales = given[2] if len(given) > 2 else given[1]
        sizes = [int(size * scale) for size, scale in zip(x.shape[2:], scales[2:], strict=True)]
    kinds = {"nearest": tf.raw_ops.ResizeNearestNeighbor, "linear": tf.raw_ops.ResizeBilinear}
    if mode not in kinds or where not in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"):
        raise builder.refusal(f"TFLite has none by '{mode}' and '{where}'")
    corners, halves = where == "align_corners", where in ("half_pixel", "pytorch_half_pixel")
    y = kinds[mode](images=x.tensor, size=sizes, align_corners=corners, half_pixel_centers=halves)
    rows, columns = new_axes(sizes)
    return OrderedTensor(y, (*x.axes[:2], rows, columns), (x.axes[0], rows, columns, x.axes[1]))
