"""Operator-norm scores of filters: Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319."""

from torch import Tensor, float64
from torch.linalg import eigh


def operator_norm(weight: Tensor) -> Tensor:
    """How much each filter contributes along the direction a layer amplifies most; no data is needed.

    For input channel c, A_c `[filters, k*k]` holds the filters' slices, centred by their mean; v_c is its top right
    singular vector, turned so that filter 0 projects on it without sign. A filter's score is the squared sum over the
    channels of its projections. v_c comes from the k*k x k*k Gram matrices, all channels in one batch: the singular
    value decomposition of the published code gives the same vectors at many times the cost.

    Args:
        weight: `[filters, channels, *kernel]`; a dense layer's `[filters, channels]` has a kernel of one.

    Returns:
        `[filters]`, float64, the largest 1 (all zeros for a layer whose filters do not differ).
    """
    slices = weight.detach().to(float64).flatten(2) if weight.ndim > 2 else weight.detach().to(float64)[:, :, None]
    slices = slices.permute(1, 0, 2)
    centred = slices - slices.mean(dim=1, keepdim=True)
    gram = centred.transpose(1, 2) @ centred
    direction = eigh(gram).eigenvectors[:, :, -1:]
    projections = (centred @ direction)[:, :, 0]
    signs = projections[:, :1].sign()
    signs[signs == 0] = 1
    scores = (projections * signs).sum(dim=0).square()
    largest = scores.max()
    return scores / largest if largest > 0 else scores
