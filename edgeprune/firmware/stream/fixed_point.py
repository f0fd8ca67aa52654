"""The 32-bit fixed-point arithmetic of TFLite Micro's kernels, over NumPy arrays.

Source: gemmlowp's `fixedpoint/fixedpoint.h`, which TFLite Micro compiles. A number with `n` integer bits is stored as
the integer `value * 2^(31 - n)`. Arrays are int64 that hold values of int32, so that no sum or product here overflows.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
HIGHEST = 2**31 - 1
"""The largest int32, which stands for 1 where there are no integer bits."""

_EXP_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
_EXP_OF_MINUS_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
"""exp(-2^k) by k, without integer bits."""
_48_OVER_17, _32_OVER_17 = 1515870810, 1010580540
"""First guess of a reciprocal by Newton's method, with 2 integer bits."""


def integers(values: ArrayLike) -> Integers:
    return np.asarray(values, dtype=np.int64)


def wrap(values: Any) -> Integers:
    """Values modulo 2^32, as int32 arithmetic of the kernels leaves them."""
    return np.asarray(values).astype(np.int32).astype(np.int64)


def high_product(a: ArrayLike, b: ArrayLike) -> Integers:
    """`a * b / 2^31`, half a unit upwards.

    It is gemmlowp's SaturatingRoundingDoublingHighMul but for -2^31 times -2^31, which no kernel here computes.
    """
    return (integers(a) * integers(b) + 2**30) >> 31


def rounding_shift(values: ArrayLike, bits: ArrayLike) -> Integers:
    """`values / 2^bits`, half a unit away from zero: gemmlowp's RoundingDivideByPOT."""
    x, shift = integers(values), integers(bits)
    mask = (1 << shift) - 1
    return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0))


def saturating_shift(values: ArrayLike, bits: int) -> Integers:
    """`values * 2^bits`, kept within int32."""
    return np.clip(integers(values) << bits, -HIGHEST - 1, HIGHEST)


def exp(values: ArrayLike, integer_bits: int) -> Integers:
    """exp of values at or below 0, without integer bits. `integer_bits` of the values are 5 at most."""
    x, fraction_bits = integers(values), 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    within_quarter = (x & (quarter - 1)) - quarter
    result = _exp_of_a_quarter(within_quarter << integer_bits)
    rest = within_quarter - x
    for power, factor in _EXP_OF_MINUS_POWERS.items():
        if power < integer_bits:
            result = np.where(rest & (1 << (fraction_bits + power)), high_product(result, factor), result)
    return np.where(x == 0, HIGHEST, result)


def _exp_of_a_quarter(values: Integers) -> Integers:
    """exp of values from -1/4 up to 0, by Taylor's series around -1/8."""
    x = values + (1 << 28)
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    tail = rounding_shift(high_product(rounding_shift(x4, 2) + x3, _THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + high_product(_EXP_MINUS_EIGHTH, x + tail)


def _reciprocal_of_half(values: Integers) -> Integers:
    """2 / (1 + x) of x from 0 to 1, with 2 integer bits, by three steps of Newton's."""
    half = (values + HIGHEST + 1) >> 1
    guess = _48_OVER_17 - high_product(half, _32_OVER_17)
    for _ in range(3):
        guess = guess + saturating_shift(high_product(guess, (1 << 29) - high_product(half, guess)), 2)
    return guess


def reciprocal_of_one_plus(values: ArrayLike) -> Integers:
    """1 / (1 + x) of x from 0 to 1; neither has integer bits."""
    return saturating_shift(_reciprocal_of_half(integers(values)), 1)


def logistic(values: ArrayLike, integer_bits: int) -> Integers:
    """1 / (1 + exp(-x)), without integer bits."""
    x = integers(values)
    upper = reciprocal_of_one_plus(exp(-np.abs(x), integer_bits))
    return np.where(x == 0, 1 << 30, np.where(x > 0, upper, HIGHEST - upper))


def tanh(values: ArrayLike, integer_bits: int) -> Integers:
    """tanh, without integer bits, as (1 - e) / (1 + e) of e = exp(-2 x)."""
    x = integers(values)
    upper = saturating_shift(_reciprocal_of_half(exp(-np.abs(x), integer_bits + 1)) - (1 << 29), 2)
    return np.where(x == 0, 0, np.where(x > 0, upper, -upper))
