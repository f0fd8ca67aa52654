"""Scores of filters from the singular values of their feature maps; each map `[height, width]` is a matrix.

A map of one dimension (of a 1-D convolution) is a matrix of one row, a dense layer's single value a matrix of one
entry: their rank is 1, or 0 where all is zero, and their nuclear norm is the Euclidean norm. Maps of more dimensions
are matrices of their first dimension by all others.
"""

import torch
from torch import Tensor, float64


def hrank(maps: Tensor) -> Tensor:
    """Rank of each feature map: a map of high rank carries much information.

    Source: Lin et al., "HRank: Filter Pruning using High-Rank Feature Map", CVPR 2020. The rank is numerical: the
    number of singular values above `max(height, width) * eps` of the largest, `eps` of the maps' precision.

    From maps `[n, filters, height, width]` come `[n, filters]`, float64.
    """
    ranks: Tensor = torch.linalg.matrix_rank(_matrices(maps))
    return ranks.to(float64)


def energy(maps: Tensor) -> Tensor:
    """Nuclear norm of each feature map, the sum of its singular values: the energy it carries.

    Source: Yeom et al., "Toward Compact Deep Neural Networks via Energy-Aware Pruning", arXiv 2103.10858.

    From maps `[n, filters, height, width]` come `[n, filters]`, float64, in units of the activations.
    """
    values: Tensor = torch.linalg.svdvals(_matrices(maps))
    return values.to(float64).sum(dim=2)


def _matrices(maps: Tensor) -> Tensor:
    """`[n, filters, rows, columns]`, in the precision LAPACK takes."""
    maps = maps.detach()
    maps = maps if maps.dtype == float64 else maps.to(torch.float32)
    if maps.ndim < 4:
        return maps.reshape(*maps.shape[:2], 1, -1)
    return maps.flatten(3)
