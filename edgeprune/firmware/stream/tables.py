"""Weights and scales as the emitted code stores them."""

import numpy as np
from numpy.typing import NDArray

from edgeprune.firmware.stream.depthwise import DepthwiseKernel
from edgeprune.firmware.stream.kernels import Finish
from edgeprune.firmware.stream.network import Convolution, Rescale
from edgeprune.firmware.stream.plan import Step


def pack(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of two int8 `[..., words, 2]`, an even number, as words of four bytes `[..., words / 2]`.

    Bytes 0 and 2 are the halves of the first word, 1 and 3 those of the second.
    """
    pairs = words.reshape(*words.shape[:-2], -1, 2, 2)
    halves = np.moveaxis(pairs, -1, -2).reshape(*words.shape[:-2], -1, 4) & 255
    packed: NDArray[np.int64] = (halves << np.array([0, 8, 16, 24])).sum(axis=-1)
    return packed


def _even(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """The words `[..., words, 2]` with one of zeros more where they are odd in number."""
    padding = [(0, 0)] * (words.ndim - 2) + [(0, words.shape[-2] % 2), (0, 0)]
    return np.pad(words, padding)


def tap_words(weights: NDArray[np.int64], dilation: int) -> NDArray[np.int64]:
    """Kernel rows `[..., taps]` as words `[..., words, 2]`: two neighbours, or one beside 0 where taps lie apart."""
    if dilation > 1:
        return np.stack([weights, np.zeros_like(weights)], axis=-1)
    padded = np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, weights.shape[-1] % 2)])
    return padded.reshape(*weights.shape[:-1], -1, 2)


def convolution_words(step: Step) -> NDArray[np.int64]:
    """Packed weights `[groups of filters, words]`, in the order the kernel reads them: row, plane, tap, filter.

    Of a convolution of one channel, a word holds the weights of two rows.
    """
    layer, kernel = step.layer, step.kernel
    assert isinstance(layer, Convolution)
    assert kernel is not None
    weights = layer.weights.astype(np.int64)
    filters, height, width, channels = weights.shape
    if step.pairs_rows:
        padded = np.pad(weights[..., 0], [(0, 0), (0, height % 2), (0, 0)])
        words = padded.reshape(filters, -1, 2, width).transpose(0, 1, 3, 2)
    else:
        padded = np.pad(weights, [(0, 0), (0, 0), (0, 0), (0, channels % 2)])
        words = padded.reshape(filters, height, width, -1, 2).transpose(0, 1, 3, 2, 4)
    words = words.reshape(filters // kernel.filters, kernel.filters, -1, 2).transpose(0, 2, 1, 3)
    return pack(_even(words.reshape(filters // kernel.filters, -1, 2)))


def depthwise_words(kernel: DepthwiseKernel) -> NDArray[np.int64]:
    """Packed weights `[filters, words]`; see `DepthwiseKernel.packed_words`."""
    weights = kernel.layer.weights.astype(np.int64)
    words = tap_words(weights, kernel.layer.window.dilation[1])
    if kernel.unrolled:
        words = words.reshape(len(weights), -1, 2)
    return pack(_even(words)).reshape(len(weights), -1)


def filter_rows(bias: NDArray[np.int64], rescale: Rescale, finish: Finish) -> NDArray[np.int64]:
    """The fields of `ep_filter`, `[filters, 4]`."""
    filters = max(len(bias), len(rescale.mantissas))
    bias, mantissas, shifts = (np.broadcast_to(x, filters) for x in (bias, rescale.mantissas, rescale.shifts))
    zero = rescale.zero_point
    if finish.scale == "ep_scale_any":
        return np.stack([bias, mantissas, np.full(filters, zero), shifts], axis=1)
    right = -shifts
    inside = 0 if finish.limits is None else zero  # an unsigned result begins at the zero point
    offsets = (1 << (right - 1)) + inside * (1 << right)
    return np.stack([bias, 2 * mantissas - 2**32, offsets, right], axis=1)
