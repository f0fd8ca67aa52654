"""What a trace collects: tensors and operators whose filters have numbers, and groups without names yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from edgeprune.graph.coupling import Coupling, Numbers, fixed_numbers
from edgeprune.graph.graph import Operator


@dataclass(frozen=True)
class Value:
    """A tensor of the trace that depends on the network's input.

    Attributes:
        shape: the batch included.
        axis: its channel axis.
        numbers: the filter each place on that axis belongs to, which is the same along all other axes.
        memory: number of the tensor in memory, which a reshape shares with its input.
        awake: the operator that makes something else than zero of a filter that puts out zero; "" if none did.
    """

    shape: tuple[int, ...]
    axis: int
    numbers: Numbers
    memory: int
    awake: str = ""

    @property
    def follows(self) -> bool:
        """Whether filters lie on its channel axis; what one filter alone gives to all channels goes with none."""
        return len(self.numbers) > 1 and bool((self.numbers >= 0).any())


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the input.

    Attributes:
        tensor: the parameter or buffer whose values it shows; "" of others.
        axes: for each of its axes that axis of the parameter; None for one that was added.
        exact: it shows the values as they are, so it is zero where they are.
        root: the node whose values ship with the network.
    """

    shape: tuple[int, ...]
    tensor: str = ""
    axes: tuple[int | None, ...] = ()
    exact: bool = True
    root: str = ""

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass
class Draft:
    """An `Operator` of numbered filters; `foldable`: a batch norm that comes next can be folded into it."""

    name: str
    kind: str
    reads: tuple[int, ...]
    output: Value
    more: tuple[int, ...] = ()
    path: str = ""
    kernel: int = 0
    inputs: Numbers = field(default_factory=lambda: fixed_numbers(0))
    positions: int = 0
    biases: Numbers = field(default_factory=lambda: fixed_numbers(0))
    norm: Numbers = field(default_factory=lambda: fixed_numbers(0))
    ships: int = 1
    norm_scale: str = ""
    values: int = 0
    holds_weights: bool = True
    learned: bool = True
    foldable: bool = False

    def operator(self, coupling: Coupling, place: Mapping[int, int]) -> Operator:
        """The operator, once the groups have names and the tensors in memory their last numbers."""
        batch = min(1, self.output.axis)  # a tensor whose first axis holds channels has no batch to leave out
        return Operator(
            name=self.name,
            kind=self.kind,
            filters=coupling.blocks(self.output.numbers),
            shape=self.output.shape[batch:] if len(self.output.shape) > 1 else (),
            axis=self.output.axis - batch,
            reads=tuple(place[tensor] for tensor in self.reads),
            writes=tuple(place[tensor] for tensor in (self.output.memory, *self.more)),
            path=self.path,
            kernel=self.kernel,
            inputs=coupling.blocks(self.inputs),
            positions=self.positions,
            biases=coupling.blocks(self.biases),
            norm=coupling.blocks(self.norm),
            ships=self.ships,
            norm_scale=self.norm_scale,
            values=self.values,
            holds_weights=self.holds_weights,
            learned=self.learned,
        )


def values_a_clip(shape: tuple[int, ...], clips: int) -> int:
    """Values of a tensor for one clip, wherever its batch lies."""
    if len(shape) > 1 and shape[0] == clips:
        return prod(shape[1:])
    return prod(shape) // clips if prod(shape) % clips == 0 else prod(shape)
