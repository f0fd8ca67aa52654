"""A graph in the making: operators whose filter groups have numbers and no names yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edgeprune.errors import EdgepruneError
from edgeprune.graph.coupling import Groups, Numbered
from edgeprune.graph.graph import Graph, Operator


@dataclass(frozen=True)
class Value:
    """A tensor of the trace.

    Attributes:
        shape: the batch included.
        axis: its channel axis.
        blocks: what lies on that axis.
        memory: number of the tensor in memory, which a reshape shares with its input.
    """

    shape: tuple[int, ...]
    axis: int
    blocks: Numbered
    memory: int

    @property
    def positions(self) -> int:
        return max(1, prod(self.shape[1:]) // max(1, self.shape[self.axis])) if len(self.shape) > 1 else 1


@dataclass
class Draft:
    """An `Operator` of numbered groups; `foldable`: a batch norm that comes next can be folded into it."""

    name: str
    kind: str
    reads: tuple[int, ...]
    output: Value
    path: str = ""
    kernel: int = 0
    inputs: Numbered = ()
    positions: int = 0
    biases: Numbered = ()
    norm: Numbered = ()
    norm_scale: str = ""
    values: int = 0
    holds_weights: bool = True
    foldable: bool = False


def finish(
    drafts: Sequence[Draft],
    memory: Sequence[Value],
    outputs: Sequence[Value],
    groups: Groups,
    layers: Sequence[str],
    labels: Mapping[str, str],
) -> Graph:
    """The graph.

    Args:
        memory: the tensors in memory, by number.
        outputs: of the network.
        layers: paths in the order of execution.
        labels: of the paths.
    """
    named = groups.named(layers, labels)
    if not named:
        raise EdgepruneError("the network holds no convolution and no dense layer; there is nothing to count.")
    return Graph(
        operators=tuple(_operator(draft, groups) for draft in drafts),
        groups=named,
        tensors=tuple((groups.blocks(value.blocks), value.positions) for value in memory),
        outputs=tuple(value.memory for value in outputs),
    )


def _operator(draft: Draft, groups: Groups) -> Operator:
    return Operator(
        name=draft.name,
        kind=draft.kind,
        filters=groups.blocks(draft.output.blocks),
        shape=draft.output.shape[1:],
        axis=draft.output.axis - 1,
        reads=draft.reads,
        writes=(draft.output.memory,),
        path=draft.path,
        kernel=draft.kernel,
        inputs=groups.blocks(draft.inputs),
        positions=draft.positions,
        biases=groups.blocks(draft.biases),
        norm=groups.blocks(draft.norm),
        norm_scale=draft.norm_scale,
        values=draft.values,
        holds_weights=draft.holds_weights,
    )
