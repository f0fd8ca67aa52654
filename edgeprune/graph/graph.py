"""A network as pruning sees it: its operators, and which filters belong together.

Every tensor has one channel axis. What lies on it is written as blocks: a group's filters, each `repeat` times (a
flatten makes that the number of positions), or a fixed number of channels. Layers whose outputs are added, or that
filter each channel on its own (depthwise), share a group: they keep the same filters or none of them works.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Block:
    """Consecutive channels: the filters of `group`, each `repeat` times; of no group: `repeat` fixed channels."""

    group: str
    repeat: int


Blocks = tuple[Block, ...]


@dataclass(frozen=True)
class Group:
    """Layers that lose the same filters.

    Attributes:
        name: label of its first layer in the order of execution.
        layers: paths of its layers in the model, in that order.
        filters: how many each has.
        frozen: may not be pruned.
        dense: has hidden dense layers only.
    """

    name: str
    layers: tuple[str, ...]
    filters: int
    frozen: bool
    dense: bool


@dataclass(frozen=True)
class Operator:
    """One operator of the network as a device runs it: batch norm folded, activations fused, reshapes free.

    Attributes:
        path: of its layer in the model; "" if it has none.
        kind: conv, depthwise, dense, scale (a batch norm that cannot be folded), pool, add ..., or unknown.
        kernel: weights per pair of input channel and filter (a depthwise layer's: per filter).
        positions: outputs a filter computes.
        inputs: channels that are summed over; empty for operators without weights, and depthwise ones.
        filters: channels of the output.
        bias: has a bias of its own; `norm`: a batch norm is folded into it.
        fixed: parameters that follow from no width: of a grouped convolution, a scale or an unknown operator.
        shape: of the output, without the batch; `axis`: its channel axis.
        live: indices of the tensors in memory while it runs.
        again: its layer ran before, so its parameters are counted there.
    """

    name: str
    path: str
    kind: str
    kernel: int
    positions: int
    inputs: Blocks
    filters: Blocks
    bias: bool
    norm: bool
    fixed: int
    shape: tuple[int, ...]
    axis: int
    live: tuple[int, ...]
    again: bool = False


@dataclass(frozen=True)
class Graph:
    """Operators in order, groups by name, and of each tensor in memory its channels and positions."""

    operators: tuple[Operator, ...]
    groups: dict[str, Group]
    tensors: tuple[tuple[Blocks, int], ...]

    @cached_property
    def lives(self) -> tuple[tuple[int, int], ...]:
        """Of each tensor the first and the last operator during which it is in memory."""
        runs: list[list[int]] = [[] for _ in self.tensors]
        for step, operator in enumerate(self.operators):
            for tensor in operator.live:
                runs[tensor].append(step)
        return tuple((min(steps, default=0), max(steps, default=0)) for steps in runs)

    def prunable(self, dense_layers: bool = False) -> dict[str, Group]:
        """Groups that may lose filters: those with a convolution, and hidden dense layers if asked."""
        return {
            name: group for name, group in self.groups.items() if not group.frozen and (dense_layers or not group.dense)
        }

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operators whose cost is not known."""
        return tuple(operator.name for operator in self.operators if operator.kind == "unknown")
