"""edgeprune: train, prune, export and measure audio networks that must fit a device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__version__ = "0.1.0"


def score(weight: "Tensor", criterion: str = "operator_norm") -> "Tensor":
    """Score the filters of one layer; those with the lowest scores are pruned first.

    Args:
        weight: `[filters, channels, *kernel]`.
        criterion: a name from `edgeprune.pruning.scores.CRITERIA`; `operator_norm` is Singh & Plumbley's, "Efficient
            CNNs via Passive Filter Pruning", TASLP 2025.

    Returns:
        `[filters]`, float64.

    Raises:
        EdgepruneError: the criterion is unknown, the weight is no layer's, or it holds NaN or infinite values.
    """
    # PyTorch takes seconds to import; whoever has a tensor has paid for it.
    from edgeprune.pruning.scores import score as score_layer

    return score_layer(weight, criterion)
