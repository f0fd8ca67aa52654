"""Scores of filters by name; a score takes a layer's weight and returns `[filters]`, low scores go first."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from torch import Tensor

_WHERE = {
    "operator_norm": "operator_norm",
    "operator_norm_unsigned": "operator_norm",
    "l1": "norms",
    "l2": "norms",
    "geometric_mean": "geometric_mean",
    "geometric_median": "geometric_median",
    "similarity": "similarity",
    "random": "chance",
}
CRITERIA = tuple(_WHERE)


def criterion(name: str) -> "Callable[[Tensor], Tensor]":
    """The score function of that name; raises EdgepruneError with the nearest name when there is none."""
    if name not in _WHERE:
        near = get_close_matches(name, CRITERIA, n=1)
        hint = f"perhaps you meant '{near[0]}'" if near else f"known: {', '.join(CRITERIA)}"
        raise EdgepruneError(f"criterion '{name}' is unknown; {hint}.")
    from importlib import import_module

    function: Callable[[Tensor], Tensor] = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    return function


def score(weight: "Tensor", criterion_name: str = "operator_norm", layer: str = "the layer") -> "Tensor":
    """Score the filters of one layer.

    Args:
        weight: `[filters, channels, *kernel]`.
        criterion_name: a name from `CRITERIA`.
        layer: named in errors.

    Returns:
        `[filters]`, float64.

    Raises:
        EdgepruneError: the criterion is unknown, the weight is no layer's, or it holds NaN or infinite values.
    """
    if weight.ndim < 2 or weight.numel() == 0:
        raise EdgepruneError(f"{layer}: a weight of shape {list(weight.shape)} has no filters to score.")
    if not weight.isfinite().all():
        raise EdgepruneError(f"{layer}: its weights hold NaN or infinite values; train the network again.")
    return criterion(criterion_name)(weight)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation of two criteria's scores of one layer, from -1 to 1.

    Args:
        first: `[filters]`.
        second: `[filters]`.

    Returns:
        None where it is undefined: fewer than two filters, or a criterion that scores all of them the same.
    """
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)
