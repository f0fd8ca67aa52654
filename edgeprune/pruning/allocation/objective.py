"""What a layer is worth with so many of its filters: scores made comparable across layers.

Scores of different layers have different scales, so a solver cannot add them up. Each objective turns a layer's scores
into the value of keeping its best k filters; the value of a network is the sum over its layers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError, unknown_name

Values = NDArray[np.float64]

OBJECTIVES = {
    "log_mass": "sum over layers of the logarithm of the share of the scores that is kept",
    "mass": "sum over layers of the share of the scores that is kept",
    "log_width": "sum over layers of the logarithm of the share of the filters that is kept; scores play no part",
    "sensitivity": "minus the sum of the loss each layer's pruning alone adds on clips",
}
_TIE = 1e-9
"""Of networks worth the same, the wider one: this share of the filters kept is added to a layer's value."""


def check_objective(name: str) -> str:
    """The name, if it is an objective's."""
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    return name


def importance(
    scores: Mapping[str, Sequence[float]], objective: str, losses: Mapping[str, Mapping[int, float]] | None = None
) -> dict[str, Values]:
    """By group, the value of keeping its best k filters, `[filters + 1]`; never falling in k, -inf for none.

    A group's scores `[filters]` are not negative. The losses are those of `sensitivity.measure_losses`, which the
    objective `sensitivity` needs.
    """
    check_objective(objective)
    by_group = {}
    for name, layer in scores.items():
        if objective == "sensitivity":
            if losses is None:
                raise EdgepruneError("objective 'sensitivity': needs the losses of `sensitivity.measure_losses`.")
            values = _from_losses(losses[name], len(layer))
        else:
            share = np.arange(len(layer) + 1) / len(layer) if objective == "log_width" else kept_share(layer)
            with np.errstate(divide="ignore"):
                values = share if objective == "mass" else np.log(share)
        values = values + _TIE * np.arange(len(layer) + 1) / len(layer)
        values[0] = -np.inf
        by_group[name] = values
    return by_group


def kept_share(scores: Sequence[float]) -> Values:
    """Share of the scores that the best k filters hold, `[filters + 1]`; of scores that are all zero, of filters."""
    ranked = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    total = ranked.sum()
    if not total > 0:
        return np.arange(len(ranked) + 1) / len(ranked)
    shares: Values = np.concatenate([[0.0], np.cumsum(ranked)]) / total
    return np.minimum(1.0, shares)


def _from_losses(losses: Mapping[int, float], filters: int) -> Values:
    """Minus the added loss, interpolated over the logarithm of the width; it never rises with more filters."""
    measured = np.array(sorted(losses))
    lost = np.array([losses[width] for width in measured]) - losses[filters]
    lost = np.maximum.accumulate(np.maximum(lost, 0.0)[::-1])[::-1]
    widths = np.arange(filters + 1)
    return -np.interp(np.log(np.maximum(widths, 1)), np.log(measured), lost)
