"""From a PyTorch network to its graph, by one run of `torch.export` on shapes.

A group is frozen, so never pruned, where its channels cannot be followed, where they reach the network's input or
output, and where a layer runs more than once. An unknown operator freezes what it reads and is reported.
"""

import warnings
from math import prod
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.coupling import Groups, Numbered
from edgeprune.graph.draft import Draft, Value
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.graph.kinds import FOLDING, FUSING, SCALE, UNKNOWN
from edgeprune.graph.operators import (
    METHODS,
    argument,
    kept_axis,
    nodes_in,
    operation,
    padding_of,
    permuted_axis,
    reduced_axes,
    shape_of,
)

LAYERS = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def trace(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> Graph:
    """The graph of any network that `torch.export` takes, on the meta device too; the model stays as it is.

    `example` is its input, `[n, channels, ...]`, or a tuple of its inputs.
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
    # a module's label is the last part of its path where no other module's path ends in it
    paths = [path for path, _ in model.named_modules() if path]
    lasts = [path.rpartition(".")[2] for path in paths]
    labels = {path: last if lasts.count(last) == 1 else path for path, last in zip(paths, lasts, strict=True)}
    return _Tracer(program, labels, layers).graph()


class _Tracer:
    """Walks the nodes of an exported program once."""

    def __init__(self, program: Any, labels: dict[str, str], layers: set[str]) -> None:
        self.nodes: list[fx.Node] = list(program.graph.nodes)
        signature = program.graph_signature
        self.params: dict[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = set(signature.inputs_to_lifted_tensor_constants) | set(self.params)
        self.labels = labels
        self.layers = layers
        self.values: dict[str, Value] = {}
        self.groups = Groups()
        self.drafts: list[Draft] = []
        self.memory: list[Value] = []
        self.made_by: dict[str, Draft] = {}
        self.read: dict[str, Numbered] = {}  # by path of a layer, the channels it has read
        self.outputs: list[Value] = []

    def graph(self) -> Graph:
        for node in self.nodes:
            if node.op == "placeholder" and node.name not in self.constants:
                value = self._fixed(shape_of(node))
                self.memory.append(value)
                self.values[node.name] = value
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self.outputs = self._inputs(node)
                for value in self.outputs:
                    self.groups.freeze(value.blocks)
        calls = [node for node in self.nodes if node.op == "call_function" and len(node.args) > 1]
        layers = [path for path in (self._layer(node.args[1]) for node in calls) if path is not None]
        groups = self.groups.named(layers, self.labels)
        if not groups:
            raise EdgepruneError("the network holds no convolution and no dense layer; there is nothing to count.")
        return Graph(
            operators=tuple(draft.operator(self.groups) for draft in self.drafts),
            groups=groups,
            tensors=tuple((self.groups.blocks(value.blocks), value.positions) for value in self.memory),
            outputs=tuple(value.memory for value in self.outputs),
        )

    def _call(self, node: fx.Node) -> None:
        if node.target is getitem:
            source = node.args[0]
            if isinstance(source, fx.Node) and source.name in self.values and node.args[1] == 0:
                self.values[node.name] = self.values[source.name]
            return
        inputs = self._inputs(node)
        if inputs:
            getattr(self, f"_{METHODS.get(operation(node), 'unknown')}")(node, inputs)
        else:  # arithmetic of constants alone
            self.constants.add(node.name)

    # Layers

    def _convolution(self, node: fx.Node, inputs: list[Value]) -> None:
        weight, groups = argument(node, 1), argument(node, 6) or 1
        x, path = inputs[0], self._layer(weight)
        if path is None or x.axis != 1:
            self._unknown(node, [x])
            return
        filters, per_filter, *kernel = shape_of(weight)
        channels, positions = x.shape[1], prod(shape_of(node)[2:])
        x = self._padded(node, x, path)
        blocks: Numbered
        summed: Numbered
        if groups == 1:
            kind, blocks, summed = "conv", ((self.groups.add(path, filters, dense=False), 1),), x.blocks
        elif groups == channels == filters and per_filter == 1 and all(repeat == 1 for _, repeat in x.blocks):
            self.groups.join(path, filters, x.blocks)
            kind, blocks, summed = "depthwise", x.blocks, ()
        else:  # which filters may go together depends on the groups: all stay
            self.groups.freeze(x.blocks)
            kind, blocks, summed = "grouped conv", ((-1, filters),), ((-1, per_filter),)
        self._weigh(node, kind, x, blocks, path, summed=summed, kernel=prod(kernel), positions=positions)

    def _dense(self, node: fx.Node, inputs: list[Value]) -> None:
        weight, x = argument(node, 1), inputs[0]
        path = self._layer(weight)
        if path is None or x.axis != len(x.shape) - 1:
            self._unknown(node, inputs)
            return
        blocks = ((self.groups.add(path, shape_of(weight)[0], dense=True), 1),)
        positions = prod(shape_of(node)[1:-1])
        self._weigh(node, "dense", x, blocks, path, summed=x.blocks, kernel=1, positions=positions)

    def _weigh(
        self, node: fx.Node, kind: str, x: Value, blocks: Numbered, path: str, *, summed: Numbered, **sizes: int
    ) -> None:
        """Add a layer; one that runs again keeps its filters and inputs, and its weights are counted once."""
        again = path in self.read
        biases = blocks if argument(node, 2) is not None and not again else ()
        self._operate(
            node, kind, [x], x.axis, blocks, path, inputs=summed, biases=biases, holds_weights=not again, **sizes
        )
        if kind == "grouped conv":
            self.read.setdefault(path, ())
            return
        if again:
            for channels in (x.blocks, blocks, self.read[path]):
                self.groups.freeze(channels)
        self.read[path] = self.read.get(path, ()) + x.blocks

    def _batch_norm(self, node: fx.Node, inputs: list[Value]) -> None:
        x, scale = inputs[0], argument(node, 1)
        name = self.params.get(scale.name, "") if isinstance(scale, fx.Node) else ""
        before = self.made_by.get(nodes_in(node.args[0])[0].name)
        if before is not None and before.foldable:
            before.norm_scale = before.norm_scale or name
            if self._producer(node) is before:
                before.norm = before.output.blocks
                self._stand_for(node, x, foldable=False)
                return
        # the axis of the batch norm may be another one than that of the channels, such as the mel bands
        norm = x.blocks if x.axis == 1 else ((-1, x.shape[1]),)
        self._operate(node, SCALE, [x], x.axis, x.blocks, self._path(scale), norm=norm, norm_scale=name)

    # Operators without weights

    def _free(self, node: fx.Node, inputs: list[Value]) -> None:
        self._stand_for(node, inputs[0])

    def _fused(self, node: fx.Node, inputs: list[Value]) -> None:
        before = self._producer(node)
        if before is not None and before.kind in FUSING:
            self._stand_for(node, inputs[0], foldable=False)
        else:
            self._activation(node, inputs)

    def _activation(self, node: fx.Node, inputs: list[Value]) -> None:
        self._operate(node, "activation", inputs, inputs[0].axis, inputs[0].blocks)

    def _pool(self, node: fx.Node, inputs: list[Value]) -> None:
        x = self._padded(node, inputs[0], None)
        self._operate(node, "pool", [x, *inputs[1:]], x.axis, x.blocks)

    def _pad(self, node: fx.Node, inputs: list[Value]) -> None:
        x = inputs[0]
        sizes: Any = node.args[1]  # from the last axis on, in pairs
        place = 2 * (len(x.shape) - 1 - x.axis)
        if any(int(size) != 0 for size in sizes[place : place + 2]):
            self._unknown(node, inputs)
        else:
            self._operate(node, "pad", inputs, x.axis, x.blocks)

    def _reshape(self, node: fx.Node, inputs: list[Value]) -> None:
        x, out, name = inputs[0], shape_of(node), operation(node)
        axis: int | None
        if name in ("permute", "transpose", "t"):
            axis, repeat = permuted_axis(node, name, x.axis, len(x.shape)), 1
        else:
            axis, repeat = kept_axis(x.shape, x.axis, out)
        if axis is None:
            self.groups.freeze(x.blocks)
            value = self._fixed(out, x.memory)
        else:
            value = Value(out, axis, tuple((group, times * repeat) for group, times in x.blocks), x.memory)
        self._stand_for(node, value, foldable=False)

    def _reduce(self, node: fx.Node, inputs: list[Value]) -> None:
        x = inputs[0]
        axes, keep = reduced_axes(node, len(x.shape))
        if x.axis in axes or 0 in axes:
            self._lose_track(node, "reduce", [x])
        else:
            axis = x.axis if keep else x.axis - sum(1 for removed in axes if removed < x.axis)
            self._operate(node, "reduce", [x], axis, x.blocks)

    def _pair(self, node: fx.Node, inputs: list[Value]) -> None:
        first, *others = inputs
        for shape in [shape_of(arg) for arg in nodes_in(list(node.args)) if arg.name in self.constants]:
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
        out, widest = shape_of(node), max(inputs, key=lambda value: len(value.shape))
        if out[widest.axis] != widest.shape[widest.axis]:
            self.groups.freeze(widest.blocks)
            widest = self._fixed(out, widest.memory)
        self._operate(node, operation(node), inputs, widest.axis, widest.blocks)

    def _cat(self, node: fx.Node, inputs: list[Value]) -> None:
        first = inputs[0]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        dim = int(dim) % len(first.shape)  # type: ignore[arg-type]
        alike = all(value.axis == first.axis for value in inputs) and len(inputs) == len(nodes_in(node.args[0]))
        if alike and dim == first.axis:
            blocks = tuple(block for value in inputs for block in value.blocks)
            self._operate(node, "concat", inputs, dim, blocks)
        else:
            self._lose_track(node, "concat", inputs)

    def _unknown(self, node: fx.Node, inputs: list[Value]) -> None:
        held = [arg for arg in nodes_in(list(node.args)) if self.params.get(arg.name)]
        path = self._path(held[0]) if held else None
        self._lose_track(node, UNKNOWN, inputs, path, values=sum(prod(shape_of(arg)) for arg in held))

    def _padded(self, node: fx.Node, x: Value, path: str | None) -> Value:
        """The tensor that a layer reads: its input, or the output of a PAD that is put before it."""
        if len(x.shape) < 3 or x.axis != 1:
            return x
        pads = padding_of(node, x.shape[2:], shape_of(node)[2:])
        if not pads:
            return x
        sizes = [size + first + last for size, (first, last) in zip(x.shape[2:], pads, strict=True)]
        value = Value((*x.shape[:2], *sizes), 1, x.blocks, len(self.memory))
        self.memory.append(value)
        self.drafts.append(Draft(f"{self._name(node, path, 'pool')}.pad", "pad", (x.memory,), value))
        return value

    # Bookkeeping

    def _lose_track(
        self, node: fx.Node, kind: str, inputs: list[Value], path: str | None = None, **details: Any
    ) -> None:
        """Add an operator behind which the channels cannot be followed, so those that it reads are frozen."""
        for value in inputs:
            self.groups.freeze(value.blocks)
        out = self._fixed(shape_of(node))
        self._operate(node, kind, inputs, out.axis, out.blocks, path, **details)

    def _operate(
        self,
        node: fx.Node,
        kind: str,
        sources: list[Value],
        axis: int,
        blocks: Numbered,
        path: str | None = None,
        **details: Any,
    ) -> None:
        value = Value(shape_of(node), axis, blocks, len(self.memory))
        self.memory.append(value)
        self.values[node.name] = value
        reads = tuple(source.memory for source in sources)
        name = self._name(node, path, kind)
        draft = Draft(name, kind, reads, value, path=path or "", foldable=kind in FOLDING, **details)
        self.drafts.append(draft)
        self.made_by[node.name] = draft

    def _name(self, node: fx.Node, path: str | None, kind: str) -> str:
        """The layer's label; without one, the label of the module in which the node is called, and its kind."""
        name = self.labels.get(path, path) if path else None
        if name is None:
            stack = node.meta.get("nn_module_stack")
            inside = list(stack.values())[-1][0] if stack else ""
            leaf = inside and not any(other.startswith(f"{inside}.") for other in self.labels)
            name = self.labels.get(inside, inside) + ("" if leaf else f".{kind}") if inside else None
        if name is None:
            name = f"{kind}_{sum(draft.kind == kind for draft in self.drafts) + 1}"
        return name if all(draft.name != name for draft in self.drafts) else f"{name}:{node.name}"

    def _fixed(self, shape: tuple[int, ...], memory: int | None = None) -> Value:
        axis = 1 if len(shape) > 1 else 0
        return Value(shape, axis, ((-1, shape[axis]),), len(self.memory) if memory is None else memory)

    def _inputs(self, node: fx.Node) -> list[Value]:
        return [self.values[arg.name] for arg in nodes_in(list(node.args)) if arg.name in self.values]

    def _path(self, node: Any) -> str | None:
        """Path of the module that a parameter belongs to."""
        name = self.params.get(node.name) if isinstance(node, fx.Node) else None
        return None if name is None else name.rpartition(".")[0] or None

    def _layer(self, weight: Any) -> str | None:
        """Path of the layer whose own weight this is."""
        path = self._path(weight)
        return path if path in self.layers else None

    def _producer(self, node: fx.Node) -> Draft | None:
        """The operator whose output only this node reads."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or len(source.users) != 1:
            return None
        return self.made_by.get(source.name)

    def _stand_for(self, node: fx.Node, value: Value, foldable: bool = True) -> None:
        """A node that costs nothing stands for the operator before it; not `foldable`: a batch norm after it stays."""
        self.values[node.name] = value
        before = self._producer(node)
        if before is not None:
            self.made_by[node.name] = before
            before.foldable = before.foldable and foldable
