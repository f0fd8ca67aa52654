"""The memory TFLite Micro plans for activations: the head of its arena.

Its greedy planner (tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc) rounds every tensor up to 16 bytes
and places the largest first, each at the lowest address that is free while it lives. Gaps remain where sizes alternate,
so the head can exceed the largest sum of what lives at once, which no planner goes below.
"""

from collections.abc import Sequence

ALIGNMENT = 16


def arena_bytes(sizes: Sequence[int], lives: Sequence[tuple[int, int]]) -> int:
    """Head of the arena.

    Args:
        sizes: bytes of each tensor, in the order of the file.
        lives: of each tensor, the first and the last operator during which it is in memory.
    """
    order = sorted(range(len(sizes)), key=lambda tensor: (-_aligned(sizes[tensor]), -tensor))
    placed: list[tuple[int, int, int]] = []  # start, end, tensor; by start
    for tensor in order:
        size, (first, last) = _aligned(sizes[tensor]), lives[tensor]
        start = 0
        for low, high, other in placed:
            if lives[other][0] <= last and first <= lives[other][1]:
                if low - start >= size:
                    break
                start = max(start, high)
        placed.append((start, start + size, tensor))
        placed.sort()
    return max((end for _, end, _ in placed), default=0)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
