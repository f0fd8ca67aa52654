"""The inner loop of a depthwise convolution: one channel after another, its weights widened once for the whole row."""

from dataclasses import dataclass
from math import ceil

from edgeprune.firmware.stream.kernels import Finish
from edgeprune.firmware.stream.network import Depthwise

_UNROLLED_WORDS = 12
"""Words of weights up to which all kernel rows are written out."""


@dataclass(frozen=True)
class DepthwiseKernel:
    """Attributes: positions computed at once; columns from a plane to the next; step from position to position where
    results are stored; store `half` or `byte`."""

    layer: Depthwise
    positions: int
    width: int
    columns: int
    store: str
    step: int
    finish: Finish

    @property
    def words(self) -> int:
        """Words of weights of a kernel row: a word for two neighbouring taps, or for one where taps lie apart."""
        width, dilation = self.layer.window.kernel[1], self.layer.window.dilation[1]
        return width if dilation > 1 else ceil(width / 2)

    @property
    def unrolled(self) -> bool:
        return self.words * self.layer.window.kernel[0] <= _UNROLLED_WORDS

    @property
    def packed_words(self) -> int:
        """Packed words of a filter; every kernel row has its own where rows are a loop."""
        height = self.layer.window.kernel[0]
        return ceil(self.words * height / 2) if self.unrolled else height * ceil(self.words / 2)

    def _row(self, words: list[str]) -> list[str]:
        """One kernel row, read through the pointer `x`."""
        window, lines = self.layer.window, []
        apart = 2 if window.dilation[1] == 1 else window.dilation[1]
        uses: dict[int, list[tuple[int, int]]] = {}
        for position in range(self.positions):
            for word in range(self.words):
                uses.setdefault(position * window.stride[1] + word * apart, []).append((position, word))
        for column in sorted(uses):
            lines.append(f"const uint32_t x{column} = ep_word_at(x, {column});")
            lines += [
                f"a{position} = ep_mac(x{column}, {words[word]}, a{position});" for position, word in uses[column]
            ]
        return lines

    def code(self, name: str, filters: str, weights: str, place: str) -> str:
        """The function: a row of all filters. `place`: the C expression of where filter `f` stores its first result."""
        height = self.layer.window.kernel[0]
        last = self.width - self.positions
        at = "at" if self.layer.window.stride[1] == 1 else f"at * {self.layer.window.stride[1]}"
        plane = "f" if self.layer.multiplier == 1 else f"f / {self.layer.multiplier}"
        store = "ep_store_half" if self.store == "half" else "ep_store_byte"
        lines = [
            f"static EP_KERNEL void {name}_row(const void *const *rows, void *out)",
            "{",
            f"    const uint32_t *packed = {weights};",
            f"    for (int32_t f = 0; f < {len(self.layer.weights)}; ++f, packed += {self.packed_words}) {{",
            f"        const ep_filter *const filter = {filters} + f;",
            f"        const int32_t plane = {plane} * {self.columns};",
            *(f"        {line}" for line in (self._widened() if self.unrolled else [])),
            f"        for (int32_t at = 0;; at += {self.positions}) {{",
            f"            at = at < {last} ? at : {last};",
            *(f"            int32_t a{position} = filter->bias;" for position in range(self.positions)),
        ]
        if self.unrolled:
            for row in range(height):
                words = [f"w{row * self.words + word}" for word in range(self.words)]
                lines += [
                    "            {",
                    f"                const uint16_t *x = (const uint16_t *)rows[{row}] + plane + {at};",
                ]
                lines += [*(f"                {line}" for line in self._row(words)), "            }"]
        else:
            packed = ceil(self.words / 2)
            lines += [
                f"            for (int32_t row = 0; row < {height}; ++row) {{",
                f"                const uint16_t *x = (const uint16_t *)rows[row] + plane + {at};",
            ]
            for word in range(self.words):
                half = "even" if word % 2 == 0 else "odd"
                lines.append(
                    f"                const uint32_t w{word} = ep_{half}_bytes(packed[row * {packed} + {word // 2}]);"
                )
            words = [f"w{word}" for word in range(self.words)]
            lines += [*(f"                {line}" for line in self._row(words)), "            }"]
        for position in range(self.positions):
            value = self.finish.value(f"a{position}", "filter")
            offset = f"at * {self.step} + {position * self.step}"
            lines.append(f"            {store}(out, {place} + {offset}, {value});")
        lines += [f"            if (at == {last})", "                break;", "        }", "    }", "}"]
        return "\n".join(lines) + "\n"

    def _widened(self) -> list[str]:
        total = self.words * self.layer.window.kernel[0]
        return [
            f"const uint32_t w{word} = ep_{'even' if word % 2 == 0 else 'odd'}_bytes(packed[{word // 2}]);"
            for word in range(total)
        ]


def depthwise_kernel(
    layer: Depthwise, width: int, columns: int, store: str, step: int, finish: Finish
) -> DepthwiseKernel:
    """The kernel with the positions that take the fewest instructions."""
    kernels = [
        DepthwiseKernel(layer, positions, width, columns, store, step, finish)
        for positions in range(1, min(5, width) + 1)
    ]
    return min(kernels, key=_instructions)


def _instructions(kernel: DepthwiseKernel) -> float:
    height, width = kernel.layer.window.kernel
    loads = (kernel.positions - 1) * kernel.layer.window.stride[1] + width
    block = height * (loads + kernel.words * kernel.positions + 3) + 7 * kernel.positions + 10
    return ceil(kernel.width / kernel.positions) * block
