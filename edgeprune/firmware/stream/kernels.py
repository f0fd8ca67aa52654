"""The inner loops of convolutions: how many filters and positions one computes at once, and its C.

A kernel is a FIR filter along a row. A word holds two int16: two channels of a position, or two rows of one channel. A
word of input is loaded once for all positions and filters that need it, a word of weights once for all positions.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

Store = Literal["half", "byte", "sum"]
"""`half`: int16 less the zero point, for a convolution's ring; `byte`: as stored; `sum`: int32, for a max-pool."""

_REGISTERS = 14
"""For sums, words in use and pointers on Armv7-M; beyond it values go to the stack."""
_REACH = 255
"""Words that a double load reaches from its base."""
_MOST_PRODUCTS = 120
"""Double products that one turn of a loop may hold, for the code's size."""


@dataclass(frozen=True)
class Finish:
    """From a sum to what is stored.

    Attributes:
        scale: C function that rescales: `ep_scale_up`, `ep_scale` or `ep_scale_any`.
        limits: lowest and highest of the scaled value; None: 0 to 255, which is one instruction.
        offset: added last.
    """

    scale: str
    limits: tuple[int, int] | None
    offset: int

    def value(self, total: str, filter_: str) -> str:
        """The C expression."""
        scaled = f"{self.scale}({total}, {filter_})"
        if self.limits is None:
            scaled = f"ep_saturate_unsigned({scaled})"
        elif self.limits == (-128, 127):
            scaled = f"ep_saturate({scaled})"
        else:
            scaled = f"ep_limit({scaled}, {self.limits[0]}, {self.limits[1]})"
        return scaled if self.offset == 0 else f"{scaled} {'+' if self.offset > 0 else '-'} {abs(self.offset)}"


@dataclass(frozen=True)
class Kernel:
    """An inner loop.

    Attributes:
        filters, positions: computed at once.
        taps: kernel width.
        stride, dilation: along the row.
        columns: words from a plane of the row to the next one.
        pieces: planes that one turn of the loop takes.
        single: whether all rows lie next to each other; `once`: and one turn goes through all planes.
        packed: whether weights are widened in the loop; else a filter's weights are widened before its row.
        store: where results go; `step` elements lie between two positions, `apart` between two filters.
    """

    filters: int
    positions: int
    taps: int
    stride: int
    dilation: int
    columns: int
    pieces: int
    single: bool
    once: bool
    packed: bool
    store: Store
    step: int
    apart: int
    finish: Finish

    def instructions(self, width: int, planes: int) -> float:
        """About how many instructions a row of one filter takes on a Cortex-M4."""
        columns = {
            place * self.stride + tap * self.dilation for place in range(self.positions) for tap in range(self.taps)
        }
        words = self.taps * self.filters
        live = min(self.taps, 1 + (self.positions - 1) * self.stride)
        weights_held = live * self.filters + (self.filters == 1 and live > 1)
        spilled = max(0, self.filters * self.positions + weights_held + 5 - _REGISTERS)
        weights = 1.5 * words if self.packed else 0.5 * words
        turn = 0 if self.once else 4 / self.pieces
        piece = ceil(len(columns) / 2) + weights + words * self.positions + 3 * spilled + turn
        blocks = ceil(width / self.positions)
        widening = 0 if self.packed else 2.2 * planes * words + 10
        return (blocks * (planes * piece + 14 + 8 * self.filters * self.positions) + widening + 30) / self.filters

    def body(self) -> list[str]:
        """The C statements of one turn of the loop: pointers `x` and `w`, sums `a<filter><position>`."""
        lines = []
        for piece in range(self.pieces):
            lines += ["{", *(f"    {line}" for line in self._piece(piece)), "}"]
        return lines

    def _piece(self, piece: int) -> list[str]:
        lines, loaded, weighted = [], set[int](), set[int]()
        uses: dict[int, list[tuple[int, int]]] = {}
        for position in range(self.positions):
            for tap in range(self.taps):
                uses.setdefault(position * self.stride + tap * self.dilation, []).append((position, tap))
        for column in sorted(uses):
            if column not in loaded:
                both = column + 1 in uses
                lines.append(self._load_input(piece, column, both))
                loaded |= {column, column + 1} if both else {column}
            for _, tap in uses[column]:
                if tap not in weighted:
                    statements, taps = self._load_weights(piece, tap)
                    lines.append(statements)
                    weighted |= taps
            for position, tap in sorted(uses[column], reverse=True):
                for filter_ in range(self.filters):
                    total = f"a{filter_}{position}"
                    lines.append(f"{total} = ep_mac(x{column}, w{tap}_{filter_}, {total});")
        return lines

    def _load_input(self, piece: int, column: int, both: bool) -> str:
        place = piece * self.columns + column
        if both:
            return f"uint32_t x{column}, x{column + 1}; ep_load(x + {place}, &x{column}, &x{column + 1});"
        return f"const uint32_t x{column} = x[{place}];"

    def _load_weights(self, piece: int, tap: int) -> tuple[str, set[int]]:
        """The statements that load a tap's words, and the taps that they load."""
        place = (piece * self.taps + tap) * self.filters
        names = [f"w{tap}_{filter_}" for filter_ in range(self.filters)]
        taps = {tap}
        if self.filters == 1 and tap + 1 < self.taps and (place % 2 == 0 or not self.packed):
            names.append(f"w{tap + 1}_0")
            taps.add(tap + 1)
        if not self.packed:
            if len(names) == 1:
                return f"const uint32_t {names[0]} = w[{place}];", taps
            return f"uint32_t {', '.join(names)}; ep_load(w + {place}, &{names[0]}, &{names[1]});", taps
        halves = [f"{name} = ep_{'odd' if (place + i) % 2 else 'even'}_bytes(b{place})" for i, name in enumerate(names)]
        return f"const uint32_t b{place} = w[{place // 2}], {', '.join(halves)};", taps


def kernel_code(kernel: Kernel, name: str) -> str:
    """The function: a row of sums for `filters` filters, each from position 0 to `last + positions - 1`.

    The last block begins at `last`, so it computes some positions again where the width is no multiple.
    """
    sums = [(f, p) for f in range(kernel.filters) for p in range(kernel.positions)]
    start = f"at * {kernel.stride}" if kernel.stride > 1 else "at"
    words = kernel.pieces * kernel.taps * kernel.filters // (2 if kernel.packed else 1)
    kept = {"half": "int16 for a ring", "byte": "bytes", "sum": "sums for a max-pool"}[kernel.store]
    lines = [
        f"/* {kernel.taps} taps, stride {kernel.stride}; {kernel.filters} x {kernel.positions} outputs at once,",
        f" * {kernel.pieces} planes a turn, weights {'int8' if kernel.packed else 'int16'}; stores {kept} */",
        f"static EP_KERNEL void {name}(const ep_span *begin, const ep_span *end, const uint32_t *weights,",
        "    const ep_filter *filter, void *out, int32_t last)",
        "{",
        *(["    (void)end;"] if kernel.single else []),
        f"    for (int32_t at = 0;; at += {kernel.positions}) {{",
        "        at = at < last ? at : last;",
        *(f"        int32_t a{f}{p} = filter[{f}].bias;" for f, p in sums),
        "        const uint32_t *w = weights;",
        *(f"        {line}" for line in _rows(kernel, start, words)),
        *(f"        {line}" for line in _store(kernel)),
        "        if (at == last)",
        "            return;",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _rows(kernel: Kernel, start: str, words: int) -> list[str]:
    """The loops over spans of rows and their planes, as far as there are several."""
    if kernel.once:
        return [f"const uint32_t *x = (const uint32_t *)begin->rows + {start};", *kernel.body()]
    span = "begin" if kernel.single else "span"
    turns = [
        f"const uint32_t *x = (const uint32_t *){span}->rows + {start};",
        f"const uint32_t *const stop = w + {span}->words;",
        "do {",
        *(f"    {line}" for line in kernel.body()),
        f"    x += {kernel.pieces * kernel.columns};",
        f"    w += {words};",
        "} while (w != stop);",
    ]
    if kernel.single:
        return turns
    return ["for (const ep_span *span = begin; span != end; ++span) {", *(f"    {line}" for line in turns), "}"]


def _store(kernel: Kernel) -> list[str]:
    lines = []
    for filter_ in range(kernel.filters):
        if kernel.store != "sum":  # a copy, since the compiler cannot know that stores leave the filter as it is
            lines.append(f"const ep_filter scale{filter_} = filter[{filter_}];")
        for position in range(kernel.positions):
            total, constant = f"a{filter_}{position}", position * kernel.step + filter_ * kernel.apart
            if kernel.store == "sum":
                lines.append(f"((int32_t *)out)[at{f' + {constant}' if constant else ''}] = {total};")
            else:
                value = kernel.finish.value(total, f"&scale{filter_}")
                place = f"at * {kernel.step}" if kernel.step > 1 else "at"
                place += f" + {constant}" if constant else ""
                lines.append(f"ep_store_{kernel.store}(out, {place}, {value});")
    return lines


def choose_kernel(model: Kernel, filters: int, width: int, planes: int) -> Kernel:
    """The kernel like `model` with the filters, positions, pieces and weights that take the fewest instructions."""
    best, least = model, float("inf")
    for count in (1, 2):
        for positions in range(1, min(6, width) + 1):
            for packed in (False, True):
                kernel = replace(model, filters=count, positions=positions, packed=packed)
                pieces = _pieces(kernel, planes)
                kernel = replace(kernel, pieces=pieces, once=kernel.single and pieces == planes)
                if filters % count or (packed and kernel.pieces * kernel.taps * count % 2):
                    continue
                instructions = kernel.instructions(width, planes)
                if instructions < least:
                    best, least = kernel, instructions
    return best


def _pieces(kernel: Kernel, planes: int) -> int:
    """As many planes a turn as double loads reach, at most 8."""
    span = (kernel.positions - 1) * kernel.stride + (kernel.taps - 1) * kernel.dilation + 2
    products = kernel.taps * kernel.filters * kernel.positions
    fits = [
        count
        for count in range(1, 9)
        if planes % count == 0 and (count - 1) * kernel.columns + span <= _REACH and count * products <= _MOST_PRODUCTS
    ]
    return max(fits, default=1)
