"""From a budget to widths: how many filters each group of layers keeps under all limits at once, or why none will do.

What is reached never exceeds its limit. All costs grow with every width, so a budget can be met if and only if the
narrowest network meets it: where it does not, that network is the proof.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.graph.cost import Cost, count
from edgeprune.graph.graph import Graph
from edgeprune.pruning.allocation.cost_polynomials import Floats, Forms, Ints, forms
from edgeprune.pruning.allocation.fit_arena import into_arena
from edgeprune.pruning.allocation.latency_limit import LatencyTable
from edgeprune.pruning.allocation.limits import COSTS, BudgetLimits
from edgeprune.pruning.allocation.local_search import Problem
from edgeprune.pruning.allocation.objective import importance, kept_share
from edgeprune.pruning.allocation.solver import solve
from edgeprune.recipe import Budget, Prune
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Allocation(Tabular):
    """Widths that meet the budget.

    Attributes:
        filters: before pruning, by group that may be pruned.
        widths: filters kept, by the same groups.
        cost: of the network with these widths.
        asked: the limits; `latency_ms` among them.
        reached: by limit, the cost of these widths; `latency_ms` is read off the profile.
        binding: the limit that is used to the highest share; "" if none is set.
        kept: by group, the share of its scores that stays.
        value: of the objective; None of a uniform allocation, which has none.
        bound: what no allocation within the limits exceeds; `value` itself where the optimum is proven.
    """

    filters: dict[str, int]
    widths: dict[str, int]
    cost: Cost
    asked: dict[str, float]
    reached: dict[str, float]
    binding: str
    kept: dict[str, float]
    value: float | None = None
    bound: float | None = None

    @property
    def proven(self) -> bool | None:
        """No allocation within the limits has a higher value."""
        return None if self.gap is None else self.gap == 0

    @property
    def gap(self) -> float | None:
        """How much more an allocation could be worth at most, in units of the objective."""
        return None if self.value is None or self.bound is None else max(0.0, self.bound - self.value)

    def slack(self) -> dict[str, float]:
        """What is left of each limit."""
        return {name: self.asked[name] - self.reached[name] for name in self.asked}

    def table(self) -> "pd.DataFrame":
        """A row for each group: filters before and after, the share of them that stays, and the share of the scores."""
        import pandas as pd

        after = pd.Series(self.widths, dtype="int64")
        before = pd.Series(self.filters, dtype="int64")
        columns = {"filters before": before, "filters after": after, "share": after / before, "score kept": self.kept}
        return pd.DataFrame(columns, index=pd.Index(list(self.widths), name="group"))

    def to_dict(self) -> dict[str, Any]:
        """What a run keeps of it, as JSON values."""
        return {
            "asked": self.asked,
            "reached": self.reached,
            "slack": self.slack(),
            "binding": self.binding,
            "kept_scores": self.kept,
            "value": self.value,
            "gap": self.gap,
            "proven": self.proven,
        }


def allocate(
    graph: Graph,
    budget: Budget,
    prune: Prune,
    scores: Mapping[str, Sequence[float]],
    losses: Mapping[str, Mapping[int, float]] | None = None,
    profile: LatencyTable | None = None,
    caps: Mapping[str, int] | None = None,
) -> Allocation:
    """Choose how many filters each group keeps, from the scores `[filters]` of the groups that may be pruned.

    The objective `sensitivity` needs `losses` (see `sensitivity.measure_losses`), and a limit on latency needs
    `profile`. `caps`, the most filters by group, take the place of `prune.keep`. `allocate_within` takes limits on a
    linked program too.
    """
    return allocate_within(BudgetLimits.of(graph, budget, profile), prune, scores, losses, caps)


def allocate_within(
    limits: BudgetLimits,
    prune: Prune,
    scores: Mapping[str, Sequence[float]],
    losses: Mapping[str, Mapping[int, float]] | None = None,
    caps: Mapping[str, int] | None = None,
) -> Allocation:
    """Choose how many filters each group keeps within limits of any kind; other arguments are those of `allocate`."""
    prune.check()
    filters = {name: len(values) for name, values in scores.items()}
    options = {name: _options(number, prune, (caps or {}).get(name)) for name, number in filters.items()}
    limits.check_feasible(narrowest(scores, prune, caps), prune, lambda number: int(_options(number, prune, None)[0]))
    value: float | None = None
    bound: float | None = None
    if prune.allocation == "uniform":
        widths = _uniform(filters, options, limits)
    elif filters:
        widths, value, bound = _solve(options, importance(scores, prune.objective, losses), limits)
    else:
        widths = {}
    reached = limits.reached(widths)
    return Allocation(
        filters=filters,
        widths=widths,
        cost=count(limits.graph, widths),
        asked=limits.most,
        reached=reached,
        binding=max(reached, key=lambda limit: reached[limit] / limits.most[limit]) if reached else "",
        kept={name: float(kept_share(scores[name])[width]) for name, width in widths.items()},
        value=value,
        bound=bound,
    )


def _options(filters: int, prune: Prune, cap: int | None) -> Ints:
    """Widths a group may have, ascending; a group narrower than the smallest allowed width keeps its own.

    Where no multiple is left below the share that may be kept, the smallest multiple stands.
    """
    step = prune.multiple_of
    lowest = ceil(prune.min_filters / step) * step
    cap = floor(filters * prune.keep + 1e-9) if cap is None else min(cap, filters)
    widths = list(range(lowest, cap + 1, step))
    if cap == filters and filters % step and filters >= prune.min_filters:
        widths.append(filters)  # left whole, so no kernel gets slower
    return np.array(widths or [min(lowest, filters)], dtype=np.int64)


def narrowest(
    scores: Mapping[str, Sequence[float]], prune: Prune, caps: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The fewest filters that each group may keep; arguments are those of `allocate`."""
    return {name: int(_options(len(values), prune, (caps or {}).get(name))[0]) for name, values in scores.items()}


def _uniform(filters: Mapping[str, int], options: Mapping[str, Ints], limits: BudgetLimits) -> dict[str, int]:
    """The widest uniform share that fits, by bisection over the shares at which some width changes."""
    shares = sorted({float(width) / filters[name] for name, widths in options.items() for width in widths})

    def at(share: float) -> dict[str, int]:
        return {
            name: int(widths[max(0, int(np.searchsorted(widths, filters[name] * share + 1e-9, side="right")) - 1)])
            for name, widths in options.items()
        }

    low, high = 0, len(shares) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if limits.met(at(shares[middle])) else (low, middle - 1)
    return at(shares[low]) if shares else {}


def _solve(
    options: Mapping[str, Ints], values: Mapping[str, Floats], limits: BudgetLimits
) -> tuple[dict[str, int], float, float]:
    """Widths, their value and its bound.

    The solver bounds what is in memory at once; the arena that the planner makes of it can be a little larger. A limit
    tighter by that much mostly does; otherwise the allocation is narrowed. The bound stays that of the limit itself.
    """
    names = list(options)
    problem = _problem(options, values, limits)

    def excess_of(widths: Ints) -> int:
        """Bytes by which the arena exceeds its limit; not above 0 where it fits or has no limit."""
        if "peak_ram" not in problem.forms.limits:
            return 0
        return int(limits.reached(_by_name(names, widths))["peak_ram"] - limits.most["peak_ram"])

    solution = solve(problem)
    bound, value, widths = solution.bound, solution.value, np.array(solution.widths)
    excess = excess_of(widths)
    if excess <= 0:
        return _by_name(names, widths), value, bound
    start = [np.searchsorted(choices, width) for choices, width in zip(problem.options, widths, strict=True)]
    chosen = into_arena(problem, np.array(start), excess_of)
    value, widths = float(problem.value(chosen)), problem.widths(chosen)
    rows = np.array([limit == "peak_ram" for limit in problem.forms.limits])
    for _ in range(3 if len(names) <= 16 else 0):  # solving a network of many groups again would take long
        problem = replace(problem, limits=np.where(rows, problem.limits - excess, problem.limits))
        if not problem.fits(problem.widths(np.zeros((1, len(names)), np.int64)))[0]:
            break
        solution = solve(problem)
        excess = excess_of(np.array(solution.widths))
        if excess <= 0:
            if solution.value > value:
                value, widths = solution.value, np.array(solution.widths)
            break
    return _by_name(names, widths), value, max(bound, value)


def _by_name(names: Sequence[str], widths: Ints) -> dict[str, int]:
    return dict(zip(names, map(int, widths), strict=True))


def _problem(options: Mapping[str, Ints], values: Mapping[str, Floats], limits: BudgetLimits) -> Problem:
    names = list(options)
    exact = {} if limits.runtime is None else limits.runtime.most
    most = {name: int(value) for name, value in limits.most.items() if name in COSTS and name not in exact}
    if not most:  # so that there is a row: a limit that always holds
        most = {"params": count(limits.graph).params}
    costs = forms(limits.graph, names).only(list(most))
    others: list[Callable[[Ints], NDArray[np.bool_]]] = []
    below: list[tuple[Forms, Ints]] = []
    if limits.latency is not None:
        others.append(limits.latency.bind(names))
        if (under := limits.latency.below(names, options)) is not None:
            below.append(under)
    if limits.runtime is not None:
        others.append(limits.runtime.bind(names))
        below.append(limits.runtime.below(names))
    return Problem(
        forms=costs,
        limits=np.array([most[name] for name in costs.limits], dtype=np.int64),
        options=list(options.values()),
        values=[values[name][widths] for name, widths in options.items()],
        within=(lambda widths: np.all([other(widths) for other in others], axis=0)) if others else None,
        below=reduce(_joined, below) if below else None,
    )


def _joined(one: tuple[Forms, Ints], other: tuple[Forms, Ints]) -> tuple[Forms, Ints]:
    return one[0].and_also(other[0]), np.concatenate([one[1], other[1]])
