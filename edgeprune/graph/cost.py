"""What a network costs, layer by layer: parameters, MACs, int8 flash and int8 activation memory.

Conventions: a MAC is one multiply-accumulate of a convolution or dense layer (biases, pooling and activations are not
counted). `params` are what ships: batch norm folded into the layer before it, zeros included. `flash_bytes` are int8
weights and int32 biases. `peak_ram_bytes` is the largest sum of the int8 activations in memory while an operator runs,
in the order of execution, activations fused and flatten in place: the lower bound of any planner that keeps that order.
`arena_bytes` is what TFLite Micro's planner makes of it (`arena`): the same where tensors are multiples of 16 bytes and
no gaps remain, as in a chain of operators whose sizes fall.

The cost of any widths follows from one trace (`graph`) by arithmetic alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from edgeprune.graph.arena import arena_bytes
from edgeprune.graph.graph import Blocks, Graph, Operator
from edgeprune.graph.trace import trace
from edgeprune.models.registry import ModelSpec, build


@dataclass(frozen=True)
class LayerCost:
    """Cost of one operator: counts, and bytes of int8 activations in memory while it runs."""

    name: str
    kind: str
    filters: int
    params: int
    macs: int
    flash_bytes: int
    ram_bytes: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Cost of a network; `params_trainable` and `params_with_statistics` count batch norm before folding.

    Both are None of a file in which it is folded.

    `unknown` names operators whose MACs are not known and not in the sums. `arena_bytes` is what TFLite Micro plans for
    the activations, `peak_ram_bytes` what no planner goes below.
    """

    params: int
    params_trainable: int | None
    params_with_statistics: int | None
    macs: int
    peak_ram_bytes: int
    flash_bytes: int
    by_layer: tuple[LayerCost, ...]
    unknown: tuple[str, ...] = ()
    arena_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Params:
    """Parameters of an operator: what ships, what is trained, with moving statistics; and bytes in flash."""

    folded: int = 0
    trainable: int = 0
    statistics: int = 0
    flash: int = 0


def count(graph: Graph, widths: Mapping[str, int] | None = None) -> Cost:
    """Cost of a network whose groups have `widths` filters (default: their own).

    Args:
        widths: filters by name of a group; groups that are not named keep theirs.
    """
    filters = {name: group.filters for name, group in graph.groups.items()} | {"": 1}
    filters.update(widths or {})
    sizes = [_size(blocks, filters) * positions for blocks, positions in graph.tensors]
    layers = []
    sums = [0, 0]
    for operator in graph.operators:
        wide = _size(operator.filters, filters)
        params, macs = _of_layer(operator, filters, wide)
        sums[0] += params.trainable
        sums[1] += params.statistics
        ram = sum(sizes[tensor] for tensor in operator.live)
        shape = (*operator.shape[: operator.axis], wide, *operator.shape[operator.axis + 1 :])
        layers.append(LayerCost(operator.name, operator.kind, wide, params.folded, macs, params.flash, ram, shape))
    return Cost(
        params=sum(layer.params for layer in layers),
        params_trainable=sums[0],
        params_with_statistics=sums[1],
        macs=sum(layer.macs for layer in layers),
        peak_ram_bytes=max(layer.ram_bytes for layer in layers),
        flash_bytes=sum(layer.flash_bytes for layer in layers),
        by_layer=tuple(layers),
        unknown=graph.unknown,
        arena_bytes=arena_bytes(sizes, graph.lives),
    )


def _size(blocks: Blocks, filters: Mapping[str, int]) -> int:
    return sum(filters[block.group] * block.repeat for block in blocks)


def _of_layer(operator: Operator, filters: Mapping[str, int], wide: int) -> tuple[_Params, int]:
    """Parameters and MACs of an operator with `wide` output channels."""
    if operator.kind == "unknown":
        held = operator.fixed
        return _Params(held, held, held, held), 0
    if operator.kind == "scale":
        features = operator.fixed or wide
        return _Params(2 * features, 2 * features, 4 * features, 2 * features), 0
    if not operator.kernel:
        return _Params(), 0
    weights = operator.fixed or operator.kernel * wide * (_size(operator.inputs, filters) if operator.inputs else 1)
    bias = wide if operator.bias or operator.norm else 0
    own = weights + (wide if operator.bias else 0)
    norm = 2 * wide if operator.norm else 0
    if operator.again:
        return _Params(), weights * operator.positions
    return _Params(weights + bias, own + norm, own + 2 * norm, weights + 4 * bias), weights * operator.positions


def build_meta(spec: ModelSpec) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build(spec).eval()


def graph_of(spec: ModelSpec) -> Graph:
    """Operators and groups of a network of the registry."""
    return _graph_of(spec.name, spec.classes, spec.input_shape, tuple(spec.widths.items()))


@lru_cache(maxsize=32)
def _graph_of(name: str, classes: int, input_shape: tuple[int, int, int], widths: tuple[tuple[str, int], ...]) -> Graph:
    spec = ModelSpec(name, classes, input_shape, dict(widths))
    return trace(build_meta(spec), torch.zeros(1, *input_shape, device="meta"))


def cost(spec: ModelSpec) -> Cost:
    """Cost of the network a spec describes."""
    return count(graph_of(spec))
