"""The best allocation under all limits: how many filters each group keeps so that the sum of their values is largest.

The costs are products of widths, so layers cannot be decided one by one. Three steps, each of which may be the last:

1. A relaxation bounds what any allocation can be worth (`relaxation`), and its solution, rounded, is improved by
   exchanging filters between groups until no exchange helps (`local_search`).
2. Only widths with which the bound can still beat that allocation are left in the race; where they are few, all their
   combinations are tried, which proves the optimum. Small networks are tried whole.
3. Where they are too many, the distance to the bound is the answer's gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import prod

import numpy as np

from edgeprune.pruning.allocation.cost_polynomials import Floats, Ints
from edgeprune.pruning.allocation.local_search import Problem, improve, into_limits
from edgeprune.pruning.allocation.relaxation import Part, Ranges, Relaxation

TRIED = 4_000_000
"""Combinations that are tried at most."""
NODES = 300
"""Parts of the search space that are bounded at most, divided by the number of groups."""
TOLERANCE = 1e-7
"""In value: what is no further from the bound counts as proven."""
_FEW = 300_000
"""Combinations of a part that are tried rather than split."""
_MANY_GROUPS = 16
"""Of more groups, the combinations that are left are never few."""
_NEAR = 0.1
"""Of the distance to the bound: allocations that are behind by no more than this are worth improving."""
_CHUNK = 200_000


@dataclass(frozen=True)
class Solution:
    """An allocation and its quality.

    Attributes:
        widths: by group.
        value: sum of the groups' values.
        bound: what no allocation within the limits exceeds; `value` itself where the optimum is proven.
    """

    widths: tuple[int, ...]
    value: float
    bound: float

    @property
    def proven(self) -> bool:
        return self.bound <= self.value


def solve(problem: Problem, tried: int = TRIED, nodes: int = NODES) -> Solution:
    """The best allocation the search reaches; the narrowest widths must fit.

    Args:
        tried: combinations of widths that may be tried to prove the optimum.
        nodes: parts of the search space that may be bounded, times the number of groups.
    """
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
    """Branch and bound: the part with the highest bound is split where its envelope is loosest."""

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
        widths = self.problem.widths(self.best[None])[0]
        proven = bound <= self.value + TOLERANCE
        return Solution(tuple(map(int, widths)), self.value, self.value if proven else bound)

    def _add(self, part: Part) -> None:
        # the first bound is what the answer's gap is measured by where nothing is proven
        bounded = self.relaxation.bound(part, self.value, rounds=40 if self.count else 120)
        if bounded is None or bounded.bound <= self.value + TOLERANCE:
            return
        self.count += 1
        logs = enumerate(self.relaxation.logs)
        start = [np.searchsorted(widths, bounded.place[group] + 1e-9, side="right") - 1 for group, widths in logs]
        chosen = into_limits(self.problem, np.maximum(0, np.array(start)))
        gap = bounded.bound - self.value
        if self.best is None or float(self.problem.value(chosen[None])[0]) > self.value - _NEAR * gap:
            chosen = improve(self.problem, chosen)
        self._offer(chosen)
        heappush(self.open, (-bounded.bound, self.count, bounded))

    def _offer(self, chosen: Ints) -> None:
        value = float(self.problem.value(chosen[None])[0])
        if value > self.value:
            self.best, self.value = chosen, value

    def _explore(self, part: Part) -> None:
        """Try all combinations of a part if they are few, or once those that cannot win are gone; else split it."""
        excess = self.relaxation.excess(part)
        if self._is_small(part.ranges):
            self._try_all(part.ranges)
            return
        # where the envelope is tight, mostly the rounding to whole widths lies between bound and value
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
        ranges = part.ranges
        sizes = np.array([last - first for first, last in ranges])
        group = int(np.argmax(np.where(sizes > 0, excess + 1e-9 * sizes, -np.inf)))
        first, last = ranges[group]
        at = int(np.searchsorted(self.relaxation.logs[group], part.place[group], side="right")) - 1
        at = int(np.clip(at, first, last - 1))
        return [part.cut_out((*ranges[:group], half, *ranges[group + 1 :])) for half in ((first, at), (at + 1, last))]


def _proven(problem: Problem, chosen: Ints) -> Solution:
    value = float(problem.value(chosen[None])[0])
    return Solution(tuple(map(int, problem.widths(chosen[None])[0])), value, value)


def _combinations(windows: Sequence[tuple[int, int]], problem: Problem) -> int:
    """How many are to be tried: the group with the most options follows from the others, unless latency is limited."""
    sizes = [last - first + 1 for first, last in windows]
    return prod(sizes) if problem.latency is not None else prod(sizes) // max(sizes)


def _best_of(problem: Problem, windows: Sequence[tuple[int, int]], best: Ints | None) -> Ints | None:
    """Of all combinations within the windows, and `best`, the one worth most; the first of equals."""
    sizes = [last - first + 1 for first, last in windows]
    follower = None if problem.latency is not None else int(np.argmax(sizes))
    free = [group for group in range(len(sizes)) if group != follower]
    count = prod(sizes[group] for group in free)
    value = -np.inf if best is None else float(problem.value(best[None])[0])
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
