"""Entry-wise norms of filters, the usual rivals (Li et al., "Pruning filters for efficient ConvNets")."""

from torch import Tensor, float64


def l1(weight: Tensor) -> Tensor:
    """Sum of absolute weights of each filter, `[filters]`, float64."""
    return weight.detach().to(float64).flatten(1).abs().sum(1)


def l2(weight: Tensor) -> Tensor:
    """Euclidean norm of each filter, `[filters]`, float64."""
    return weight.detach().to(float64).flatten(1).square().sum(1).sqrt()
