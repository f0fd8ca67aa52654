"""A network as its operators, their tensors, and the filters that belong together; the same from any source.

PyTorch networks are read by `graph.trace`, .tflite files by `tflite.read_graph`, ONNX files by `convert.onnx_graph`;
`graph.cost` counts them all.

Every tensor has one channel axis. What lies on it is written as blocks: the filters of a group, each `repeat` times (a
flatten repeats them once per position), or a fixed number of channels. Layers whose outputs are added, or that filter
each channel on its own (depthwise), share a group: they lose the same filters. Where filters of one layer can only go
together (those of one group of a grouped convolution, or the two that a gated linear unit multiplies), such a set of
filters counts as one filter of the group. A file's channels are all fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from edgeprune.graph.kinds import UNKNOWN


@dataclass(frozen=True)
class Block:
    """Consecutive channels: the filters of `group`, each `repeat` times; without a group, `repeat` fixed channels.

    `order` has the filter at every channel; it is empty where each filter takes `repeat` channels in a row, from the
    first filter to the last.
    """

    group: str
    repeat: int
    order: tuple[int, ...] = ()


Blocks = tuple[Block, ...]


def fixed(channels: int) -> Blocks:
    """Channels that follow from no group."""
    return (Block("", channels),)


@dataclass(frozen=True)
class FilterGroup:
    """Layers that lose the same filters.

    Attributes:
        name: label of its first layer in the order of execution.
        layers: paths of its layers in the model, in that order.
        filters: how many it may lose one by one, mostly those of each layer.
        frozen: may not be pruned.
        dense: has hidden dense layers only.
        reason: why it is frozen; "" if it is not.
    """

    name: str
    layers: tuple[str, ...]
    filters: int
    frozen: bool
    dense: bool
    reason: str = field(default="", compare=False)


@dataclass(frozen=True)
class Cut:
    """An axis of a parameter or buffer that gets shorter with the filters.

    Attributes:
        tensor: its name in the model.
        channels: what lies on the axis.
        silences: a filter puts out zero where all its entries of this kind are zero: its weights and bias, and the
            scale and shift of the batch norm behind it.
    """

    tensor: str
    axis: int
    channels: Blocks
    silences: bool


@dataclass(frozen=True)
class Operator:
    """One operator as a device runs it: batch norm folded, activations fused, reshapes free.

    Its weights are `kernel` x `inputs` x `filters`, and each is used at `positions` places.

    Attributes:
        kind: a name from `graph.kinds`.
        filters: channels of the output.
        shape: of the output, without the batch.
        axis: the channel axis in `shape`.
        reads, writes: its activations, as indices into `Graph.tensors`.
        path: of its layer in the model; "" if it has none.
        kernel: weights per pair of input channel and filter; without `inputs`, per filter; of a constant that is added
            or multiplied, values per channel.
        inputs: channels that each filter sums over; empty where a filter reads one channel (depthwise).
        positions: outputs that a filter computes.
        biases: its own.
        norm: channels of a batch norm, folded into it or, of a `scale`, itself.
        ships: how often each value of such a `scale` ships: once for every place of a band of mels.
        norm_scale: name of the parameter that scales the batch norm which directly follows it; "" if there is none.
        values: constants of other shapes, such as those of a PReLU or an unknown operator.
        holds_weights: its weights are counted here; False where they are an activation or another operator's too.
        learned: its constants are parameters; False of a buffer or of a constant of the forward.
    """

    name: str
    kind: str
    filters: Blocks
    shape: tuple[int, ...]
    axis: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    path: str = ""
    kernel: int = 0
    inputs: Blocks = ()
    positions: int = 0
    biases: Blocks = ()
    norm: Blocks = ()
    ships: int = 1
    norm_scale: str = ""
    values: int = 0
    holds_weights: bool = True
    learned: bool = True


@dataclass(frozen=True)
class Graph:
    """A network's operators in the order of execution.

    Attributes:
        groups: by name; a file has none.
        tensors: the activations in memory, each as its channels and the positions of every channel.
        outputs: activations that stay in memory to the end.
        cuts: where the network's parameters get shorter with the filters; a file has none.
        keeps_norms: batch norms are seen before they are folded. A .tflite no longer tells what they held.
    """

    operators: tuple[Operator, ...]
    groups: dict[str, FilterGroup]
    tensors: tuple[tuple[Blocks, int], ...]
    outputs: tuple[int, ...] = field(default=(), kw_only=True)
    cuts: tuple[Cut, ...] = field(default=(), kw_only=True)
    keeps_norms: bool = field(default=True, kw_only=True)

    @cached_property
    def _spans(self) -> dict[int, tuple[int, int]]:
        """The first and the last operator of each tensor that an operator reads or writes."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for place, operator in enumerate(self.operators):
            for tensor in operator.writes:
                first.setdefault(tensor, place)
            last.update(dict.fromkeys((*operator.reads, *operator.writes), place))
        last.update((tensor, len(self.operators) - 1) for tensor in self.outputs if tensor in last)
        return {tensor: (first.get(tensor, 0), end) for tensor, end in last.items()}

    @cached_property
    def lives(self) -> tuple[tuple[int, int], ...]:
        """The first and the last operator during which each tensor is in memory."""
        return tuple(self._spans.get(tensor, (0, 0)) for tensor in range(len(self.tensors)))

    @cached_property
    def live(self) -> tuple[tuple[int, ...], ...]:
        """The tensors in memory while each operator runs."""
        return tuple(
            tuple(tensor for tensor, (first, last) in self._spans.items() if first <= place <= last)
            for place in range(len(self.operators))
        )

    def prunable(self, dense_layers: bool = False) -> dict[str, FilterGroup]:
        """Groups that may lose filters: those with a convolution and, with `dense_layers`, hidden dense layers."""
        return {
            name: group for name, group in self.groups.items() if not group.frozen and (dense_layers or not group.dense)
        }

    def filters_of(self, layer: str) -> Blocks:
        """What lies on the filter axis of the layer at this path."""
        return next(operator.filters for operator in self.operators if operator.path == layer and operator.positions)

    def places(self, channels: Blocks) -> list[tuple[str, int]]:
        """For each place on an axis, the group and which of its filters is there; the group is "" of fixed channels."""
        places: list[tuple[str, int]] = []
        for block in channels:
            natural = range(self.groups[block.group].filters) if block.group else (0,)
            order = block.order or [filter for filter in natural for _ in range(block.repeat)]
            places += [(block.group, filter) for filter in order]
        return places

    def frozen(self, reasons: Mapping[str, str]) -> "Graph":
        """The same network, with more groups that may not be pruned, by name with the reason."""
        groups = {
            name: replace(group, frozen=True, reason=reasons[name]) if name in reasons else group
            for name, group in self.groups.items()
        }
        return replace(self, groups=groups)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operators whose cost is not known."""
        return tuple(operator.name for operator in self.operators if operator.kind == UNKNOWN)
