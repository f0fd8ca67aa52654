"""The memory TFLite Micro plans for activations: the head of its arena.

Its greedy planner (tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc) rounds every tensor up to 16 bytes
and places the largest first, each at the lowest address that is free while it lives. Gaps remain where sizes alternate,
so the head can exceed the largest sum of what lives at once, which no planner goes below.
"""

from bisect import insort
from collections.abc import Sequence


def arena_bytes(sizes: Sequence[int], lives: Sequence[tuple[int, int]]) -> int:
    """Bytes of the head, from each tensor's bytes and the first and last operator during which it is in memory.

    The tensors come in the order of the file, which decides between tensors of one size.
    """
    aligned = [-(-size // 16) * 16 for size in sizes]
    placed: list[tuple[int, int, int]] = []  # start, end, tensor; by start
    for tensor in sorted(range(len(sizes)), key=lambda tensor: (-aligned[tensor], -tensor)):
        start, (first, last) = 0, lives[tensor]
        for low, high, other in placed:
            if lives[other][0] <= last and first <= lives[other][1]:
                if low - start >= aligned[tensor]:
                    break
                start = max(start, high)
        insort(placed, (start, start + aligned[tensor], tensor))
    return max((end for _, end, _ in placed), default=0)
