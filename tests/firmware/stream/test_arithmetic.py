"""The arithmetic of the streaming compiler against TFLite Micro's kernels: every stored value, many quantisations."""

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from firmware.operator_files import FileBuilder, Tensor
from firmware.tflm import tflm_outputs

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream import arithmetic
from edgeprune.firmware.stream.arithmetic import Multiplier, Quantisation
from edgeprune.firmware.stream.lookup_tables import lookup_table
from edgeprune.firmware.stream.softmax import softmax, softmax_parameters

EVERY = np.arange(-128, 128).astype(np.int8)
pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")


def quantisations(count: int, seed: int) -> list[Quantisation]:
    """Scales from 1e-4 to 2 as float32 holds them, and any zero points; powers of two and a large one among them."""
    random = np.random.default_rng(seed)
    scales = [*np.exp(random.uniform(np.log(1e-4), np.log(2), count)).astype(np.float32), 1 / 256, 1 / 16, 4e5]
    zeros = [*random.integers(-128, 128, count), -128, 0, 127]
    return [Quantisation(float(scale), int(zero)) for scale, zero in zip(scales, zeros, strict=True)]


def one_input(write: Callable[[FileBuilder, Tensor], Tensor], x: Quantisation) -> tuple[bytes, np.ndarray]:
    builder = FileBuilder((16, 16, 1), x)
    return builder.file(write(builder, builder.input)), EVERY.reshape(1, 1, 16, 16, 1)


def compare(work: list[tuple[bytes, np.ndarray]], expected: list[np.ndarray]) -> int:
    """Whether every output equals; gives how many files TFLite Micro took."""
    taken = 0
    for place, (outputs, ours) in enumerate(zip(tflm_outputs(work), expected, strict=True)):
        if isinstance(outputs, str):
            continue
        np.testing.assert_array_equal(outputs.ravel(), np.ravel(ours), str(place))
        taken += 1
    return taken


FREE = ("RELU", "QUANTIZE", "LEAKY_RELU", "HARD_SWISH")


@pytest.mark.parametrize("name", [*FREE, "LOGISTIC", "TANH", "RELU6"])
def test_a_table_is_the_operator(name):
    inputs, outputs = quantisations(60, 1), quantisations(60, 2)
    work, tables = [], []
    for number, x in enumerate(inputs):
        y = outputs[number] if name in FREE else x if name == "RELU6" else Quantisation(1 / 256, -128)
        y = Quantisation(1 / 128, 0) if name == "TANH" else y
        options = {"alpha": 0.01 * (number - 10)} if name == "LEAKY_RELU" else {}
        try:
            tables.append(lookup_table(name, SimpleNamespace(**options), x, y))
        except EdgepruneError:
            continue
        work.append(
            one_input(lambda builder, tensor, y=y, options=options: builder.unary(name, tensor, y, **options), x)
        )
    taken = compare(work, tables)
    assert taken > len(work) * 0.9
    assert len(work) > 45


OTHER = np.array([-128, -127, -90, -77, -64, -3, -1, 0, 1, 2, 50, 64, 126, 127], np.int8)


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
def test_two_inputs(name):
    work, expected = [], []
    for a, b, y in zip(*(quantisations(120, seed) for seed in (5, 6, 7)), strict=True):
        if name != "MUL" and 2 * max(a.scale, b.scale) >= 2**20 * y.scale:
            continue
        swapped = len(work) % 8 > 3
        activation = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")[len(work) % 4]
        builder = FileBuilder((16, 16, 1), a)
        other = Tensor(
            builder.constant(OTHER.reshape(1, 1, 1, -1), [b.scale], [b.zero_point]), (1, 1, 1, len(OTHER)), b
        )
        pair = (other, builder.input) if swapped else (builder.input, other)
        out = builder.combine(name, *pair, y, activation)
        work.append((builder.file(out), EVERY.reshape(1, 1, 16, 16, 1)))
        quantised = [part.quantisation for part in pair]
        values = [OTHER, EVERY[:, None]] if swapped else [EVERY[:, None], OTHER]
        number = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[activation]
        if name == "MUL":
            expected.append(arithmetic.multiply(arithmetic.product_parameters(*quantised, y, number), *values))
        else:
            expected.append(arithmetic.add(arithmetic.sum_parameters(name, *quantised, y, number), *values))
    assert compare(work, expected) > 100


@pytest.mark.parametrize("kind", ["conv", "dense", "dense by output"])
def test_layers_with_weights(kind):
    random = np.random.default_rng(8)
    work, expected = [], []
    for x, w, y in zip(*(quantisations(60, seed) for seed in (9, 10, 11)), strict=True):
        y = y._replace(scale=max(y.scale, x.scale * w.scale / 100))  # a left shift of 7: the sums stay within int32
        scales = [w.scale * (1 + 0.1 * number) for number in range(5)] if kind != "dense" else [w.scale]
        weights, bias = random.integers(-127, 128, (5, 256)).astype(np.int8), random.integers(-9000, 9000, 5, np.int32)
        clips = random.integers(-128, 128, (10, 256)).astype(np.int8)
        sums = (clips.astype(np.int64) - x.zero_point) @ weights.T.astype(np.int64) + bias
        if kind == "conv":
            builder = FileBuilder((1, 1, 256), x)
            out = builder.conv(builder.input, weights.reshape(5, 1, 1, 256), bias, scales, y, activation="RELU6")
            multipliers = arithmetic.filter_multipliers(x.scale, scales, y.scale)
            expected.append(arithmetic.requantise(sums, multipliers, y.zero_point, *arithmetic.activation_range(3, y)))
        else:
            builder = FileBuilder((256,), x)
            out = builder.dense(builder.input, weights, bias, scales, y)
            multipliers = arithmetic.filter_multipliers(x.scale, scales, y.scale)
            expected.append(arithmetic.requantise(sums, multipliers, y.zero_point))
        work.append((builder.file(out), clips.reshape(10, *builder.input.shape)))
    taken = compare(work, expected)
    assert taken > 55


def borders(multiplier: Multiplier) -> np.ndarray:
    """The int32 sums on both sides of each step of the output."""
    below = np.full(255, -(2**31))
    above = np.full(255, 2**31 - 1)
    steps = np.arange(-127, 128)
    while np.any(above - below > 1):
        middle = (above + below) // 2
        reached = arithmetic.requantise(middle, [multiplier], 0) >= steps
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    return np.concatenate([below, above]).astype(np.int32)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_a_multiplier_is_right_to_its_last_bit(kind):
    """Small multipliers of sums up to 2^31, which the bias alone gives, tell it apart from its neighbours."""
    random = np.random.default_rng(20)
    work, expected = [], []
    for _ in range(15):
        x, w = (float(np.float32(random.uniform(0.001, 1))) for _ in range(2))
        y = float(np.float32(x * w * 2**24 * random.uniform(0.5, 1)))
        (multiplier,) = arithmetic.filter_multipliers(x, [w], y)
        bias = borders(multiplier)
        builder = FileBuilder((1,) if kind == "dense" else (1, 1, 1), (x, 0))
        weights = np.zeros({"conv": (510, 1, 1, 1), "depthwise": (1, 1, 1, 510), "dense": (510, 1)}[kind], np.int8)
        out = getattr(builder, kind)(builder.input, weights, bias, [w], (y, 0))
        work.append((builder.file(out), np.zeros((1, *builder.input.shape), np.int8)))
        expected.append(arithmetic.requantise(bias, [multiplier], 0))
        next_one = arithmetic.requantise(bias, [multiplier._replace(mantissa=multiplier.mantissa + 2)], 0)
        assert np.any(next_one != expected[-1])
    assert compare(work, expected) == len(work)


def test_mean():
    """TFLite Micro has one formula for all axes, with the dimensions kept or not, with one quantisation or two."""
    random = np.random.default_rng(12)
    work, expected = [], []
    for keep_dims, same, axes in product((True, False), (True, False), ((1, 2), (2, 1), (1,), (2,))):
        for x, y in zip(quantisations(10, len(work)), quantisations(10, len(work) + 1), strict=True):
            output = x if same else y
            builder = FileBuilder(tuple(random.integers(1, 12, 3)), x)
            clips = random.integers(-128, 128, (8, *builder.input.shape)).astype(np.int8)
            clips[0], clips[1] = -128, 127
            work.append((builder.file(builder.mean(builder.input, output, keep_dims, axes)), clips))
            over = tuple(axis + 1 for axis in axes)
            count = int(np.prod([clips.shape[axis] for axis in over]))
            expected.append(arithmetic.mean(clips.astype(np.int64).sum(over), count, x, output))
    assert compare(work, expected) == len(work)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_average_pool(padding):
    random = np.random.default_rng(15)
    work, expected = [], []
    for x in quantisations(30, 16):
        size = tuple(int(each) for each in random.integers(1, 4, 2))
        builder = FileBuilder((5, 6, 2), x)
        clips = random.integers(-128, 128, (6, *builder.input.shape)).astype(np.int8)
        out = builder.pool("AVERAGE_POOL_2D", builder.input, size, "RELU", stride=(1, 1), padding=padding)
        work.append((builder.file(out), clips))
        before = [(each - 1) // 2 if padding == "SAME" else 0 for each in size]
        result = np.zeros((6, *out.shape), np.int8)
        for row, column in np.ndindex(*out.shape[1:3]):
            rows = slice(max(row - before[0], 0), row - before[0] + size[0])
            columns = slice(max(column - before[1], 0), column - before[1] + size[1])
            inside = clips[:, 0, rows, columns].astype(np.int64)
            count = inside.shape[1] * inside.shape[2]
            result[:, 0, row, column] = arithmetic.average(
                inside.sum((1, 2)), count, *arithmetic.activation_range(1, x)
            )
        expected.append(result)
    assert compare(work, expected) == 33


def test_softmax():
    random = np.random.default_rng(17)
    work, expected = [], []
    for number, x in enumerate(quantisations(60, 18)):
        classes, beta = int(random.integers(1, 300)), (1.0, 0.3, 2.5)[number % 3]
        builder = FileBuilder((classes,), x)
        spread = (2, 20, 128)[number % 3]
        clips = random.integers(-spread, spread, (40, *builder.input.shape)).astype(np.int8)
        clips[0], clips[1], clips[2, :, 0] = -128, 127, 127
        work.append(
            (builder.file(builder.unary("SOFTMAX", builder.input, Quantisation(1 / 256, -128), beta=beta)), clips)
        )
        expected.append(softmax(softmax_parameters(beta, x.scale), clips[:, 0]))
    taken = compare(work, expected)
    assert taken > 55


@pytest.mark.parametrize("off", [Quantisation(0.25, 3), Quantisation(0.5, 4)])
def test_concatenation_takes_one_quantisation_alone(off):
    x = Quantisation(0.5, 3)
    files = []
    for other in (x, off):
        builder = FileBuilder((16, 16, 1), x)
        files.append(
            builder.file(builder.concatenate([builder.input, builder.unary("QUANTIZE", builder.input, other)]))
        )
    same, different = tflm_outputs([(file, EVERY.reshape(1, 1, 16, 16, 1)) for file in files])
    np.testing.assert_array_equal(np.reshape(same, (256, 2)), np.stack([EVERY, EVERY], -1))
    assert isinstance(different, str)


APART = {
    "LEAKY_RELU": [
        ((0.5249065160751343, -20), (0.5568573474884033, 108)),
        ((0.00680094538256526, -58), (0.0076455073, -17)),
    ],
    "HARD_SWISH": [((0.7410517930984497, 33), (1.84551203250885, -103)), ((0.19185742735862732, 9), (0.1521965861, 0))],
}
"""Quantisations of input and output with which parameters in float32 would give other tables."""


@pytest.mark.parametrize("name", APART)
def test_parameters_are_computed_in_float64(name):
    options = {"alpha": 0.3} if name == "LEAKY_RELU" else {}
    work, tables = [], []
    for x, y in (map(Quantisation._make, pair) for pair in APART[name]):
        tables.append(lookup_table(name, SimpleNamespace(**options), x, y))
        work.append(one_input(lambda builder, t, y=y: builder.unary(name, t, y, **options), x))
    assert compare(work, tables) == len(work)


def test_a_difference_is_computed_in_float64():
    x, b, y = (Quantisation(*each) for each in ((0.7059779763, 75), (0.0127031051, 22), (0.6402394176, -34)))
    builder = FileBuilder((16, 16, 1), x)
    other = Tensor(builder.constant(OTHER.reshape(1, 1, 1, -1), [b.scale], [b.zero_point]), (1, 1, 1, len(OTHER)), b)
    out = builder.combine("SUB", builder.input, other, y)
    ours = arithmetic.add(arithmetic.sum_parameters("SUB", x, b, y), EVERY[:, None], OTHER)
    assert compare([(builder.file(out), EVERY.reshape(1, 1, 16, 16, 1))], [ours]) == 1
