"""Operator-norm scores of filters: Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319."""

from torch import Tensor, float64
from torch.linalg import eigh

# Squared singular values closer than this count as equal; below `_NOISE` of a layer's energy all is rounding.
_TIE = 1e-9
_NOISE = 1e-26


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
    centred = _centred(weight)
    gram = centred.transpose(1, 2) @ centred
    direction = eigh(gram).eigenvectors[:, :, -1:]
    projections = (centred @ direction)[:, :, 0]
    signs = projections[:, :1].sign()
    signs[signs == 0] = 1
    scores = (projections * signs).sum(dim=0).square()
    largest = scores.max()
    return scores / largest if largest > 0 else scores


def operator_norm_unsigned(weight: Tensor) -> Tensor:
    """The operator norm without its choice of signs, so that the order of the filters plays no part; our own design.

    A singular vector has no sign of its own. `operator_norm` takes it from filter 0, so the scores change with the
    order of the filters. Here the score is the mean of `(sum over c of +-<A_c[n], v_c>)^2` over all choices of the
    signs, which is the sum over the channels c of `<A_c[n], v_c>^2`: the energy of filter n along the direction each
    channel amplifies most. Where several directions of a channel tie, it is their mean.

    Args:
        weight: `[filters, channels, *kernel]`; a dense layer's `[filters, channels]` has a kernel of one, and the
            score is then the squared distance from the mean filter.

    Returns:
        `[filters]`, float64, the largest 1 (all zeros for a layer whose filters do not differ).
    """
    centred = _centred(weight)
    values, vectors = eigh(centred.transpose(1, 2) @ centred)
    tied = values > values[:, -1:] * (1 - _TIE)
    tied[:, -1] = True  # in a channel of zeros nothing is larger than nothing
    shares = tied / tied.sum(dim=1, keepdim=True)
    most = int(tied.sum(dim=1).max())
    projections = centred @ vectors[:, :, -most:]
    scores = (projections.square() * shares[:, None, -most:]).sum(dim=(0, 2))
    largest = scores.max()
    if largest <= _NOISE * weight.detach().to(float64).flatten(1).square().sum(dim=1).max():
        return scores.zero_()
    return scores / largest


def _centred(weight: Tensor) -> Tensor:
    """Filters' slices less their mean, channel by channel: `[channels, filters, positions]`, float64."""
    slices = weight.detach().to(float64).flatten(2) if weight.ndim > 2 else weight.detach().to(float64)[:, :, None]
    slices = slices.permute(1, 0, 2)
    return slices - slices.mean(dim=1, keepdim=True)
