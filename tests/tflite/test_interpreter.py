import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter, runtime_version

# Halves away from zero, both ends of int8, and infinities; scale 0.5, zero point 3.
QUANTISED = {
    0.0: 3,
    0.25: 4,
    -0.25: 2,
    0.75: 5,
    -0.75: 1,
    1.25: 6,
    0.2: 3,
    62.0: 127,
    62.25: 127,
    -65.5: -128,
    -65.75: -128,
    1e30: 127,
    -1e30: -128,
    float("inf"): 127,
    float("-inf"): -128,
}


@pytest.fixture
def int8_model(tmp_path):
    model = tiny_tflite.dense_model(
        np.array([[1, -2, 3], [4, 0, -127]], dtype=np.int8),
        np.array([10, -20], dtype=np.int32),
        ends="int8",
        input_scale=(0.5, 3),
        weight_scale=0.25,
        output_scale=(1.0, -5),
    )
    return TFLiteModel(tiny_tflite.write(model, tmp_path / "int8.tflite"))


def test_native_notices_stay_out_of_the_output(int8_model) -> None:
    """LiteRT says once a process that it made XNNPACK's delegate; warnings of native code still come through."""
    lines = (
        "import os",
        "from edgeprune.tflite.interpreter import TFLiteModel, _without_notices",
        f"TFLiteModel({str(int8_model.path)!r})",
        "with _without_notices(): os.write(2, b'INFO: no\\nWARNING: yes\\n')",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"WARNING: yes\n")


def test_quantise_by_hand(int8_model) -> None:
    stored = int8_model.quantise(list(QUANTISED))
    assert stored.dtype == np.int8
    assert dict(zip(QUANTISED, stored.tolist(), strict=True)) == QUANTISED


def test_dequantise_by_hand(int8_model) -> None:
    values = int8_model.dequantise(np.array([-128, -5, 0, 127], dtype=np.int8))
    assert values.dtype == np.float32
    assert values.tolist() == [-123.0, 0.0, 5.0, 132.0]


def test_an_int8_layer_by_hand(int8_model) -> None:
    # stored: 1.0 -> 5, -0.25 -> 2, 100 saturates at 127; less the zero point 2, -1, 124
    # row 0: 2 + 2 + 372 + 10 = 386, times 0.5 * 0.25 = 48.25 -> 48; row 1: 8 - 15748 - 20, times 0.125 saturates
    assert int8_model.predict([[1.0, -0.25, 100.0]]).tolist() == [[48.0, -123.0]]
    raw = int8_model.invoke_raw(np.array([[5, 2, 127]], dtype=np.int8))
    assert raw.tolist() == [[43, -128]]
    assert (int8_model.input_quantisation, int8_model.output_quantisation) == ((0.5, 3), (1.0, -5))
    assert (int8_model.input_shape, int8_model.output_shape) == ((1, 3), (1, 2))


@pytest.mark.parametrize(("ends", "scale"), [("int8", (0.1, -7)), ("int8", (1 / 3, 127)), ("int16", (0.0003, 0))])
def test_quantise_equals_the_quantize_operator(tmp_path, ends, scale) -> None:
    generator = np.random.default_rng(5)
    halves = (np.arange(-300, 300) + 0.5) * np.float32(scale[0])
    far = np.array([1e6, -1e6]) * scale[0]  # further out the kernel itself wraps around
    values = np.concatenate([halves, generator.normal(0, 30 * scale[0], 400), far]).astype(np.float32)
    path = tiny_tflite.write(tiny_tflite.quantise_model(len(values), ends, scale), tmp_path / "q.tflite")
    expected = TFLiteModel(path, reference=True).invoke_raw(values[None])[0]
    dense = tiny_tflite.dense_model(
        np.ones((1, 1), dtype=np.int8),
        np.zeros(1, dtype=np.int32 if ends == "int8" else np.int64),
        ends=ends,
        input_scale=scale,
        weight_scale=1.0,
        output_scale=scale,
    )
    ours = TFLiteModel(tiny_tflite.write(dense, tmp_path / "dense.tflite")).quantise(values)
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)


def test_a_batch_in_the_file_is_filled_up(tmp_path) -> None:
    # row by row: weights [[0, 1, 2], [3, 4, 5]], bias [0, 1]
    path = tiny_tflite.write(tiny_tflite.float_model(batch=4), tmp_path / "batch.tflite")
    rows = np.arange(18, dtype=np.float32).reshape(6, 3)
    expected = [[3 * a + 5, 12 * a + 14 + 1] for a in (0, 3, 6, 9, 12, 15)]  # a, a+1, a+2
    model = TFLiteModel(path)
    assert model.input_shape == (4, 3)
    assert model.predict(rows).tolist() == expected
    assert model.predict(rows[:0]).shape == (0, 2)
    assert TFLiteModel(path, threads=2, reference=True).predict(rows).tolist() == expected
    assert TFLiteModel(path, xnnpack=False).predict(rows).tolist() == expected


def test_wrong_inputs_are_refused(int8_model, tmp_path) -> None:
    for clips, says in [([[1.0, np.nan, 0.0]], "NaN"), ([[1.0, 2.0]], r"clips of shape \[2\]"), (1.0, r"shape \[\]")]:
        with pytest.raises(EdgepruneError, match=says):
            int8_model.predict(clips)
    with pytest.raises(EdgepruneError, match=r"got float64 \[1, 3\] where it takes int8 \[1, 3\]"):
        int8_model.invoke_raw(np.zeros((1, 3)))
    with pytest.raises(EdgepruneError, match="NaN"):
        TFLiteModel(tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "f.tflite")).quantise([np.nan])
    with pytest.raises(EdgepruneError, match="threads: 0"):
        load_interpreter(int8_model.path, threads=0)


def test_networks_that_are_no_classifier_are_refused(tmp_path) -> None:
    two = tiny_tflite.float_model()
    two.subgraphs[0].outputs = [3, 3]
    model = TFLiteModel(tiny_tflite.write(two, tmp_path / "two.tflite"))
    with pytest.raises(EdgepruneError, match="has 2 outputs; give a network with one"):
        model.predict(np.ones((2, 3)))
    assert [output.tolist() for output in model.predict_all(np.ones((2, 3)))] == [[[3, 13], [3, 13]]] * 2
    plain = tiny_tflite.quantise_model(4, "int8", (1.0, 0))
    plain.subgraphs[0].outputs = [0]
    plain.subgraphs[0].tensors[0].type = schema.TensorType.INT32
    plain.subgraphs[0].operators = []
    with pytest.raises(EdgepruneError, match=r"has a tensor of int32 \[1, 4\]"):
        TFLiteModel(tiny_tflite.write(plain, tmp_path / "plain.tflite"))


def test_what_this_runtime_lacks_is_named(tmp_path) -> None:
    newer = tiny_tflite.float_model()
    newer.operatorCodes[0].version = 99
    path = tiny_tflite.write(newer, tmp_path / "newer.tflite")
    with pytest.raises(
        EdgepruneError, match=r"needs FULLY_CONNECTED version 99, which ai-edge-litert .* does not have"
    ):
        load_interpreter(path)
    custom = tiny_tflite.float_model()
    code = custom.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, "MyOwn"
    path = tiny_tflite.write(custom, tmp_path / "custom.tflite")
    assert operators(path) == ["MyOwn"]
    with pytest.raises(EdgepruneError, match="uses operators that are not builtin"):
        load_interpreter(path)


def test_the_runtime_is_named_with_its_version() -> None:
    assert runtime_version() == f"ai-edge-litert {metadata.version('ai-edge-litert')}"


# In a process of its own, whose crash would be seen; the limit on memory keeps impossible tensors from the machine.
_DAMAGE = """
import random, resource, sys
import numpy as np
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.errors import EdgepruneError

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
content, path = open(sys.argv[1], "rb").read(), sys.argv[2]
generator, ran, refused = random.Random(0), 0, 0
for _ in range(200):
    damaged = bytearray(content)
    size = len(damaged)
    place = generator.choice([generator.randrange(4000), size - 1 - generator.randrange(8000)])
    damaged[place] ^= generator.randrange(1, 256)
    open(path, "wb").write(damaged)
    try:
        model = TFLiteModel(path)
        model.invoke_raw(np.zeros(model.input_shape, model.input_dtype))
        ran += 1
    except EdgepruneError:
        refused += 1
print(ran, refused)
"""


def test_damage_is_survived_by_the_interpreter(dcase21, tmp_path) -> None:
    for format in ("float32", "int8"):
        command = [sys.executable, "-c", _DAMAGE, str(dcase21.files[format]), str(tmp_path / "damaged.tflite")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        ran, refused = map(int, done.stdout.split())
        assert ran + refused == 200
        assert ran > 10
        assert refused > 10


@pytest.mark.parametrize("change", ["shape", "zero point", "name"])
def test_damage_that_crashes_the_interpreter_is_refused_first(int8_model, tmp_path, change) -> None:
    model = unpack_model(int8_model.path)
    tensor = model.subgraphs[0].tensors[0]
    if change == "shape":
        tensor.shape = [1 << 16, 1 << 16]
    elif change == "zero point":
        tensor.quantization.zeroPoint = [(1 << 32) + 3]
    else:
        tensor.name = b"inp\xf6t"
    path = tiny_tflite.write(model, tmp_path / "damaged.tflite")
    with pytest.raises(EdgepruneError, match=r"damaged\.tflite"):
        load_interpreter(path)


def test_the_dcase_2022_baseline_runs(shared_data) -> None:
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    model = TFLiteModel(path)
    assert model.operators() == [
        "QUANTIZE",
        "DEPTHWISE_CONV_2D",  # its first convolution has one input channel
        "CONV_2D",
        "MAX_POOL_2D",
        "CONV_2D",
        "MAX_POOL_2D",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "SOFTMAX",
        "DEQUANTIZE",
    ]
    assert (model.input_shape, model.input_dtype, model.output_shape) == ((1, 40, 51, 1), np.float32, (1, 10))
    probabilities = model.predict(np.zeros((2, 40, 51, 1)))
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=0.02)
    assert (probabilities[0] == probabilities[1]).all()


@pytest.mark.parametrize(("ends", "scale"), [("int8", (1 / 256, -128)), ("int16", (1 / 32768, 0))])
def test_a_stored_zero_is_read_as_half_a_step(tmp_path, ends, scale) -> None:
    model = TFLiteModel(tiny_tflite.write(tiny_tflite.quantise_model(4, ends, scale), tmp_path / "file.tflite"))
    row = [0.75, 0.25, 0.4 * scale[0], 0.0]
    assert model.predict([row]).tolist() == [[0.75, 0.25, 0, 0]]
    assert model.probabilities([row]).tolist() == [[0.75, 0.25, scale[0] / 2, scale[0] / 2]]


def test_zeros_of_many_classes_share_a_thirty_second(tmp_path) -> None:
    model = TFLiteModel(
        tiny_tflite.write(tiny_tflite.quantise_model(64, "int8", (1 / 256, -128)), tmp_path / "file.tflite")
    )
    row = np.eye(64, dtype=np.float32)[5] * 0.5
    assert model.probabilities([row]).tolist() == [[0.5 if place == 5 else 1 / 2048 for place in range(64)]]


def test_a_zero_of_floats_is_a_zero(tmp_path) -> None:
    weights, bias = np.zeros((3, 2), np.float32), np.array([1, 0, 0], np.float32)
    model = TFLiteModel(tiny_tflite.write(tiny_tflite.dense_model(weights, bias), tmp_path / "file.tflite"))
    assert model.probabilities([[5, 7]]).tolist() == [[1, 0, 0]]


def test_a_file_of_logits_keeps_what_is_below_zero(tmp_path) -> None:
    """Nobody shall take it for one that ends in probabilities."""
    model = TFLiteModel(tiny_tflite.write(tiny_tflite.quantise_model(2, "int8", (0.5, 0)), tmp_path / "file.tflite"))
    assert model.probabilities([[3.0, -2.5]]).tolist() == [[3.0, -2.5]]


def test_a_zero_of_integers_that_the_file_makes_floats_of(shared_data) -> None:
    model = TFLiteModel(shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite")
    clips = (1 + np.linspace(-5, 5, 40)[:, None, None]) * np.ones((1, 40, 51, 1))  # louder from mel to mel
    stored, read = model.predict(clips), model.probabilities(clips)
    assert (stored == 0).any()
    np.testing.assert_array_equal(read, np.where(stored == 0, 1 / 512, stored))


def test_networks_of_others_run(shared_data) -> None:
    folders = shared_data / "models" / "surrey_dcase2022"
    for name in ("C1", "C12", "unpruned"):
        whole, quantised = (
            TFLiteModel(folders / name / file)
            for file in ("converted_model.tflite", "converted_quant_model_default.tflite")
        )
        assert whole.operators() == quantised.operators()
        assert whole.operators()[-2:] == ["FULLY_CONNECTED", "SOFTMAX"]
        zeros = np.zeros((1, *whole.input_shape[1:]))
        for model in (whole, quantised):
            assert model.predict(zeros).sum() == pytest.approx(1.0, abs=1e-5)
        assert whole.predict(zeros).argmax() == quantised.predict(zeros).argmax()
