"""What a network costs, layer by layer: parameters, MACs, int8 flash and int8 activation memory.

Conventions: a MAC is one multiply-accumulate of a convolution, dense layer or matrix product; biases, pooling and
activations are not counted. `params` are what ships: batch norm folded into the layer before it, zeros included.
`flash_bytes` are int8 weights and int32 biases. `peak_ram_bytes` is the largest sum of the int8 activations in memory
while an operator runs, in the order of execution, activations fused and reshapes in place: the lower bound of any
planner that keeps that order. `arena_bytes` is what TFLite Micro's planner makes of it (`arena`).

`COUNTERS` holds the arithmetic of every kind of operator. It works on numbers and on polynomials of the widths.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edgeprune.graph.arena import arena_bytes
from edgeprune.graph.graph import Blocks, Graph, Operator
from edgeprune.graph.graph_cache import kept_graph
from edgeprune.graph.kinds import FOLDING, FREE_OF_MACS, MULTIPLYING, SCALE, UNKNOWN
from edgeprune.models.registry import ModelSpec, build
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LayerCost:
    """Cost of one operator: counts, and bytes of int8 activations in memory while it runs.

    `output_shape` has no batch. It is channel-first, but of a .tflite channel-last, as in the file.
    """

    name: str
    kind: str
    filters: int
    params: int
    macs: int
    flash_bytes: int
    ram_bytes: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Cost(Tabular):
    """Cost of a network.

    Attributes:
        params: values that ship.
        params_trainable: values before batch norm is folded; None of a file in which it was folded already.
        params_with_statistics: the same with batch norm's moving statistics.
        peak_ram_bytes: the least memory that any planner needs for the activations.
        unknown: operators whose MACs are not known and not in the sums.
        arena_bytes: the memory that TFLite Micro plans for the activations.
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

    def table(self) -> "pd.DataFrame":
        """One row a layer."""
        import pandas as pd

        return pd.DataFrame([asdict(layer) for layer in self.by_layer])


Size = Callable[[Blocks], Any]
"""The number of channels in some blocks: a whole number, or a polynomial of the widths."""


@dataclass(frozen=True)
class Counts:
    """What one operator adds to the sums; each an int, or a polynomial of the widths.

    Attributes:
        weights: values that ship as one byte each.
        biases: values that ship as four bytes each.
        trainable: values before batch norm is folded.
        statistics: moving statistics of batch norm.
    """

    weights: Any = 0
    biases: Any = 0
    macs: Any = 0
    trainable: Any = 0
    statistics: Any = 0

    @property
    def params(self) -> Any:
        return self.weights + self.biases

    @property
    def flash_bytes(self) -> Any:
        return self.weights + 4 * self.biases


def _multiplying(operator: Operator, size: Size) -> Counts:
    """A layer, into which a batch norm may be folded.

    A layer without biases gets them from the batch norm's shift; a convolution that has neither still ships zeros,
    since TFLite's convolutions take no fewer inputs.
    """
    product = operator.kernel * size(operator.filters)
    if operator.inputs:
        product = product * size(operator.inputs)
    weights = operator.values + (product if operator.holds_weights else 0)
    norm = operator.norm if operator.holds_weights else ()
    ships_zeros = operator.holds_weights and operator.kind in FOLDING and operator.kind != "dense"
    return Counts(
        weights=weights,
        biases=size(operator.biases or norm or (operator.filters if ships_zeros else ())),
        macs=operator.positions * product,
        trainable=weights + size(operator.biases) + 2 * size(norm),
        statistics=2 * size(norm),
    )


def _scale(operator: Operator, size: Size) -> Counts:
    """A batch norm's scale and shift for each channel, which ship as weights of two operators; or a constant."""
    constant = _values(operator, size)
    norm = 2 * size(operator.norm)
    return Counts(
        weights=constant.weights + operator.ships * norm, trainable=constant.trainable + norm, statistics=norm
    )


def _values(operator: Operator, size: Size) -> Counts:
    weights = operator.values + operator.kernel * size(operator.filters)
    return Counts(weights=weights, trainable=weights if operator.learned else 0)


COUNTERS: dict[str, Callable[[Operator, Size], Counts]] = {
    **dict.fromkeys(MULTIPLYING, _multiplying),
    **dict.fromkeys(FREE_OF_MACS, _values),
    SCALE: _scale,
    UNKNOWN: _values,
}
"""By kind of operator, how it is counted."""


def count(graph: Graph, widths: Mapping[str, int] | None = None) -> Cost:
    """Cost of a network whose groups have `widths` filters; groups that are not named keep their own."""
    filters = {name: group.filters for name, group in graph.groups.items()} | {"": 1}
    filters.update(widths or {})

    def size(blocks: Blocks) -> int:
        return sum(filters[block.group] * block.repeat for block in blocks)

    counts = [COUNTERS[operator.kind](operator, size) for operator in graph.operators]
    sizes = [size(blocks) * positions for blocks, positions in graph.tensors]
    layers = tuple(
        LayerCost(
            name=operator.name,
            kind=operator.kind,
            filters=size(operator.filters),
            params=counted.params,
            macs=counted.macs,
            flash_bytes=counted.flash_bytes,
            ram_bytes=sum(sizes[tensor] for tensor in live),
            output_shape=_shape(operator, size(operator.filters)),
        )
        for operator, counted, live in zip(graph.operators, counts, graph.live, strict=True)
    )
    trainable = sum(counted.trainable for counted in counts)
    statistics = sum(counted.statistics for counted in counts)
    return Cost(
        params=sum(layer.params for layer in layers),
        params_trainable=trainable if graph.keeps_norms else None,
        params_with_statistics=trainable + statistics if graph.keeps_norms else None,
        macs=sum(layer.macs for layer in layers),
        peak_ram_bytes=max(layer.ram_bytes for layer in layers),
        flash_bytes=sum(layer.flash_bytes for layer in layers),
        by_layer=layers,
        unknown=graph.unknown,
        arena_bytes=arena_bytes(sizes, graph.lives),
    )


def _shape(operator: Operator, filters: int) -> tuple[int, ...]:
    before, after = operator.shape[: operator.axis], operator.shape[operator.axis + 1 :]
    return (*before, filters, *after) if operator.shape else ()


def graph_of(spec: ModelSpec) -> Graph:
    """Operators and groups of a network of the registry, traced once and then read from the user's cache."""
    return _graph_of(spec.name, spec.classes, spec.input_shape, tuple(spec.widths.items()))


@lru_cache(maxsize=32)
def _graph_of(name: str, classes: int, input_shape: tuple[int, int, int], widths: tuple[tuple[str, int], ...]) -> Graph:
    spec = ModelSpec(name, classes, input_shape, dict(widths))
    return kept_graph(spec, lambda: _traced(spec))


def _traced(spec: ModelSpec) -> Graph:
    import torch

    from edgeprune.graph.trace import trace

    with torch.device("meta"):  # no memory for the weights
        return trace(build(spec).eval(), torch.zeros(1, *spec.input_shape))


def cost(spec: ModelSpec) -> Cost:
    """Cost of the network a spec describes."""
    return count(graph_of(spec))
