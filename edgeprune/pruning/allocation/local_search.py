"""An allocation problem, and improving an allocation by exchanging filters between groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.allocation.cost_polynomials import Floats, Forms, Ints

STEPS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Options a group goes down by in an exchange; another one then goes up as far as it can."""


@dataclass(frozen=True)
class Problem:
    """Choose an option for each group so that the sum of values is largest and no cost exceeds its limit.

    Attributes:
        forms: costs as polynomials; `limits` `[rows]`, what each may be at most.
        options: by group the widths to choose from, ascending.
        values: by group the value of each, never falling.
        latency: of widths `[n, groups]`, whether each is quick enough `[n]`; widening never makes one quicker.
        below: polynomials the latency never goes below, and their limits, for the bound.
    """

    forms: Forms
    limits: Ints
    options: Sequence[Ints]
    values: Sequence[Floats]
    latency: Callable[[Ints], NDArray[np.bool_]] | None = None
    below: tuple[Forms, Ints] | None = None

    @cached_property
    def relaxed(self) -> tuple[Forms, Ints]:
        """Polynomials and limits that every allocation meets which meets all limits."""
        if self.below is None:
            return self.forms, self.limits
        return self.forms.and_also(self.below[0]), np.concatenate([self.limits, self.below[1]])

    def widths(self, chosen: Ints) -> Ints:
        """Widths of options `[n, groups]`."""
        return np.stack([widths[chosen[:, group]] for group, widths in enumerate(self.options)], axis=1)

    def value(self, chosen: Ints) -> Floats:
        """Sum of values of options `[n, groups]`."""
        total: Floats = sum(
            (values[chosen[:, group]] for group, values in enumerate(self.values)), np.zeros(len(chosen))
        )
        return total

    def fits(self, widths: Ints) -> NDArray[np.bool_]:
        """Whether widths `[n, groups]` meet all limits."""
        ok: NDArray[np.bool_] = np.all(self.forms.values(widths) <= self.limits, axis=1)
        if self.latency is not None and ok.any():
            ok[ok] = self.latency(widths[ok])
        return ok

    def widest(self, chosen: Ints, groups: Ints) -> Ints:
        """For each of `groups`, the last option that fits while the others stay, `[n, len(groups)]`.

        -1 where even the first does not fit.
        """
        widths = self.widths(chosen)
        room = (self.limits - self.forms.values(widths))[:, :, None]
        slopes = self.forms.slopes(widths)[:, :, groups]
        bends = self.forms.quadratic[:, groups, groups]  # twice the coefficient of the square
        most = _most(room, slopes, bends[None]).min(axis=1) + widths[:, groups]
        widest = np.empty_like(most)
        for column, group in enumerate(groups):
            widest[:, column] = np.searchsorted(self.options[group], most[:, column], side="right") - 1
        return widest if self.latency is None else self._quick_enough(chosen, groups, widest)

    def _quick_enough(self, chosen: Ints, groups: Ints, widest: Ints) -> Ints:
        """The last options not above `widest` that are quick enough, by bisection."""
        assert self.latency is not None
        low, high = np.full_like(widest, -1), widest.copy()
        rows = np.repeat(chosen, len(groups), axis=0)
        columns = np.tile(groups, len(chosen))
        while (low < high).any():
            middle = (low + high + 1) // 2
            rows[np.arange(len(rows)), columns] = np.maximum(0, middle.ravel())
            ok = self.latency(self.widths(rows)).reshape(widest.shape)
            low, high = np.where(ok & (low < high), middle, low), np.where(~ok & (low < high), middle - 1, high)
        return low


def _most(room: Ints, slopes: Ints, bends: Ints) -> Ints:
    """The largest whole d with slopes d + bends d^2 / 2 <= room, which may be negative; bends are even or zero."""
    huge = np.int64(1) << 40
    straight = np.where(slopes > 0, room // np.maximum(slopes, 1), np.where(room >= 0, huge, -huge))
    if not bends.any():
        return straight
    root = np.sqrt(np.maximum(0.0, slopes.astype(np.float64) ** 2 + 2.0 * bends * room))
    curved = np.floor((root - slopes) / np.maximum(bends, 1)).astype(np.int64)
    for _ in range(2):  # the root is rounded: step to the exact end
        above = slopes * (curved + 1) + bends * (curved + 1) ** 2 // 2 <= room
        curved = np.where(above, curved + 1, curved)
        over = slopes * curved + bends * curved**2 // 2 > room
        curved = np.where(over, curved - 1, curved)
    return np.where(bends > 0, curved, straight)


def improve(problem: Problem, chosen: Ints) -> Ints:
    """Options `[groups]` that no exchange between two groups improves, from options that fit."""
    groups = np.arange(len(chosen))
    while True:
        downs = [np.zeros_like(chosen)]
        for group in range(len(chosen)):
            for step in STEPS:
                if chosen[group] >= step:
                    down = np.zeros_like(chosen)
                    down[group] = step
                    downs.append(down)
        lower = chosen - np.array(downs)
        best, value = chosen, float(problem.value(chosen[None])[0])
        widest = problem.widest(lower, groups)  # [downs, groups]
        gains = np.stack([values[np.maximum(widest[:, group], 0)] for group, values in enumerate(problem.values)], 1)
        held = np.stack([values[lower[:, group]] for group, values in enumerate(problem.values)], axis=1)
        totals = np.where(widest >= lower, problem.value(lower)[:, None] + gains - held, -np.inf)
        for row, raised in _leading(totals, value):
            tried = lower[row].copy()
            tried[raised] = widest[row, raised]
            tried = _fill(problem, tried)
            worth = float(problem.value(tried[None])[0])
            if worth > value + 1e-12:
                best, value = tried, worth
        if best is chosen:
            return chosen
        chosen = best


def _leading(totals: Floats, value: float, most: int = 10) -> list[tuple[int, int]]:
    """Places `(row, group)` of the largest totals; those far below `value` cannot be made up for by filling."""
    order = np.argsort(totals, axis=None)[::-1][:most]
    return [
        (int(place) // totals.shape[1], int(place) % totals.shape[1])
        for place in order
        if np.isfinite(totals.flat[place]) and totals.flat[place] > value - abs(value) * 0.01 - 0.01
    ]


def into_limits(problem: Problem, chosen: Ints) -> Ints:
    """Scale options down until they fit, then fill."""
    low, high = 0.0, 1.0
    for _ in range(30):
        share = (low + high) / 2 if high < 1.0 or low > 0.0 else 1.0
        if problem.fits(problem.widths(np.floor(chosen * share).astype(np.int64)[None]))[0]:
            low = share
            if share == 1.0:
                break
        else:
            high = share
    return _fill(problem, np.floor(chosen * low).astype(np.int64))


def _fill(problem: Problem, chosen: Ints) -> Ints:
    """Raise options, the most value for its use of the tightest limit first; in big steps, then single ones."""
    chosen = chosen.copy()
    groups = np.arange(len(chosen))
    costs, limits = problem.relaxed
    while True:
        widest = problem.widest(chosen[None], groups)[0]
        open_groups = np.flatnonzero(widest > chosen)
        if not len(open_groups):
            return chosen
        raised = np.repeat(chosen[None], len(open_groups), axis=0)
        raised[np.arange(len(open_groups)), open_groups] += np.maximum(1, (widest - chosen)[open_groups] // 4)
        before = costs.values(problem.widths(chosen[None])) / limits
        used = (costs.values(problem.widths(raised)) / limits - before).max(axis=1)
        gain = problem.value(raised) - problem.value(chosen[None])
        chosen = raised[int(np.argmax(gain / np.maximum(used, 1e-15)))]
