"""How badly the other filters stand in for one, after what reads them was fitted anew."""

from collections.abc import Sequence

import torch
from torch import Tensor

RIDGE = 1e-2
"""Share of the inputs' mean variance that keeps a fit from leaning on differences of nearly equal inputs."""
_CONSTANT = 1e-6
"""Share of the largest variance of a reader's outputs below which one counts as constant."""
_SMALL = 1e-30


def stand_in(covariances: Sequence[Tensor], weights: Sequence[Tensor], filters: int, ridge: float = RIDGE) -> Tensor:
    """The error that is left when a filter is removed together with all those before it, `[filters]`, float64.

    Filters are removed one by one: each time the one that the layers which read them miss least, once their weights on
    the filters that are left were fitted by least squares. The error is a share of the variance of what a reader
    computes, mean over all it computes and over the readers, from 0 to 1. It never falls, so ascending scores are the
    order of removal, and the last filter scores 1.

    A reader has the same number of inputs for each filter, one after the other: the positions of its kernel, or the
    places of a flatten. With the covariances C of the inputs, the removal of those of filter c adds the trace of
    `w[c].T @ inverse(inverse(C)[c, c]) @ w[c]` (Hassibi & Stork, "Second order derivatives for network pruning: Optimal
    Brain Surgeon", NIPS 1992), and changes weights and inverse by a product of low rank.

    Args:
        covariances: of the inputs of each reader, `[inputs, inputs]`, in any unit.
        weights: by which each reader reads its inputs, `[inputs, repeats, outputs]`: all repeats of an output read the
            same inputs, at other places, and count together.
        ridge: added to the variances, as a share of their mean.
    """
    fits = [_Fit(one.double(), two.double(), filters, ridge) for one, two in zip(covariances, weights, strict=True)]
    scores = torch.zeros(filters, dtype=torch.float64)
    left = torch.ones(filters, dtype=torch.bool)
    error = 0.0
    for _ in range(filters):
        rises = torch.stack([fit.rises() for fit in fits]).mean(0).cpu()
        removed = int(torch.where(left, rises, torch.inf).argmin())
        error += max(0.0, float(rises[removed]))
        scores[removed], left[removed] = error, False
        for fit in fits:
            fit.remove(removed)
    return scores


class _Fit:
    """A reader whose weights fit what it computed with all filters, on those that are left."""

    def __init__(self, covariance: Tensor, weight: Tensor, filters: int, ridge: float) -> None:
        inputs = len(covariance)
        ridged = covariance.clone()
        ridged.diagonal().add_(ridge * covariance.diagonal().mean().clamp(min=_SMALL))
        variances, ridged_variances = (
            (weight * torch.tensordot(one, weight, 1)).sum((0, 1)) for one in (covariance, ridged)
        )
        varies = variances > _CONSTANT * variances.max()  # an output that does not is left to its bias
        scaled = torch.where(varies, weight / ridged_variances.clamp(min=_SMALL).sqrt(), 0).flatten(1)
        self._filters, self._block = filters, inputs // filters
        self._inverse = torch.linalg.inv(ridged)
        self._products = scaled @ scaled.mT / varies.sum().clamp(min=1)

    def rises(self) -> Tensor:
        """What the removal of each filter adds to the error, `[filters]`."""
        inverses, products = self._blocks(self._inverse), self._blocks(self._products)
        rises: Tensor = torch.linalg.solve(inverses, products).diagonal(dim1=1, dim2=2).sum(1)
        return rises

    def remove(self, filter: int) -> None:
        gone = slice(filter * self._block, (filter + 1) * self._block)
        columns = self._inverse[:, gone].clone()
        replaced = torch.linalg.solve(columns[gone], columns.mT).mT  # by how much of each of the other inputs
        missed = self._products[:, gone] - replaced @ self._products[gone, gone] / 2
        self._products -= replaced @ missed.mT + missed @ replaced.mT
        self._inverse -= columns @ replaced.mT
        self._inverse[gone, gone] = torch.eye(self._block).to(columns)  # its rows and columns are zero

    def _blocks(self, matrix: Tensor) -> Tensor:
        """The blocks on the diagonal, `[filters, inputs of a filter, inputs of a filter]`."""
        shape = (self._filters, self._block) * 2
        return matrix.view(shape).diagonal(dim1=0, dim2=2).movedim(-1, 0)
