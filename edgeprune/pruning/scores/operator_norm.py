"""Operator-norm scores of filters: Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319.

Both scores go by the weight's shape `[filters, channels, *kernel]` alone: slice c of a filter is its own c-th input. So
filters of different groups of a convolution are compared as if they saw the same channels, and a depthwise layer is
one channel with all filters. A 1-D convolution's kernel has one dimension; a dense layer's, and a 1x1 convolution's,
has one position, so that the direction is known and only its sign is left to choose.

The layer is taken in pieces of about a megabyte, each in double precision, so that a score needs little memory beside
the weight and its pieces stay in the processor's cache.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, float64
from torch.linalg import eigh

_PIECE_BYTES = 1 << 20
# Squared singular values closer than this count as equal.
_TIE = 1e-9
# What rounding alone leaves of filters that do not differ, relative to the largest weight, squared, before summing.
_NOISE = 1e-28


def operator_norm(weight: Tensor) -> Tensor:
    """How much each filter contributes along the direction a layer amplifies most; no data is needed.

    For input channel c, A_c `[filters, k*k]` holds the filters' slices, centred by their mean; v_c is its top right
    singular vector, turned so that filter 0 projects on it without sign. A filter's score is the squared sum over the
    channels of its projections. v_c comes from A_c's Gram matrix, `[k*k, k*k]` or `[filters, filters]`, whichever is
    smaller, many channels in one batch: the singular value decomposition of the published code gives the same vectors
    at many times the cost.

    Args:
        weight: `[filters, channels, *kernel]`; a dense layer's `[filters, channels]` has a kernel of one.

    Returns:
        `[filters]`, float64, the largest 1 (all zeros for a layer whose filters do not differ).
    """
    weight = weight.detach()
    if weight[0, 0].numel() == 1:
        sums = torch.cat([rows @ signs for rows, signs in _points(weight)])
    else:
        sums = weight.new_zeros(len(weight), dtype=float64)
        for slices in _channels(weight):
            direction = _directions(slices)[1][:, :, -1]
            turned = direction * _signs((slices[:, 0] * direction).sum(dim=1))[:, None]
            sums += slices.transpose(0, 1).flatten(1) @ turned.flatten()  # all channels' projections and their sum
    return _shares(sums.square_(), weight)


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
    weight = weight.detach()
    if weight[0, 0].numel() == 1:
        return _shares(torch.cat([rows.square_().sum(dim=1) for rows, _ in _points(weight)]), weight)
    scores = weight.new_zeros(len(weight), dtype=float64)
    for slices in _channels(weight):
        values, directions = _directions(slices)
        tied = values > values[:, -1:] * (1 - _TIE)
        tied[:, -1] = True  # in a channel of zeros nothing is larger than nothing
        most = int(tied.sum(dim=1).max())
        shares = (tied / tied.sum(dim=1, keepdim=True))[:, None, -most:]
        scores += ((slices @ directions[:, :, -most:]).square_() * shares).sum(dim=(0, 2))
    return _shares(scores, weight)


def _channels(weight: Tensor) -> Iterator[Tensor]:
    """Filters' slices less their mean, a piece at a time: `[some channels, filters, positions]`, float64."""
    slices = weight.flatten(2)
    filters, channels, positions = slices.shape
    step = max(1, _PIECE_BYTES // (8 * positions * max(filters, positions)))
    for start in range(0, channels, step):
        piece = slices[:, start : start + step].to(float64, copy=True)
        yield piece.sub_(piece.mean(dim=0)).transpose(0, 1)


def _points(weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For kernels of one position: filters less their mean, a piece at a time.

    Yields:
        `[some filters, channels]`, and what filter 0's sign is in each channel, `[channels]`; both float64.
    """
    rows = weight.flatten(1)
    pieces = torch.split(rows, max(1, _PIECE_BYTES // (8 * rows.shape[1])))
    mean = rows.new_zeros(rows.shape[1], dtype=float64)
    for piece in pieces:
        mean += piece.to(float64).sum(dim=0)
    mean /= len(rows)
    signs = _signs(rows[0].to(float64) - mean)
    for piece in pieces:
        yield piece.to(float64, copy=True).sub_(mean), signs


def _directions(slices: Tensor) -> tuple[Tensor, Tensor]:
    """Squared singular values, ascending, and right singular vectors of `[channels, filters, positions]`.

    Returns:
        `[channels, n]` and `[channels, positions, n]`, n the smaller of filters and positions. Where a value is next to
        zero, its vector means nothing.
    """
    if slices.shape[1] >= slices.shape[2]:
        values, vectors = eigh(slices.mT @ slices)
        return values, vectors
    values, left = eigh(slices @ slices.mT)
    lengths = values.clamp(min=torch.finfo(float64).tiny).sqrt_()
    return values, (slices.mT @ left).div_(lengths[:, None])


def _signs(values: Tensor) -> Tensor:
    """1 and -1, and 1 for zero."""
    return torch.where(values < 0, -1.0, 1.0).to(float64)


def _shares(scores: Tensor, weight: Tensor) -> Tensor:
    """Scores divided by the largest, or zeros where they are rounding."""
    low, high = weight.aminmax()
    peak = torch.maximum(-low, high).to(float64)
    channels = weight.shape[1]
    largest = scores.max()
    if largest <= _NOISE * peak.square() * channels * channels * weight[0, 0].numel():
        return scores.zero_()
    return scores.div_(largest)
