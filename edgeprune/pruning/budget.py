"""From a budget to widths: the first step, the widest uniform share that fits, then single filters while they fit.

The exact solver will take this room; what it promises already holds: what is reached never exceeds what is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil, floor

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.pruning.cost import Cost, count
from edgeprune.pruning.graph import Graph
from edgeprune.recipe import Budget, Prune

_COSTS = {"params": "params", "macs": "macs", "peak_ram": "peak_ram_bytes", "flash": "flash_bytes"}


@dataclass(frozen=True)
class Plan:
    """Widths that meet the budget; `binding` names the limit that is used to the highest share ('' if none is set)."""

    widths: dict[str, int]
    cost: Cost
    asked: dict[str, int]
    reached: dict[str, int]
    binding: str


def plan(graph: Graph, budget: Budget, prune: Prune, scores: Mapping[str, Sequence[float]]) -> Plan:
    """Choose how many filters each group of layers keeps.

    Every layer keeps the same share of its filters, the largest that meets all limits (and `prune.keep`); what slack is
    left goes to single filters, the one with the highest score relative to its layer first.

    Args:
        scores: of the groups that may be pruned, each `[filters]`.

    Raises:
        EdgepruneError: `prune.keep` or `prune.min_filters` asks for the impossible, or a limit is set on a network
            with operators whose cost is not known.
        InfeasibleBudgetError: even `prune.min_filters` in every layer exceed a limit.
    """
    prune.check()
    full = {name: len(values) for name, values in scores.items()}
    asked = {
        field.name: getattr(budget, field.name) for field in fields(budget) if getattr(budget, field.name) is not None
    }
    if asked and graph.unknown:
        raise EdgepruneError(
            f"budget: the cost of {', '.join(graph.unknown)} is not known, so no limit can be promised; leave the "
            "limits out and give prune.keep."
        )
    lowest = {name: min(prune.min_filters, filters) for name, filters in full.items()}
    cap = {name: max(lowest[name], _rounded(filters * prune.keep)) for name, filters in full.items()}
    _check_feasible(graph, asked, lowest, prune)

    def fits(widths: Mapping[str, int]) -> bool:
        return all(value <= asked[name] for name, value in _reached(count(graph, widths), asked).items())

    widths = cap if fits(cap) else _fill(_uniform(full, cap, lowest, fits), cap, scores, fits)
    cost = count(graph, widths)
    reached = _reached(cost, asked)
    binding = max(reached, key=lambda name: reached[name] / asked[name]) if reached else ""
    return Plan(dict(widths), cost, asked, reached, binding)


def _rounded(filters: float) -> int:
    return floor(filters + 0.5)


def _reached(cost: Cost, asked: Mapping[str, int]) -> dict[str, int]:
    return {name: getattr(cost, _COSTS[name]) for name in asked}


def _check_feasible(graph: Graph, asked: Mapping[str, int], lowest: Mapping[str, int], prune: Prune) -> None:
    least = count(graph, lowest)
    for name, value in _reached(least, asked).items():
        if value <= asked[name]:
            continue
        metric = {"params": "params", "macs": "macs", "peak_ram": "ram_bytes", "flash": "flash_bytes"}[name]
        heaviest = max(least.by_layer, key=lambda layer: getattr(layer, metric))
        hint = "" if prune.dense_layers else "; --prune.dense-layers would let the dense layers shrink too"
        raise InfeasibleBudgetError(
            f"budget: {name.replace('_', ' ')} {asked[name]:,} cannot be met: the smallest network "
            f"({prune.min_filters} filter{'s' if prune.min_filters > 1 else ''} a layer) still takes {value:,}, most "
            f"of it in '{heaviest.name}' ({getattr(heaviest, metric):,}){hint}."
        )


def _uniform(
    full: Mapping[str, int],
    cap: Mapping[str, int],
    lowest: Mapping[str, int],
    fits: Callable[[Mapping[str, int]], bool],
) -> dict[str, int]:
    """The widest uniform share that fits, by bisection over the shares at which some width changes."""
    steps = sorted({count / filters for filters in full.values() for count in range(filters + 1)})

    def at(share: float) -> dict[str, int]:
        return {name: min(cap[name], max(lowest[name], ceil(filters * share - 1e-9))) for name, filters in full.items()}

    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(at(steps[middle])):
            low = middle
        else:
            high = middle - 1
    return at(steps[low])


def _fill(
    widths: dict[str, int],
    cap: Mapping[str, int],
    scores: Mapping[str, Sequence[float]],
    fits: Callable[[Mapping[str, int]], bool],
) -> dict[str, int]:
    """Add single filters, best relative score first, until none fits."""
    ranked = {name: sorted((float(value) for value in values), reverse=True) for name, values in scores.items()}
    open_layers = set(widths)
    while open_layers:
        candidates = [name for name in open_layers if widths[name] < cap[name]]
        open_layers = set(candidates)
        for name in sorted(candidates, key=lambda n: -ranked[n][widths[n]] / (ranked[n][0] or 1.0)):
            wider = {**widths, name: widths[name] + 1}
            if fits(wider):
                widths = wider
                break
            open_layers.discard(name)
    return widths
