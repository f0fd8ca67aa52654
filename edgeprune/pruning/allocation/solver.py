"""The best allocation under all limits: the widths of the groups for which the sum of the groups' values is largest.

The costs are products of widths, so layers cannot be decided one by one. All combinations of a small network's widths
are tried. A larger network is solved by branch and bound:

1. A relaxation bounds the value of every allocation (`relaxation`). Its solution is rounded and improved by exchanging
   filters between groups until no exchange helps (`local_search`).
2. Widths that cannot lead to a better allocation by that bound are ruled out. Where few are left, all their
   combinations are tried, which proves the optimum; otherwise the search space is split and each part is bounded.
3. Where the search ends without a proof, the distance from the best value to the bound is the gap.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import prod

import numpy as np

from edgeprune.pruning.allocation.cost_polynomials import Floats, Ints
from edgeprune.pruning.allocation.local_search import Problem, improve, into_limits
from edgeprune.pruning.allocation.relaxation import Part, Ranges, Relaxation

TRIED = 4_000_000
"""The most combinations of widths that are tried."""
NODES = 300
"""The most parts of the search space that are bounded, times the number of groups."""
TOLERANCE = 1e-7
"""An allocation whose value is this close to the bound counts as proven."""
_FEW = 300_000
"""A part of at most this many combinations is tried rather than split."""
_MANY_GROUPS = 16
"""With more groups than this, the combinations that are left are never few."""
_NEAR = 0.1
"""An allocation is worth improving if it lies behind the best by at most this share of the distance to the bound."""
_CHUNK = 200_000
"""Combinations that are in memory at once."""


@dataclass(frozen=True)
class Solution:
    """Widths of the groups, the sum of their values, and the bound that no allocation within the limits exceeds."""

    widths: tuple[int, ...]
    value: float
    bound: float

    @property
    def proven(self) -> bool:
        return self.bound <= self.value


def solve(problem: Problem, tried: int = TRIED, nodes: int = NODES) -> Solution:
    """The best allocation that is reached by trying and bounding no more than this; the narrowest widths must fit."""
    top = np.array([len(widths) - 1 for widths in problem.options])
    if problem.fits(problem.widths(top[None]))[0]:
        return _proven(problem, top)
    whole = tuple((0, int(last)) for last in top)
    if _combinations(whole, problem) <= tried:
        best = _best_of(problem, whole, None)
        assert best is not None, "the narrowest widths fit"
        return _proven(problem, best)
    return _Search(problem, tried).run(max(1, nodes // len(top)))


class _Search:
    """Branch and bound: the part with the highest bound comes first and is split where its envelope is loosest."""

    def __init__(self, problem: Problem, tried: int) -> None:
        self.problem = problem
        self.relaxation = Relaxation(*problem.relaxed, problem.options, problem.values)
        self.left = tried
        self.best: Ints | None = None
        self.value = -np.inf
        self.open: list[tuple[float, int, Part]] = []
        self.count = 0

    def run(self, nodes: int) -> Solution:
        self._add(self.relaxation.whole())
        while self.open and self.count < nodes:
            _, _, part = heappop(self.open)
            if part.bound <= self.value + TOLERANCE:
                self.open = []
            else:
                self._explore(part)
        assert self.best is not None
        bound = max([self.value, *(part.bound for _, _, part in self.open)])
        widths = self.problem.widths(self.best)
        proven = bound <= self.value + TOLERANCE
        return Solution(tuple(map(int, widths)), self.value, self.value if proven else bound)

    def _add(self, part: Part) -> None:
        # where nothing is proven, the gap is measured by the first bound, so it gets more rounds
        bounded = self.relaxation.bound(part, self.value, rounds=40 if self.count else 120)
        if bounded is None or bounded.bound <= self.value + TOLERANCE:
            return
        self.count += 1
        logs = enumerate(self.relaxation.logs)
        start = [np.searchsorted(widths, bounded.place[group] + 1e-9, side="right") - 1 for group, widths in logs]
        chosen = into_limits(self.problem, np.maximum(0, np.array(start)))
        gap = bounded.bound - self.value
        if self.best is None or float(self.problem.value(chosen)) > self.value - _NEAR * gap:
            chosen = improve(self.problem, chosen)
        self._offer(chosen)
        heappush(self.open, (-bounded.bound, self.count, bounded))

    def _offer(self, chosen: Ints) -> None:
        value = float(self.problem.value(chosen))
        if value > self.value:
            self.best, self.value = chosen, value

    def _explore(self, part: Part) -> None:
        """Try all combinations of a part if they are few, with hopeless ones ruled out if need be; else split it."""
        excess = self.relaxation.excess(part)
        if self._is_small(part.ranges):
            self._try_all(part.ranges)
            return
        # a tight envelope leaves mostly the rounding to whole widths between bound and value
        if len(excess) <= _MANY_GROUPS and excess.sum() < (part.bound - self.value) / 2:
            windows = self.relaxation.windows(part, self.value)
            if windows is None:
                return
            if self._is_small(windows):
                self._try_all(windows)
                return
            part = part.cut_out(windows)
        for half in self._split(part, excess):
            self._add(half)

    def _is_small(self, ranges: Ranges) -> bool:
        return _combinations(ranges, self.problem) <= max(1, min(_FEW, self.left))

    def _try_all(self, ranges: Ranges) -> None:
        self.left -= _combinations(ranges, self.problem)
        best = _best_of(self.problem, ranges, self.best)
        if best is not None:
            self._offer(best)

    def _split(self, part: Part, excess: Floats) -> list[Part]:
        """Two halves of a part, cut at the bound's place in the group whose envelope is loosest there."""
        ranges = part.ranges
        sizes = np.array([last - first for first, last in ranges])
        group = int(np.argmax(np.where(sizes > 0, excess + 1e-9 * sizes, -np.inf)))
        first, last = ranges[group]
        at = int(np.searchsorted(self.relaxation.logs[group], part.place[group], side="right")) - 1
        at = int(np.clip(at, first, last - 1))
        return [part.cut_out((*ranges[:group], half, *ranges[group + 1 :])) for half in ((first, at), (at + 1, last))]


def _proven(problem: Problem, chosen: Ints) -> Solution:
    value = float(problem.value(chosen))
    return Solution(tuple(map(int, problem.widths(chosen))), value, value)


def _combinations(windows: Ranges, problem: Problem) -> int:
    """How many combinations must be tried.

    The best option of the group with the most options follows from the others, unless some limit is no polynomial.
    """
    sizes = [last - first + 1 for first, last in windows]
    return prod(sizes) if problem.within is not None else prod(sizes) // max(sizes)


def _best_of(problem: Problem, windows: Ranges, best: Ints | None) -> Ints | None:
    """The most valuable of `best` and all combinations within the windows; the first of equals."""
    sizes = [last - first + 1 for first, last in windows]
    follower = None if problem.within is not None else int(np.argmax(sizes))
    free = [group for group in range(len(sizes)) if group != follower]
    count = prod(sizes[group] for group in free)
    value = -np.inf if best is None else float(problem.value(best))
    for start in range(0, count, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, count))
        chosen = np.zeros((len(numbers), len(sizes)), np.int64)
        for group in reversed(free):
            numbers, chosen[:, group] = np.divmod(numbers, sizes[group])
            chosen[:, group] += windows[group][0]
        if follower is None:
            ok = problem.fits(problem.widths(chosen))
        else:
            chosen[:, follower] = windows[follower][0]
            chosen[:, follower] = problem.widest(chosen, np.array([follower]))[:, 0]
            ok = chosen[:, follower] >= windows[follower][0]
        if ok.any():
            chosen = chosen[ok]
            values = problem.value(chosen)
            top = int(np.argmax(values))
            if values[top] > value:
                value, best = float(values[top]), chosen[top]
    return best
