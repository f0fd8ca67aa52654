import numpy as np
import pytest
import tiny_tflite

from edgeprune.convert.float_ends import has_float_ends, with_float_ends
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel

DENSE = ["FULLY_CONNECTED"]


def _int8(folder, ends="int8"):
    weights = np.random.default_rng(3).integers(-127, 128, (8, 64), dtype=np.int8)
    bias = np.arange(8, dtype=np.int64 if ends == "int16" else np.int32)
    zero = 0 if ends == "int16" else 3
    model = tiny_tflite.dense_model(weights, bias, 1, ends, (0.5, zero), 0.25, (20.0, -zero))
    return tiny_tflite.write(model, folder / f"{ends}.tflite")


@pytest.mark.parametrize("ends", ["int8", "int16"])
def test_same_numbers_and_the_same_bytes_inside(tmp_path, ends):
    path = _int8(tmp_path, ends)
    twin = tmp_path / "twin.tflite"
    twin.write_bytes(with_float_ends(path))
    assert not has_float_ends(path)
    assert has_float_ends(twin)
    assert operators(twin) == ["QUANTIZE", *DENSE, "DEQUANTIZE"]
    before, after = unpack_model(path), unpack_model(twin)
    for old, new in zip(before.buffers, after.buffers[: len(before.buffers)], strict=True):
        assert np.array_equal(np.asarray(old.data), np.asarray(new.data))
    values = np.random.default_rng(1).normal(0, 20, (5, 64)).astype(np.float32)
    assert np.array_equal(TFLiteModel(path).predict(values), TFLiteModel(twin).predict(values))


def test_float_ends_stay_as_they_are(tmp_path):
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    twin = tmp_path / "twin.tflite"
    twin.write_bytes(with_float_ends(path))
    assert has_float_ends(path)
    assert operators(twin) == DENSE
    (signature,) = unpack_model(twin).signatureDefs
    assert [entry.name for entry in (*signature.inputs, *signature.outputs)] == [b"input", b"output"]


def test_integers_without_a_scale_are_refused(tmp_path):
    weights, bias = np.ones((2, 3), np.int8), np.zeros(2, np.int32)
    path = tiny_tflite.write(tiny_tflite.dense_model(weights, bias, ends="int8"), tmp_path / "bare.tflite")
    with pytest.raises(EdgepruneError, match=r"bare.tflite: has an end of int8; export it as float32, int8 or int16x8"):
        with_float_ends(path)
