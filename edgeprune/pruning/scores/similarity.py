"""Similarity scores of filters: Singh & Plumbley, "A Passive Similarity based CNN Filter Pruning for Efficient Acoustic
Scene Classification", Interspeech 2022."""

from math import inf

import torch
from torch import Tensor, float64
from torch.linalg import eigh


def similarity(weight: Tensor) -> Tensor:
    """How far each filter is from the most similar one when it is removed, `[filters]`, float64.

    Each filter, a matrix `[positions, channels]`, is represented by the first column of its rank-1 approximation,
    scaled to unit length. Of a kernel with one position that column would be a mere sign, so the whole filter is taken.
    Of the two filters with the least cosine distance one is removed, and so on to the last. A filter's score is the
    distance of its pair when it is removed, from 0 to 2. It never falls from one removal to the next, so ascending
    scores are the order of removal. The last filter scores 3, more than any distance, and filters of zeros score 0.

    The published code makes one pass over every filter's nearest neighbour, which ranks only some of the filters, and
    which of a pair is removed follows from the order of the filters. Here it is the one of smaller Euclidean norm.
    """
    filters = weight.detach().to(float64)
    norms = filters.flatten(1).norm(dim=1)
    scores = torch.zeros_like(norms)
    some = norms > 0
    if some.any():
        vectors = _representatives(filters[some] / norms[some].view(-1, *[1] * (weight.ndim - 1)))
        distances = 1 - vectors @ vectors.T
        # Rounding must leave a pair one distance, not two; opposite vectors have distance 2.
        distances = ((distances + distances.T) / 2).clamp_(0, 2)
        # These are many small steps one after the other, so an accelerator would be slow at them.
        scores[some] = _distances_when_removed(distances.cpu(), norms[some].cpu()).to(scores.device)
    return scores


def _representatives(filters: Tensor) -> Tensor:
    """Unit vectors `[filters, positions]` of filters of norm 1; `[filters, channels]` where there is one position."""
    columns = filters.flatten(2) if filters.ndim > 2 else filters[:, :, None]
    if columns.shape[2] == 1:
        return columns[:, :, 0]
    left: Tensor = eigh(columns.transpose(1, 2) @ columns).eigenvectors[:, :, -1]
    # The first column of the rank-1 approximation gives the sign; where it is zero, the first that is not.
    shares = (columns @ left[:, :, None])[:, :, 0]
    first = (shares.abs() > 1e-9).int().argmax(dim=1, keepdim=True)
    return left * shares.gather(1, first).sign()


def _distances_when_removed(distances: Tensor, norms: Tensor) -> Tensor:
    """Of each filter, its pair's distance when it is removed, `[filters]`; symmetric `distances` are overwritten."""
    scores = torch.full_like(norms, 3.0)
    distances.fill_diagonal_(inf)
    nearest, partner = distances.min(dim=1)
    penalty = torch.zeros_like(norms)  # infinite for removed filters
    for _ in range(len(norms) - 1):
        one = int((nearest + penalty).argmin())
        other = int(partner[one])
        removed = one if norms[one] < norms[other] else other
        scores[removed] = distances[one, other]
        penalty[removed] = inf
        # Only filters whose nearest one it was need another search.
        alone = ((partner == removed) & (penalty == 0)).nonzero()[:, 0]
        if len(alone):
            nearest[alone], partner[alone] = (distances[alone] + penalty).min(dim=1)
    return scores
