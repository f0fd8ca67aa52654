"""How the state and the tables of a planned network grow with its channels.

A plan's rings have as many rows whatever the channels, so one plan tells the bytes for all widths. Rings hold channels
in pairs, and buffers that layers share are as large as the largest layer needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from edgeprune.firmware.stream.depthwise import DepthwiseKernel
from edgeprune.firmware.stream.kernels import Finish
from edgeprune.firmware.stream.network import (
    Activation,
    Convolution,
    Depthwise,
    FullyConnected,
    IntegerNetwork,
    Lookup,
    Softmax,
)
from edgeprune.firmware.stream.plan import Plan, Ring, Step, convolution_ring, filter_words, kernel_of

Sizes = NDArray[np.int64]
_FILTER = 16
"""Bytes of an `ep_filter`."""
_COUNTED = 24
"""Kernels work on as many filters at once as divide this number, if any."""


@dataclass(frozen=True)
class SizedPart:
    """Some bytes of the state or of the tables.

    Attributes:
        name: of the buffer, or of the layer whose table it is.
        depends: numbers of the activations whose channels it depends on.
        bytes_of: the bytes by these channels.
        shared: the buffer it lies in, of which only the largest part counts; "": memory of its own.
    """

    name: str
    depends: tuple[int, ...]
    bytes_of: Callable[..., int]
    shared: str = ""
    _known: dict[str, Sizes] = field(default_factory=dict, compare=False)

    def sizes(self, channels: Mapping[int, Sizes]) -> Sizes:
        """Bytes `[n]` for channels `[n]` by activation."""
        keys = tuple(channels[number] for number in self.depends)
        known = self._known.get("table", np.full([0] * len(keys), -1))
        if any(key.max() >= size for key, size in zip(keys, known.shape, strict=True)):
            grown = np.full([max(int(key.max()) + 1, size) for key, size in zip(keys, known.shape, strict=True)], -1)
            grown[tuple(map(slice, known.shape))] = known
            known = self._known["table"] = grown
        sizes: Sizes = known[keys]
        if sizes.min() < 0:
            for key in set(zip(*(key[sizes < 0].tolist() for key in keys), strict=True)):
                known[key] = self.bytes_of(*key)
            sizes = known[keys]
        return sizes


def state_bytes(plan: Plan, parts: tuple[SizedPart, ...], channels: Mapping[int, Sizes]) -> Sizes:
    """Bytes of the state on a processor of 32 bits, `[n]`; `parts` are those of `state_parts`."""
    sizes = [(part.shared, part.sizes(channels)) for part in parts]
    counters = 4 * (1 + 2 * len(plan.steps))
    total = sum((size for shared, size in sizes if not shared), start=np.full(len(sizes[0][1]), counters))
    for buffer in {shared for shared, _ in sizes if shared}:
        total = total + np.max([size for shared, size in sizes if shared == buffer], axis=0)
    aligned: Sizes = -(-total // 4) * 4
    return aligned


def state_parts(plan: Plan) -> tuple[SizedPart, ...]:
    """The state without its counters."""
    steps = {step.name: step for step in plan.steps}
    parts = [_of_ring(ring, steps.get(ring.reader)) for ring in plan.rings]
    for step in plan.steps:
        y, row = step.output.number, step.output.shape[1]
        if step.sums:
            parts.append(SizedPart(f"{step.name}_sums", (y,), lambda f, row=row: 4 * row * f))
        if isinstance(step.layer, Convolution):
            at, x = _rewidened(step), step.layer.inputs[0].number
            for name in ("weight_words", "window_words", "row_sums"):
                bytes_of = cache(lambda c, f, at=at, name=name: 4 * getattr(_alone(at(c, f)), name))
                parts.append(SizedPart(step.name, (x, y), bytes_of, name))
        for name, size in (("sums", 4), ("line_bytes", 1)):
            if getattr(_alone(step), name):
                bytes_of = cache(
                    lambda f, step=step, name=name, size=size: size * getattr(_alone(_with(step, f)), name)
                )
                parts.append(SizedPart(step.name, (y,), bytes_of, name))
    return tuple(parts)


def _alone(step: Step) -> Plan:
    """A plan of this step, which has the shared buffers that it needs."""
    network = IntegerNetwork(step.layer.inputs[0], step.output, (step.layer,))
    return Plan(network, (step,), ())


def _with(step: Step, filters: int) -> Step:
    return replace(step, output=with_channels(step.output, filters))


def table_parts(plan: Plan) -> tuple[SizedPart, ...]:
    """The constants: weights, scales and tables of values."""
    parts = []
    for step in plan.steps:
        layer, y = step.layer, step.output.number
        x = layer.inputs[0].number
        match layer:
            case Convolution():
                at = _rewidened(step)
                parts.append(SizedPart(step.name, (x, y), lambda c, f, at=at: _packed_bytes(at(c, f), f) + _FILTER * f))
            case Depthwise():
                packed = 4 * DepthwiseKernel(layer, 1, 1, 1, "byte", 1, Finish("", None, 0)).packed_words
                parts.append(SizedPart(step.name, (y,), lambda f, packed=packed: (packed + _FILTER) * f))
            case FullyConnected():
                places = layer.inputs[0].shape[0] * layer.inputs[0].shape[1]
                each = 4 if layer.kind == "FULLY_CONNECTED" else _FILTER
                parts.append(
                    SizedPart(
                        step.name, (x, y), lambda c, f, places=places, each=each: (places * c + each) * f + _FILTER
                    )
                )
            case Lookup() | Softmax():
                size = 256 if isinstance(layer, Lookup) else 1024
                parts.append(SizedPart(step.name, (y,), lambda c, size=size: size))
    return tuple(parts)


def bytes_of_plan(plan: Plan) -> tuple[int, int]:
    """Bytes of a plan's state, and of its tables."""
    ends = [x for step in plan.steps for x in (*step.layer.inputs, step.output)]
    channels = {x.number: np.array([x.shape[2]]) for x in (plan.network.input, *ends)}
    tables = sum(int(part.sizes(channels)[0]) for part in table_parts(plan))
    return int(state_bytes(plan, state_parts(plan), channels)[0]), tables


def with_channels(activation: Activation, channels: int) -> Activation:
    """The same with another number of channels."""
    return replace(activation, shape=(*activation.shape[:2], channels))


def _of_ring(ring: Ring, reader: Step | None) -> SizedPart:
    number = ring.activation.number
    if reader is None or ring.form == "bytes":
        return SizedPart(
            ring.name,
            (number,),
            lambda c: ring.rows * replace(ring, activation=with_channels(ring.activation, c)).row_bytes,
        )
    return SizedPart(ring.name, (number,), lambda c: ring.rows * _ring_of(reader, c).row_bytes)


def _ring_of(step: Step, channels: int) -> Ring:
    """What a convolution reads where its input has so many channels."""
    layer = replace(step.layer, inputs=(with_channels(step.layer.inputs[0], channels),))
    return convolution_ring(replace(step, layer=layer))


def _rewidened(step: Step) -> Callable[[int, int], Step]:
    """By channels and filters, the step of a convolution as it would be planned; what follows from filters alone is
    that of fewer filters."""
    layer = step.layer
    assert isinstance(layer, Convolution)

    @cache
    def planned(channels: int, filters: int) -> Step:
        weights = np.broadcast_to(np.int8(1), (filters, 1, 1, 1))
        inputs = (with_channels(layer.inputs[0], channels),)
        new = replace(step, layer=replace(layer, inputs=inputs, weights=weights, bias=np.zeros(filters, np.int64)))
        new = replace(new, reads=(convolution_ring(new),))
        return replace(new, kernel=kernel_of(new))

    # pairs of channels go together, and of the filters it counts by how many they can be divided
    return lambda channels, filters: planned(channels + channels % 2 * (channels > 1), gcd(filters, _COUNTED))


def _packed_bytes(step: Step, filters: int) -> int:
    """Of packed weights: two bytes for each word that is widened."""
    assert step.kernel is not None
    return filters // step.kernel.filters * filter_words(step) * 2
