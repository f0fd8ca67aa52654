import conv_tflite
import numpy as np
import pytest
import tiny_tflite

from edgeprune.devices import checks
from edgeprune.devices.checks import FLOAT_TOLERANCE, check_close, check_exact, reference, tolerance
from edgeprune.devices.request import Inputs
from edgeprune.errors import CheckFailedError
from edgeprune.tflite.flatbuffer import unpack_model


@pytest.fixture
def int8(tmp_path):
    """8 outputs, each the sum of 4 inputs times 3; scales of powers of two, so that the sums are exact."""
    model = tiny_tflite.dense_model(
        np.full((8, 4), 3, dtype=np.int8),
        np.zeros(8, dtype=np.int32),
        ends="int8",
        input_scale=(0.5, 3),
        weight_scale=0.25,
        output_scale=(1.0, -5),
    )
    return tiny_tflite.write(model, tmp_path / "int8.tflite")


def test_reference_by_hand(int8):
    values = np.array([[1.0, 2.0, 3.0, 4.0], [0.25, 0.0, 0.0, 0.0]], np.float32)
    stored, outputs = reference(int8, Inputs(values, "by hand"))
    assert stored.tolist() == [[5, 7, 9, 11], [4, 3, 3, 3]]  # 0.25 / 0.5 is rounded away from zero
    # Sums 3 x (2 + 4 + 6 + 8) = 60 and 3, times 0.125: 7.5 is rounded to 8. The other is rounded twice as on
    # microcontrollers, after the multiplication by 0.5 (1.5 to 2) and after the shift by 2 (0.5 to 1). Zero point -5.
    assert outputs.dtype == np.int8
    assert outputs.tolist() == [[3] * 8, [-4] * 8]


def test_exact_means_every_byte(int8):
    expected = np.arange(16, dtype=np.int8).reshape(2, 8)
    check_exact("tflm", int8, expected, expected.copy())
    got = expected.copy()
    got[1, 7] += 1
    with pytest.raises(CheckFailedError, match="computes something else on 1 of 2 clips") as caught:
        check_exact("tflm", int8, expected, got)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("got", [np.zeros((2, 7), np.int8), np.zeros((2, 8), np.float32)])
def test_outputs_of_another_shape_or_type_are_refused(int8, got):
    for check in (check_exact, check_close):
        with pytest.raises(CheckFailedError, match="was due"):
            check("ssh://board", int8, np.zeros((2, 8), np.int8), got)


def test_numbers_of_another_kind_are_held_to_a_share_of_their_range(tmp_path):
    path = tiny_tflite.write(tiny_tflite.float_model(inputs=3, outputs=2), tmp_path / "whole.tflite")
    expected = np.array([[-20.0, 30.0]], np.float32)  # a range of 50
    assert check_close("host", path, expected, expected + np.float32(25 * FLOAT_TOLERANCE)) == pytest.approx(
        0.025, abs=1e-5
    )
    for wrong in (expected + np.float32(75 * FLOAT_TOLERANCE), expected * np.float32("nan")):
        with pytest.raises(CheckFailedError, match="differs from the reference"):
            check_close("host", path, expected, wrong)


@pytest.mark.parametrize(("operators", "share"), [(1, 0.06), (9, 0.06), (100, 0.2)])
def test_what_rounding_explains_grows_with_the_depth(int8, tmp_path, monkeypatch, operators, share):
    """Right kernels were 0.14 apart on MobileNetV3-Small's 108 operators. In float32 they all but agree."""
    names = ["CONV_2D"] * operators
    monkeypatch.setattr(checks, "operator_names", lambda _: names)
    monkeypatch.setattr(checks, "unpack_model", lambda path: deepened(unpack_model(path), operators))
    assert tolerance(int8, np.array([[-100, 100]], np.int8)) == pytest.approx(share * 200)
    whole = tiny_tflite.write(tiny_tflite.float_model(inputs=3, outputs=2), tmp_path / "whole.tflite")
    assert tolerance(whole, np.array([[-100, 100]], np.float32)) == pytest.approx(FLOAT_TOLERANCE * 200)


def deepened(model, operators):
    """The model with its first operator so many times, to be looked at alone."""
    model.subgraphs[0].operators = model.subgraphs[0].operators[:1] * operators
    return model


def test_integers_may_be_some_of_their_steps_apart(int8):
    expected = np.zeros((2, 8), np.int8)  # no range at all; a step is 1.0
    assert check_close("host", int8, expected, expected + np.int8(4)) == 4
    with pytest.raises(CheckFailedError, match="differs from the reference by 5, more than 4"):
        check_close("host", int8, expected, expected + np.int8(5))


def test_probabilities_may_be_some_steps_of_their_logits_apart(tmp_path):
    path = conv_tflite.conv_network(tmp_path / "softmax.tflite")  # a step of its logits is 0.1
    expected = np.zeros((2, 5), np.int8)
    limit = np.tanh(4 * 0.1 / 2)
    assert tolerance(path, expected) == pytest.approx(limit) == pytest.approx(0.197, abs=1e-3)
    with pytest.raises(CheckFailedError, match=r"more than 0\.197"):
        check_close("host", path, expected, expected + np.int8(60))
