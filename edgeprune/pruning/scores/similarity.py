"""Similarity scores of filters: Singh & Plumbley, "A Passive Similarity based CNN Filter Pruning for Efficient Acoustic
Scene Classification", Interspeech 2022."""

from math import inf

import torch
from torch import Tensor, float64
from torch.linalg import eigh

_FARTHEST = 2.0  # the cosine distance of opposite vectors
_LAST = 3.0  # more than any distance
_NO_SHARE = 1e-9


def similarity(weight: Tensor) -> Tensor:
    """How far a filter was from the most similar one when it was its turn to go.

    A filter `[positions, channels]` stands for itself by the first column of its rank-1 approximation, scaled to unit
    length. Of the two filters with the least cosine distance, one goes; then again among those that are left, to
    the last. A filter's score is its pair's distance when it went, which never falls from one removal to the next, so
    ascending scores are the order of removal. The one that is left at the end scores 3, more than any distance, and
    filters of zeros score 0.

    The published code makes one pass over every filter's nearest neighbour, which ranks only some of the filters, and
    which of a pair goes follows from the order of the filters. Here the one with the smaller Euclidean norm goes.

    Args:
        weight: `[filters, channels, *kernel]`. A kernel of one position, as a dense layer's `[filters, channels]` has,
            would leave only a sign of its first column, so there the whole filter is compared.

    Returns:
        `[filters]`, float64, from 0 to 2, and 3 for the last.
    """
    filters = weight.detach().to(float64)
    norms = filters.flatten(1).norm(dim=1)
    scores = torch.zeros_like(norms)
    some = norms > 0
    if some.any():
        vectors = _representatives(filters[some] / norms[some].view(-1, *[1] * (weight.ndim - 1)))
        distances = 1 - vectors @ vectors.T
        # Rounding must leave a pair one distance, not two.
        distances = ((distances + distances.T) / 2).clamp_(0, _FARTHEST)
        # One small step after the other, which an accelerator is slow at.
        scores[some] = _distances_when_removed(distances.cpu(), norms[some].cpu()).to(scores.device)
    return scores


def _representatives(filters: Tensor) -> Tensor:
    """Unit vectors `[filters, positions]`, or `[filters, channels]` where there is but one position.

    Args:
        filters: `[filters, channels, *kernel]` of norm 1.
    """
    columns = filters.flatten(2) if filters.ndim > 2 else filters[:, :, None]
    if columns.shape[2] == 1:
        return columns[:, :, 0]
    left: Tensor = eigh(columns.transpose(1, 2) @ columns).eigenvectors[:, :, -1]
    # The first column of the rank-1 approximation gives the sign; where it is zero, the first that is not.
    shares = (columns @ left[:, :, None])[:, :, 0]
    first = (shares.abs() > _NO_SHARE).int().argmax(dim=1, keepdim=True)
    return left * shares.gather(1, first).sign()


def _distances_when_removed(distances: Tensor, norms: Tensor) -> Tensor:
    """Thin the filters out, closest pair by closest pair.

    Args:
        distances: `[filters, filters]`, symmetric; overwritten.
        norms: `[filters]`, the smaller of a pair goes.

    Returns:
        `[filters]`: the distance of each filter's pair when it went, 3 for the one that is left.
    """
    scores = torch.full_like(norms, _LAST)
    distances.fill_diagonal_(inf)
    nearest, partner = distances.min(dim=1)
    penalty = torch.zeros_like(norms)  # infinite for those that went
    for _ in range(len(norms) - 1):
        one = int((nearest + penalty).argmin())
        other = int(partner[one])
        gone = one if norms[one] < norms[other] else other
        scores[gone] = distances[one, other]
        penalty[gone] = inf
        # Only filters that had it as the nearest need another search.
        alone = ((partner == gone) & (penalty == 0)).nonzero()[:, 0]
        if len(alone):
            nearest[alone], partner[alone] = (distances[alone] + penalty).min(dim=1)
    return scores
