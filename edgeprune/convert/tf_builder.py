"""Builds a network in TensorFlow from an ONNX graph of fixed shapes, operator by operator, channels last."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeprune.convert.memory_order import (
    Axes,
    OrderedTensor,
    Piece,
    Pieces,
    channels_last,
    common_pieces,
    cut,
    isolate,
    new_axes,
    places_of,
    sizes,
    substitute,
)
from edgeprune.convert.onnx_file import attributes, module_path

Handler = Callable[["TfBuilder", Any, list[Any]], Any]
HANDLERS: dict[str, Handler] = {}
"""By ONNX operator, the function that builds it from the node and its inputs: tensors, or arrays of constants."""


_PLACE = "place"
"""The name of a node begins with its place in the graph; `plain_name` takes it away."""


def plain_name(name: str) -> str:
    """A tensor's name without the places of its nodes."""
    return re.sub(rf"{_PLACE}\d{{5}}/", "", name)


class UnsupportedOperatorError(Exception):
    """An operator that cannot be built; `operator` and `module` name it, the message says why."""

    def __init__(self, operator: str, module: str, why: str) -> None:
        super().__init__(why)
        self.operator, self.module = operator, module


def handles(names: str) -> Callable[[Handler], Handler]:
    """Register a function for ONNX operators."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names.split(), handler))
        return handler

    return register


class TfBuilder:
    """One pass over a graph.

    Attributes:
        transposes: modules for which values had to be moved in memory.
    """

    def __init__(self, graph: Any) -> None:
        import tensorflow as tf

        self.tf = tf
        self.graph = graph
        self.transposes: list[str] = []
        self._node: Any = None
        # the network lies in a module of the export's own, beside the softmax behind it
        self._wrapped = all(node.name.startswith(("/0/", "/1/")) for node in graph.node if node.name.startswith("/"))

    def build(self, inputs: dict[str, OrderedTensor]) -> list[OrderedTensor]:
        """The outputs of the graph, with the axes of each in memory in some order and none of them divided."""
        values: dict[str, Any] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        values.update(inputs)
        for place, node in enumerate(self.graph.node):
            self._node = node
            given = [values[name] if name else None for name in node.input]
            # TensorFlow's converter orders operators that do not depend on each other by name
            with (
                self.tf.name_scope(f"{_PLACE}{place:05}"),
                self.tf.name_scope(_scope(self._module(node) or node.op_type)),
            ):
                made = self._built(node, given)
            made = made if isinstance(made, list) else [made]
            values.update(zip(node.output, made, strict=False))
        with self.tf.name_scope("output"):
            return [self._whole(self.value(values[output.name])) for output in self.graph.output]

    def _built(self, node: Any, given: list[Any]) -> Any:
        if node.op_type == "Constant":
            return _constant(node)
        if node.op_type == "Shape":
            first, last = attributes(node).get("start", 0), attributes(node).get("end")
            return np.asarray(given[0].shape[first:last], np.int64)
        if node.op_type == "Size":
            return np.asarray(prod(given[0].shape), np.int64)
        if not any(isinstance(value, OrderedTensor) for value in given):
            return _computed(node, [value for value in given if value is not None])
        if node.op_type not in HANDLERS or node.domain not in ("", "ai.onnx"):
            raise self.refusal("TFLite has no such operator")
        return HANDLERS[node.op_type](self, node, given)

    def refusal(self, why: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(self._node.op_type, self._module(self._node), why)

    def _module(self, node: Any) -> str:
        """Path of the user's module that a node is from."""
        path = module_path(node)
        return path.partition(".")[2] if self._wrapped else path

    # Values

    def value(self, given: Any) -> OrderedTensor:
        """A constant as a value, channels last; a value as it is."""
        if isinstance(given, OrderedTensor):
            return given
        axes = new_axes(given.shape)
        memory = channels_last(axes)
        return OrderedTensor(self.tf.constant(constant_in(given, axes, memory)), axes, memory)

    def moved(self, value: OrderedTensor, memory: Axes) -> OrderedTensor:
        """The value with other axes in memory, of the same pieces: reshaped where that is enough, else transposed."""
        order = tuple(piece for axis in memory for piece in axis)
        tensor = value.tensor
        if order != value.order:
            self.transposes.append(self._module(self._node))
            tensor = self.tf.reshape(tensor, [piece.size for piece in value.order])
            tensor = self.tf.transpose(tensor, [value.order.index(piece) for piece in order])
        if tuple(tensor.shape) != sizes(memory):
            tensor = self.tf.reshape(tensor, sizes(memory))
        return OrderedTensor(tensor, value.axes, memory)

    def straight(self, value: OrderedTensor) -> OrderedTensor:
        """The value with all pieces in the order of their axis: places are undone."""
        for piece in value.order:
            if piece.places is not None:
                memory, at = isolate(value.memory, (piece,))
                assert at is not None
                value = self.moved(value, memory)
                back = np.argsort(piece.places).astype(np.int32)
                value = value.with_tensor(self.tf.gather(value.tensor, back, axis=at))
                value = substitute(value, {piece: (Piece(piece.size),)})
        return value

    def single(self, value: OrderedTensor, axis: int) -> tuple[OrderedTensor, int]:
        """The value with one axis whole, in order and on an axis of its own in memory; and which that is."""
        value = self.straight(value)
        pieces = value.axes[axis]
        if not pieces:
            memory = ((), *value.memory)
            return self.moved(value, memory), 0
        memory, at = isolate(value.memory, pieces)
        if at is None or memory[at] != pieces:
            rest = tuple(left for group in value.memory if (left := tuple(p for p in group if p not in pieces)))
            memory, at = (*rest, pieces), len(rest)
        return self.moved(value, memory), at

    def renewed(self, value: OrderedTensor, axis: int, at: int, tensor: Any) -> OrderedTensor:
        """The value with a new size of the axis that lies at `at` in memory."""
        pieces = new_axes([int(tensor.shape[at])])[0]
        axes = (*value.axes[:axis], pieces, *value.axes[axis + 1 :])
        return OrderedTensor(tensor, axes, (*value.memory[:at], pieces, *value.memory[at + 1 :]))

    def unified(self, values: list[OrderedTensor], besides: int | None = None) -> list[OrderedTensor]:
        """Values of one rank with the same pieces on all axes but `besides`, those of one value left out."""
        for axis in range(len(values[0].axes)):
            if axis == besides:
                continue
            for number in range(1, len(values)):
                lead = next((value for value in values[:number] if value.axes[axis]), None)
                if lead is None or not values[number].axes[axis]:
                    continue
                common = common_pieces(lead.axes[axis], values[number].axes[axis])
                if common is None:
                    straight = [self.value_in_order(self.straight(value)) for value in values]
                    return self.unified(straight, besides)
                values = [substitute(value, common[0]) for value in values]
                values[number] = substitute(values[number], common[1])
        return values

    def value_in_order(self, value: OrderedTensor) -> OrderedTensor:
        """The value in the network's order, each axis one piece."""
        value = self.moved(value, value.axes)
        axes = new_axes(value.shape)
        return OrderedTensor(value.tensor, axes, axes)

    def combined(self, given: Sequence[Any], function: Callable[..., Any]) -> OrderedTensor:
        """An element by element function of values and constants, which are broadcast as in ONNX."""
        rank = max(len(item.axes) if isinstance(item, OrderedTensor) else item.ndim for item in given)
        places = [place for place, item in enumerate(given) if isinstance(item, OrderedTensor)]
        shape = np.broadcast_shapes(*(item.shape for item in given))
        own = np.broadcast_shapes(*(given[place].shape for place in places))
        items = list(given)
        if shape != (1,) * (len(shape) - len(own)) + own:  # a constant widens the values
            items = [self.value(item) for item in given]
            places = list(range(len(items)))
        values = [
            replace(items[place], axes=((),) * (rank - len(items[place].axes)) + items[place].axes) for place in places
        ]
        values = self.unified(values)
        lead = max(values, key=lambda value: prod(value.shape))
        axes = tuple(max((value.axes[axis] for value in values), key=len) for axis in range(rank))
        inside = {piece for axis in axes for piece in axis}
        memory = lead.memory if set(lead.order) == inside else channels_last(axes)
        for place, value in zip(places, values, strict=True):
            items[place] = self._aligned(value, memory)
        items = [
            item if place in places else constant_in(item.reshape((1,) * (rank - item.ndim) + item.shape), axes, memory)
            for place, item in enumerate(items)
        ]
        tensor = function(*items)
        if tuple(tensor.shape) != sizes(memory):
            tensor = self.tf.reshape(tensor, sizes(memory))
        return OrderedTensor(tensor, axes, memory)

    def _aligned(self, value: OrderedTensor, memory: Axes) -> Any:
        """The tensor of a value so that it is broadcast over `memory`."""
        own = set(value.order)
        target = tuple(tuple(piece for piece in axis if piece in own) for axis in memory)
        if any(part and len(part) != len(axis) for part, axis in zip(target, memory, strict=True)):
            value = self._repeated(value, target, memory)
            target = tuple(axis if part else () for part, axis in zip(target, memory, strict=True))
        tensor = value.tensor
        order = tuple(piece for axis in target for piece in axis)
        short = sizes(target)
        while len(short) > 1 and short[0] == 1 and len(short) > len(tensor.shape):
            short = short[1:]
        if order == value.order and tuple(tensor.shape) == short:
            return tensor
        return self.moved(value, target).tensor

    def _repeated(self, value: OrderedTensor, target: Axes, memory: Axes) -> OrderedTensor:
        """The value with all pieces of each axis of `memory` that it has some of."""
        wanted = tuple(axis if part else () for part, axis in zip(target, memory, strict=True))
        pieces = tuple(piece for axis in wanted for piece in axis)
        own = set(value.order)
        value = self.moved(value, tuple((piece,) if piece in own else () for piece in pieces))
        ones = [1 if piece in own else piece.size for piece in pieces]
        spread = OrderedTensor(value.tensor * np.ones(ones, np.float32), (pieces,), tuple((piece,) for piece in pieces))
        return self.moved(spread, wanted)

    def _whole(self, value: OrderedTensor) -> OrderedTensor:
        """An output: an axis of memory for each of the network's."""
        value = self.straight(value)
        filled = [axis for axis in value.axes if axis]
        inside = sorted(filled, key=lambda axis: min(value.order.index(piece) for piece in axis))
        runs = tuple(piece for axis in inside for piece in axis)
        turn = iter(inside if runs == value.order else filled)
        value = self.moved(value, tuple(next(turn) if axis else () for axis in value.axes))
        return value


def constant_in(constant: NDArray[Any], axes: Axes, memory: Axes) -> NDArray[Any]:
    """A constant of the axes' rank, of their sizes or 1, as memory has them; leading sizes of 1 are left out."""
    if constant.size == 1:
        return constant.reshape(())
    own: Pieces = ()
    for number, pieces in enumerate(axes):
        if constant.shape[number] > 1:
            constant = (
                np.take(constant, places_of(pieces, pieces), axis=number)
                if any(piece.places is not None for piece in pieces)
                else constant
            )
            own += pieces
    constant = constant.reshape([piece.size for piece in own])
    target = tuple(tuple(piece for piece in axis if piece in own) for axis in memory)
    order = [piece for axis in target for piece in axis]
    constant = constant.transpose([own.index(piece) for piece in order])
    wide = [piece.size if piece in own else 1 for axis in memory for piece in axis]
    full = [piece.size if part else 1 for axis, part in zip(memory, target, strict=True) for piece in axis]
    constant = np.broadcast_to(constant.reshape(wide), full)  # where an axis of memory has pieces of its own and others
    shape = [prod(piece.size for piece in axis) if part else 1 for axis, part in zip(memory, target, strict=True)]
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return np.ascontiguousarray(constant.reshape(shape))


def reshaped(builder: TfBuilder, value: OrderedTensor, shape: Sequence[int]) -> OrderedTensor:
    """The value with other axes, as a reshape of the network divides them; nothing moves where the pieces fit."""
    divided = cut([piece for axis in value.axes for piece in axis], shape)
    if divided is None:
        value = builder.straight(value)
        divided = cut([piece for axis in value.axes for piece in axis], shape)
    if divided is None:
        flat = builder.moved(value, (tuple(piece for axis in value.axes for piece in axis),))
        whole = new_axes([prod(value.shape)])
        value = OrderedTensor(flat.tensor, whole, whole)
        divided = cut(whole[0], shape)
    if divided is None:  # sizes without a common divisor: the tensor itself is reshaped
        axes = new_axes(shape)
        return OrderedTensor(builder.tf.reshape(value.tensor, list(shape)), axes, axes)
    splits, axes = divided
    return replace(substitute(value, splits), axes=axes)


def _scope(path: str) -> str:
    """A name of TensorFlow for a module."""
    text = "".join(letter if letter.isalnum() or letter in "_./" else "_" for letter in path.replace(".", "/"))
    return text if text[0].isalnum() else f"node_{text}"


def _constant(node: Any) -> NDArray[Any]:
    (name, value), *_ = attributes(node).items()
    return onnx.numpy_helper.to_array(value) if name == "value" else np.asarray(value)


def _computed(node: Any, given: list[NDArray[Any]]) -> list[Any]:
    """The outputs of a node whose inputs are all constants."""
    from onnx.reference import ReferenceEvaluator

    named = [name for name in node.input if name]
    inputs = [onnx.helper.make_tensor_value_info(name, 0, None) for name in named]
    outputs = [onnx.helper.make_tensor_value_info(name, 0, None) for name in node.output]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "constants", inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
    )
    return list(ReferenceEvaluator(model).run(None, dict(zip(named, given, strict=True))))
