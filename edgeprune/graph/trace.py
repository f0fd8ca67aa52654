"""From a PyTorch network to its graph, by one run of `torch.export` on shapes.

The walk over the exported program knows for every tensor which filter each of its channels comes from. Filters are
frozen, so never pruned, where they cannot be followed, where a channel is computed from all others, where a filter that
is silenced would still change the output, and where they reach the network's output.
"""

import warnings
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.graph import elementwise, layers, norms, products, rearranging, reducing, unfollowed
from edgeprune.graph.draft import Constant, Value
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.graph.kinds import MULTIPLYING
from edgeprune.graph.operators import METHODS, nodes_in, operation, shape_of
from edgeprune.graph.tracer import Tracer

LAYERS = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
)  # fmt: skip
HANDLERS: dict[str, Callable[[Tracer, fx.Node, Sequence[Value]], None]] = {
    "convolution": layers.convolution,
    "transpose_convolution": layers.transpose_convolution,
    "dense": layers.dense,
    "recurrent": products.recurrent,
    "product": products.product,
    "attention": products.attention,
    "batch_norm": norms.batch_norm,
    "channel_norm": norms.channel_norm,
    "layer_norm": norms.layer_norm,
    "prelu": elementwise.prelu,
    "glu": reducing.glu,
    "free": elementwise.free,
    "fused": elementwise.fused,
    "pointwise": elementwise.pointwise,
    "alike": elementwise.alike,
    "along": reducing.along,
    "view": rearranging.view,
    "rearrange": rearranging.rearrange,
    "join": rearranging.join,
    "pad": rearranging.pad,
    "pool": reducing.pool,
    "resize": reducing.resize,
    "reduce": reducing.reduce,
}
"""By name in `METHODS`, the function that takes an operator."""


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
            raise EdgepruneError(
                f"{type(model).__name__}: cannot be traced ({first_line(error)}); its forward must run on the "
                "example input and may not depend on the values of tensors."
            ) from error
    layers_of = {path for path, module in model.named_modules() if path and isinstance(module, LAYERS)}
    # a module's label is the last part of its path where no other module's path ends in it
    paths = [path for path, _ in model.named_modules() if path]
    lasts = [path.rpartition(".")[2] for path in paths]
    labels = {path: last if lasts.count(last) == 1 else path for path, last in zip(paths, lasts, strict=True)}
    clips = next((int(x.shape[0]) for x in inputs if isinstance(x, Tensor) and x.ndim > 1), 1)
    tracer = Tracer(labels, layers_of, max(1, clips))
    with torch.device("cpu"):  # operators are tried out on a few values
        _walk(tracer, program, model)
    if not any(draft.kind in MULTIPLYING for draft in tracer.drafts):
        raise EdgepruneError("the network holds no convolution and no dense layer; there is nothing to count.")
    return tracer.graph()


def _walk(tracer: Tracer, program: Any, model: nn.Module) -> None:
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    first_names = _first_names(model)
    tracer.learned = {first_names.get(name, name) for name in signature.inputs_to_parameters.values()}
    used = _used(program.graph)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in stored:
            name, shape = stored[node.name], shape_of(node)
            axes = tuple(range(len(shape)))
            tracer.constants[node.name] = Constant(shape, first_names.get(name, name), axes, root=node.name)
        elif node.op == "placeholder" and node.name in signature.inputs_to_lifted_tensor_constants:
            tracer.constants[node.name] = Constant(shape_of(node), root=node.name)
        elif node.op == "placeholder" and isinstance(node.meta.get("val"), Tensor):
            value = tracer.fixed(shape_of(node))
            tracer.memory.append(value)
            tracer.values[node.name] = value
        elif node.op == "call_function":
            known, tracer.counts = len(tracer.drafts), node in used
            _call(tracer, node)
            if not tracer.counts:
                tracer.leave_out(known)
        elif node.op == "output":
            tracer.outputs = tracer.inputs(node)
            for value in tracer.outputs:
                tracer.coupling.freeze(value.numbers, "it is the network's output")


def _used(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that the output depends on; those that change a tensor in place count among them."""
    used: set[fx.Node] = set()
    open_nodes = [node for node in graph.nodes if node.op == "output" or _changes_in_place(node)]
    while open_nodes:
        node = open_nodes.pop()
        if node not in used:
            used.add(node)
            open_nodes += node.all_input_nodes
    return used


def _changes_in_place(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def _call(tracer: Tracer, node: fx.Node) -> None:
    if node.target is getitem:
        source: Any = node.args[0]
        parts = tracer.parts.get(source.name)
        if parts is not None:
            tracer.values[node.name] = parts[int(node.args[1])]  # type: ignore[arg-type]
        elif source.name in tracer.constants:
            tracer.constants[node.name] = Constant(shape_of(node), root=node.name)
        return
    made = node.meta.get("val")
    if not isinstance(made[0] if isinstance(made, tuple | list) and made else made, Tensor):
        return  # a size, or an assertion
    if not tracer.inputs(node):
        tracer.constants[node.name] = rearranging.constant(tracer, node)
        return
    _written_to(tracer, node)
    inputs = tracer.inputs(node)
    handler = HANDLERS.get(METHODS.get(operation(node), ""), unfollowed.other)
    handler(tracer, node, inputs)


def _written_to(tracer: Tracer, node: fx.Node) -> None:
    """A constant that something is written to is one no longer."""
    if not _changes_in_place(node):
        return
    for base in nodes_in(list(node.args))[:1]:
        while base.name in tracer.constants:
            value = tracer.fixed(shape_of(base))
            tracer.memory.append(value)
            tracer.values[base.name] = value
            del tracer.constants[base.name]
            before = nodes_in(list(base.args))
            if not before:
                break
            base = before[0]


def _first_names(model: nn.Module) -> dict[str, str]:
    """By name of a parameter or buffer, the first of the names that it has where modules share it."""
    firsts: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: firsts.setdefault(id(tensor), name) for name, tensor in named}
