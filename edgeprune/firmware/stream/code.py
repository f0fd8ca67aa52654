"""What steps add to the program, and the C expressions of rows in rings."""

import re
from dataclasses import dataclass, field

import numpy as np

from edgeprune.firmware.c_text import c_array
from edgeprune.firmware.stream.kernels import Kernel
from edgeprune.firmware.stream.network import Activation
from edgeprune.firmware.stream.plan import Plan, Ring, Step


@dataclass
class Code:
    """What the steps add to the program.

    Attributes:
        tables: definitions of constants.
        kernels: inner loops by their names.
        functions: the steps' functions, in order.
        fields: of the state, beside rings and counters.
        resets: statements that begin a window, beside clearing the state.
    """

    prefix: str
    plan: Plan
    tables: list[str] = field(default_factory=list)
    kernels: dict[Kernel, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)

    def name(self, text: str) -> str:
        return f"{self.prefix}_{text}"

    def rows_of(self, activation: Activation) -> str:
        """The counter of an activation's rows in the state."""
        for step in self.plan.steps:
            if step.output == activation:
                return f"state->{step.name}_rows"
        return "state->input_rows"

    def table(self, kind: str, name: str, values: object) -> str:
        """Define a constant array and return its name."""
        array = np.asarray(values)
        full = self.name(name)
        sizes = "".join(f"[{size}]" for size in (array.shape[:1] if kind == "ep_filter" else array.shape))
        self.tables.append(c_array(f"static const {kind} {full}{sizes}", array))
        return full


def times(expression: str, factor: int) -> str:
    """A product in C, left away where it changes nothing."""
    return expression if factor == 1 else f"{expression} * {factor}"


def plus(expression: str, number: int) -> str:
    """A sum in C, likewise."""
    return expression if number == 0 else f"{expression} {'+' if number > 0 else '-'} {abs(number)}"


def slot(ring: Ring, row: str) -> str:
    """The C expression of a row's place in a ring, without its left padding."""
    size = ring.row_bytes // (1 if ring.form == "bytes" else 4)
    row = row if re.fullmatch(r"[\w>-]+", row) else f"({row})"
    place = row if ring.rows >= ring.activation.shape[0] else f"{row} % {ring.rows}"
    return f"state->{ring.name}" if ring.rows == 1 else f"state->{ring.name} + {place} * {size}"


def widen(ring: Ring, source: str, row: str) -> str:
    """The statement that copies a row of stored bytes to a convolution's ring."""
    _, width, channels = ring.activation.shape
    sizes = f"{width}, {channels}, {ring.columns}, {ring.activation.zero_point}"
    if ring.form == "bytes":
        return f"memcpy({slot(ring, row)}, {source}, {width * channels});"
    if ring.form == "pairs":
        return f"ep_widen_pairs({source}, {slot(ring, row)} + {ring.left}, {sizes});"
    return f"ep_widen_taps({source}, ep_at({slot(ring, row)}, {2 * ring.left}), {sizes});"


def begin_row(code: Code, step: Step) -> list[str]:
    """Declare `out`, where a row of stored bytes is written."""
    target = next((ring for ring in step.writes if ring.form == "bytes"), None)
    rows = code.rows_of(step.output)
    place = "state->line" if target is None or step.through_line else slot(target, rows)
    return [f"int8_t *const out = {place};"]


def end_row(code: Code, step: Step) -> list[str]:
    """Copy the row to the other rings, and count it."""
    rows = code.rows_of(step.output)
    rings = [ring for ring in step.writes if step.through_line or ring.form != "bytes"]
    return [*(widen(ring, "out", rows) for ring in rings), f"++{rows};", f"++state->{step.name}_done;"]


def sink_of(step: Step) -> tuple[Ring, str]:
    """Where a convolution stores directly, and in which form: `half` or `byte`."""
    ring = step.writes[0]
    return ring, "byte" if step.through_line or ring.form == "bytes" else "half"


def sink_row(step: Step, row: str) -> str:
    """The C expression of the row that a convolution stores to; its left padding is passed over."""
    ring, _ = sink_of(step)
    if step.through_line:
        return "state->line"
    size = {"bytes": 0, "taps": 2, "pairs": 4}[ring.form]
    return slot(ring, row) if not ring.left else f"ep_at({slot(ring, row)}, {ring.left * size})"


def filter_place(step: Step, filter_: str) -> str:
    """The element (half or byte) in a row where a filter's results begin."""
    ring, store = sink_of(step)
    if store == "byte":
        return filter_
    if ring.form == "taps":
        return f"{filter_} * {ring.columns}"
    return f"({filter_} / 2) * {2 * ring.columns} + {filter_} % 2"
