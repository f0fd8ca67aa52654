"""The inner loops of convolutions: how many filters and positions one computes at once, and its C.

A kernel is a FIR filter along a row. It loads a word of input once for all positions and filters that need it, and a
word of weights once for all positions. A word holds two int16: of two channels (form `pairs`), or of two neighbouring
columns of one channel (form `taps`).
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

Form = Literal["pairs", "taps"]
Store = Literal["half", "byte", "peak"]
"""`half`: int16 less the zero point, for a convolution's ring; `byte`: as stored; `peak`: the sum, into a max-pool."""

_REGISTERS = 13
"""For sums, words in use and pointers on Armv7-M; beyond it values go to the stack."""
_REACH = 255
"""Words that a double load reaches from its base."""


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
        columns: words (pairs) or halves (taps) from a plane of the row to the next one.
        pieces: planes of a row that one turn of the loop takes.
        store: where results go; `step` elements lie between two positions, `apart` between two filters.
        window: positions of a max-pool's window; 0 where there is none.
    """

    form: Form
    filters: int
    positions: int
    taps: int
    stride: int
    dilation: int
    columns: int
    pieces: int
    store: Store
    step: int
    apart: int
    window: int
    finish: Finish

    @property
    def words(self) -> int:
        """Words of weights of one filter and plane."""
        return weight_words(self.form, self.taps, self.dilation)

    def _tap_columns(self) -> list[int]:
        """The column of each word of weights."""
        if self.form == "pairs" or self.dilation > 1:
            return [tap * self.dilation for tap in range(self.taps)]
        return list(range(0, self.taps, 2))

    def instructions(self, width: int, planes: int) -> float:
        """About how many instructions a row of one filter takes on a Cortex-M4."""
        columns = self._tap_columns()
        used = {place * self.stride + column for place in range(self.positions) for column in columns}
        loads = ceil(len(used) / 2) if self.form == "pairs" else len(used)
        weights = len(columns) * self.filters / 2
        live = min(len(columns), 1 + (self.positions - 1) * self.stride)
        spilled = max(0, self.filters * self.positions + live * self.filters + 5 - _REGISTERS)
        piece = loads + weights + len(columns) * self.filters * self.positions + 2 * spilled + 4 / self.pieces
        blocks = ceil(width / self.positions)
        return blocks * (planes * piece + 12 + 7 * self.filters * self.positions) / self.filters

    def body(self) -> list[str]:
        """The C statements of one turn of the loop: pointers `x` and `w`, sums `a<filter><position>`."""
        lines = []
        for piece in range(self.pieces):
            lines += ["{", *(f"    {line}" for line in self._piece(piece)), "}"]
        return lines

    def _piece(self, piece: int) -> list[str]:
        columns, lines = self._tap_columns(), []
        loaded, weighted = set[int](), set[int]()
        uses: dict[int, list[tuple[int, int]]] = {}
        for position in range(self.positions):
            for tap, column in enumerate(columns):
                uses.setdefault(position * self.stride + column, []).append((position, tap))
        for column in sorted(uses):
            if column not in loaded:
                both = self.form == "pairs" and column + 1 in uses
                lines.append(self._load_input(piece, column, both))
                loaded |= {column, column + 1} if both else {column}
            for _, tap in uses[column]:
                if tap not in weighted:
                    lines.append(self._load_weights(piece, tap))
                    weighted |= {tap, tap + 1} if self.filters == 1 and tap + 1 < len(columns) else {tap}
            for position, tap in sorted(uses[column], reverse=True):
                for filter_ in range(self.filters):
                    total = f"a{filter_}{position}"
                    lines.append(f"{total} = ep_mac(x{column}, w{tap}_{filter_}, {total});")
        return lines

    def _load_input(self, piece: int, column: int, both: bool) -> str:
        place = piece * self.columns + column
        if self.form == "taps":
            return f"const uint32_t x{column} = ep_word_at(x, {place});"
        if both:
            return f"uint32_t x{column}, x{column + 1}; ep_load(x + {place}, &x{column}, &x{column + 1});"
        return f"const uint32_t x{column} = x[{place}];"

    def _load_weights(self, piece: int, tap: int) -> str:
        place = (piece * self.words + tap) * self.filters
        if self.filters == 2:
            first, second = f"w{tap}_0", f"w{tap}_1"
        elif tap + 1 < self.words:
            first, second = f"w{tap}_0", f"w{tap + 1}_0"
        else:
            return f"const uint32_t w{tap}_0 = w[{place}];"
        return f"uint32_t {first}, {second}; ep_load(w + {place}, &{first}, &{second});"


def weight_words(form: Form, taps: int, dilation: int) -> int:
    """Words of weights of a kernel row of one plane: a word a tap, or one for two neighbouring taps."""
    return (taps + 1) // 2 if form == "taps" and dilation == 1 else taps


def kernel_code(kernel: Kernel, name: str) -> str:
    """The function: a row of sums for `filters` filters, each from position 0 to `last + positions - 1`.

    The last block begins at `last`, so it computes some positions again where the width is no multiple.
    """
    sums = [(f, p) for f in range(kernel.filters) for p in range(kernel.positions)]
    unit = "const uint32_t *" if kernel.form == "pairs" else "const uint16_t *"
    start = f"at * {kernel.stride}" if kernel.stride > 1 else "at"
    lines = [
        f"static EP_KERNEL void {name}(const ep_span *begin, const ep_span *end, const uint32_t *weights,",
        "    const ep_filter *filter, void *out, int32_t last)",
        "{",
        f"    for (int32_t at = 0;; at += {kernel.positions}) {{",
        "        at = at < last ? at : last;",
        *(f"        int32_t a{f}{p} = filter[{f}].bias;" for f, p in sums),
        "        const uint32_t *w = weights;",
        "        for (const ep_span *span = begin; span != end; ++span) {",
        f"            {unit}x = ({unit})span->rows + {start};",
        "            const uint32_t *const stop = w + span->words;",
        "            do {",
        *(f"                {line}" for line in kernel.body()),
        f"                x += {kernel.pieces * kernel.columns};",
        f"                w += {kernel.pieces * kernel.words * kernel.filters};",
        "            } while (w != stop);",
        "        }",
        *(f"        {line}" for line in _store(kernel)),
        "        if (at == last)",
        "            return;",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _store(kernel: Kernel) -> list[str]:
    if kernel.store == "peak":
        return _store_peaks(kernel)
    lines = []
    function = "ep_store_half" if kernel.store == "half" else "ep_store_byte"
    for filter_ in range(kernel.filters):
        for position in range(kernel.positions):
            place = f"at * {kernel.step} + {position * kernel.step + filter_ * kernel.apart}"
            value = kernel.finish.value(f"a{filter_}{position}", f"filter + {filter_}")
            lines.append(f"{function}(out, {place}, {value});")
    return lines


def _store_peaks(kernel: Kernel) -> list[str]:
    """Into the max-pool's sums `[filters][windows]`: blocks are whole parts or whole multiples of a window."""
    lines = ["int32_t *const peaks = out;"]
    group = min(kernel.window, kernel.positions)
    for filter_ in range(kernel.filters):
        for start in range(0, kernel.positions, group):
            first, *others = [f"a{filter_}{start + place}" for place in range(group)]
            lines += [f"{first} = {other} > {first} ? {other} : {first};" for other in others]
            place = f"at / {kernel.window} + {start // kernel.window + filter_ * kernel.apart}"
            lines += ["{", f"    int32_t *const peak = peaks + {place};"]
            lines += [f"    *peak = {first} > *peak ? {first} : *peak;", "}"]
    return lines


def choose_kernel(model: Kernel, filters: int, width: int, planes: int) -> Kernel:
    """The kernel like `model` with the filters, positions and pieces that take the fewest instructions."""
    best, least = model, float("inf")
    for count in (1, 2):
        if filters % count or (count == 2 and model.form == "taps" and model.taps > 4):
            continue
        for positions in range(1, min(6, width) + 1):
            window = model.window
            if window and window % positions and positions % window:
                continue
            kernel = replace(model, filters=count, positions=positions)
            kernel = replace(kernel, pieces=_pieces(kernel, planes))
            instructions = kernel.instructions(width, planes)
            if instructions < least:
                best, least = kernel, instructions
    return best


def _pieces(kernel: Kernel, planes: int) -> int:
    """As many planes a turn as loads reach, at most 8, and no more than some 120 multiplications."""
    span = (kernel.positions - 1) * kernel.stride + (kernel.taps - 1) * kernel.dilation + 2
    work = kernel.words * kernel.filters * kernel.positions
    fits = [
        count
        for count in (8, 4, 2, 1)
        if planes % count == 0 and (count - 1) * kernel.columns + span <= _REACH and (count == 1 or count * work <= 144)
    ]
    return fits[0] if fits else 1
