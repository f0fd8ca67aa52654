"""From a budget to widths: how many filters each group of layers keeps under all limits at once, or why none will do.

What is reached never exceeds what is asked. All costs grow with every width, so a budget can be met if and only if the
narrowest network meets it: that network is the proof where it does not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.graph.cost import Cost, count
from edgeprune.graph.graph import Graph
from edgeprune.pruning.allocation.cost_polynomials import Ints, forms
from edgeprune.pruning.allocation.fit_arena import into_arena
from edgeprune.pruning.allocation.latency_limit import LatencyLimit, LatencyTable
from edgeprune.pruning.allocation.local_search import Problem
from edgeprune.pruning.allocation.objective import importance, kept_share
from edgeprune.pruning.allocation.solver import solve
from edgeprune.recipe import Budget, Prune
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd

COSTS = {"params": "params", "macs": "macs", "peak_ram": "arena_bytes", "flash": "flash_bytes"}
"""Limits by name, and the field of `Cost` each bounds; `latency_ms` is bounded by a profile."""
_TIGHTER = 3
"""How often a limit on RAM is tightened for what the planner of the arena leaves unused, in networks of few groups."""
_FEW_GROUPS = 16
_OF_LAYER = {"params": "params", "macs": "macs", "peak_ram": "ram_bytes", "flash": "flash_bytes"}


@dataclass(frozen=True)
class Allocation(Tabular):
    """Widths that meet the budget.

    Attributes:
        filters: before pruning, by group that may be pruned.
        widths: filters kept, by the same groups.
        cost: of the network with these widths.
        asked, reached: by limit; `latency_ms` is read off the profile.
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
    kept: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    bound: float | None = None

    @property
    def proven(self) -> bool | None:
        """No allocation within the limits is worth more."""
        return None if self.gap is None else self.gap == 0

    @property
    def gap(self) -> float | None:
        """How much more an allocation could be worth at most, in units of the objective."""
        return None if self.value is None or self.bound is None else max(0.0, self.bound - self.value)

    def table(self) -> "pd.DataFrame":
        """A row for each group: filters before and after, the share of them that stays, and the share of the scores."""
        import pandas as pd

        after = pd.Series(self.widths, dtype="int64")
        before = pd.Series(self.filters, dtype="int64")
        columns = {"filters before": before, "filters after": after, "share": after / before, "score kept": self.kept}
        return pd.DataFrame(columns, index=pd.Index(list(self.widths), name="group"))

    def slack(self) -> dict[str, float]:
        """What is left of each limit."""
        return {name: self.asked[name] - self.reached[name] for name in self.asked}

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
    """Choose how many filters each group of layers keeps.

    Args:
        scores: of the groups that may be pruned, each `[filters]`.
        losses: for the objective `sensitivity` (see `sensitivity.measure_losses`).
        profile: what `budget.latency_ms` is held to.
        caps: most filters by group, in place of `prune.keep`.

    Raises:
        EdgepruneError: a field of `prune` asks for the impossible, or a limit is set on a network with operators whose
            cost is not known.
        InfeasibleBudgetError: even the narrowest network exceeds a limit.
    """
    prune.check()
    latency = _latency_limit(budget, profile)
    asked: dict[str, float] = {name: getattr(budget, name) for name in COSTS if getattr(budget, name) is not None}
    if latency is not None:
        asked["latency_ms"] = latency.limit_ms
    if asked and graph.unknown:
        raise EdgepruneError(
            f"budget: the cost of {', '.join(graph.unknown)} is not known, so no limit can be promised; leave the "
            "limits out and give prune.keep."
        )
    names = list(scores)
    options = {name: _options(len(values), prune, (caps or {}).get(name)) for name, values in scores.items()}
    reach = _Reach(graph, tuple(asked), latency)
    _check_feasible(graph, asked, reach, options, prune)
    value: float | None
    bound: float | None
    if not names:  # nothing may be pruned
        widths, value, bound = {}, None, None
    elif prune.allocation == "uniform":
        full = {name: len(values) for name, values in scores.items()}
        widths = _uniform(full, options, lambda found: reach.fits(found, asked))
        value, bound = None, None
    else:
        worth = importance(scores, prune.objective, losses)
        problem = _problem(graph, asked, names, options, worth, latency)
        widths, value, bound = _solve(problem, reach, asked, names)
    reached = reach.of(widths)
    return Allocation(
        filters={name: len(values) for name, values in scores.items()},
        widths=widths,
        cost=count(graph, widths),
        asked=asked,
        reached=reached,
        binding=max(reached, key=lambda limit: reached[limit] / asked[limit]) if reached else "",
        kept={name: float(kept_share(scores[name])[width]) for name, width in widths.items()},
        value=value,
        bound=bound,
    )


def _latency_limit(budget: Budget, profile: LatencyTable | None) -> LatencyLimit | None:
    limit = budget.latency()
    if limit is None:
        return None
    if profile is None:
        raise EdgepruneError(
            f"budget: a limit on latency needs a profile of {limit[1]}; make one with `edgeprune profile` and give its "
            "file as prune.profile."
        )
    return LatencyLimit(limit[0], profile)


def _options(filters: int, prune: Prune, cap: int | None) -> Ints:
    """Widths a group may have, ascending; a group narrower than the smallest allowed width keeps its own.

    Where no multiple is left below the share that may be kept, the smallest multiple stands.
    """
    step = prune.multiple_of
    lowest = ceil(prune.min_filters / step) * step
    cap = floor(filters * prune.keep + 0.5) if cap is None else min(cap, filters)
    widths = list(range(lowest, cap + 1, step))
    if cap == filters and filters % step and filters >= prune.min_filters:
        widths.append(filters)  # left whole, so no kernel gets slower
    return np.array(widths or [min(lowest, filters)], dtype=np.int64)


def _solve(
    problem: Problem, reach: "_Reach", asked: Mapping[str, float], names: Sequence[str]
) -> tuple[dict[str, int], float, float]:
    """Widths, their value and its bound.

    The solver bounds what is in memory at once; what the planner of the arena makes of it can be a little more. A limit
    tighter by that much mostly does; otherwise the allocation is narrowed. The bound stays that of the limit asked for.
    """

    def over(widths: Ints) -> int:
        needed = reach.of(dict(zip(names, map(int, widths), strict=True))).get("peak_ram", 0)
        return int(needed - asked.get("peak_ram", 0))

    found = solve(problem)
    bound, widths = found.bound, np.array(found.widths)
    excess = over(widths)
    if excess <= 0:
        return dict(zip(names, found.widths, strict=True)), found.value, bound
    start = [np.searchsorted(options, width) for options, width in zip(problem.options, widths, strict=True)]
    chosen = into_arena(problem, np.array(start), over)
    assert chosen is not None, "the narrowest network fits"
    value, widths = float(problem.value(chosen[None])[0]), problem.widths(chosen[None])[0]
    rows = np.array([limit == "peak_ram" for limit in problem.forms.limits])
    for _ in range(_TIGHTER if len(names) <= _FEW_GROUPS else 0):
        problem = replace(problem, limits=np.where(rows, problem.limits - excess, problem.limits))
        if not problem.fits(problem.widths(np.zeros((1, len(names)), np.int64)))[0]:
            break
        found = solve(problem)
        excess = over(np.array(found.widths))
        if excess <= 0:
            if found.value > value:
                value, widths = found.value, np.array(found.widths)
            break
    return dict(zip(names, map(int, widths), strict=True)), value, max(bound, value)


def _problem(
    graph: Graph,
    asked: Mapping[str, float],
    names: Sequence[str],
    options: Mapping[str, Ints],
    values: Mapping[str, np.ndarray],
    latency: LatencyLimit | None,
) -> Problem:
    limits = {name: int(value) for name, value in asked.items() if name in COSTS}
    if not limits:  # so that there is a row: a limit that always holds
        limits = {"params": count(graph).params}
    costs = forms(graph, names).only(list(limits))
    return Problem(
        forms=costs,
        limits=np.array([limits[name] for name in costs.limits], dtype=np.int64),
        options=[options[name] for name in names],
        values=[values[name][options[name]] for name in names],
        latency=None if latency is None else latency.bind(names),
        below=None if latency is None else latency.below(names, options),
    )


@dataclass(frozen=True)
class _Reach:
    """What widths cost, in the terms of the limits that are set."""

    graph: Graph
    limits: tuple[str, ...]
    latency: LatencyLimit | None

    def of(self, widths: Mapping[str, int]) -> dict[str, float]:
        cost = count(self.graph, widths)
        found = {name: getattr(cost, COSTS[name]) for name in self.limits if name in COSTS}
        if self.latency is not None:
            found["latency_ms"] = self.latency.of(widths)
        return found

    def fits(self, widths: Mapping[str, int], asked: Mapping[str, float]) -> bool:
        return all(value <= asked[name] for name, value in self.of(widths).items())


def _check_feasible(
    graph: Graph, asked: Mapping[str, float], reach: _Reach, options: Mapping[str, Ints], prune: Prune
) -> None:
    narrow = {name: int(widths[0]) for name, widths in options.items()}
    least = reach.of(narrow)
    for name, value in least.items():
        if value > asked[name]:
            raise InfeasibleBudgetError(_why_not(graph, name, asked[name], value, narrow, prune, reach.latency))


def _why_not(
    graph: Graph,
    limit: str,
    asked: float,
    value: float,
    narrow: Mapping[str, int],
    prune: Prune,
    latency: LatencyLimit | None,
) -> str:
    """One sentence: what the narrowest network takes, where most of it goes, its other costs, and what would help."""
    cost = count(graph, narrow)
    where = ""
    if limit in COSTS:
        metric = _OF_LAYER[limit]
        heaviest = max(cost.by_layer, key=lambda layer: getattr(layer, metric))
        own = getattr(heaviest, metric)
        where = f", most of it in '{heaviest.name}' ({own:,}{', alone more than the limit' if own > asked else ''})"
    least = ", ".join(f"{name.replace('_', ' ')} {getattr(cost, field):,}" for name, field in COSTS.items())
    smallest = f"{prune.min_filters} filter{'s' if prune.min_filters > 1 else ''} a layer"
    if prune.multiple_of > 1:
        smallest += f", multiples of {prune.multiple_of}"
    hint = _dense_hint(graph, limit, value, narrow, prune, latency)
    return (
        f"budget: {limit.replace('_', ' ')} {_shown(asked)} cannot be met: the smallest network ({smallest}) still "
        f"takes {_shown(value)}{where}; the least of each cost: {least}{hint}."
    )


def _dense_hint(
    graph: Graph, limit: str, least: float, narrow: Mapping[str, int], prune: Prune, latency: LatencyLimit | None
) -> str:
    """What pruning dense layers would bring; nothing where they are pruned, or it would not help."""
    if prune.dense_layers:
        return ""
    more = graph.prunable(dense_layers=True)
    opened = {name: int(_options(group.filters, prune, None)[0]) for name, group in more.items()} | dict(narrow)
    value = latency.of(opened) if limit == "latency_ms" and latency else getattr(count(graph, opened), COSTS[limit])
    if value >= least:
        return ""
    words = limit.replace("_", " ")
    return f"; --prune.dense-layers would let the dense layers shrink too ({words} down to {_shown(value)})"


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _uniform(
    full: Mapping[str, int], options: Mapping[str, Ints], fits: Callable[[Mapping[str, int]], bool]
) -> dict[str, int]:
    """The widest uniform share that fits, by bisection over the shares at which some width changes."""
    steps = sorted({float(width) / full[name] for name, widths in options.items() for width in widths})

    def at(share: float) -> dict[str, int]:
        return {
            name: int(widths[max(0, int(np.searchsorted(widths, full[name] * share + 1e-9, side="right")) - 1)])
            for name, widths in options.items()
        }

    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(at(steps[middle])):
            low = middle
        else:
            high = middle - 1
    return at(steps[low])
