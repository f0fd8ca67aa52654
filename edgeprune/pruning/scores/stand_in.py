"""How badly the other filters stand in for one, after what reads them was fitted anew."""

import torch
from torch import Tensor

RIDGE = 1e-2
"""Share of the filters' mean variance that keeps a fit from leaning on differences of nearly equal filters."""
_SMALL = 1e-30


def stand_in(covariances: Tensor, products: Tensor, ridge: float = RIDGE) -> Tensor:
    """The error that is left when a filter is removed together with all those before it, `[filters]`, float64.

    Filters are removed one by one: each time the one that the layers which read them miss least, once their weights on
    the filters that are left were fitted by least squares. The error is a share of the readers' variance, mean over the
    readers, from 0 to 1; it never falls, so ascending scores are the order of removal, and the last filter scores 1.

    A fit replaces a filter by a weighted sum of the others at the same place, which each reader may weight in its own
    way. With the covariances C and the weights w of a filter c, its removal adds `w[c] @ w[c] / inverse(C)[c, c]`
    (optimal brain surgeon: Hassibi & Stork, NIPS 1992), and changes the weights and the inverse by a product of two
    vectors. Memory and time for n filters grow with n squared and n cubed.

    Args:
        covariances: of the filters' outputs as each reader gets them, `[readers, filters, filters]`, in any unit.
        products: of the weights by which a reader reads two filters, summed over all it computes, of the same shape.
        ridge: added to the variances, as a share of their mean.
    """
    covariances, products = covariances.double(), products.double()
    mean = covariances.diagonal(dim1=1, dim2=2).mean(1).clamp(min=_SMALL)
    ridged = covariances + torch.diag_embed((ridge * mean)[:, None].expand(covariances.shape[:2]))
    total = (products * ridged).sum((1, 2), keepdim=True).clamp(min=_SMALL)
    inverse, products = torch.linalg.inv(ridged), products / total / len(products)
    scores, left = torch.zeros_like(ridged[0, 0]), torch.ones_like(ridged[0, 0], dtype=torch.bool)
    error = torch.zeros_like(scores[0])
    for _ in scores:
        rises = (products.diagonal(dim1=1, dim2=2) / inverse.diagonal(dim1=1, dim2=2)).sum(0)
        removed = int(torch.where(left, rises, torch.inf).argmin())
        error = error + rises[removed].clamp(min=0)
        scores[removed], left[removed] = error, False
        replaced = inverse[:, :, removed] / inverse[:, removed, removed, None]  # by how much of each of the others
        missed = products[:, :, removed] - products[:, removed, removed, None] / 2 * replaced
        products = products - _outer(replaced, missed) - _outer(missed, replaced)
        inverse = inverse - _outer(inverse[:, :, removed], replaced)
        inverse[:, removed, removed] = 1  # its row and column are zero
    return scores


def _outer(one: Tensor, two: Tensor) -> Tensor:
    return one[:, :, None] * two[:, None]
