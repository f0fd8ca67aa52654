"""An upper bound for the value of every allocation that fits: the problem in the logarithms of the widths.

With u = log(width), a cost is a sum of exponentials with coefficients that are not negative. Its logarithm is convex in
u, so a limit leaves a convex set (geometric programming: Boyd, Kim, Vandenberghe and Hassibi, "A tutorial on geometric
programming", 2007). A layer's value is replaced by its concave envelope over u. Tangents enclose both from outside
(Kelley's cutting planes). Each round adds tangents and solves one linear program with HiGHS, whose optimum bounds the
value of every allocation with whole widths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from edgeprune.pruning.allocation.cost_polynomials import Floats, Forms, Ints

_TOLERANCE = 1e-7
"""A value or the logarithm of a cost may be off by this much, as HiGHS's own tolerance is 1e-7."""
_OUTWARD = 1e-6
"""Windows reach this much further than the linear program says."""
_SLOW = 0.02
"""No round follows one that moves the bound by less than this share of the way, since splitting the part gains more."""

Ranges = tuple[tuple[int, int], ...]
"""By group, the first and last option that are left to it."""
Cut = tuple[Floats, float]
"""A tangent: `row . (u, t) <= side` for the logarithms of widths u and the groups' values t."""


@dataclass(frozen=True)
class Part:
    """A part of the search space, and a bound that the value of no allocation in it exceeds.

    Attributes:
        place: the logarithms of widths where the bound is reached, `[groups]`.
        cuts: tangents that nearly touch there.
    """

    ranges: Ranges
    bound: float
    place: Floats
    cuts: tuple[Cut, ...] = ()

    def cut_out(self, ranges: Ranges) -> "Part":
        """A part of this part, which the same bound holds for."""
        return replace(self, ranges=ranges)


class Relaxation:
    """The relaxed problem over any ranges of options; the arguments are those of `Problem`."""

    def __init__(self, forms: Forms, limits: Ints, options: Sequence[Ints], values: Sequence[Floats]) -> None:
        self.forms = forms
        self.limits = limits.astype(np.float64)
        self.logs = [np.log(widths) for widths in options]
        self.values = values
        self._linear, self._quadratic = forms.reals

        @cache
        def hull(group: int, first: int, last: int) -> _Hull:
            return _Hull(self.logs[group][first : last + 1], values[group][first : last + 1])

        self._hull = hull

    def whole(self) -> Part:
        """The whole search space, not yet bounded."""
        return Part(tuple((0, len(logs) - 1) for logs in self.logs), np.inf, np.array([logs[0] for logs in self.logs]))

    def bound(self, part: Part, enough: float = -np.inf, rounds: int = 40) -> Part | None:
        """The part with its bound, not refined further once it is below `enough`; None where nothing in it fits."""
        groups = len(part.ranges)
        hulls = self._hulls_of(part.ranges)
        cuts = [*self._first_cuts(hulls), *part.cuts]
        goal = np.concatenate([np.zeros(groups), -np.ones(groups)])
        best, solution = part.bound, np.concatenate([part.place, np.zeros(groups)])
        for _ in range(rounds):
            try:
                optimum = self._solve(hulls, cuts, goal)
            except _StuckError:
                break
            if optimum is None:
                return None
            before, best, solution = best, min(best, float(optimum[groups:].sum())), optimum
            if best < enough or not self._tighten(hulls, cuts, solution):
                break
            if np.isfinite(enough) and before - best < _SLOW * (best - enough):
                break
        # the tangents hold in every part of this part, which starts with those that nearly touch the solution
        tight = tuple(cut for cut in cuts if cut[0] @ solution > cut[1] - 0.05)
        return Part(part.ranges, best, solution[:groups], tight)

    def windows(self, part: Part, least: float, rounds: int = 2) -> Ranges | None:
        """The ranges of all allocations worth at least `least`; None where there is no such allocation."""
        hulls = self._hulls_of(part.ranges)
        cuts = [*self._first_cuts(hulls), *part.cuts]
        windows = []
        for group, (first, last) in enumerate(part.ranges):
            try:
                ends = [self._end(hulls, cuts, group, sign, least, rounds) for sign in (1.0, -1.0)]
            except _StuckError:
                return part.ranges
            if ends[0] is None or ends[1] is None:
                return None
            logs = self.logs[group]
            first = max(first, int(np.searchsorted(logs, ends[0] - _OUTWARD)))
            last = min(last, int(np.searchsorted(logs, ends[1] + _OUTWARD, side="right")) - 1)
            if first > last:
                return None
            windows.append((first, last))
        return tuple(windows)

    def _end(
        self, hulls: Sequence["_Hull"], cuts: list[Cut], group: int, sign: float, least: float, rounds: int
    ) -> float | None:
        """The least (`sign` 1) or largest (-1) u of a group in allocations worth at least `least`; None without any."""
        goal = np.zeros(2 * len(hulls))
        goal[group] = sign
        end = None
        for _ in range(rounds):
            solution = self._solve(hulls, cuts, goal, least)
            if solution is None:
                return None
            end = float(solution[group])
            if not self._tighten(hulls, cuts, solution):
                break
        return end

    def excess(self, part: Part) -> Floats:
        """How far each group's envelope lies above its values where the bound is reached, `[groups]`."""
        place = part.place
        return np.array(
            [
                hull.at(place[group]) - np.interp(place[group], self.logs[group], self.values[group])
                for group, hull in enumerate(self._hulls_of(part.ranges))
            ]
        )

    def _hulls_of(self, ranges: Ranges) -> list["_Hull"]:
        return [self._hull(group, first, last) for group, (first, last) in enumerate(ranges)]

    def _first_cuts(self, hulls: Sequence["_Hull"]) -> list[Cut]:
        return [
            self._value_cut(hulls, group, place)
            for group, hull in enumerate(hulls)
            for place in np.linspace(hull.x[0], hull.x[-1], 5 if len(hull.x) > 2 else 1)
        ]

    def _solve(
        self, hulls: Sequence["_Hull"], cuts: Sequence[Cut], goal: Floats, least: float | None = None
    ) -> Floats | None:
        """The u and values t, `[2 groups]`, within all tangents that minimise `goal`; None where nothing fits."""
        from scipy.optimize import linprog

        groups = len(hulls)
        rows, sides = [row for row, _ in cuts], [side for _, side in cuts]
        if least is not None:
            rows.append(np.concatenate([np.zeros(groups), -np.ones(groups)]))
            sides.append(_TOLERANCE - least)
        bounds = [*((hull.x[0], hull.x[-1]) for hull in hulls), *((None, None) for _ in hulls)]
        result = linprog(goal, A_ub=np.array(rows), b_ub=np.array(sides), bounds=bounds, method="highs")
        if result.status not in (0, 2):  # neither solved nor infeasible
            raise _StuckError(result.message)
        return result.x if result.status == 0 else None

    def _tighten(self, hulls: Sequence["_Hull"], cuts: list[Cut], solution: Floats) -> bool:
        """Add tangents where the solution breaks a limit or exceeds a layer's value; False where it does neither."""
        groups = len(hulls)
        place, claimed = solution[:groups], solution[groups:]
        loose = [g for g, hull in enumerate(hulls) if claimed[g] > hull.at(place[g]) + _TOLERANCE]
        cuts += [self._value_cut(hulls, group, place[group]) for group in loose]
        broken = np.flatnonzero(self._costs(place) > self.limits * (1 + _TOLERANCE))
        if len(broken):
            # Tangents at the edge of the limits cut deeper than those at the solution. They still cut off the solution,
            # as costs grow with all widths.
            touching = self._shrunk(place, np.array([hull.x[0] for hull in hulls]))
            widths = np.exp(touching)
            bent = self._quadratic[broken] @ widths
            costs = self._costs(touching)[broken]
            slopes = (self._linear[broken] + bent) * widths / costs[:, None]  # of log(cost) in u
            sides = np.log(self.limits[broken] / costs) + slopes @ touching
            cuts += [
                (np.concatenate([row, np.zeros(groups)]), float(side)) for row, side in zip(slopes, sides, strict=True)
            ]
        return bool(loose) or len(broken) > 0

    def _costs(self, place: Floats) -> Floats:
        widths = np.exp(place)
        costs: Floats = self.forms.constant + self._linear @ widths + self._quadratic @ widths @ widths / 2
        return costs

    def _shrunk(self, place: Floats, lowest: Floats) -> Floats:
        """All widths divided by the least number with which all limits hold, but none made less than the lowest."""
        low, high = 0.0, float((place - lowest).max())
        for _ in range(40):
            middle = (low + high) / 2
            held = (self._costs(np.maximum(lowest, place - middle)) <= self.limits).all()
            low, high = (low, middle) if held else (middle, high)
        return np.maximum(lowest, place - high)

    def _value_cut(self, hulls: Sequence["_Hull"], group: int, place: float) -> Cut:
        slope, offset = hulls[group].tangent(place)
        row = np.zeros(2 * len(hulls))
        row[group], row[len(hulls) + group] = -slope, 1.0
        return row, offset


class _StuckError(Exception):
    """A linear program ended without an answer."""


class _Hull:
    """The least concave function above points `(places, values)`."""

    def __init__(self, places: Floats, values: Floats) -> None:
        hull: list[int] = []
        for point in range(len(places)):
            while len(hull) > 1 and _slope(places, values, hull[-2], hull[-1]) <= _slope(
                places, values, hull[-2], point
            ):
                hull.pop()
            hull.append(point)
        self.x, self.y = places[hull], values[hull]

    def at(self, place: float) -> float:
        return float(np.interp(place, self.x, self.y))

    def tangent(self, place: float) -> tuple[float, float]:
        """Slope and value at 0 of the line that touches the hull at `place`."""
        if len(self.x) == 1:
            return 0.0, float(self.y[0])
        right = int(np.clip(np.searchsorted(self.x, place, side="right"), 1, len(self.x) - 1))
        slope = float((self.y[right] - self.y[right - 1]) / (self.x[right] - self.x[right - 1]))
        return slope, float(self.y[right] - slope * self.x[right])


def _slope(places: Floats, values: Floats, one: int, other: int) -> float:
    return float((values[other] - values[one]) / (places[other] - places[one]))
