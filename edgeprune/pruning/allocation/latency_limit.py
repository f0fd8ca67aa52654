"""Latency as a limit: a device's profile gives the time of any widths, and polynomials that stay below it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.allocation.cost_polynomials import Floats, Forms, Ints

_PS = 10**9  # in a millisecond: coefficients of polynomials are whole


class LatencyTable(Protocol):
    """What the solver needs of a profile (see `devices.latency_profile.LatencyProfile`)."""

    @property
    def overhead_ms(self) -> float: ...

    def latency_ms(self, widths: Ints, names: Sequence[str]) -> Floats:
        """Of widths `[n, groups]` of the groups `names` the latencies `[n]`, never falling in a width."""
        ...

    def stage_tables(self, candidates: Mapping[str, Sequence[int]]) -> list[tuple[tuple[str, ...], Floats]]:
        """Of each stage the groups it depends on and its milliseconds at all candidates, an axis for each group."""
        ...


@dataclass(frozen=True)
class LatencyLimit:
    """No more than `limit_ms` by the table."""

    limit_ms: float
    table: LatencyTable

    def bind(self, names: Sequence[str]) -> Callable[[Ints], NDArray[np.bool_]]:
        """Of widths `[n, groups]`, whether each is within the limit."""
        return lambda widths: self.table.latency_ms(widths, names) <= self.limit_ms

    def of(self, widths: Mapping[str, int]) -> float:
        """Milliseconds the table gives these widths."""
        return float(self.table.latency_ms(np.array([list(widths.values())]), list(widths))[0])

    def below(self, names: Sequence[str], options: Mapping[str, Ints]) -> tuple[Forms, Ints] | None:
        """A polynomial in picoseconds that the latency of no allocation goes below, and its limit.

        A table has steps, so the bound of the solver cannot take it as it is. Each stage gets the tightest polynomial
        of its widths and their products, with coefficients that are not negative, that is below it at all options.
        There is none where the fixed times alone use up the limit.
        """
        index = {name: column for column, name in enumerate(names)}
        linear = np.zeros((1, len(names)), np.int64)
        quadratic = np.zeros((1, len(names), len(names)), np.int64)
        fixed_ms = self.table.overhead_ms
        for groups, times in self.table.stage_tables({name: options[name].tolist() for name in names}):
            moving = [group for group in groups if group in index]
            sizes = [size for group, size in zip(groups, times.shape, strict=True) if group in index]
            constant, slopes, bends = _under([options[group] for group in moving], times.reshape(sizes))
            fixed_ms += constant
            for group, slope in zip(moving, slopes, strict=True):
                linear[0, index[group]] += int(slope * _PS)
            for (one, other), bend in zip(combinations(moving, 2), bends, strict=True):
                quadratic[0, index[one], index[other]] += int(bend * _PS)
                quadratic[0, index[other], index[one]] += int(bend * _PS)
        limit = np.array([int((self.limit_ms - fixed_ms) * _PS)], dtype=np.int64)
        if limit[0] <= 0:
            return None
        return Forms(tuple(names), ("latency_ms",), np.zeros(1, np.int64), linear, quadratic), limit


def _under(axes: Sequence[Ints], times: Floats) -> tuple[float, Floats, Floats]:
    """Constant, slopes and coefficients of products of a polynomial that lies below `times` at all points of `axes`."""
    from scipy.optimize import linprog

    pairs = list(combinations(range(len(axes)), 2))
    if not axes:
        return float(times), np.zeros(0), np.zeros(0)

    def terms(points: Sequence[Ints]) -> Floats:
        grid = np.meshgrid(*(axis.astype(np.float64) for axis in points), indexing="ij")
        return np.stack([*grid, *(grid[one] * grid[other] for one, other in pairs)], axis=-1)

    some = [np.unique(np.linspace(0, len(axis) - 1, min(len(axis), 16)).astype(np.int64)) for axis in axes]
    rows = terms([axis[picked] for axis, picked in zip(axes, some, strict=True)])
    rows = np.concatenate([np.ones((*rows.shape[:-1], 1)), rows], axis=-1).reshape(-1, 1 + len(axes) + len(pairs))
    scale = rows.max(axis=0)
    wanted = times[np.ix_(*some)].ravel()
    solution = linprog(-(rows / scale).sum(axis=0), A_ub=rows / scale, b_ub=wanted, bounds=(0, None), method="highs")
    coefficients = solution.x / scale if solution.status == 0 else np.zeros(len(scale))
    # between the points of the fit the table may be lower
    excess = float((coefficients[0] + terms(axes) @ coefficients[1:] - times).max())
    return float(coefficients[0]) - max(0.0, excess), coefficients[1 : 1 + len(axes)], coefficients[1 + len(axes) :]
