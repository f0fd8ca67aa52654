"""Narrowing an allocation until the arena that is planned for it fits.

The arena's planner leaves gaps (`graph.arena`), so activations that fit in sum may not fit once they are placed. The
gaps follow no formula of the widths, so the allocation is changed one group at a time and planned again.
"""

from collections.abc import Callable

import numpy as np

from edgeprune.pruning.allocation.cost_polynomials import Ints
from edgeprune.pruning.allocation.local_search import Problem

_STEPS = (1, 2, 4, 8, 16, 32)


def into_arena(problem: Problem, chosen: Ints, over: Callable[[Ints], int]) -> Ints:
    """Options `[groups]` that fit, starting from those of a good allocation that does not; the narrowest must fit.

    `over` gives the bytes by which the arena of widths `[groups]` exceeds its limit, at most 0 where it fits.
    """
    excess = over(problem.widths(chosen))
    while excess > 0:
        chosen, excess = _narrower(problem, chosen, over, excess)
    # Widening one group can close a gap that kept another one narrow, so this repeats until nothing changes.
    before = None
    while before is None or not np.array_equal(before, chosen):
        before, chosen = chosen, _widened(problem, chosen.copy(), over)
    return chosen


def _narrower(problem: Problem, chosen: Ints, over: Callable[[Ints], int], excess: int) -> tuple[Ints, int]:
    """Options with the group narrowed that frees most for the value it costs, or with all narrowed; and the excess."""
    assert chosen.any(), "the narrowest network fits"
    best, rate = None, 0.0
    value = float(problem.value(chosen))
    for group in range(len(chosen)):
        for step in _STEPS:
            if step > chosen[group]:
                break
            tried = chosen.copy()
            tried[group] -= step
            left = over(problem.widths(tried))
            lost = value - float(problem.value(tried))
            freed = min(excess, excess - left)
            if freed > 0 and freed / max(lost, 1e-12) > rate:
                best, rate = (tried, left), freed / max(lost, 1e-12)
    if best is None:  # no group frees anything on its own
        tried = np.maximum(0, chosen - np.maximum(1, chosen // 50))
        best = (tried, over(problem.widths(tried)))
    return best


def _widened(problem: Problem, chosen: Ints, over: Callable[[Ints], int]) -> Ints:
    """Groups widened as far as limits and arena allow, in the order of what one option more is worth."""
    gains = [
        values[min(chosen[group] + 1, len(values) - 1)] - values[chosen[group]]
        for group, values in enumerate(problem.values)
    ]
    for group in np.argsort(gains)[::-1]:
        widest = problem.widest(chosen[None], np.array([group]))[0]
        low, high = int(chosen[group]), int(widest[0])
        while low < high:
            middle = (low + high + 1) // 2
            tried = chosen.copy()
            tried[group] = middle
            low, high = (middle, high) if over(problem.widths(tried)) <= 0 else (low, middle - 1)
        chosen[group] = low
    return chosen
