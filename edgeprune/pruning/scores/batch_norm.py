"""Scores of filters from the batch norm that follows them."""

from torch import Tensor, float64


def batchnorm_scale(scale: Tensor) -> Tensor:
    """Magnitude of gamma, the factor by which batch norm scales each filter's normalised output: `[filters]`, float64.

    Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017. There training
    adds an L1 penalty on the scales; without one they are seldom near zero and the ranking says less.
    """
    return scale.detach().to(float64).abs()
