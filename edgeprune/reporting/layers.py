"""The layers of a run before and after pruning."""

from dataclasses import dataclass

from edgeprune.reporting.numbers import MISSING
from edgeprune.results.figures import LayerFigures
from edgeprune.results.result import Result

Pair = tuple[int | None, int | None]


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after pruning; None if the result has no figure.

    `scores_kept` is the share of the layer's scores, by the last scoring, that its remaining filters hold.
    """

    name: str
    kind: str
    filters: Pair
    params: Pair
    macs: Pair
    scores_kept: float | None = None

    @property
    def kept(self) -> float | None:
        """Share of the filters that stay."""
        before, after = self.filters
        return after / before if before and after is not None else None


def layer_changes(result: Result) -> list[LayerChange]:
    """Layers with weights, in network order."""
    dense, pruned = result.networks["dense"], result.networks["pruned"]
    costs = [{layer.name: layer for layer in network.cost.by_layer} for network in (dense, pruned)]
    changes = []
    for name in dict.fromkeys((*costs[0], *costs[1], *dense.widths, *pruned.widths)):
        before, after = (cost.get(name, LayerFigures(name, None, None, None, None)) for cost in costs)
        change = LayerChange(
            name,
            before.kind or after.kind or MISSING,
            (dense.widths.get(name, before.filters), pruned.widths.get(name, after.filters)),
            (before.params, after.params),
            (before.macs, after.macs),
            result.budget.kept_scores.get(name),
        )
        # Pools and flattens have neither parameters nor MACs nor widths.
        if any((*change.params, *change.macs)) or name in dense.widths or name in pruned.widths:
            changes.append(change)
    return changes
