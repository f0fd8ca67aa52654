"""Scores of filters from how often, and how variously, their feature maps respond."""

import torch
from torch import Tensor, float64

BINS = 100


def apoz(maps: Tensor) -> Tensor:
    """Share of a feature map that is not zero: one less the average percentage of zeros, so that high means keep.

    Source: Hu et al., "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures",
    arXiv 1607.03250. It counts exact zeros, as ReLU leaves them; after activations without, all filters score 1.

    From maps `[n, filters, ...]` after the activation function come `[n, filters]`, float64, 0 to 1.
    """
    positions = maps[0, 0].numel()
    return torch.count_nonzero(_flat(maps), dim=2).to(float64) / positions


def entropy(maps: Tensor) -> Tensor:
    """Mean over the positions of each feature map `[n, filters, ...]`: `[n, filters]`, float64."""
    return _flat(maps).mean(dim=2, dtype=float64)


def entropy_over_clips(values: Tensor) -> Tensor:
    """Shannon entropy of the histogram of a filter's mean responses, as `entropy` gives them.

    Source: Luo & Wu, "An Entropy-based Pruning Method for CNN Compression", arXiv 1706.05791, which pools each map to
    its mean and divides a filter's means over the images into bins. Here they are 100, equally wide, from the filter's
    smallest mean to its largest, so the entropy ignores scale; more than exp(entropy) clips are needed to tell.

    From `[clips, filters]` come `[filters]`, float64, in nats: from 0 (all clips in one bin) to log(100).
    """
    low, high = values.aminmax(dim=0)
    width = high - low
    place = (values - low) / torch.where(width > 0, width, 1) * BINS
    bins = place.long().clamp_(max=BINS - 1)
    counts = torch.zeros(BINS, values.shape[1], dtype=float64, device=values.device)
    counts.scatter_add_(0, bins, torch.ones_like(counts[:1]).expand_as(values))
    terms: Tensor = torch.special.entr(counts / len(values))
    return terms.sum(dim=0)


def _flat(maps: Tensor) -> Tensor:
    return maps.detach().reshape(*maps.shape[:2], -1)
