"""Geometric-mean scores of filters, the rival published beside the operator norm."""

from torch import Tensor, float64


def geometric_mean(weight: Tensor) -> Tensor:
    """How far the typical magnitude of a filter's weights is from that of the whole layer.

    With g_n the geometric mean of filter n's absolute weights and G that of the layer's, the score is `(G - g_n)^2`.
    This is what Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319, compare the operator
    norm with; their code calls it geometric median, which it is not: see `geometric_median` for that one.

    The scores `[filters]` are float64, the largest 1; they are zeros where the filters' means do not differ.
    """
    logs = weight.detach().to(float64).flatten(1).abs().log_()  # -inf for a weight of zero: the mean is then zero
    of_filters = logs.mean(dim=1)
    # Filters are equally large, so the layer's mean is the mean of theirs.
    of_layer = of_filters.mean().exp()
    distances = (of_layer - of_filters.exp()).abs()
    largest = distances.max()
    if largest <= 1e-12 * of_layer:  # rounding, blown up if it were divided by the largest
        return distances.zero_()
    return (distances / largest).square()
