"""The allocation problem, and a local search that exchanges filters between groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.allocation.cost_polynomials import Floats, Forms, Ints


@dataclass(frozen=True)
class Problem:
    """Choose an option for each group so that the sum of values is largest and no cost exceeds its limit.

    Attributes:
        forms: the costs as polynomials.
        limits: the most that each polynomial may be, `[rows]`.
        options: the widths that each group can have, ascending.
        values: the value of each option, which never falls.
        within: whether widths `[n, groups]` meet the limits that are no polynomials, `[n]`. Narrower networks of those
            that do mostly do too.
        below: polynomials that stay within their limits wherever `within` holds; the bound uses them.
    """

    forms: Forms
    limits: Ints
    options: Sequence[Ints]
    values: Sequence[Floats]
    within: Callable[[Ints], NDArray[np.bool_]] | None = None
    below: tuple[Forms, Ints] | None = None

    @cached_property
    def relaxed(self) -> tuple[Forms, Ints]:
        """Polynomials and limits that hold for every allocation within all limits."""
        if self.below is None:
            return self.forms, self.limits
        return self.forms.and_also(self.below[0]), np.concatenate([self.limits, self.below[1]])

    def widths(self, chosen: Ints) -> Ints:
        """Widths of options `[groups]` or `[n, groups]`."""
        return np.stack([widths[chosen[..., group]] for group, widths in enumerate(self.options)], axis=-1)

    def value(self, chosen: Ints) -> Floats:
        """Sum of values of options, one number for `[groups]` and `[n]` for `[n, groups]`."""
        return sum(
            (values[chosen[..., group]] for group, values in enumerate(self.values)), np.zeros(chosen.shape[:-1])
        )

    def fits(self, widths: Ints) -> NDArray[np.bool_]:
        """Whether widths `[n, groups]` meet all limits."""
        ok: NDArray[np.bool_] = np.all(self.forms.values(widths) <= self.limits, axis=1)
        if self.within is not None and ok.any():
            ok[ok] = self.within(widths[ok])
        return ok

    def widest(self, chosen: Ints, groups: Ints) -> Ints:
        """The last option of each of `groups` that fits while all others stay, `[n, len(groups)]`; -1 for none."""
        widths = self.widths(chosen)
        room = (self.limits - self.forms.values(widths))[:, :, None]
        slopes = self.forms.slopes(widths)[:, :, groups]
        bends = self.forms.quadratic[:, groups, groups]  # twice the coefficients of the squares
        most = _most(room, slopes, bends[None]).min(axis=1) + widths[:, groups]
        widest = np.empty_like(most)
        for column, group in enumerate(groups):
            widest[:, column] = np.searchsorted(self.options[group], most[:, column], side="right") - 1
        return widest if self.within is None else self._within(chosen, groups, widest)

    def _within(self, chosen: Ints, groups: Ints, widest: Ints) -> Ints:
        """Options up to `widest` that are within the limits, by bisection: the last ones if narrower is never more."""
        assert self.within is not None
        low, high = np.full_like(widest, -1), widest.copy()
        rows = np.repeat(chosen, len(groups), axis=0)
        columns = np.tile(groups, len(chosen))
        while (low < high).any():
            middle = (low + high + 1) // 2
            rows[np.arange(len(rows)), columns] = np.maximum(0, middle.ravel())
            ok = self.within(self.widths(rows)).reshape(widest.shape)
            low, high = np.where(ok & (low < high), middle, low), np.where(~ok & (low < high), middle - 1, high)
        return low


def _most(room: Ints, slopes: Ints, bends: Ints) -> Ints:
    """The largest whole number d, possibly negative, with slopes d + bends d^2 / 2 <= room; all bends are even."""
    huge = np.int64(1) << 40
    straight = np.where(slopes > 0, room // np.maximum(slopes, 1), np.where(room >= 0, huge, -huge))
    if not bends.any():
        return straight
    root = np.sqrt(np.maximum(0.0, slopes.astype(np.float64) ** 2 + 2.0 * bends * room))
    curved = np.floor((root - slopes) / np.maximum(bends, 1)).astype(np.int64)
    for _ in range(2):  # the root is rounded, so step to the exact number
        above = slopes * (curved + 1) + bends * (curved + 1) ** 2 // 2 <= room
        curved = np.where(above, curved + 1, curved)
        over = slopes * curved + bends * curved**2 // 2 > room
        curved = np.where(over, curved - 1, curved)
    return np.where(bends > 0, curved, straight)


def improve(problem: Problem, chosen: Ints) -> Ints:
    """Improve options `[groups]` that fit until no exchange between two groups improves them further.

    In an exchange one group goes down by a few options, and another one then goes up as far as it can.
    """
    groups = np.arange(len(chosen))
    while True:
        downs = [step * unit for unit in np.eye(len(chosen), dtype=np.int64) for step in (1, 2, 3, 4, 6, 8, 12, 16)]
        lower = chosen - np.array([np.zeros_like(chosen), *downs])
        lower = lower[(lower >= 0).all(axis=1)]
        best, value = chosen, float(problem.value(chosen))
        widest = problem.widest(lower, groups)  # [downs, groups]
        gains = np.stack([values[np.maximum(widest[:, group], 0)] for group, values in enumerate(problem.values)], 1)
        held = np.stack([values[lower[:, group]] for group, values in enumerate(problem.values)], axis=1)
        totals = np.where(widest >= lower, problem.value(lower)[:, None] + gains - held, -np.inf)
        hopeless = value - abs(value) * 0.01 - 0.01  # filling cannot make up for so much
        for at in np.argsort(totals, axis=None)[::-1][:10]:
            if totals.flat[at] <= hopeless:
                break
            row, raised = divmod(int(at), totals.shape[1])
            tried = lower[row].copy()
            tried[raised] = widest[row, raised]
            tried = _fill(problem, tried)
            worth = float(problem.value(tried))
            if worth > value + 1e-12:
                best, value = tried, worth
        if best is chosen:
            return chosen
        chosen = best


def into_limits(problem: Problem, chosen: Ints) -> Ints:
    """Scale options down by one factor until they fit, then raise them again where there is room."""
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
    """Raise options in ever smaller steps, first the one of most value for its share of the tightest limit."""
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
        gain = problem.value(raised) - problem.value(chosen)
        chosen = raised[int(np.argmax(gain / np.maximum(used, 1e-15)))]
