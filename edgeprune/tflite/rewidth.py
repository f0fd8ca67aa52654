"""The file a network would have with other numbers of filters, edited from the one it has, in milliseconds.

Such a file has the operators, tensor shapes and bytes of weights that a conversion would give, so its memory and its
time can be measured. Its weights are placeholders, a part or a repetition of the original's, so its predictions mean
nothing. Its description says so, and it carries none of the metadata that an exported file has.

A format that depends on the size of a tensor keeps the original's choice: `dynamic` leaves weights below 1,024 values
as float32, and here they stay so at any size.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.graph.graph import Graph
from edgeprune.tflite.channel_layout import AxisBlocks, ChannelLayout, Stage
from edgeprune.tflite.flatbuffer import pack_model, unpack_model

DESCRIPTION = "edgeprune: placeholder weights, for measuring memory and time only; never for predictions"


class Template:
    """An exported file matched with its graph once, to write it with many widths.

    Args:
        path: a file that edgeprune exported, in any of its formats.
        graph: of the network in the file, with the widths the file has.

    Attributes:
        stages: in the order in which they run; together they are all operators of the file.
    """

    def __init__(self, path: Path, graph: Graph) -> None:
        self.path, self.graph = path, graph
        self._model = unpack_model(path)
        self._layout = ChannelLayout(path, self._model, graph)
        self.stages = self._layout.stages()

    def file(self, widths: Mapping[str, int]) -> bytes:
        """The whole network; groups that `widths` does not name keep theirs, and more than the file has is fine."""
        return self._write(widths, 0, len(self._layout.steps))

    def stage_file(self, stage: Stage, widths: Mapping[str, int]) -> bytes:
        """One of `stages` as a network of its own; its inputs are the tensors that other stages made."""
        return self._write(widths, stage.start, stage.stop)

    def _write(self, widths: Mapping[str, int], start: int, stop: int) -> bytes:
        filters = {name: group.filters for name, group in self.graph.groups.items()}
        for name, width in widths.items():
            if name not in filters:
                raise unknown_name("group", name, filters)
            if width < 1:
                raise EdgepruneError(f"group '{name}' cannot have {width} filters; give it 1 or more.")
            if self.graph.groups[name].frozen and width != filters[name]:
                raise EdgepruneError(
                    f"group '{name}' is frozen at {filters[name]} filters and cannot have {width}; leave it out."
                )
            filters[name] = int(width)
        return _Writer(self._model, self._layout, filters | {"": 1}).write(start, stop)


class _Writer:
    """Writes a range of a file's steps with other widths as a file of its own; used once."""

    def __init__(self, model: Any, layout: ChannelLayout, filters: Mapping[str, int]) -> None:
        self._old, self._layout, self._filters = model, layout, filters
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._new = schema.ModelT()
        self._new.version, self._new.description = model.version, DESCRIPTION
        self._new.subgraphs, self._new.operatorCodes = [self._graph], []
        self._new.buffers = [schema.BufferT()]  # the first is empty, and activations have it
        self._activations: dict[int, int] = {}
        self._constants: dict[Any, int] = {}
        self._codes: dict[int, int] = {}

    def write(self, start: int, stop: int) -> bytes:
        steps = self._layout.steps
        for number in range(start, stop):
            self._step(number, *steps[number])
        old = self._old.subgraphs[0]
        made = {int(tensor) for operator, _ in steps[start:stop] for tensor in operator.outputs}
        read_later = {int(tensor) for operator, _ in steps[stop:] for tensor in operator.inputs}
        leaving = made & (read_later | {int(tensor) for tensor in old.outputs})
        self._graph.inputs = [new for tensor, new in self._activations.items() if tensor not in made]
        self._graph.outputs = [new for tensor, new in self._activations.items() if tensor in leaving]
        return pack_model(self._new)

    def _step(self, number: int, old: Any, name: str) -> None:
        operator = copy.copy(old)
        inputs = [int(tensor) for tensor in old.inputs]
        operator.inputs = [self._input(number, place, tensor) for place, tensor in enumerate(inputs)]
        operator.outputs = [self._activation(int(tensor)) for tensor in old.outputs]
        if name == "RESHAPE":  # it has its new shape in its options, and as its second input
            shape = self._graph.tensors[operator.outputs[0]].shape
            if operator.builtinOptions is not None:
                operator.builtinOptions = copy.copy(operator.builtinOptions)
                operator.builtinOptions.newShape = shape
            if len(operator.inputs) > 1:
                tensor = copy.copy(self._graph.tensors[operator.inputs[1]])
                operator.inputs[1] = self._added(tensor, np.asarray(shape, dtype=np.int32).view(np.uint8))
        self._append(operator)

    def _append(self, operator: Any) -> None:
        code = operator.opcodeIndex
        if code not in self._codes:
            self._codes[code] = len(self._new.operatorCodes)
            self._new.operatorCodes.append(self._old.operatorCodes[code])
        operator.opcodeIndex = self._codes[code]
        self._graph.operators.append(operator)

    def _input(self, number: int, place: int, tensor: int) -> int:
        if tensor < 0:  # left out
            return tensor
        if self._layout.is_constant(tensor):
            return self._constant(tensor, self._resolved(self._layout.constants.get((number, place), {})))
        return self._activation(tensor)

    def _activation(self, tensor: int) -> int:
        if tensor not in self._activations:
            new = self._copied(tensor, self._resolved(self._layout.sizes.get(tensor, {})))
            self._activations[tensor] = self._added(new, b"")
        return self._activations[tensor]

    def _constant(self, tensor: int, sizes: Mapping[int, int]) -> int:
        """A constant that two operators share is written once for each size they need."""
        key = (tensor, *sorted(sizes.items()))
        if key not in self._constants:
            new = self._copied(tensor, sizes)
            if tensor in self._layout.unpacking:
                operator = copy.copy(self._layout.unpacking[tensor])
                operator.inputs = [self._constant(int(source), sizes) for source in operator.inputs]
                operator.outputs = [self._added(new, b"")]
                self._append(operator)
                self._constants[key] = operator.outputs[0]
            else:
                self._constants[key] = self._added(new, self._content(tensor, sizes))
        return self._constants[key]

    def _added(self, tensor: Any, content: Any) -> int:
        tensor.buffer = 0
        if len(content):
            tensor.buffer = len(self._new.buffers)
            self._new.buffers.append(schema.BufferT(content))
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _copied(self, index: int, sizes: Mapping[int, int]) -> Any:
        """A tensor with new sizes on some axes, and as many scales as filters where each had one."""
        old = self._old.subgraphs[0].tensors[index]
        tensor = copy.copy(old)
        shape = [] if old.shape is None else [int(size) for size in old.shape]
        tensor.shape = [sizes.get(axis, size) for axis, size in enumerate(shape)]
        tensor.shapeSignature = None
        quantised = old.quantization
        if quantised is None or quantised.scale is None or quantised.quantizedDimension not in sizes:
            return tensor
        axis = quantised.quantizedDimension
        if self._layout.is_constant(index) and len(quantised.scale) == shape[axis]:
            tensor.quantization = copy.copy(quantised)
            for name in ("scale", "zeroPoint", "min", "max"):
                if (values := getattr(quantised, name)) is not None:
                    setattr(tensor.quantization, name, _cycled(values, sizes[axis], 0))
        return tensor

    def _content(self, index: int, sizes: Mapping[int, int]) -> Any:
        tensor = self._old.subgraphs[0].tensors[index]
        content = np.asarray(self._old.buffers[tensor.buffer].data, dtype=np.uint8)
        if not sizes:
            return content
        values = content.reshape(*tensor.shape, -1)  # the last axis: the bytes of a value
        for axis, size in sizes.items():
            values = _cycled(values, size, axis)
        return np.ascontiguousarray(values).reshape(-1)

    def _resolved(self, sizes: AxisBlocks) -> dict[int, int]:
        return {
            axis: sum(self._filters[block.group] * block.repeat for block in blocks) for axis, blocks in sizes.items()
        }


def _cycled(values: Any, size: int, axis: int) -> Any:
    """The first `size` along an axis, from the start again where there are fewer."""
    array = np.asarray(values)
    return array if array.shape[axis] == size else array.take(np.arange(size) % array.shape[axis], axis=axis)


def empty_file() -> bytes:
    """A .tflite file of one RELU on one value: its time is that of a call of the interpreter."""
    ends = []
    for name in ("input", "output"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 1], schema.TensorType.FLOAT32, 0
        ends.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0], [1], 0
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = ends, [operator], [0], [1]
    model = schema.ModelT()
    model.version, model.description = 3, DESCRIPTION
    model.subgraphs, model.operatorCodes, model.buffers = [graph], [code], [schema.BufferT()]
    return pack_model(model)
