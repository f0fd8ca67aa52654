"""Narrowing an allocation until the arena that is planned for it fits.

The arena's planner leaves gaps (`arena`), so an allocation whose activations fit may not fit once they are placed. How
gaps come and go follows no formula of the widths; the allocation is changed one group at a time and planned again.
"""

from collections.abc import Callable

import numpy as np

from edgeprune.pruning.allocation.cost_polynomials import Ints
from edgeprune.pruning.allocation.local_search import Problem

_STEPS = (1, 2, 4, 8, 16, 32)


def into_arena(problem: Problem, chosen: Ints, over: Callable[[Ints], int]) -> Ints | None:
    """Options `[groups]` that fit, starting from those of a good allocation that does not.

    Args:
        over: bytes by which the arena of widths `[groups]` exceeds its limit; not above 0 where it fits.

    Returns:
        None where no group can be narrowed any further and the arena is still too large.
    """
    chosen = chosen.copy()
    excess = over(problem.widths(chosen[None])[0])
    while excess > 0:
        narrower = _narrower(problem, chosen, over, excess)
        if narrower is None:
            return None
        chosen, excess = narrower
    return _refilled(problem, chosen, over)


def _narrower(problem: Problem, chosen: Ints, over: Callable[[Ints], int], excess: int) -> tuple[Ints, int] | None:
    """One group narrowed: the one that frees most for the value it costs; or all, where none alone frees anything."""
    best, rate = None, 0.0
    value = float(problem.value(chosen[None])[0])
    for group in range(len(chosen)):
        for step in _STEPS:
            if step > chosen[group]:
                break
            tried = chosen.copy()
            tried[group] -= step
            left = over(problem.widths(tried[None])[0])
            lost = value - float(problem.value(tried[None])[0])
            freed = min(excess, excess - left)
            if freed > 0 and freed / max(lost, 1e-12) > rate:
                best, rate = (tried, left), freed / max(lost, 1e-12)
    if best is None and chosen.any():
        tried = np.maximum(0, chosen - np.maximum(1, chosen // 50))
        best = (tried, over(problem.widths(tried[None])[0]))
    return best


def _refilled(problem: Problem, chosen: Ints, over: Callable[[Ints], int]) -> Ints:
    """Groups widened again as far as limits and arena allow, in the order of what one option more is worth.

    Widening one group can close a gap that kept another one narrow, so this repeats until nothing changes.
    """
    before = None
    while before is None or not np.array_equal(before, chosen):
        before, chosen = chosen, _widened(problem, chosen.copy(), over)
    return chosen


def _widened(problem: Problem, chosen: Ints, over: Callable[[Ints], int]) -> Ints:
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
            low, high = (middle, high) if over(problem.widths(tried[None])[0]) <= 0 else (low, middle - 1)
        chosen[group] = low
    return chosen
