"""The file a network would have with other numbers of filters, edited from the one it has: no conversion, milliseconds.

Such a file has the operators, tensor shapes and bytes of weights that a conversion would give, so its memory and its
time can be measured. Its weights are placeholders, cut from or repeated beyond those of the original: what it predicts
means nothing. Its description says so, and it carries none of the metadata that an exported file has.

A format that depends on the size of a tensor keeps the original's choice: `dynamic` leaves weights below 1,024 values
as float32, and here they stay so at any size.
"""

import copy
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.graph.graph import Block, Blocks, Graph, Operator
from edgeprune.tflite.flatbuffer import operators, pack_model, unpack_model
from edgeprune.tflite.interpreter import load_interpreter

DESCRIPTION = "edgeprune: placeholder weights, for measuring memory and time only; never for predictions"

_WEIGHTED = {
    "CONV_2D": ("conv", "grouped conv"),
    "DEPTHWISE_CONV_2D": ("depthwise",),
    "FULLY_CONNECTED": ("dense",),
}
_UNARY = {
    *("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D", "PAD", "PADV2", "MIRROR_PAD", "SOFTMAX", "LOG_SOFTMAX"),
    *("QUANTIZE", "DEQUANTIZE", "CAST", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "GELU", "LOGISTIC"),
    *("TANH", "HARD_SWISH", "ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE"),
}
_BINARY = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU"}
_REDUCING = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}
_RESHAPING = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}

_Sizes = dict[int, Blocks]
"""Of a tensor: the axes whose size depends on the widths, and what lies on them."""


@dataclass(frozen=True)
class Stage:
    """A weight operator and the operators that follow it, up to the next one; the first stage has those before it too.

    Attributes:
        name: label of the weight operator in the graph.
        groups: the groups, frozen ones left out, that its tensors depend on, those it reads first.
        start, stop: which operators of the file these are, those that only unpack weights not counted.
    """

    name: str
    groups: tuple[str, ...]
    start: int
    stop: int


def rewidth(path: Path, graph: Graph, widths: Mapping[str, int]) -> bytes:
    """The .tflite file of the same network with other numbers of filters; **placeholder weights**, see the module.

    Args:
        path: a file that edgeprune exported, in any of its formats.
        graph: of the network in the file, with the widths the file has.
        widths: filters by group; groups that are not named keep theirs. More than the file has is fine.

    Raises:
        EdgepruneError: the file is not the graph's network or holds an operator whose channels cannot be followed, a
            width is below 1, or a group is unknown or frozen.
    """
    path = Path(path)
    content = Template(path, graph).file(widths)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        written.write_bytes(content)
        try:
            load_interpreter(written).invoke()
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise EdgepruneError(
                f"{path}: does not run with other widths ({reason}); convert the network with these widths instead."
            ) from error
    return content


class Template:
    """An exported file matched with its graph once, to write it with many widths.

    Args are those of `rewidth`, as are the errors.

    Attributes:
        path: the file.
        graph: the graph.
        stages: in the order in which they run; together they are all operators of the file.
    """

    def __init__(self, path: Path, graph: Graph) -> None:
        self.path, self.graph = Path(path), graph
        self._model = unpack_model(path)
        self._layout = _Layout(path, self._model, graph)
        self.stages = self._layout.stages()

    def file(self, widths: Mapping[str, int]) -> bytes:
        """The whole network with `widths`, not run yet."""
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


class _Layout:
    """What lies on the channel axis of the tensors of a file: the graph's groups, followed through its operators.

    Attributes:
        steps: operators and their names in the order they run, without those that unpack a constant.
        unpacking: operators that make a tensor from constants alone (weights stored as float16), by that tensor.
        sizes: of each activation that depends on the widths.
        constants: the same of the constants, by step and place among its inputs.
    """

    def __init__(self, path: Path, model: Any, graph: Graph) -> None:
        self._path, self._model, self._graph = path, model, graph
        if len(model.subgraphs) != 1:
            raise self._mismatch(f"it has {len(model.subgraphs)} subgraphs")
        self._tensors = model.subgraphs[0].tensors
        self.steps: list[tuple[Any, str]] = []
        self.unpacking: dict[int, Any] = {}
        self.sizes: dict[int, _Sizes] = {}
        self.constants: dict[tuple[int, int], _Sizes] = {}
        self._labels: dict[int, str] = {}  # of the weight operators, by step
        self._left = [operator for operator in graph.operators if operator.kind in sum(_WEIGHTED.values(), ())]
        for operator, name in zip(model.subgraphs[0].operators, operators(path), strict=True):
            self._step(operator, name)
        if self._left:
            raise self._mismatch(f"it has no operator for layer '{self._left[0].name}'")

    def stages(self) -> tuple[Stage, ...]:
        starts = [0, *sorted(self._labels)[1:], len(self.steps)]
        names = [self._labels[step] for step in sorted(self._labels)]
        return tuple(
            Stage(name, self._groups(start, stop), start, stop)
            for name, start, stop in zip(names, starts[:-1], starts[1:], strict=True)
        )

    def is_constant(self, tensor: int) -> bool:
        content = self._model.buffers[self._tensors[tensor].buffer].data
        return tensor in self.unpacking or (content is not None and len(content) > 0)

    def _groups(self, start: int, stop: int) -> tuple[str, ...]:
        """Groups in the tensors of these steps, in the order they are met."""
        tensors = [tensor for operator, _ in self.steps[start:stop] for tensor in (*operator.inputs, *operator.outputs)]
        blocks = [block for tensor in tensors for on in self.sizes.get(int(tensor), {}).values() for block in on]
        return tuple(dict.fromkeys(block.group for block in blocks if block.group))

    # Following the channels

    def _step(self, operator: Any, name: str) -> None:
        inputs = [int(tensor) for tensor in operator.inputs]
        outputs = [int(tensor) for tensor in operator.outputs]
        if all(self.is_constant(tensor) for tensor in inputs):
            self.unpacking.update(dict.fromkeys(outputs, operator))
            return
        self.steps.append((operator, name))
        if name in _WEIGHTED:
            self._weighted(name, inputs, outputs[0])
        elif not any(tensor in self.sizes for tensor in inputs):
            return  # fixed channels in, fixed channels out
        elif name in _UNARY:
            self._keeps_axis(name, inputs[0], outputs[0])
        elif name in _BINARY:
            self._binary(name, inputs, outputs[0])
        elif name in _REDUCING:
            self._reduced(operator, name, inputs, outputs[0])
        elif name in _RESHAPING:
            self._reshaped(name, inputs[0], outputs[0])
        elif name == "CONCATENATION":
            self._concatenated(operator, name, inputs, outputs[0])
        else:
            raise self._unknown(name)

    def _weighted(self, name: str, inputs: Sequence[int], output: int) -> None:
        step, rank = len(self.steps) - 1, len(self._shape(output))
        on_input = self._on(inputs[0], len(self._shape(inputs[0])) - 1)
        operator = next((left for left in self._left if self._fits(left, name, inputs, output, on_input)), None)
        if operator is None:
            wanted = f"'{self._left[0].name}'" if self._left else "none"
            weight = list(self._shape(inputs[1]))
            raise self._mismatch(f"its {name} with weights {weight} is no layer of it that is left; next is {wanted}")
        self._left.remove(operator)
        self._labels[step] = operator.name
        filters = self._canonical(operator.filters)
        axes = {
            "CONV_2D": {0: filters, 3: () if operator.kind == "grouped conv" else on_input},
            "DEPTHWISE_CONV_2D": {3: filters},
            "FULLY_CONNECTED": {0: filters, 1: on_input},
        }[name]
        self._note(self.constants, (step, 1), axes)
        if len(inputs) > 2 and inputs[2] >= 0:
            self._note(self.constants, (step, 2), {0: filters})
        self._note(self.sizes, output, {rank - 1: filters})

    def _fits(self, operator: Operator, name: str, inputs: Sequence[int], output: int, on_input: Blocks) -> bool:
        """Whether this is the layer: same input, kernel, filters and positions."""
        weight, out = self._shape(inputs[1]), self._shape(output)
        if operator.kind not in _WEIGHTED[name] or not self.is_constant(inputs[1]):
            return False
        filters = self._canonical(operator.filters)
        read = {"conv": operator.inputs, "depthwise": operator.filters, "dense": operator.inputs}.get(operator.kind)
        kernel = prod(weight[1:3]) if len(weight) == 4 else 1
        places = {"CONV_2D": (0, 3), "DEPTHWISE_CONV_2D": (3, 3), "FULLY_CONNECTED": (0, 1)}[name]
        return (
            (read is None or self._canonical(read) == on_input)
            and (read is None or weight[places[1]] == self._size(on_input))
            and weight[places[0]] == out[-1] == self._size(filters)
            and kernel == operator.kernel
            and prod(out[1:-1]) == operator.positions
        )

    def _keeps_axis(self, name: str, source: int, output: int) -> None:
        (axis,) = self.sizes[source]
        before, after = self._shape(source), self._shape(output)
        if len(before) != len(after) or before[axis] != after[axis]:
            raise self._unknown(name)
        self.sizes[output] = self.sizes[source]

    def _binary(self, name: str, inputs: Sequence[int], output: int) -> None:
        """A sum or product: what is not broadcast has the same channels on the same axis, counted from the last."""
        step, rank = len(self.steps) - 1, len(self._shape(output))
        widest = next(tensor for tensor in inputs if tensor in self.sizes and len(self._shape(tensor)) == rank)
        ((axis, blocks),) = self.sizes[widest].items()
        for place, tensor in enumerate(inputs):
            shape = self._shape(tensor)
            own = axis - (rank - len(shape))
            if own < 0 or (shape[own] == 1 and tensor not in self.sizes):
                continue
            if self.is_constant(tensor):
                self._note(self.constants, (step, place), {own: blocks})
            elif self.sizes.get(tensor) != {own: blocks}:
                raise self._unknown(name)
        self.sizes[output] = {axis: blocks}

    def _reduced(self, operator: Any, name: str, inputs: Sequence[int], output: int) -> None:
        import numpy as np

        ((axis, blocks),) = self.sizes[inputs[0]].items()
        rank = len(self._shape(inputs[0]))
        content = self._model.buffers[self._tensors[inputs[1]].buffer].data
        if content is None:
            raise self._unknown(name)
        reduced = {int(place) % rank for place in np.asarray(content, dtype=np.uint8).view(np.int32)}
        if axis in reduced:
            return
        options = operator.builtinOptions
        kept = axis if options is not None and options.keepDims else axis - sum(place < axis for place in reduced)
        self.sizes[output] = {kept: blocks}

    def _reshaped(self, name: str, source: int, output: int) -> None:
        """Axes that come and go, or channels that are merged with the positions before them (a flatten)."""
        ((axis, blocks),) = self.sizes[source].items()
        before, after = self._shape(source), self._shape(output)
        for place, size in enumerate(after):
            times, rest = divmod(size, before[axis])
            same_after = prod(after[place + 1 :]) == prod(before[axis + 1 :])
            if not rest and times * prod(after[:place]) == prod(before[:axis]) and same_after:
                self.sizes[output] = {place: tuple(Block(block.group, block.repeat * times) for block in blocks)}
                return
        raise self._unknown(name)

    def _concatenated(self, operator: Any, name: str, inputs: Sequence[int], output: int) -> None:
        joined = operator.builtinOptions.axis % len(self._shape(output))
        axes = {axis for tensor in inputs for axis in self.sizes.get(tensor, {})}
        parts = [self._on(tensor, joined) for tensor in inputs]
        if axes == {joined}:
            self._note(self.sizes, output, {joined: self._canonical(sum(parts, ()))})
        elif len({str(self.sizes.get(tensor)) for tensor in inputs}) == 1:
            self.sizes[output] = self.sizes[inputs[0]]
        else:
            raise self._unknown(name)

    # What is on an axis

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def _on(self, tensor: int, axis: int) -> Blocks:
        return self.sizes.get(tensor, {}).get(axis) or (Block("", self._shape(tensor)[axis]),)

    def _canonical(self, blocks: Iterable[Block]) -> Blocks:
        """The same channels with those of frozen groups as fixed ones, and fixed neighbours as one block."""
        merged: list[Block] = []
        for block in blocks:
            if block.group and self._graph.groups[block.group].frozen:
                block = Block("", block.repeat * self._graph.groups[block.group].filters)
            if merged and not block.group and not merged[-1].group:
                block = Block("", merged.pop().repeat + block.repeat)
            merged.append(block)
        return tuple(merged)

    def _size(self, blocks: Blocks) -> int:
        groups = self._graph.groups
        return sum(block.repeat * (groups[block.group].filters if block.group else 1) for block in blocks)

    @staticmethod
    def _note(notes: dict[Any, _Sizes], key: Any, axes: _Sizes) -> None:
        """Note those axes that depend on a group."""
        if depending := {axis: blocks for axis, blocks in axes.items() if any(block.group for block in blocks)}:
            notes[key] = depending

    def _mismatch(self, what: str) -> EdgepruneError:
        return EdgepruneError(
            f"{self._path}: does not match the graph ({what}); give the graph of the network it was exported from."
        )

    def _unknown(self, name: str) -> EdgepruneError:
        return EdgepruneError(
            f"{self._path}: the channels cannot be followed through its operator {name}; convert the network with "
            "these widths instead."
        )


class _Writer:
    """Writes steps of a file with other widths as a file of its own; used once."""

    def __init__(self, model: Any, layout: _Layout, filters: Mapping[str, int]) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
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
        if name == "RESHAPE":
            self._reshape(operator)
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
            self._new.buffers.append(self._schema.BufferT(content))
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
                values = getattr(quantised, name)
                if values is not None:
                    setattr(tensor.quantization, name, _cycled(values, sizes[axis], 0))
        return tensor

    def _content(self, index: int, sizes: Mapping[int, int]) -> Any:
        import numpy as np

        tensor = self._old.subgraphs[0].tensors[index]
        content = np.asarray(self._old.buffers[tensor.buffer].data, dtype=np.uint8)
        if not sizes:
            return content
        values = content.reshape(*tensor.shape, -1)  # the last axis: the bytes of a value
        for axis, size in sizes.items():
            values = _cycled(values, size, axis)
        return np.ascontiguousarray(values).reshape(-1)

    def _reshape(self, operator: Any) -> None:
        """Write the new shape where a RESHAPE has it: in its options, and as its second input."""
        import numpy as np

        shape = self._graph.tensors[operator.outputs[0]].shape
        if operator.builtinOptions is not None:
            operator.builtinOptions = copy.copy(operator.builtinOptions)
            operator.builtinOptions.newShape = shape
        if len(operator.inputs) > 1:
            tensor = copy.copy(self._graph.tensors[operator.inputs[1]])
            operator.inputs[1] = self._added(tensor, np.asarray(shape, dtype=np.int32).view(np.uint8))

    def _resolved(self, sizes: _Sizes) -> dict[int, int]:
        return {
            axis: sum(self._filters[block.group] * block.repeat for block in blocks) for axis, blocks in sizes.items()
        }


def _cycled(values: Any, size: int, axis: int) -> Any:
    """The first `size` along an axis, from the start again where there are fewer."""
    import numpy as np

    array = np.asarray(values)
    return array if array.shape[axis] == size else array.take(np.arange(size) % array.shape[axis], axis=axis)


def empty_file() -> bytes:
    """The .tflite file of next to nothing, one RELU on one value: its time is that of a call of the interpreter."""
    from ai_edge_litert import schema_py_generated as schema

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
