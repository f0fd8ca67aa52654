"""Scores of filters from activations and gradients."""

from torch import Tensor, float64


def taylor(maps: Tensor, gradients: Tensor) -> Tensor:
    """How much the loss of a clip would change, to first order, if a feature map were set to zero.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017: the
    magnitude of the mean over a map's positions of activation times gradient.

    From maps `[n, filters, ...]` and the gradients of the clips' summed losses by them, of the same shape, come
    `[n, filters]`, float64, in units of the loss a position.
    """
    products = maps.detach() * gradients.detach()
    return products.reshape(*maps.shape[:2], -1).mean(dim=2, dtype=float64).abs()


def taylor_over_clips(values: Tensor) -> Tensor:
    """Mean over the clips, divided by the layer's Euclidean norm, as published, so that layers can be compared.

    From `[clips, filters]` come `[filters]` of norm 1, or zeros where no filter matters.
    """
    means = values.mean(dim=0)
    norm = means.norm()
    return means / norm if norm > 0 else means
