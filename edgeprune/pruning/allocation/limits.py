"""The limits of a budget on one network: what widths cost in their terms, and why no widths may meet them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.graph.cost import count
from edgeprune.graph.graph import Graph
from edgeprune.pruning.allocation.latency_limit import LatencyLimit, LatencyTable
from edgeprune.pruning.allocation.runtime_limit import RuntimeCosts, RuntimeLimit
from edgeprune.recipe import Budget, Prune

COSTS = {"params": "params", "macs": "macs", "peak_ram": "arena_bytes", "flash": "flash_bytes"}
"""Limits by name, and the field of `Cost` each bounds, of the runtime `tflm`; `latency_ms` is bounded by a profile."""
_OF_LAYER = COSTS | {"peak_ram": "ram_bytes"}
"""The same for the field of `LayerCost`."""


@dataclass(frozen=True)
class BudgetLimits:
    """The limits on one network.

    Attributes:
        most: those that are set, by name, `latency_ms` among them.
        runtime: of RAM and flash where these mean a linked program; None where they are of `Cost`.
    """

    graph: Graph
    most: dict[str, float]
    latency: LatencyLimit | None
    runtime: RuntimeLimit | None = None

    @staticmethod
    def of(
        graph: Graph, budget: Budget, profile: LatencyTable | None, costs: RuntimeCosts | None = None
    ) -> "BudgetLimits":
        """The limits of a budget; latency needs its profile, and the runtime `stream` its `costs`."""
        most: dict[str, float] = dict(budget.sizes())
        limit, latency = budget.latency(), None
        if limit is not None:
            if profile is None:
                raise EdgepruneError(
                    f"budget: a limit on latency needs a profile of {limit[1]}; make one with `edgeprune profile` and "
                    "give its file as prune.profile."
                )
            latency = LatencyLimit(limit[0], profile)
            most["latency_ms"] = limit[0]
        if most and graph.unknown:
            raise EdgepruneError(
                f"budget: the cost of {', '.join(graph.unknown)} is not known, so no limit can be promised; leave the "
                "limits out and give prune.keep."
            )
        linked = {name: value for name, value in budget.sizes().items() if budget.names_program(name)}
        if linked and costs is None:
            raise EdgepruneError(
                "budget.runtime: the RAM and flash of a streaming program are not known here; use the runtime tflm."
            )
        return BudgetLimits(graph, most, latency, RuntimeLimit(linked, costs) if linked and costs else None)

    def reached(self, widths: Mapping[str, int]) -> dict[str, float]:
        """By limit, what the network costs with these widths."""
        cost = count(self.graph, widths)
        costs: dict[str, float] = {name: getattr(cost, COSTS[name]) for name in self.most if name in COSTS}
        if self.runtime is not None:
            costs |= self.runtime.of(widths, list(self.runtime.most))
        return costs if self.latency is None else {**costs, "latency_ms": self.latency.of(widths)}

    def met(self, widths: Mapping[str, int]) -> bool:
        return all(value <= self.most[name] for name, value in self.reached(widths).items())

    def check_feasible(self, narrowest: Mapping[str, int], prune: Prune, narrowest_of: Callable[[int], int]) -> None:
        """Raise InfeasibleBudgetError if even the narrowest widths exceed a limit.

        `narrowest_of` gives the fewest filters that a group of so many may keep.
        """
        for name, value in self.reached(narrowest).items():
            if value > self.most[name]:
                hint = "" if prune.dense_layers else self._dense_hint(name, value, narrowest, narrowest_of)
                raise InfeasibleBudgetError(self._why_not(name, value, narrowest, prune) + hint + ".")

    def _why_not(self, limit: str, value: float, narrowest: Mapping[str, int], prune: Prune) -> str:
        """What the narrowest network takes, where most of it goes, and its other costs."""
        cost, most, where = count(self.graph, narrowest), self.most[limit], ""
        figures = {name: getattr(cost, field) for name, field in COSTS.items()}
        if self.runtime is not None:
            figures |= self.runtime.of(narrowest, ("peak_ram", "flash"))
        if self.runtime is not None and limit in self.runtime.most:
            name, own = self.runtime.runtime.largest(limit, narrowest)
            where = f", most of it in '{name}' ({own:,}{', alone more than the limit' if own > most else ''})"
        elif limit in COSTS:
            heaviest = max(cost.by_layer, key=lambda layer: getattr(layer, _OF_LAYER[limit]))
            own = getattr(heaviest, _OF_LAYER[limit])
            alone = ", alone more than the limit" if own > most else ""
            where = f", most of it in '{heaviest.name}' ({own:,}{alone}{self._why_whole(heaviest.name)})"
        least = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in figures.items())
        smallest = f"{prune.min_filters} filter{'s' if prune.min_filters > 1 else ''} a layer"
        if prune.multiple_of > 1:
            smallest += f", multiples of {prune.multiple_of}"
        return (
            f"budget: {limit.replace('_', ' ')} {_number(most)} cannot be met: the smallest network ({smallest}) still "
            f"takes {_number(value)}{where}; the least of each cost: {least}"
        )

    def _why_whole(self, layer: str) -> str:
        """Why a layer keeps all its filters; nothing of one that may lose some."""
        group = self.graph.groups.get(layer)
        return f"; it keeps all filters: {group.reason}" if group is not None and group.reason else ""

    def _dense_hint(
        self, limit: str, least: float, narrowest: Mapping[str, int], narrowest_of: Callable[[int], int]
    ) -> str:
        """What pruning dense layers as well would bring; nothing where it would not help."""
        groups = self.graph.prunable(dense_layers=True)
        widths = {name: narrowest_of(group.filters) for name, group in groups.items()} | dict(narrowest)
        value = self.reached(widths)[limit]
        if value >= least:
            return ""
        words = limit.replace("_", " ")
        return f"; --prune.dense-layers would let the dense layers shrink too ({words} down to {_number(value)})"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
