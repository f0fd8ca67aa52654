"""The plan of a streaming network: which rows each layer keeps, in which form, and how its inner loop works.

A layer computes a row as soon as its input has the rows it needs. Of its input it keeps only the rows it still needs,
in a ring. A convolution's ring holds int16 less the zero point, padding in place, so that its inner loop is a FIR
filter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import numpy as np

from edgeprune.firmware.stream.kernels import Finish, Kernel, Store, choose_kernel
from edgeprune.firmware.stream.network import (
    Activation,
    Concatenation,
    Convolution,
    Depthwise,
    FullyConnected,
    IntegerNetwork,
    Layer,
    Mean,
    Padding,
    Pooling,
    Rescale,
    Reshape,
)
from edgeprune.firmware.stream.read import c_name
from edgeprune.firmware.stream.schedule import Task, ring_rows

Form = Literal["bytes", "pairs", "taps"]
"""`bytes`: as stored, channels last. `pairs`: a word for two channels of a position, plane by plane. `taps`: a half for
a channel of a position, plane by plane."""


@dataclass(frozen=True)
class Ring:
    """A buffer of an activation's latest rows.

    Attributes:
        name: its field in the state.
        rows: how many it holds.
        left: columns of padding before the first position.
        columns: of a plane, padding included (`bytes`: positions).
        reader: name of the layer that reads it; empty: the network's output.
        why: the reason that it is as large as it is.
    """

    name: str
    activation: Activation
    form: Form
    rows: int
    left: int
    columns: int
    reader: str
    why: str = ""

    @property
    def planes(self) -> int:
        channels = self.activation.shape[2]
        return ceil(channels / 2) if self.form == "pairs" else channels

    @property
    def row_bytes(self) -> int:
        """Of one row; `pairs` and `taps` are whole words."""
        return self.planes * self.columns * {"bytes": 1, "taps": 2, "pairs": 4}[self.form]

    @property
    def bytes(self) -> int:
        return ceil(self.rows * self.row_bytes / 4) * 4


@dataclass(frozen=True, eq=False)
class Step:
    """A layer of the plan, with a max-pool behind it where both are one.

    Attributes:
        name: its C name.
        pooling: the max-pool over the layer's int32 sums, which then are never stored.
        reads: a ring for each input.
        writes: rings of the output.
        rows: how many rows (of a streaming pool: input rows) it works through.
        width: how many positions of a row are ever read.
        kernel: of a convolution.
    """

    layer: Layer
    name: str
    output: Activation
    pooling: Pooling | None
    reads: tuple[Ring, ...]
    writes: tuple[Ring, ...]
    rows: int
    width: int
    kernel: Kernel | None = None

    @property
    def pairs_rows(self) -> bool:
        """Whether a convolution of one channel reads its input as pairs of rows."""
        return isinstance(self.layer, Convolution) and self.layer.inputs[0].shape[2] == 1

    @property
    def planes(self) -> int:
        """Planes of words that a convolution's kernel goes through in a row; of all rows where they are in pairs."""
        return ceil(self.layer_height / 2) if self.pairs_rows else self.reads[0].planes

    @property
    def layer_height(self) -> int:
        """Rows of a convolution's kernel."""
        assert isinstance(self.layer, Convolution | Depthwise)
        return self.layer.window.kernel[0]

    @property
    def row_words(self) -> int:
        """Words of weights of `kernel.filters` filters and `planes` planes, widened."""
        assert self.kernel is not None
        return self.planes * self.kernel.taps * self.kernel.filters

    @property
    def through_line(self) -> bool:
        """Whether a row is written to a shared line first, and from there to its rings."""
        if isinstance(self.layer, Convolution | Depthwise):
            return len(self.writes) > 1
        return all(ring.form != "bytes" for ring in self.writes)

    @property
    def sums(self) -> int:
        """The int32 sums of a max-pool, or of a pool that streams, which it keeps from row to row."""
        streaming = isinstance(self.layer, Pooling | Mean) and streams(self.layer)
        return self.output.shape[1] * self.output.shape[2] if self.pooling or streaming else 0


@dataclass(frozen=True, eq=False)
class Plan:
    """Attributes: steps in the order of the file; entry: rings that an input row goes to."""

    network: IntegerNetwork
    steps: tuple[Step, ...]
    entry: tuple[Ring, ...]

    @property
    def rings(self) -> tuple[Ring, ...]:
        written = [*self.entry, *(ring for step in self.steps for ring in step.writes)]
        return tuple({ring.name: ring for ring in written}.values())

    @property
    def line_bytes(self) -> int:
        """The shared line: the longest row that is written through it."""
        through = [step.output for step in self.steps if step.through_line]
        return ceil(max((x.shape[1] * x.shape[2] for x in through), default=0) / 4) * 4

    @property
    def sums(self) -> int:
        """The shared sums of pools whose windows overlap."""
        pools = [step for step in self.steps if isinstance(step.layer, Pooling) and not streams(step.layer)]
        return max((step.output.shape[1] * step.output.shape[2] for step in pools), default=0)

    @property
    def weight_words(self) -> int:
        """The buffer of widened weights."""
        return max((filter_words(step) for step in self.steps if step.kernel and not step.kernel.packed), default=0)

    @property
    def window_words(self) -> int:
        """The buffer of the rows under the kernel of a convolution of one channel, in pairs."""
        return max((step.planes * step.reads[0].columns for step in self.steps if step.pairs_rows), default=0)

    @property
    def row_sums(self) -> int:
        """The buffer of a row of sums on their way to a max-pool."""
        pooled = [step.width * step.kernel.filters for step in self.steps if step.pooling and step.kernel]
        return max(pooled, default=0)


def filter_words(step: Step) -> int:
    """Words of widened weights that a convolution's kernel takes at once; an even number."""
    assert step.kernel is not None
    words = step.row_words * (1 if step.pairs_rows else step.layer_height)
    return words + words % 2


def make_plan(network: IntegerNetwork) -> Plan:
    """Plan a network whose height is walked."""
    steps = _steps(network)
    entry = _rings_of(network.input, network, steps)
    steps = [replace(step, writes=_rings_of(step.output, network, steps)) for step in steps]
    rings = Plan(network, tuple(steps), entry).rings
    by_reader = {(ring.reader, ring.activation): ring for ring in rings}
    shared = {ring.activation: ring for ring in rings if ring.form == "bytes"}
    steps = [
        replace(step, reads=tuple(by_reader.get((step.name, x)) or shared[x] for x in step.layer.inputs))
        for step in steps
    ]
    steps = [replace(step, kernel=kernel_of(step)) for step in steps]
    return _with_rows(Plan(network, tuple(steps), entry))


def _steps(network: IntegerNetwork) -> list[Step]:
    """The steps without rings: names, max-pools that join the convolution before them, and the rows that are read."""
    steps: list[Step] = []
    names = {"input", "output", "state", "reset", "push", "infer", "advance", "mark", "row", "kernel"}  # taken
    merged: set[int] = set()
    for layer in network.layers:
        if layer.operator in merged:
            continue
        pooling = _pooled(layer, network)
        if pooling is not None:
            merged.add(pooling.operator)
        name = c_name(layer.name)
        while name in names:
            name = f"{name}_{layer.operator}"
        names.add(name)
        output = pooling.output if pooling else layer.output
        rows, width = layer.output.shape[:2]
        if pooling:
            rows, width = (
                min(full, out * kernel)
                for full, out, kernel in zip(
                    layer.output.shape, pooling.output.shape, pooling.window.kernel, strict=False
                )
            )
        if isinstance(layer, Pooling | Mean) and streams(layer):
            rows = layer.inputs[0].shape[0]
        if isinstance(layer, FullyConnected | Reshape):
            rows = 1
        steps.append(Step(layer, name, output, pooling, (), (), rows, width))
    return steps


def _pooled(layer: Layer, network: IntegerNetwork) -> Pooling | None:
    """The max-pool that can work on the layer's sums: its windows do not overlap and lie within the input."""
    readers = [reader for reader in network.layers if layer.output in reader.inputs]
    if not isinstance(layer, Convolution) or len(readers) != 1 or layer.output == network.output:
        return None
    (pool,) = readers
    if not isinstance(pool, Pooling) or pool.kind != "MAX_POOL_2D" or layer.rescale.shifts.max() > 0:
        return None  # a shift to the left may wrap around, and then larger sums do not give larger values
    window, (height, width, _) = pool.window, layer.output.shape
    whole = all(
        out * kernel <= size
        for out, kernel, size in zip(pool.output.shape, window.kernel, (height, width), strict=False)
    )
    same = pool.output.quantisation == layer.output.quantisation
    fits = window.kernel == window.stride and window.before == (0, 0)
    return pool if whole and same and fits else None


def streams(layer: Layer) -> bool:
    """Whether a pool adds up row by row, because its windows do not overlap in height."""
    if isinstance(layer, Mean):
        return True
    return isinstance(layer, Pooling) and layer.window.stride[0] >= layer.window.kernel[0]


def _rings_of(activation: Activation, network: IntegerNetwork, steps: Sequence[Step]) -> tuple[Ring, ...]:
    """The rings that an activation's rows are written to: one for each convolution, one for all other readers."""
    readers = [step for step in steps if activation in step.layer.inputs]
    rings = [convolution_ring(step) for step in readers if isinstance(step.layer, Convolution | Depthwise)]
    plain = [step for step in readers if not isinstance(step.layer, Convolution | Depthwise)]
    if plain or activation == network.output:
        producer = next((step.name for step in steps if step.output == activation), "input")
        reader = plain[0].name if plain else ""
        rings.append(
            Ring(f"{producer}_bytes", activation, "bytes", activation.shape[0], 0, activation.shape[1], reader)
        )
    return tuple(rings)


def convolution_ring(step: Step) -> Ring:
    """The ring that a convolution reads, with all rows of its input."""
    layer = step.layer
    assert isinstance(layer, Convolution | Depthwise)
    (x,), window = layer.inputs, layer.window
    form: Form = "pairs" if isinstance(layer, Convolution) and x.shape[2] > 1 else "taps"
    span = (step.width - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1
    columns = max(window.before[1] + x.shape[1], span)
    if form == "taps":  # loads take two neighbours, and rows are whole words
        columns = max(columns, span + 1)
        columns += columns % 2
    return Ring(f"{step.name}_input", x, form, x.shape[0], window.before[1], columns, step.name)


def finish_with(rescale: Rescale, largest: int, store: Store) -> Finish:
    """The finish that is exact for sums up to `largest` in magnitude."""
    lowest, highest = rescale.limits
    zero = rescale.zero_point
    shifts, mantissas = -rescale.shifts, rescale.mantissas
    fast = bool(
        np.all((shifts >= 1) & (shifts <= 22) & (mantissas >= 2**30))
        and largest + 2 ** int(shifts.max() - 1) + (abs(zero) << int(shifts.max())) < 2**31
    )
    offset = -zero if store == "half" else 0
    if not fast:
        return Finish("ep_scale_any", (lowest, highest), offset)
    # Half a unit goes away from zero; below the zero point nothing is stored, so there it need not be right.
    scale = "ep_scale_up" if lowest >= zero else "ep_scale"
    if (lowest, highest, zero) == (-128, 127, -128):
        return Finish(scale, None, offset - 128)
    return Finish(scale, (lowest, highest), offset)


def largest_sum(layer: Layer) -> int:
    """The largest magnitude that a layer's sums can have."""
    assert isinstance(layer, Convolution | Depthwise | FullyConnected)
    weights = np.abs(layer.weights.reshape(len(layer.weights), -1).astype(np.int64)).sum(axis=1)
    return int((weights * 255 + np.abs(layer.bias)).max())


def kernel_of(step: Step) -> Kernel | None:
    """The inner loop of a convolution, whose rings are known."""
    layer = step.layer
    if not isinstance(layer, Convolution):
        return None
    filters, sink = len(layer.weights), step.writes[0]
    store: Store = "byte" if step.through_line or sink.form == "bytes" else "half"
    places = {"pairs": (2, 1), "taps": (1, sink.columns), "bytes": (filters, 1)}
    distance, apart = (1, step.width) if step.pooling else places["bytes" if store == "byte" else sink.form]
    window = layer.window
    inside = window.before[0] == 0 and (step.rows - 1) * window.stride[0] < layer.inputs[0].shape[0]
    model = Kernel(
        filters=1,
        positions=1,
        taps=window.kernel[1],
        stride=window.stride[1],
        dilation=window.dilation[1],
        columns=step.reads[0].columns,
        pieces=1,
        single=step.pairs_rows or (window.kernel[0] == 1 and inside),
        once=False,
        packed=False,
        store="sum" if step.pooling else store,
        step=distance,
        apart=apart,
        finish=finish_with(_with_limits_of(step.pooling, layer.rescale), largest_sum(layer), store),
    )
    return choose_kernel(model, filters, step.width, step.planes)


def _with_limits_of(pooling: Pooling | None, rescale: Rescale) -> Rescale:
    if pooling is None:
        return rescale
    limits = max(rescale.limits[0], pooling.limits[0]), min(rescale.limits[1], pooling.limits[1])
    return replace(rescale, limits=limits)


def _with_rows(plan: Plan) -> Plan:
    """The plan with rings of as many rows as the schedule needs."""
    rows = ring_rows(tasks_of(plan), [ring.name for ring in plan.entry], plan.network.input.shape[0])

    for step in plan.steps:
        if isinstance(step.layer, Depthwise):  # it reads padding out of the ring
            window = step.layer.window
            name = step.reads[0].name
            rows[name] = max(rows[name], (window.kernel[0] - 1) * window.dilation[0] + 1)

    def sized(rings: tuple[Ring, ...]) -> tuple[Ring, ...]:
        return tuple(replace(ring, rows=rows[ring.name], why=_reason(plan, ring)) for ring in rings)

    steps = tuple(replace(step, reads=sized(step.reads), writes=sized(step.writes)) for step in plan.steps)
    return Plan(plan.network, steps, sized(plan.entry))


def _reason(plan: Plan, ring: Ring) -> str:
    readers = [step for step in plan.steps if any(read.name == ring.name for read in step.reads)]
    if not readers:
        return "the network's output"
    layer = readers[0].layer
    if isinstance(layer, Convolution | Depthwise):
        return f"the rows under the kernel of {layer.window.kernel[0]} rows, as int16 with padding"
    if isinstance(layer, FullyConnected | Reshape):
        return f"{layer.kind} reads all of it"
    if len(layer.inputs) > 1 or isinstance(layer, Concatenation):
        return f"{layer.kind} waits for its other input"
    return f"the rows that {layer.kind} works on"


def tasks_of(plan: Plan) -> list[Task]:
    """The plan's steps as the scheduler sees them."""
    return [_task(step) for step in plan.steps]


def _task(step: Step) -> Task:
    layer = step.layer
    heights = [x.shape[0] for x in layer.inputs]
    names = tuple(ring.name for ring in step.reads)
    writes = tuple(ring.name for ring in step.writes)
    whole = [(0, height) for height in heights]
    out_rows = step.output.shape[0]
    if isinstance(layer, FullyConnected | Reshape):
        return Task(names, writes, [whole], [out_rows])
    if isinstance(layer, Mean):
        return Task(names, writes, [[(row, row + 1)] for row in range(heights[0])], [*[0] * (heights[0] - 1), 1])
    if isinstance(layer, Pooling) and streams(layer):
        done = [_pooled_rows(layer, row) for row in range(heights[0])]
        return Task(names, writes, [[(row, row + 1)] for row in range(heights[0])], np.diff([0, *done]).tolist())
    needs = [[_reads(layer, row, height) for height in heights] for row in range(step.rows)]
    tall = step.pooling.window.kernel[0] if step.pooling else 1
    return Task(names, writes, needs, [int((row + 1) % tall == 0) for row in range(step.rows)])


def _pooled_rows(layer: Pooling, row: int) -> int:
    """How many output rows of a streaming pool are done after an input row."""
    height, window = layer.inputs[0].shape[0], layer.window
    ends = [
        min(out * window.stride[0] - window.before[0] + window.kernel[0], height)
        for out in range(layer.output.shape[0])
    ]
    return sum(end <= row + 1 for end in ends)


def _reads(layer: Layer, row: int, height: int) -> tuple[int, int]:
    """The rows of an input that an output row needs; those of a depthwise convolution may lie above it."""
    if isinstance(layer, Convolution | Depthwise | Pooling):
        first, last = layer.window.rows(row, height)
        if isinstance(layer, Depthwise):
            first = row * layer.window.stride[0] - layer.window.before[0]
        return first, max(last, 0)
    if isinstance(layer, Padding):
        return min(max(row - layer.before[0], 0), height), min(max(row + 1 - layer.before[0], 0), height)
    return (0, 1) if height == 1 else (row, row + 1)
