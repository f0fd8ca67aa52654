"""Files that no converter writes: what is computed has TFLite Micro's bytes, and what is not is refused by a reason."""

import shutil

import numpy as np
import pytest
from firmware.operator_files import FileBuilder, Tensor
from firmware.tflm import tflm_outputs
from stream_programs import Clips, run_on_host

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.compile import compile_stream
from edgeprune.tflite.flatbuffer import pack_model, unpack_model

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler: apt install gcc")
SCALE, OUTPUT = (0.05, 3), (0.4, -7)


def conv(builder: FileBuilder, x: Tensor, kernel: tuple[int, int], depthwise: bool = False, **options) -> Tensor:
    """A convolution to four filters, or a depthwise one."""
    random = np.random.default_rng(sum(kernel))
    filters = x.channels if depthwise else 4
    shape = (1, *kernel, filters) if depthwise else (filters, *kernel, x.channels)
    weights = random.integers(-90, 90, shape).astype(np.int8)
    bias = random.integers(-900, 900, filters).astype(np.int32)
    add = builder.depthwise if depthwise else builder.conv
    return add(x, weights, bias, [0.01] * filters, OUTPUT, **options)


def assert_same_bytes(tmp_path, file: bytes, shape: tuple[int, ...]) -> None:
    """Compile along both axes; both give what TFLite Micro gives."""
    pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")
    stored = np.random.default_rng(1).integers(-128, 128, (4, 1, *shape)).astype(np.int8)
    (expected,) = tflm_outputs([(file, stored)])
    assert not isinstance(expected, str), expected
    path = tmp_path / "odd.tflite"
    path.write_bytes(file)
    checks = [Clips(compile_stream(path, tmp_path, walk, walk), stored) for walk in ("height", "width")]
    outputs = run_on_host(checks, tmp_path)
    for walk in ("height", "width"):
        np.testing.assert_array_equal(outputs[walk], expected.reshape(len(stored), -1), walk)


@needs_gcc
@pytest.mark.parametrize(
    ("rows", "kernel", "options"),
    [
        ((0, 3), (1, 3), {}),
        ((2, 3), (1, 1), {}),
        ((5, 0), (2, 2), {}),
        ((7, 6), (2, 3), {"dilation": (2, 1)}),
        ((5, 4), (2, 2), {"depthwise": True}),
        ((5, 4), (3, 1), {"stride": (2, 1), "channels": 1}),
    ],
)
def test_windows_that_lie_in_padding(tmp_path, rows, kernel, options):
    channels = options.pop("channels", 2)
    builder = FileBuilder((6, 7, channels), SCALE)
    padded = builder.pad(builder.input, [(0, 0), rows, (3, 2), (0, 0)])
    file = builder.file(conv(builder, padded, kernel, padding="VALID", **options))
    assert_same_bytes(tmp_path, file, (6, 7, channels))


@needs_gcc
def test_a_file_that_begins_with_reshapes(tmp_path):
    """Its rows are those of the last shape."""
    builder = FileBuilder((96,), SCALE)
    image = builder.reshape(builder.reshape(builder.input, (1, 8, 6, 2)), (1, 6, 8, 2))
    file = builder.file(conv(builder, image, (3, 2)))
    assert_same_bytes(tmp_path, file, (96,))
    network = compile_stream(tmp_path / "odd.tflite", tmp_path, "net", "width")
    assert (network.rows, network.row_shape, network.row_values) == (8, (6, 2), 12)
    image = np.arange(2 * 96).reshape(2, 6, 8, 2)
    np.testing.assert_array_equal(network.in_rows(image.reshape(2, 96))[:, 5], image[:, :, 5])


@needs_gcc
def test_a_layer_that_nothing_reads_is_left_out(tmp_path):
    builder = FileBuilder((5, 6, 2), SCALE)
    conv(builder, builder.input, (3, 3))
    assert_same_bytes(tmp_path, builder.file(conv(builder, builder.input, (2, 2))), (5, 6, 2))


def refusal(tmp_path, file: bytes) -> str:
    path = tmp_path / "odd.tflite"
    path.write_bytes(file)
    with pytest.raises(EdgepruneError) as caught:
        compile_stream(path, tmp_path)
    return str(caught.value)


def test_sums_beyond_32_bits_are_refused(tmp_path):
    """With weights of 1000 x 127 the largest sum is 255 x 127,000 beside the bias."""
    weights, room = np.full((1, 1000), 127, np.int8), 2**31 - 1 - 255 * 127_000
    for bias in (room, -room):
        builder = FileBuilder((1000,), SCALE)
        path = tmp_path / "odd.tflite"
        path.write_bytes(
            builder.file(builder.dense(builder.input, weights, np.array([bias], np.int32), [0.01], OUTPUT))
        )
        compile_stream(path, tmp_path)
        builder = FileBuilder((1000,), SCALE)
        more = np.array([bias + np.sign(bias)], np.int32)
        file = builder.file(builder.dense(builder.input, weights, more, [0.01], OUTPUT))
        assert "the sums of its operator 0, FULLY_CONNECTED, may exceed 32 bits" in refusal(tmp_path, file)


def test_sums_that_leave_32_bits_when_they_are_rescaled_are_refused(tmp_path):
    """They reach 32,385,000: times 24, which shifts them by 5 bits, they fit; times 96, by 7 bits, they do not."""
    weights = np.full((1, 1000), 127, np.int8)
    files = []
    for factor in (24, 96):
        builder = FileBuilder((1000,), (0.5, 0))
        files.append(builder.file(builder.dense(builder.input, weights, None, [2.0 * factor], (1.0, 0))))
    path = tmp_path / "fits.tflite"
    path.write_bytes(files[0])
    compile_stream(path, tmp_path)
    assert "the sums of its operator 0, FULLY_CONNECTED, may exceed 32 bits" in refusal(tmp_path, files[1])


def test_a_softmax_whose_sum_may_overflow_is_refused(tmp_path):
    builder = FileBuilder((4096,), SCALE)
    file = builder.file(builder.unary("SOFTMAX", builder.input, (1 / 256, -128), beta=1.0))
    assert "SOFTMAX over more than 4,095 values" in refusal(tmp_path, file)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "pool", "pad", "lookup", "dense"])
def test_another_shape_than_is_computed_is_refused(tmp_path, kind):
    builder = FileBuilder((5, 6, 2), SCALE)
    x = builder.input
    y = {
        "conv": lambda: conv(builder, x, (3, 3)),
        "depthwise": lambda: conv(builder, x, (3, 3), depthwise=True),
        "pool": lambda: builder.pool("AVERAGE_POOL_2D", x, (2, 2)),
        "pad": lambda: builder.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)]),
        "lookup": lambda: builder.unary("RELU", x, SCALE),
        "dense": lambda: builder.dense(x, np.ones((3, 2), np.int8), None, [0.1], OUTPUT, keep_dims=True),
    }[kind]()
    path = tmp_path / "right.tflite"
    path.write_bytes(builder.file(y))
    model = unpack_model(path)
    model.subgraphs[0].tensors[y.number].shape = [1, y.shape[1] + 1, *y.shape[2:]]
    assert f"has an output of [{y.shape[1] + 1}, " in refusal(tmp_path, pack_model(model))


@pytest.mark.parametrize(
    ("scales", "output", "reason"),
    [
        ([0.1, 0.1], OUTPUT, "has 2 scales on axis 0"),
        ([0.1], (0.0, 0), "it has an activation of scale 0"),
        ([1e20], OUTPUT, "is 1.25e+19 times another, which int8 kernels cannot compute"),
    ],
)
def test_scales_that_mean_nothing_are_refused(tmp_path, scales, output, reason):
    builder = FileBuilder((4, 4, 1), SCALE)
    file = builder.file(builder.conv(builder.input, np.ones((4, 1, 1, 1), np.int8), None, scales, output))
    assert reason in refusal(tmp_path, file)
