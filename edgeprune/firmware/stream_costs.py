"""RAM and flash of the program that streams a traced network, by its widths: the costs of the runtime `stream`.

State and tables follow from the compiler's own plan, to the byte. Stack, other variables and code are about the same
for all widths: they are estimated, or read back from a program that was linked (`devices.fit_program`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from edgeprune.audio.layout import Layout
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.firmware.stream.compile import ring_bytes
from edgeprune.firmware.stream.draft import Traced, draft_network
from edgeprune.firmware.stream.network import IntegerNetwork, Shape
from edgeprune.firmware.stream.plan import Plan, make_plan
from edgeprune.firmware.stream.turn import turn_network
from edgeprune.firmware.stream.widths import SizedPart, Sizes, state_bytes, state_parts, table_parts
from edgeprune.graph.graph import Graph
from edgeprune.graph.windows import layer_windows
from edgeprune.pruning.allocation.cost_polynomials import Forms, Ints, forms
from edgeprune.recipe import LogMel

_STACK, _STACK_LISTENING = 320, 530
"""Stack and variables beside state, row and output: what programs took that were linked, rounded up."""
_CODE, _CODE_LISTENING, _CODE_OF_STEP, _CODE_OF_KERNEL = 2900, 1650, 180, 720
"""Bytes of code beside the front-end's; fitted to linked programs of four networks, 11 % off at most."""


@dataclass(frozen=True)
class StreamCosts:
    """What the linked program takes.

    Attributes:
        layout: of the log-mel input, whose time is walked; None where it is no log-mel.
        frontend: that the program has as well.
        beside: bytes beside state, tables and front-end, as `peak_ram` and `flash`, read back from a linked program;
            None: estimated.
    """

    traced: Traced
    layout: Layout | None
    frontend: LogMel | None = None
    beside: Mapping[str, int] | None = None

    def plan(self, widths: Mapping[str, int] | None = None) -> Plan:
        """The compiler's plan of the network with these filters by group; groups that are not named keep theirs."""
        return make_plan(self._walked(draft_network(self.traced, widths)))

    @property
    def takes_frames(self) -> bool:
        """Whether the network takes a log-mel's frames as they come."""
        return self._plan.network.turned == (self.layout == "mels_frames")

    def bytes(self, limit: str, widths: Ints, names: Sequence[str]) -> Ints:
        """Of widths `[n, groups]` of the groups `names` the bytes `[n]` that count against `peak_ram` or `flash`."""
        channels = self._channels(widths, names)
        if limit == "peak_ram":
            return state_bytes(self._plan, self._state, channels) + self._fixed[limit]
        tables: Sizes = np.sum([part.sizes(channels) for part in self._tables], axis=0)
        return tables + self._fixed[limit]

    def of(self, widths: Mapping[str, int]) -> dict[str, int]:
        """The bytes with these filters by group."""
        row = np.array([list(widths.values())], dtype=np.int64)
        return {name: int(self.bytes(name, row, list(widths))[0]) for name in ("peak_ram", "flash")}

    def below(self, names: Sequence[str]) -> Forms:
        """Polynomials that the bytes never go below: of RAM what each channel takes at least, of flash the weights."""
        weights = forms(self.traced.graph, names).only(["flash"])
        line = np.zeros(len(names) + 1, np.int64)
        line[0] = self._fixed["peak_ram"]
        for part in self._state:
            if not part.shared:
                line += _least(part, self._most(part.depends[0])) * self._line(part.depends[0], names)
        return Forms(
            names=weights.names,
            limits=("peak_ram", "flash"),
            constant=np.array([line[0], weights.constant[0] + self._fixed["flash"]], dtype=np.int64),
            linear=np.stack([line[1:], weights.linear[0]]),
            quadratic=np.concatenate([np.zeros_like(weights.quadratic), weights.quadratic]),
        )

    def largest(self, limit: str, widths: Mapping[str, int]) -> tuple[str, int]:
        """Name and bytes of the largest part: a buffer of the state or a layer's tables, the front-end, or the rest."""
        channels = self._channels(np.array([list(widths.values())], dtype=np.int64), list(widths))
        parts = self._state if limit == "peak_ram" else self._tables
        sizes = {part.shared or part.name: int(part.sizes(channels)[0]) for part in parts}
        sizes["front-end"] = self._frontend_bytes[limit]
        sizes["stack and other variables" if limit == "peak_ram" else "code"] = self._beside[limit]
        return max(sizes.items(), key=lambda item: item[1])

    def corrected(self, beside: Mapping[str, int]) -> "StreamCosts":
        """The same where at least so many bytes, read back, lie beside state, tables and front-end."""
        known = self.beside or dict.fromkeys(beside, 0)
        return replace(self, beside={name: max(known[name], value) for name, value in beside.items()})

    def beside_of(self, linked: Mapping[str, int], widths: Mapping[str, int]) -> dict[str, int]:
        """What a linked program of these widths takes beside state, tables and front-end."""
        predicted = self.of(widths)
        return {name: linked[name] - predicted[name] + self._beside[name] for name in linked}

    # The plan

    @cached_property
    def _plan(self) -> Plan:
        return self.plan()

    def _walked(self, network: IntegerNetwork) -> IntegerNetwork:
        """The network turned so that time is walked, or the axis that needs less memory at full width."""
        if self.layout == "frames_mels":
            return network
        turned = turn_network(network)
        if turned is None or self.layout == "mels_frames":
            return turned or network
        return turned if self._turns else network

    @cached_property
    def _turns(self) -> bool:
        network = draft_network(self.traced)
        turned = turn_network(network)
        return turned is not None and ring_bytes(make_plan(turned)) < ring_bytes(make_plan(network))

    @cached_property
    def _state(self) -> tuple[SizedPart, ...]:
        return state_parts(self._plan)

    @cached_property
    def _tables(self) -> tuple[SizedPart, ...]:
        return table_parts(self._plan)

    # What does not depend on the widths

    @cached_property
    def _frontend_bytes(self) -> dict[str, int]:
        if self.frontend is None:
            return {"peak_ram": 0, "flash": 0}
        cost = frontend_cost(self.frontend, quantised=True, stream=self.takes_frames)
        window = 0 if self.takes_frames else self._plan.network.input.size
        return {"peak_ram": cost.ram_bytes + window, "flash": cost.flash_bytes}

    @cached_property
    def _beside(self) -> Mapping[str, int]:
        if self.beside is not None:
            return self.beside
        x, y, steps = self._plan.network.input, self._plan.network.output, self._plan.steps
        code = _CODE + _CODE_OF_STEP * len(steps) + _CODE_OF_KERNEL * len({step.kernel for step in steps} - {None})
        if self.frontend is not None:
            return {"peak_ram": _STACK_LISTENING + 5 * y.size, "flash": code + _CODE_LISTENING}
        return {"peak_ram": _STACK + x.shape[1] * x.shape[2] + y.size, "flash": code}

    @cached_property
    def _fixed(self) -> dict[str, int]:
        return {name: self._frontend_bytes[name] + self._beside[name] for name in ("peak_ram", "flash")}

    # Channels

    @cached_property
    def _numbers(self) -> set[int]:
        return {number for part in (*self._state, *self._tables) for number in part.depends}

    def _channels(self, widths: Ints, names: Sequence[str]) -> dict[int, Sizes]:
        """Channels `[n]` of the activations."""
        ones = np.column_stack([np.ones(len(widths), np.int64), widths])
        return {number: ones @ self._line(number, names) for number in self._numbers}

    def _line(self, number: int, names: Sequence[str]) -> Ints:
        """The channels of an activation as a constant and a coefficient of each width, `[1 + groups]`."""
        index, groups = {name: column for column, name in enumerate(names)}, self.traced.graph.groups
        line = np.zeros(len(index) + 1, np.int64)
        for block in self.traced.channels(number):
            if block.group in index:
                line[1 + index[block.group]] += block.repeat
            else:
                line[0] += block.repeat * (groups[block.group].filters if block.group else 1)
        return line

    def _most(self, number: int) -> int:
        """The channels of an activation at full width."""
        return int(self._line(number, [])[0])


def stream_costs(
    model: nn.Module, graph: Graph, input_shape: Shape, layout: Layout | None, frontend: LogMel | None = None
) -> StreamCosts:
    """The costs of a network of PyTorch (on the meta device too) and its graph; input: channels, height, width."""
    return StreamCosts(Traced(graph, layer_windows(model, graph), input_shape), layout, frontend)


def costs_by_graph(model: nn.Module, example_input: Tensor | tuple[Tensor, ...]) -> Callable[[Graph], StreamCosts]:
    """What makes the costs of any network from its graph; the input is `[n, channels, height, width]`."""
    if isinstance(example_input, tuple) or example_input.ndim != 4:
        raise EdgepruneError(
            "budget.runtime stream: takes networks of one input [n, channels, height, width]; use tflm."
        )
    _, channels, height, width = example_input.shape
    return lambda graph: stream_costs(model, graph, (channels, height, width), layout=None)


def _least(part: SizedPart, most: int) -> int:
    """The fewest whole bytes that a channel takes, of up to `most` channels."""
    return min(part.bytes_of(channels) // channels for channels in range(1, most + 1))
