"""Hostile .onnx files: bytes and fields of a small network damaged."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from damage import FLOATS, NUMBERS, TEXTS, damaged_bytes
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper, numpy_helper

from edgeprune.cli.model_argument import cost_of_file


class OnnxFiles:
    """To `cost`, which is all that reads an .onnx of others."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "x.onnx"
        self._models = [_network(), _products()]
        self.good = self._models[0].SerializeToString()

    def make(self, random: random.Random) -> bytes:
        model = onnx.ModelProto()
        model.CopyFrom(random.choice(self._models))
        way = random.random()
        if way < 0.25:
            return damaged_bytes(random, model.SerializeToString())
        if way < 0.3:
            content = model.SerializeToString()
            return content[: random.randrange(len(content))]
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            _damage(random, model)
        return model.SerializeToString()

    def read(self, made: bytes) -> None:
        self._path.write_bytes(made)
        cost_of_file(self._path).to_dict()


def _damage(random: random.Random, model: Any) -> None:
    """Change, remove or repeat one field anywhere in a message."""
    message, field = random.choice(list(_fields(model)))
    if field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED:
        values = getattr(message, field.name)
        place = random.randrange(len(values))
        match random.randrange(4):
            case 0:
                del values[place]
            case 1:
                values.append(values[place])
            case 2 if field.type != FieldDescriptor.TYPE_MESSAGE:
                values[place] = _other(random, field, values[place])
            case _:
                kept = [values[place], *values[:place], *values[place + 1 :]]
                del values[:]
                values.extend(kept)
    elif random.random() < 0.2 or field.type == FieldDescriptor.TYPE_MESSAGE:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _other(random, field, getattr(message, field.name)))


def _fields(message: Any) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _fields(inner)


def _other(random: random.Random, field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        known = ("input", "w0", "y0", "output", "Conv", "Gemm", "Reshape", "Loop", "Clip", "BatchNormalization", "")
        return random.choice((*known, *(text.decode("utf-8", "replace") for text in TEXTS)))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", damaged_bytes(random, value), value * 3))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return random.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return random.choice(field.enum_type.values).number
    limit = 63 if field.type == FieldDescriptor.TYPE_INT64 else 31
    number = random.choice((*NUMBERS, value + 1, value - 1, -value))
    return max(-(1 << limit), min(number, (1 << limit) - 1))


def _network() -> Any:
    """Convolutions with batch norm, a pool, a branch, a reshape and a dense layer."""
    generator = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(generator.normal(0, 1, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["input", "w0", "b0"], ["y0"], "/0/conv", pads=[1, 1, 1, 1], strides=[1, 2]),
        helper.make_node("BatchNormalization", ["y0", "s", "s", "s", "v"], ["y1"], "/0/norm"),
        helper.make_node("Clip", ["y1", "low", "high"], ["y2"]),
        helper.make_node("Conv", ["y2", "w1"], ["y3"], "/1/conv", group=4, dilations=[1, 1]),
        helper.make_node("MaxPool", ["y3"], ["y4"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["y4", "w2"], ["y5"]),
        helper.make_node("Add", ["y4", "y5"], ["y6"]),
        helper.make_node("Reshape", ["y6", "shape"], ["y7"]),
        helper.make_node("Gemm", ["y7", "w3", "b3"], ["y8"], transB=1),
        helper.make_node("Softmax", ["y8"], ["output"], axis=1),
    ]
    values = [
        *(tensor("w0", 4, 1, 3, 3), tensor("b0", 4), tensor("s", 4), tensor("w1", 4, 1, 3, 3)),
        *(
            tensor("w2", 4, 4, 1, 1),
            tensor("w3", 5, 72),
            tensor("b3", 5),
            numpy_helper.from_array(np.ones(4, np.float32), "v"),
        ),
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(6), "high"),
        numpy_helper.from_array(np.array([1, -1]), "shape"),
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 20, 12]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 5]),
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _products() -> Any:
    """A recurrent layer, a product of matrices, a slice, a loop-free choice of operators with constants inside."""
    generator = np.random.default_rng(1)
    w = numpy_helper.from_array(generator.normal(0, 1, (1, 12, 6)).astype(np.float32), "w")
    r = numpy_helper.from_array(generator.normal(0, 1, (1, 12, 3)).astype(np.float32), "r")
    nodes = [
        helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([1]))),
        helper.make_node("LSTM", ["input", "w", "r"], ["y0", "", ""], hidden_size=3),
        helper.make_node("Squeeze", ["y0", "axes"], ["y1"]),
        helper.make_node("Transpose", ["y1"], ["y2"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["y2", "m"], ["y3"]),
        helper.make_node("ReduceMean", ["y3"], ["output"], axes=[1], keepdims=0),
    ]
    m = numpy_helper.from_array(generator.normal(0, 1, (3, 5)).astype(np.float32), "m")
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [7, 1, 6]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 5]),
    ]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], [w, r, m])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
