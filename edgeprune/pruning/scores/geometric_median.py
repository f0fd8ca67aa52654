"""Geometric-median scores of filters: He et al., "Filter Pruning via Geometric Median", CVPR 2019 (FPGM)."""

from torch import Tensor, float64

_CLOSE = 1e-4


def geometric_median(weight: Tensor) -> Tensor:
    """Sum of a filter's Euclidean distances to all filters of its layer, `[filters]`, float64.

    Other filters can stand in for one near the geometric median. Distances come from scalar products of the filters
    less their mean, in double precision. Rounding would leave little of the distance between filters that are much
    closer to each other than to the mean, so theirs come from differences.
    """
    filters = weight.detach().to(float64).flatten(1)
    centred = filters - filters.mean(dim=0)
    norms = centred.square().sum(dim=1)
    sums = norms[:, None] + norms
    squared = sums - 2 * centred @ centred.T
    close = squared <= _CLOSE * sums
    distances = squared.clamp_(min=0).sqrt_()
    close.fill_diagonal_(False)
    distances.fill_diagonal_(0)
    for index in close.any(dim=1).nonzero()[:, 0].tolist():
        others = close[index]
        distances[index, others] = (filters[others] - filters[index]).square().sum(dim=1).sqrt()
    return distances.sum(dim=1)
