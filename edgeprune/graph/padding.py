"""The padding of convolutions and pools, and what of it TFLite does by an operator of its own.

TFLite's layers pad nothing or SAME; other padding, such as that of most strided convolutions, becomes a PAD.
"""

from collections.abc import Sequence
from math import ceil

Pads = list[tuple[int, int]]
"""Padding before and after, one pair an axis."""


def conv_padding(
    before: tuple[int, ...], after: tuple[int, ...], kernel: Sequence[int], stride: Sequence[int], pads: Pads
) -> Pads:
    """What a PAD adds to a convolution's input; empty where no PAD is needed.

    `before` and `after` are the sizes of input and output without batch and channels; `kernel` is the positions it
    spans, its dilation included.
    """
    kept = before == after and all(first == last for first, last in pads)
    return [] if kept or not any(map(any, pads)) or pads == same_padding(before, kernel, stride) else pads


def pool_padding(
    before: tuple[int, ...], after: tuple[int, ...], kernel: Sequence[int], stride: Sequence[int], pads: Pads
) -> Pads:
    """What a PAD adds to a pool's input; empty where no PAD is needed."""
    pads = reached(before, after, kernel, stride, pads)
    return [] if not any(map(any, pads)) or pads == same_padding(before, kernel, stride) else pads


def reached(
    before: tuple[int, ...], after: tuple[int, ...], kernel: Sequence[int], stride: Sequence[int], pads: Pads
) -> Pads:
    """Padding as far as the windows reach: an output size that is rounded up needs more at the end."""
    sizes = zip(before, after, kernel, stride, pads, strict=True)
    return [
        (first, max(last, (out - 1) * step + window - size - first)) for size, out, window, step, (first, last) in sizes
    ]


def same_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> Pads:
    """TFLite's SAME padding: as many outputs as steps fit into the size, the odd place of padding at the end."""
    missing = [
        max(0, (ceil(size / step) - 1) * step + window - size)
        for size, window, step in zip(sizes, kernel, stride, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in missing]


def spans(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Positions that a kernel reaches over on each axis."""
    return [(int(size) - 1) * int(step) + 1 for size, step in zip(kernel, dilation, strict=True)]
