"""The integer arithmetic of TFLite Micro's int8 kernels: the numbers in the emitted C, and what it does with them.

Source: TFLite Micro's reference kernels, `tensorflow/lite/micro/kernels` and `tensorflow/lite/kernels/internal`, named
at each function. Older versions computed some parameters in float32, on which the last bit of a multiplier depends;
these are those of the version that tests run, in float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.fixed_point import Integers, high_product, integers, rounding_shift, wrap

LOWEST, HIGHEST = -128, 127
SUM_LEFT_SHIFT = 20
"""ADD and SUB scale both inputs up by 2^20 before they add them."""


class Quantisation(NamedTuple):
    """A stored value `q` stands for `scale * (q - zero_point)`."""

    scale: float
    zero_point: int


class Multiplier(NamedTuple):
    """The real number `mantissa / 2^31 * 2^shift`."""

    mantissa: int
    shift: int


def quantize_multiplier(real: float) -> Multiplier:
    """The multiplier of a real number: `QuantizeMultiplier` of `kernels/internal/quantization_util.cc`.

    The mantissa lies from 2^30 to 2^31 - 1 (negative for a negative number); it is 0 below 2^-32.

    Raises:
        EdgepruneError: the number is 2^31 or more; int32 has no more bits to shift by.
    """
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    mantissa = _round_half_away(fraction * 2**31)
    if mantissa == 2**31:
        mantissa, shift = 2**30, shift + 1
    if shift > 31:
        raise EdgepruneError(f"a scale is {real:g} times another, which int8 kernels cannot compute; quantise again.")
    return Multiplier(mantissa, shift) if shift >= -31 else Multiplier(0, 0)


def multiply_by_quantized_multiplier(values: ArrayLike, mantissa: ArrayLike, shift: ArrayLike) -> Integers:
    """`values` times a multiplier, rounded twice: `MultiplyByQuantizedMultiplier` of `kernels/internal/common.cc`.

    A positive shift goes before the multiplication and wraps around as int32 does; a negative one comes after it.
    """
    left, right = np.maximum(integers(shift), 0), np.maximum(-integers(shift), 0)
    return rounding_shift(high_product(wrap(integers(values) << left), mantissa), right)


def activation_range(activation: int, output: Quantisation) -> tuple[int, int]:
    """Lowest and highest stored value that a fused activation lets through.

    Source: `CalculateActivationRangeQuantized` of `kernels/kernel_util.cc`, in float32.

    Args:
        activation: a number of the schema's `ActivationFunctionType`.
    """
    kinds = schema.ActivationFunctionType
    bounds = {kinds.NONE: (None, None), kinds.RELU: (0, None), kinds.RELU6: (0, 6), kinds.RELU_N1_TO_1: (-1, 1)}
    if activation not in bounds:
        raise EdgepruneError(
            f"fused activation {activation} is none of NONE, RELU, RELU6, RELU_N1_TO_1; export without it."
        )
    low, high = bounds[activation]
    lowest = LOWEST if low is None else max(LOWEST, quantised(low, output))
    return lowest, HIGHEST if high is None else min(HIGHEST, quantised(high, output))


def quantised(real: float, quantisation: Quantisation) -> int:
    """The stored value of a real number, not kept within int8; in float32, half a unit away from zero."""
    return quantisation.zero_point + _round_half_away(float(np.float32(real) / np.float32(quantisation.scale)))


def clamp(values: ArrayLike, lowest: int = LOWEST, highest: int = HIGHEST) -> NDArray[np.int8]:
    return np.clip(integers(values), lowest, highest).astype(np.int8)


# Layers with weights


def filter_multipliers(
    input_scale: float, weight_scales: Sequence[float], output_scale: float
) -> tuple[Multiplier, ...]:
    """Multipliers of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED by weight scale, in float64.

    Source: `kernels/kernel_util.cc` and `micro/kernels/fully_connected_common.cc`.
    """
    x, y = double(input_scale), double(output_scale)
    return tuple(quantize_multiplier(x * double(scale) / y) for scale in weight_scales)


def requantise(
    sums: ArrayLike, multipliers: Sequence[Multiplier], zero_point: int, lowest: int = LOWEST, highest: int = HIGHEST
) -> NDArray[np.int8]:
    """Stored outputs of int32 sums `[..., filters]`, bias included; one multiplier, or one for each filter."""
    mantissas, shifts = (np.array(column) for column in zip(*multipliers, strict=True))
    return clamp(multiply_by_quantized_multiplier(sums, mantissas, shifts) + zero_point, lowest, highest)


# Sums and products of two activations


@dataclass(frozen=True)
class SumParameters:
    """What ADD and SUB compute with.

    Each input, less its zero point, is multiplied by `2^SUM_LEFT_SHIFT` and its multiplier; their sum or difference by
    the multiplier of the output.
    """

    zero_points: tuple[int, int]
    inputs: tuple[Multiplier, Multiplier]
    output: Multiplier
    output_zero_point: int
    lowest: int
    highest: int
    subtracts: bool


def sum_parameters(
    name: str, a: Quantisation, b: Quantisation, output: Quantisation, activation: int = 0
) -> SumParameters:
    """Of ADD (`micro/kernels/add_common.cc`) or SUB (`micro/kernels/sub_common.cc`), both in float64."""
    scale_a, scale_b, scale = (double(each.scale) for each in (a, b, output))
    twice_largest = 2 * max(scale_a, scale_b)
    lowest, highest = activation_range(activation, output)
    return SumParameters(
        zero_points=(a.zero_point, b.zero_point),
        inputs=(
            quantize_multiplier(scale_a / twice_largest),
            quantize_multiplier(scale_b / twice_largest),
        ),
        output=quantize_multiplier(twice_largest / ((1 << SUM_LEFT_SHIFT) * scale)),
        output_zero_point=output.zero_point,
        lowest=lowest,
        highest=highest,
        subtracts=name == "SUB",
    )


def scaled_input(parameters: SumParameters, place: int, values: ArrayLike) -> Integers:
    """What an input (0 or 1) of ADD or SUB contributes; 256 values suffice for a table."""
    shifted = (integers(values) - parameters.zero_points[place]) << SUM_LEFT_SHIFT
    return multiply_by_quantized_multiplier(shifted, *parameters.inputs[place])


def add(parameters: SumParameters, a: ArrayLike, b: ArrayLike) -> NDArray[np.int8]:
    """ADD or SUB of stored values, which are broadcast."""
    first, second = scaled_input(parameters, 0, a), scaled_input(parameters, 1, b)
    total = first - second if parameters.subtracts else first + second
    scaled = multiply_by_quantized_multiplier(total, *parameters.output)
    return clamp(scaled + parameters.output_zero_point, parameters.lowest, parameters.highest)


@dataclass(frozen=True)
class ProductParameters:
    """What MUL computes with: the product of both inputs, less their zero points, times a multiplier."""

    zero_points: tuple[int, int]
    multiplier: Multiplier
    output_zero_point: int
    lowest: int
    highest: int


def product_parameters(
    a: Quantisation, b: Quantisation, output: Quantisation, activation: int = 0
) -> ProductParameters:
    """Of MUL: `micro/kernels/mul_common.cc`, in float64."""
    multiplier = quantize_multiplier(double(a.scale) * double(b.scale) / double(output.scale))
    lowest, highest = activation_range(activation, output)
    return ProductParameters((a.zero_point, b.zero_point), multiplier, output.zero_point, lowest, highest)


def multiply(parameters: ProductParameters, a: ArrayLike, b: ArrayLike) -> NDArray[np.int8]:
    """MUL of stored values, which are broadcast."""
    first, second = (integers(x) - zero for x, zero in zip((a, b), parameters.zero_points, strict=True))
    scaled = multiply_by_quantized_multiplier(first * second, *parameters.multiplier)
    return clamp(scaled + parameters.output_zero_point, parameters.lowest, parameters.highest)


# Means


def average(sums: ArrayLike, counts: ArrayLike, lowest: int = LOWEST, highest: int = HIGHEST) -> NDArray[np.int8]:
    """AVERAGE_POOL_2D of sums of stored values over so many places inside the image, half a unit away from zero.

    Source: `AveragePool` of `kernels/internal/reference/integer_ops/pooling.h`.
    """
    total, count = integers(sums), integers(counts)
    magnitude = (np.abs(total) + count // 2) // count
    return clamp(np.where(total > 0, magnitude, -magnitude), lowest, highest)


def mean_multiplier(input_scale: float, output_scale: float, count: int) -> Multiplier:
    """Of MEAN over `count` values: `QuantizedMeanOrSum` of `kernels/internal/reference/reduce.h`.

    It multiplies the sum of the stored values less `count` zero points. The mantissa is divided by the count, so it may
    lie below 2^30.
    """
    mantissa, shift = quantize_multiplier(double(input_scale) / double(output_scale))
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    return Multiplier((mantissa << bits) // count, shift - bits)


def mean(sums: ArrayLike, count: int, x: Quantisation, output: Quantisation) -> NDArray[np.int8]:
    """MEAN of sums of stored values over `count` places."""
    multiplier = mean_multiplier(x.scale, output.scale, count)
    return requantise(integers(sums) - count * x.zero_point, [multiplier], output.zero_point)


def double(scale: float) -> float:
    """A scale as the file holds it, in float32, for arithmetic in float64."""
    return float(np.float32(scale))


def _round_half_away(real: float) -> int:
    """C's `round`."""
    return int(math.copysign(math.floor(abs(real) + 0.5), real))
