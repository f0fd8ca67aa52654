"""An upper bound for the value of every allocation that fits: the budget in the logarithms of the widths.

With u = log(width), a cost is a sum of exponentials with coefficients that are not negative, so its logarithm is convex
in u, and a limit cuts out a convex set (geometric programming: Boyd, Kim, Vandenberghe and Hassibi, "A tutorial on
geometric programming", 2007). A layer's value is replaced by its concave envelope over u. Both are approached from
outside by tangents (Kelley's cutting planes), each round one linear program for HiGHS, so that every round's optimum
bounds the value of every allocation with whole widths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.forms import Forms, Ints

Floats = NDArray[np.float64]
_TOLERANCE = 1e-7
"""In value, and in the logarithm of a cost: well above what HiGHS leaves (1e-7 by default, of rows scaled to 1)."""

_SLOW = 0.02
"""A round that brings the bound this little of the way is the last: splitting the part brings more."""

Ranges = tuple[tuple[int, int], ...]
"""By group, the first and last option that are left to it."""
Cut = tuple[Floats, float]
"""A tangent: `row . (u, t) <= side` for the logarithms of widths u and the groups' values t."""


@dataclass(frozen=True)
class Part:
    """A part of the search space: its ranges, what no allocation in it exceeds, and where that bound is reached.

    Attributes:
        place: logarithms of widths, `[groups]`.
        cuts: tangents that nearly touch there.
    """

    ranges: Ranges
    bound: float
    place: Floats
    cuts: tuple[Cut, ...] = ()

    def cut_out(self, ranges: Ranges) -> "Part":
        """A part of this part, which is worth no more."""
        return replace(self, ranges=ranges)


class Relaxation:
    """The relaxed problem over any ranges of options.

    Args:
        forms: costs as polynomials; `limits` `[rows]`, what each may be at most.
        options: by group the widths to choose from, ascending.
        values: by group the value of each.
    """

    def __init__(self, forms: Forms, limits: Ints, options: Sequence[Ints], values: Sequence[Floats]) -> None:
        self.forms = forms
        self.limits = limits.astype(np.float64)
        self.logs = [np.log(widths) for widths in options]
        self.values = values
        self._linear = forms.linear.astype(np.float64)
        self._quadratic = forms.quadratic.astype(np.float64)
        self._hulls: dict[tuple[int, int, int], _Hull] = {}

    def whole(self) -> Part:
        """Everything, not yet bounded."""
        return Part(tuple((0, len(logs) - 1) for logs in self.logs), np.inf, np.array([logs[0] for logs in self.logs]))

    def bound(self, part: Part, enough: float = -np.inf, rounds: int = 40) -> Part | None:
        """The part with its bound; None where nothing within its ranges fits.

        Args:
            enough: stop as soon as the bound is below.
        """
        groups = len(part.ranges)
        hulls = self._of(part.ranges)
        cuts = [*self._first_cuts(hulls), *part.cuts]
        goal = np.concatenate([np.zeros(groups), -np.ones(groups)])
        best, solution = part.bound, np.concatenate([part.place, np.zeros(groups)])
        for _ in range(rounds):
            found = self._solve(hulls, cuts, goal)
            if found is None:
                return None
            before, best, solution = best, min(best, float(found[groups:].sum())), found
            if best < enough or not self._tighten(hulls, cuts, solution):
                break
            if np.isfinite(enough) and before - best < _SLOW * (best - enough):
                break
        # tangents hold in every part of this part; those that nearly touch the solution start it off
        tight = tuple(cut for cut in cuts if cut[0] @ solution > cut[1] - 0.05)
        return Part(part.ranges, best, solution[:groups], tight)

    def windows(self, part: Part, least: float, rounds: int = 2) -> Ranges | None:
        """The ranges without options that no allocation worth at least `least` can have; None where there is none."""
        groups, ranges = len(part.ranges), part.ranges
        hulls = self._of(ranges)
        cuts = [*self._first_cuts(hulls), *part.cuts]
        found = []
        for group in range(groups):
            ends = []
            for sign in (1.0, -1.0):
                goal = np.zeros(2 * groups)
                goal[group] = sign
                for _ in range(rounds):
                    solution = self._solve(hulls, cuts, goal, least)
                    if solution is None:
                        return None
                    end = float(solution[group])
                    if not self._tighten(hulls, cuts, solution):
                        break
                ends.append(end)
            logs = self.logs[group]
            first = max(ranges[group][0], int(np.searchsorted(logs, ends[0] - 1e-6)))
            last = min(ranges[group][1], int(np.searchsorted(logs, ends[1] + 1e-6, side="right")) - 1)
            if first > last:
                return None
            found.append((first, last))
        return tuple(found)

    def excess(self, part: Part) -> Floats:
        """By group, how far the envelope is above the values where the bound is reached, `[groups]`."""
        place = part.place
        return np.array(
            [
                hull.at(place[group]) - np.interp(place[group], self.logs[group], self.values[group])
                for group, hull in enumerate(self._of(part.ranges))
            ]
        )

    def _of(self, ranges: Ranges) -> list["_Hull"]:
        found = []
        for group, (first, last) in enumerate(ranges):
            key = (group, first, last)
            if key not in self._hulls:
                part = slice(first, last + 1)
                self._hulls[key] = _Hull(self.logs[group][part], self.values[group][part])
            found.append(self._hulls[key])
        return found

    def _first_cuts(self, hulls: Sequence["_Hull"]) -> list[Cut]:
        return [
            self._value_cut(hulls, group, place)
            for group, hull in enumerate(hulls)
            for place in np.linspace(hull.x[0], hull.x[-1], 5 if len(hull.x) > 2 else 1)
        ]

    def _solve(
        self, hulls: Sequence["_Hull"], cuts: Sequence[Cut], goal: Floats, least: float | None = None
    ) -> Floats | None:
        """Minimise `goal` over u and the values t `[2 groups]` under all tangents; None where nothing fits."""
        from scipy.optimize import linprog

        groups = len(hulls)
        rows, sides = [row for row, _ in cuts], [side for _, side in cuts]
        if least is not None:
            rows.append(np.concatenate([np.zeros(groups), -np.ones(groups)]))
            sides.append(_TOLERANCE - least)
        bounds = [*((hull.x[0], hull.x[-1]) for hull in hulls), *((None, None) for _ in hulls)]
        result = linprog(goal, A_ub=np.array(rows), b_ub=np.array(sides), bounds=bounds, method="highs")
        return result.x if result.status == 0 else None

    def _tighten(self, hulls: Sequence["_Hull"], cuts: list[Cut], solution: Floats) -> bool:
        """Add tangents where the solution breaks a limit or exceeds a layer's value; whether there were any."""
        groups = len(hulls)
        place, claimed = solution[:groups], solution[groups:]
        loose = [g for g, hull in enumerate(hulls) if claimed[g] > hull.at(place[g]) + _TOLERANCE]
        cuts += [self._value_cut(hulls, group, place[group]) for group in loose]
        widths = np.exp(place)
        bent = self._quadratic @ widths
        costs = self.forms.constant + self._linear @ widths + bent @ widths / 2
        broken = np.flatnonzero(costs > self.limits * (1 + _TOLERANCE))
        for row in broken:
            slope = (self._linear[row] + bent[row]) * widths / costs[row]  # of log(cost) in u
            side = float(np.log(self.limits[row] / costs[row]) + slope @ place)
            cuts.append((np.concatenate([slope, np.zeros(groups)]), side))
        return bool(loose) or len(broken) > 0

    def _value_cut(self, hulls: Sequence["_Hull"], group: int, place: float) -> Cut:
        slope, offset = hulls[group].tangent(place)
        row = np.zeros(2 * len(hulls))
        row[group], row[len(hulls) + group] = -slope, 1.0
        return row, offset


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
