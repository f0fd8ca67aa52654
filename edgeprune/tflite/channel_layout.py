"""Which axes of a file's tensors depend on the widths of the network's filter groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import EdgepruneError
from edgeprune.graph.graph import Block, Blocks, Graph, Operator, fixed
from edgeprune.tflite.flatbuffer import operator_names

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

AxisBlocks = dict[int, Blocks]
"""The axes of a tensor whose size depends on the widths, and what lies on them."""


@dataclass(frozen=True)
class Stage:
    """An operator with weights and the operators up to the next one; the first stage has those before it too.

    Attributes:
        name: label of the operator with weights in the graph.
        groups: the groups that its tensors depend on, without frozen ones, those it reads first.
        start, stop: the range of its operators in `ChannelLayout.steps`.
    """

    name: str
    groups: tuple[str, ...]
    start: int
    stop: int


class ChannelLayout:
    """What lies on the axes of a file's tensors: the graph's groups, followed through the file's operators.

    Attributes:
        steps: operators and their names in the order they run, without those that unpack a constant.
        unpacking: operators that make a tensor from constants alone (weights stored as float16), by that tensor.
        sizes: axes of each activation that depends on the widths, by its number.
        constants: axes of each constant that depends on the widths, by step and place among the step's inputs.
    """

    def __init__(self, path: Path, model: Any, graph: Graph) -> None:
        self._path, self._model, self._graph = path, model, graph
        if len(model.subgraphs) != 1:
            raise self._mismatch(f"it has {len(model.subgraphs)} subgraphs")
        self._tensors = model.subgraphs[0].tensors
        self.steps: list[tuple[Any, str]] = []
        self.unpacking: dict[int, Any] = {}
        self.sizes: dict[int, AxisBlocks] = {}
        self.constants: dict[tuple[int, int], AxisBlocks] = {}
        self._labels: dict[int, str] = {}  # of the weight operators, by step in their order
        self._left = [operator for operator in graph.operators if operator.kind in sum(_WEIGHTED.values(), ())]
        for operator, name in zip(model.subgraphs[0].operators, operator_names(model), strict=True):
            self._step(operator, name)
        if self._left:
            raise self._mismatch(f"it has no operator for layer '{self._left[0].name}'")

    def stages(self) -> tuple[Stage, ...]:
        bounds = [0, *list(self._labels)[1:], len(self.steps)]
        stages = []
        for name, (start, stop) in zip(self._labels.values(), pairwise(bounds), strict=True):
            ends = [end for operator, _ in self.steps[start:stop] for end in (*operator.inputs, *operator.outputs)]
            blocks = [block for tensor in ends for on in self.sizes.get(int(tensor), {}).values() for block in on]
            groups = tuple(dict.fromkeys(block.group for block in blocks if block.group))
            stages.append(Stage(name, groups, start, stop))
        return tuple(stages)

    def is_constant(self, tensor: int) -> bool:
        content = self._model.buffers[self._tensors[tensor].buffer].data
        return tensor in self.unpacking or (content is not None and len(content) > 0)

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
        return self.sizes.get(tensor, {}).get(axis) or fixed(self._shape(tensor)[axis])

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
    def _note(notes: dict[Any, AxisBlocks], key: Any, axes: AxisBlocks) -> None:
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
