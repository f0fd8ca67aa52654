"""What a trace collects: tensors and operators whose filter groups have numbers and no names yet."""

from dataclasses import dataclass
from math import prod

from edgeprune.graph.coupling import Groups, Numbered
from edgeprune.graph.graph import Operator


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

    def operator(self, groups: Groups) -> Operator:
        """The operator, once the groups have names."""
        return Operator(
            name=self.name,
            kind=self.kind,
            filters=groups.blocks(self.output.blocks),
            shape=self.output.shape[1:],
            axis=self.output.axis - 1,
            reads=self.reads,
            writes=(self.output.memory,),
            path=self.path,
            kernel=self.kernel,
            inputs=groups.blocks(self.inputs),
            positions=self.positions,
            biases=groups.blocks(self.biases),
            norm=groups.blocks(self.norm),
            norm_scale=self.norm_scale,
            values=self.values,
            holds_weights=self.holds_weights,
        )
