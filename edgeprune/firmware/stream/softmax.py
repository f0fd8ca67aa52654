"""SOFTMAX of int8 as TFLite Micro computes it.

Source: `micro/kernels/softmax_common.cc` and `kernels/internal/reference/softmax.h`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.arithmetic import clamp, double, multiply_by_quantized_multiplier, quantize_multiplier
from edgeprune.firmware.stream.fixed_point import (
    exp,
    high_product,
    integers,
    reciprocal_of_one_plus,
    rounding_shift,
)

_INPUT_BITS = 5
_SUM_BITS = 12
"""Integer bits of exp's argument, and of the sum of the exponentials."""
MOST_CLASSES = (1 << _SUM_BITS) - 1
"""Of more values the sum of the exponentials may exceed int32, as in TFLite Micro."""


@dataclass(frozen=True)
class SoftmaxParameters:
    """What SOFTMAX computes with.

    Attributes:
        exponentials: 256 int32 by how far a value lies below its row's largest: exp in 31 fraction bits. An entry of 0
            gives the output -128 and adds nothing to the sum.
    """

    exponentials: tuple[int, ...]


def softmax_parameters(beta: float, scale: float) -> SoftmaxParameters:
    """Of a SOFTMAX with this beta and input scale; its output has scale 1/256 and zero point -128."""
    real = min(double(beta) * double(scale) * 2 ** (31 - _INPUT_BITS), 2**31 - 1.0)
    if real <= 1:
        raise EdgepruneError(f"operator SOFTMAX has an input scale of {scale:g}, too small for TFLite Micro.")
    multiplier = quantize_multiplier(real)
    furthest = math.floor(((1 << _INPUT_BITS) - 1) * 2.0 ** (31 - _INPUT_BITS - multiplier.shift))
    below = np.arange(256)
    argument = multiply_by_quantized_multiplier(-np.minimum(below, furthest), *multiplier)
    values = np.where(below <= furthest, exp(argument, _INPUT_BITS), 0)
    return SoftmaxParameters(tuple(int(value) for value in values))


def softmax(parameters: SoftmaxParameters, values: ArrayLike) -> NDArray[np.int8]:
    """SOFTMAX of stored values over the last axis.

    The sum has 19 fraction bits. With `zeros` leading zero bits it is `(1 + f) * 2^(12 - zeros)`, so that
    1 / (1 + f), in 31 fraction bits, times the exponential, shifted right by `35 - zeros`, is the output plus 128.
    """
    rows = integers(values)
    exponentials = np.array(parameters.exponentials)[rows.max(-1, keepdims=True) - rows]
    sums = rounding_shift(exponentials, _SUM_BITS).sum(-1, keepdims=True)
    zeros = 32 - np.ceil(np.log2(sums + 1)).astype(np.int64)
    reciprocals = reciprocal_of_one_plus((sums << zeros) - (1 << 31))
    return clamp(rounding_shift(high_product(reciprocals, exponentials), _SUM_BITS + 23 - zeros) - 128)
