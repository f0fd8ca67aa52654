"""From a network to its graph, by one run of `torch.export` on shapes.

A group is frozen, so never pruned, where the channel axis is lost track of, where it reaches the network's input or
output, and where a layer runs more than once. An operator that is not known freezes what it reads and is reported.
"""

import warnings
from dataclasses import dataclass
from math import prod
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.coupling import Groups, Numbered
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph, Operator
from edgeprune.graph.operators import (
    ACTIVATIONS,
    CONVOLUTIONS,
    FOLDING,
    FREE,
    FUSED,
    FUSING,
    PADS,
    PAIRS,
    POOLS,
    REDUCTIONS,
    SHAPES,
    kept_axis,
    pad_touches,
    padding_of,
    permuted_axis,
    reduced_axes,
)

LAYERS = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def trace(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> Graph:
    """Trace a network of any kind that `torch.export` takes.

    Args:
        model: left as it is; may be on the meta device.
        example: its input, `[n, channels, ...]`, or a tuple of its inputs.

    Raises:
        EdgepruneError: the network cannot be traced, or holds no convolution and no dense layer.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    with evaluating(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(model, inputs, strict=False)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise EdgepruneError(
                f"{type(model).__name__}: cannot be traced ({reason}); its forward must run on the example input and "
                "may not depend on the values of tensors."
            ) from error
    layers = {path for path, module in model.named_modules() if path and isinstance(module, LAYERS)}
    return _Tracer(program, _labels(model), layers).graph()


def _labels(model: nn.Module) -> dict[str, str]:
    """A module's path shortened to its last part where no other module's ends so."""
    paths = [path for path, _ in model.named_modules() if path]
    lasts = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: last if lasts.count(last) == 1 else path for path, last in zip(paths, lasts, strict=True)}


@dataclass(frozen=True)
class _Value:
    """A tensor of the trace: its shape with the batch, its channel axis, what lies on it, where it is in memory."""

    shape: tuple[int, ...]
    axis: int
    blocks: Numbered
    memory: int

    @property
    def positions(self) -> int:
        return max(1, prod(self.shape[1:]) // max(1, self.shape[self.axis])) if len(self.shape) > 1 else 1


@dataclass
class _Draft:
    """An operator before the groups have their names."""

    name: str
    path: str
    kind: str
    reads: tuple[int, ...]
    writes: int
    output: _Value
    kernel: int = 0
    positions: int = 0
    summed: Numbered = ()
    bias: bool = False
    norm: bool = False
    fixed: int = 0
    again: bool = False
    foldable: bool = False  # a batch norm that comes next can be folded into it


class _Tracer:
    """Walks the nodes of an exported program once."""

    def __init__(self, program: Any, labels: dict[str, str], layers: set[str]) -> None:
        self.nodes: list[fx.Node] = list(program.graph.nodes)
        signature = program.graph_signature
        self.params: dict[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = set(signature.inputs_to_lifted_tensor_constants) | set(self.params)
        self.labels = labels
        self.layers = layers
        self.values: dict[str, _Value] = {}
        self.groups = Groups()
        self.drafts: list[_Draft] = []
        self.memory: list[_Value] = []
        self.made_by: dict[str, _Draft] = {}
        self.seen: set[str] = set()
        self.read: dict[str, Numbered] = {}  # what a layer has had on its input

    def graph(self) -> Graph:
        for node in self.nodes:
            if node.op == "placeholder" and node.name not in self.constants:
                self._define(node, self._fixed(_shape(node)))
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                for value in self._inputs(node):
                    self.groups.freeze(value.blocks)
        return self._finish()

    # One node

    def _call(self, node: fx.Node) -> None:
        if node.target is getitem:
            source = node.args[0]
            if isinstance(source, fx.Node) and source.name in self.values and node.args[1] == 0:
                self.values[node.name] = self.values[source.name]
            return
        inputs = self._inputs(node)
        if not inputs:  # arithmetic of constants alone
            self.constants.add(node.name)
            return
        name = _operation(node)
        if name in CONVOLUTIONS:
            self._convolution(node, inputs[0])
        elif name == "linear" and self._is_layer(node, inputs[0]):
            self._dense(node, inputs[0])
        elif name == "batch_norm":
            self._batch_norm(node, inputs[0])
        elif name in FREE:
            self._stand_for(node, inputs[0])
        elif name in FUSED and self._fuses(node):
            self._stand_for(node, inputs[0], foldable=False)
        elif name in SHAPES:
            self._reshape(node, name, inputs[0])
        elif name in ACTIVATIONS or name in FUSED:
            self._operate(node, "activation", inputs, inputs[0].axis, inputs[0].blocks)
        elif name in POOLS:
            inputs = [self._padded(node, inputs[0], None), *inputs[1:]]
            self._operate(node, "pool", inputs, inputs[0].axis, inputs[0].blocks)
        elif name in REDUCTIONS:
            self._reduce(node, inputs[0])
        elif name in PAIRS:
            self._pair(node, name, inputs)
        elif name == "cat":
            self._cat(node, inputs)
        elif name in PADS and not pad_touches(node, inputs[0].axis, len(inputs[0].shape)):
            self._operate(node, "pad", inputs, inputs[0].axis, inputs[0].blocks)
        else:
            self._unknown(node, inputs)

    def _convolution(self, node: fx.Node, x: _Value) -> None:
        weight, bias, groups = _argument(node, 1), _argument(node, 2), _argument(node, 6) or 1
        path = self._layer(weight)
        filters, per_filter, *kernel = _shape(weight)
        channels = x.shape[1]
        out = _shape(node)
        draft = {
            "kernel": prod(kernel),
            "positions": prod(out[2:]),
            "bias": bias is not None,
            "again": path in self.seen,
        }
        if path is None or x.axis != 1:
            self._unknown(node, [x])
            return
        x = self._padded(node, x, path)
        if groups == 1:
            blocks = ((self.groups.add(path, filters, dense=False), 1),)
            self._operate(node, "conv", [x], 1, blocks, path, summed=x.blocks, **draft)
            self._saw(path, x, blocks)
        elif groups == channels == filters and per_filter == 1 and all(repeat == 1 for _, repeat in x.blocks):
            self.groups.join(path, filters, x.blocks)
            self._operate(node, "depthwise", [x], 1, x.blocks, path, **draft)
            self._saw(path, x, x.blocks)
        else:  # which filters may go together depends on how they are grouped: left as they are
            self.groups.freeze(x.blocks)
            fixed = filters * per_filter * prod(kernel)
            self._operate(node, "grouped conv", [x], 1, ((-1, filters),), path, fixed=fixed, **draft)

    def _dense(self, node: fx.Node, x: _Value) -> None:
        path = self._layer(_argument(node, 1))
        assert path is not None
        filters = _shape(_argument(node, 1))[0]
        blocks = ((self.groups.add(path, filters, dense=True), 1),)
        out = _shape(node)
        draft = {
            "kernel": 1,
            "positions": prod(out[1:-1]),
            "bias": _argument(node, 2) is not None,
            "again": path in self.seen,
        }
        self._operate(node, "dense", [x], len(out) - 1, blocks, path, summed=x.blocks, **draft)
        self._saw(path, x, blocks)

    def _saw(self, path: str, x: _Value, blocks: Numbered) -> None:
        """A layer that runs on several tensors keeps its filters and its inputs."""
        if path in self.seen:
            self.groups.freeze(x.blocks)
            self.groups.freeze(blocks)
            self.groups.freeze(self.read[path])
        self.seen.add(path)
        self.read[path] = self.read.get(path, ()) + x.blocks

    def _is_layer(self, node: fx.Node, x: _Value) -> bool:
        return self._layer(_argument(node, 1)) is not None and x.axis == len(x.shape) - 1

    def _batch_norm(self, node: fx.Node, x: _Value) -> None:
        before = self._producer(node)
        if before is not None and before.foldable:
            before.norm = True
            self._stand_for(node, x, foldable=False)
            return
        if x.axis == 1:
            self._operate(node, "scale", [x], 1, x.blocks, self._path(_argument(node, 1)), norm=True)
        else:  # over another axis than the channels, such as the mel bands
            path = self._path(_argument(node, 1))
            self._operate(node, "scale", [x], x.axis, x.blocks, path, norm=True, fixed=x.shape[1])

    def _reshape(self, node: fx.Node, name: str, x: _Value) -> None:
        out = _shape(node)
        axis: int | None
        if name in ("permute", "transpose", "t"):
            axis, repeat = permuted_axis(node, name, x.axis, len(x.shape)), 1
        else:
            axis, repeat = kept_axis(x.shape, x.axis, out)
        if axis is None:
            self.groups.freeze(x.blocks)
            value = self._fixed(out, x.memory)
        else:
            value = _Value(out, axis, tuple((group, times * repeat) for group, times in x.blocks), x.memory)
        self._stand_for(node, value, foldable=False)

    def _reduce(self, node: fx.Node, x: _Value) -> None:
        axes, keep = reduced_axes(node, len(x.shape))
        if x.axis in axes or 0 in axes:
            self.groups.freeze(x.blocks)
            out = self._fixed(_shape(node))
            self._operate(node, "reduce", [x], out.axis, out.blocks)
            return
        axis = x.axis if keep else x.axis - sum(1 for gone in axes if gone < x.axis)
        self._operate(node, "reduce", [x], axis, x.blocks)

    def _pair(self, node: fx.Node, name: str, inputs: list[_Value]) -> None:
        first, *others = inputs
        out = _shape(node)
        constants = [_shape(arg) for arg in node.args if isinstance(arg, fx.Node) and arg.name in self.constants]
        for shape in constants:
            axis = len(shape) - (len(first.shape) - first.axis)
            if axis >= 0 and shape[axis] > 1:
                self.groups.freeze(first.blocks)
        for other in others:
            same = len(other.shape) == len(first.shape) and other.axis == first.axis
            if same and [times for _, times in other.blocks] == [times for _, times in first.blocks]:
                for (one, _), (two, _) in zip(first.blocks, other.blocks, strict=True):
                    self.groups.unite(one, two)
            else:
                self.groups.freeze(first.blocks)
                self.groups.freeze(other.blocks)
        widest = max(inputs, key=lambda value: len(value.shape))
        if out[widest.axis] != widest.shape[widest.axis]:
            self.groups.freeze(widest.blocks)
            widest = self._fixed(out, widest.memory)
        self._operate(node, name, inputs, widest.axis, widest.blocks)

    def _cat(self, node: fx.Node, inputs: list[_Value]) -> None:
        first = inputs[0]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        dim = int(dim) % len(first.shape)  # type: ignore[arg-type]
        alike = all(value.axis == first.axis for value in inputs) and len(inputs) == len(_nodes(node.args[0]))
        if alike and dim == first.axis:
            blocks = tuple(block for value in inputs for block in value.blocks)
            self._operate(node, "concat", inputs, dim, blocks)
        else:
            for value in inputs:
                self.groups.freeze(value.blocks)
            out = self._fixed(_shape(node))
            self._operate(node, "concat", inputs, out.axis, out.blocks)

    def _unknown(self, node: fx.Node, inputs: list[_Value]) -> None:
        for value in inputs:
            self.groups.freeze(value.blocks)
        held = [arg for arg in _nodes(list(node.args)) if self.params.get(arg.name)]
        out = self._fixed(_shape(node))
        fixed = sum(prod(_shape(arg)) for arg in held)
        path = self._path(held[0]) if held else None
        self._operate(node, "unknown", inputs, out.axis, out.blocks, path, fixed=fixed)

    def _padded(self, node: fx.Node, x: _Value, path: str | None) -> _Value:
        """What a layer reads: its input, or that with padding around it which the layer itself has not in TFLite."""
        if len(x.shape) < 3 or x.axis != 1:
            return x
        pads = padding_of(node, _operation(node), x.shape[2:], _shape(node)[2:])
        if not pads:
            return x
        sizes = [size + first + last for size, (first, last) in zip(x.shape[2:], pads, strict=True)]
        value = _Value((*x.shape[:2], *sizes), 1, x.blocks, len(self.memory))
        self.memory.append(value)
        name = f"{self._name(node, path, 'pool')}.pad"
        self.drafts.append(_Draft(name, "", "pad", (x.memory,), value.memory, value))
        return value

    # Bookkeeping

    def _operate(
        self,
        node: fx.Node,
        kind: str,
        inputs: list[_Value],
        axis: int,
        blocks: Numbered,
        path: str | None = None,
        **details: Any,
    ) -> None:
        value = _Value(_shape(node), axis, blocks, len(self.memory))
        self.memory.append(value)
        self.values[node.name] = value
        name = self._name(node, path, kind)
        draft = _Draft(name, path or "", kind, tuple(v.memory for v in inputs), value.memory, value, **details)
        draft.foldable = kind in FOLDING
        self.drafts.append(draft)
        self.made_by[node.name] = draft

    def _name(self, node: fx.Node, path: str | None, kind: str) -> str:
        """The module's label; of a function, the label of the module it is called in, and what it does."""
        name = self.labels.get(path, path) if path else None
        if name is None:
            stack = node.meta.get("nn_module_stack")
            inside = list(stack.values())[-1][0] if stack else ""
            leaf = inside and not any(other.startswith(f"{inside}.") for other in self.labels)
            name = self.labels.get(inside, inside) + ("" if leaf else f".{kind}") if inside else None
        if name is None:
            name = f"{kind}_{sum(draft.kind == kind for draft in self.drafts) + 1}"
        return name if all(draft.name != name for draft in self.drafts) else f"{name}:{node.name}"

    def _define(self, node: fx.Node, value: _Value) -> None:
        self.memory.append(value)
        self.values[node.name] = value

    def _fixed(self, shape: tuple[int, ...], memory: int | None = None) -> _Value:
        axis = 1 if len(shape) > 1 else 0
        return _Value(shape, axis, ((-1, shape[axis]),), len(self.memory) if memory is None else memory)

    def _inputs(self, node: fx.Node) -> list[_Value]:
        return [self.values[arg.name] for arg in _nodes(list(node.args)) if arg.name in self.values]

    def _path(self, node: Any) -> str | None:
        """Path of the module a parameter belongs to."""
        name = self.params.get(node.name) if isinstance(node, fx.Node) else None
        return None if name is None else name.rpartition(".")[0] or None

    def _layer(self, weight: Any) -> str | None:
        """Path of the layer whose own weight this is."""
        path = self._path(weight)
        return path if path in self.layers else None

    def _producer(self, node: fx.Node) -> _Draft | None:
        """The operator whose output only this node reads."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or len(source.users) != 1:
            return None
        return self.made_by.get(source.name)

    def _stand_for(self, node: fx.Node, value: _Value, foldable: bool = True) -> None:
        """A node that costs nothing stands for the operator before it; not `foldable`: a batch norm after it stays."""
        self.values[node.name] = value
        before = self._producer(node)
        if before is not None:
            self.made_by[node.name] = before
            before.foldable = before.foldable and foldable

    def _fuses(self, node: fx.Node) -> bool:
        before = self._producer(node)
        return before is not None and before.kind in FUSING

    # The end

    def _finish(self) -> Graph:
        groups = self.groups.named(self._layer_order(), self.labels)
        if not groups:
            raise EdgepruneError("the network holds no convolution and no dense layer; there is nothing to count.")
        lives = self._lives()
        operators = tuple(self._operator(draft, live) for draft, live in zip(self.drafts, lives, strict=True))
        tensors = tuple((self.groups.blocks(value.blocks), value.positions) for value in self.memory)
        return Graph(operators, groups, tensors)

    def _lives(self) -> list[tuple[int, ...]]:
        """Tensors in memory while each operator runs: made before or by it, and read by it or later."""
        made = {draft.writes: index for index, draft in enumerate(self.drafts)}
        last_read: dict[int, int] = {}
        for index, draft in enumerate(self.drafts):
            last_read.update(dict.fromkeys((*draft.reads, draft.writes), index))
        return [
            tuple(tensor for tensor, last in last_read.items() if made.get(tensor, -1) <= index <= last)
            for index in range(len(self.drafts))
        ]

    def _operator(self, draft: _Draft, live: tuple[int, ...]) -> Operator:
        return Operator(
            name=draft.name,
            path=draft.path,
            kind=draft.kind,
            kernel=draft.kernel,
            positions=draft.positions,
            inputs=self.groups.blocks(draft.summed),
            filters=self.groups.blocks(draft.output.blocks),
            bias=draft.bias,
            norm=draft.norm,
            fixed=draft.fixed,
            shape=draft.output.shape[1:],
            axis=draft.output.axis - 1,
            live=live,
            again=draft.again,
        )

    def _layer_order(self) -> list[str]:
        found = []
        for node in self.nodes:
            if node.op == "call_function" and len(node.args) > 1:
                path = self._layer(node.args[1])
                if path is not None and path not in found:
                    found.append(path)
        return found


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta["val"]
    value = value[0] if isinstance(value, tuple | list) else value
    return tuple(int(size) for size in value.shape)


def _argument(node: fx.Node, position: int) -> Any:
    if len(node.args) > position:
        return node.args[position]
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return node.kwargs.get(names[position])


def _operation(node: fx.Node) -> str:
    """Name of the operator without its overload, in-place forms as the others."""
    name = str(getattr(node.target, "_schema", None) and node.target._schema.name).partition("::")[2]  # type: ignore[union-attr]
    return name.rstrip("_")


def _nodes(value: Any) -> list[fx.Node]:
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, list | tuple):
        return [node for item in value for node in _nodes(item)]
    return []
