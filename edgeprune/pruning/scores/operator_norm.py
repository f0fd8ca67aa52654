"""Operator-norm scores of filters: Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319.

Both scores see the weight `[filters, channels, *kernel]` alone, and slice c of a filter weighs the filter's own c-th
input. So they compare filters of different groups of a convolution as if these read the same channels, and a depthwise
layer is one channel with all filters. The kernel of a dense layer, or of a 1x1 convolution, has one position, so the
direction is known and only its sign is to be chosen.

The layer is processed in pieces of about a megabyte, each in double precision. A score then needs little memory beside
the weight, and the pieces stay in the processor's cache.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, float64
from torch.linalg import eigh

_PIECE_BYTES = 1 << 20


def operator_norm(weight: Tensor) -> Tensor:
    """How much each filter contributes along the direction that the layer amplifies most; no data is needed.

    For input channel c, A_c `[filters, k*k]` holds the filters' slices less their mean. Its top right singular vector
    v_c has the sign with which the projection of filter 0 on it is not negative. A filter's score is the square of the
    sum of its projections over the channels. v_c is computed from the smaller Gram matrix of A_c, `[k*k, k*k]` or
    `[filters, filters]`, for many channels in one batch. The singular value decomposition in the published code gives
    the same vectors at many times the cost.

    The scores `[filters]` are float64, the largest 1; they are zeros for a layer whose filters do not differ.
    """
    weight = weight.detach()
    if weight[0, 0].numel() == 1:
        sums = torch.cat([rows @ signs for rows, signs in _points(weight)])
    else:
        sums = weight.new_zeros(len(weight), dtype=float64)
        for slices in _channels(weight):
            direction = _directions(slices)[1][:, :, -1]
            signed = direction * _signs((slices[:, 0] * direction).sum(dim=1))[:, None]
            sums += slices.transpose(0, 1).flatten(1) @ signed.flatten()  # projections, summed over the channels
    return _shares(sums.square_(), weight)


def operator_norm_unsigned(weight: Tensor) -> Tensor:
    """The operator norm without the choice of signs, so that the order of the filters does not matter; our own design.

    A singular vector has no sign of its own. `operator_norm` takes it from filter 0, so its scores change with the
    order of the filters. Here the score is the mean of `(sum over c of +-<A_c[n], v_c>)^2` over all choices of the
    signs, which equals the sum over the channels c of `<A_c[n], v_c>^2`. That is the energy of filter n along the
    direction that each channel amplifies most, or its mean where several directions of a channel tie. For a kernel of
    one position it is the squared distance from the mean filter.

    The scores `[filters]` are float64, the largest 1; they are zeros for a layer whose filters do not differ.
    """
    weight = weight.detach()
    if weight[0, 0].numel() == 1:
        return _shares(torch.cat([rows.square_().sum(dim=1) for rows, _ in _points(weight)]), weight)
    scores = weight.new_zeros(len(weight), dtype=float64)
    for slices in _channels(weight):
        values, directions = _directions(slices)
        tied = values > values[:, -1:] * (1 - 1e-9)
        tied[:, -1] = True  # in a channel of zeros the comparison fails even for the largest value
        most = int(tied.sum(dim=1).max())
        shares = (tied / tied.sum(dim=1, keepdim=True))[:, None, -most:]
        scores += ((slices @ directions[:, :, -most:]).square_() * shares).sum(dim=(0, 2))
    return _shares(scores, weight)


def _channels(weight: Tensor) -> Iterator[Tensor]:
    """The filters' slices less their mean, some channels at a time: `[channels, filters, positions]`, float64."""
    slices = weight.flatten(2)
    filters, channels, positions = slices.shape
    step = max(1, _PIECE_BYTES // (8 * positions * max(filters, positions)))
    for start in range(0, channels, step):
        piece = slices[:, start : start + step].to(float64, copy=True)
        yield piece.sub_(piece.mean(dim=0)).transpose(0, 1)


def _points(weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For kernels of one position: some filters at a time less the mean of all, `[filters, channels]`, float64.

    With them comes the sign of filter 0 in each channel, `[channels]`.
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

    They are `[channels, n]` and `[channels, positions, n]`, n being the smaller of filters and positions. The vector of
    a value close to zero means nothing.
    """
    if slices.shape[1] >= slices.shape[2]:
        values, vectors = eigh(slices.mT @ slices)
        return values, vectors
    values, left = eigh(slices @ slices.mT)
    lengths = values.clamp(min=torch.finfo(float64).tiny).sqrt_()
    return values, (slices.mT @ left).div_(lengths[:, None])


def _signs(values: Tensor) -> Tensor:
    """-1 for negative values and 1 for all others."""
    return torch.where(values < 0, -1.0, 1.0).to(float64)


def _shares(scores: Tensor, weight: Tensor) -> Tensor:
    """Scores divided by the largest one; zeros where they are nothing but rounding errors."""
    low, high = weight.aminmax()
    peak = torch.maximum(-low, high).to(float64)
    channels = weight.shape[1]
    largest = scores.max()
    # The factor is what rounding alone leaves of equal filters, relative to the largest weight, squared.
    if largest <= 1e-28 * peak.square() * channels * channels * weight[0, 0].numel():
        return scores.zero_()
    return scores.div_(largest)
