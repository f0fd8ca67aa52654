"""Operators of one int8 input as tables of 256 int8 values, computed as TFLite Micro's kernels compute them.

The entry `stored value + 128` holds the output.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream import fixed_point
from edgeprune.firmware.stream.arithmetic import (
    HIGHEST,
    LOWEST,
    Multiplier,
    Quantisation,
    clamp,
    double,
    multiply_by_quantized_multiplier,
    quantised,
    quantize_multiplier,
)
from edgeprune.firmware.stream.fixed_point import Integers, rounding_shift

Table = NDArray[np.int8]
_STORED = np.arange(LOWEST, HIGHEST + 1)


def lookup_table(name: str, options: Any, x: Quantisation, output: Quantisation) -> Table:
    """The table of an operator.

    Args:
        name: LOGISTIC, TANH, HARD_SWISH, RELU, RELU6, LEAKY_RELU or QUANTIZE (from int8 to int8).
        options: the schema's options of the operator; only those of LEAKY_RELU are read.
        x: quantisation of the input.

    Raises:
        EdgepruneError: TFLite Micro has no such operator, or not with these quantisations.
    """
    if name == "LEAKY_RELU":
        return _leaky_relu(float(options.alpha), x, output)
    if name not in TABLES:
        raise EdgepruneError(f"operator {name} is not one of a single int8 input ({', '.join(TABLES)}, LEAKY_RELU).")
    return TABLES[name](x, output)


def _leaky_relu(alpha: float, x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/leaky_relu_common.cc`, in float64; `reference/leaky_relu.h`."""
    above = quantize_multiplier(double(x.scale) / double(output.scale))
    below = quantize_multiplier(double(x.scale) * double(alpha) / double(output.scale))
    value = _STORED - x.zero_point
    return clamp(np.where(value >= 0, _times(value, above), _times(value, below)) + output.zero_point)


def _quantize(x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/quantize_common.cc`, in float64; `reference/requantize.h`."""
    multiplier = quantize_multiplier(double(x.scale) / double(output.scale))
    return clamp(_times(_STORED - x.zero_point, multiplier) + output.zero_point)


def _relu(x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/activations_common.cc`, `activations.cc`."""
    return np.maximum(_quantize(x, output), max(LOWEST, output.zero_point)).astype(np.int8)


def _relu6(x: Quantisation, output: Quantisation) -> Table:
    """It clamps in the quantisation of its input and leaves the output's aside: `micro/kernels/activations.cc`."""
    return np.clip(_STORED, x.zero_point, min(HIGHEST, quantised(6, x))).astype(np.int8)


def _logistic(x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/logistic_common.cc`, `reference/integer_ops/logistic.h`; the output's scale is taken as 1/256."""
    if output.zero_point != LOWEST:
        raise EdgepruneError(
            f"operator LOGISTIC has the output zero point {output.zero_point}; TFLite Micro takes -128 alone."
        )
    return _sigmoid(x, fixed_point.logistic, 8, LOWEST)


def _tanh(x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/tanh.cc`, `reference/integer_ops/tanh.h`; the output's quantisation is taken as 1/128 and 0."""
    return _sigmoid(x, fixed_point.tanh, 7, 0)


def _sigmoid(x: Quantisation, function: Callable[..., Integers], output_bits: int, zero_point: int) -> Table:
    """A function that saturates at both ends, of an argument with 4 integer bits."""
    fraction, shift = math.frexp(double(x.scale) * (1 << 27))
    multiplier = Multiplier(round(fraction * 2**31), shift)
    radius = math.floor(15 * 2.0 ** (27 - shift))
    value = _STORED - x.zero_point
    inside = np.abs(value) < radius
    argument = _times(np.where(inside, value, 0), multiplier)
    result = clamp(rounding_shift(function(argument, 4), 31 - output_bits) + zero_point)
    return np.where(inside, result, np.where(value <= -radius, LOWEST, HIGHEST)).astype(np.int8)


def _hard_swish(x: Quantisation, output: Quantisation) -> Table:
    """`micro/kernels/hard_swish_common.cc`, in float64; `reference/hard_swish.h`, in 16 bits."""
    scale_x = double(x.scale) / 128
    to_output = quantize_multiplier(scale_x / double(output.scale))
    to_relu = quantize_multiplier(scale_x / (3 / 32768))
    if to_output.shift > 0:
        raise EdgepruneError(
            "operator HARD_SWISH has an output scale too small for TFLite Micro; quantise the network again."
        )
    value = (_STORED - x.zero_point) << 7
    scaled = _high_product_16(value, _mantissa_16(to_output))
    gate = _saturate_16(value << max(to_relu.shift - 1, 0))
    gate = _high_product_16(gate, _mantissa_16(to_relu))
    gate = _saturate_16(gate << 1) if to_relu.shift > 0 else _rounding_shift_16(gate, -to_relu.shift)
    product = ((gate + (1 << 15)) >> 1) * scaled
    toward_zero = np.where(product >= 0, product >> 15, -(-product >> 15))
    return clamp(_rounding_shift_16(toward_zero, -to_output.shift) + output.zero_point)


def _high_product_16(a: Integers, b: int) -> Integers:
    return _saturate_16((a * b + (1 << 14)) >> 15)


def _rounding_shift_16(values: Integers, bits: int) -> Integers:
    """Above 15 bits the kernel's 16-bit mask is -1, and what is not negative becomes 1."""
    return rounding_shift(values, bits) if bits <= 15 else np.where(values >= 0, 1, -1)


def _saturate_16(values: Any) -> Integers:
    return np.clip(values, -(2**15), 2**15 - 1)


def _mantissa_16(multiplier: Multiplier) -> int:
    return min((multiplier.mantissa + (1 << 15)) >> 16, 2**15 - 1)


def _times(values: Any, multiplier: Multiplier) -> Integers:
    return multiply_by_quantized_multiplier(values, *multiplier)


TABLES: dict[str, Callable[[Quantisation, Quantisation], Table]] = {
    "LOGISTIC": _logistic,
    "TANH": _tanh,
    "HARD_SWISH": _hard_swish,
    "RELU": _relu,
    "RELU6": _relu6,
    "QUANTIZE": _quantize,
}
"""Operators whose table follows from the two quantisations."""
