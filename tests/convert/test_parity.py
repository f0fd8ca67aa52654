import copy

import numpy as np
import pytest
import torch

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.parity import check_onnx, check_tflite, reference_outputs
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel


def test_reference_outputs_are_the_networks_own(dcase21) -> None:
    model = copy.deepcopy(dcase21.model).train()
    np.testing.assert_allclose(reference_outputs(model, dcase21.inputs), dcase21.probabilities, atol=1e-6)
    assert model.training  # given back as it came
    with torch.no_grad():
        logits = dcase21.model(torch.from_numpy(dcase21.inputs)).numpy()
    np.testing.assert_allclose(reference_outputs(model, dcase21.inputs, output="logits"), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_exports_pass(networks, name) -> None:
    network = networks[name]
    parity = check_onnx(network.model, network.onnx, network.inputs)
    assert parity.max_abs_error <= 1e-5
    assert (parity.label_flips, parity.transposes, parity.clips) == (0, 0, 24)
    reference = reference_outputs(network.model, network.inputs)
    parity = check_tflite(reference, network.files["float32"], network.inputs, "float32")
    assert parity.max_abs_error <= 1e-4
    assert (parity.label_flips, parity.transposes, parity.clips) == (0, 0, 24)


def test_logits_are_compared_with_logits(dcase21, tmp_path) -> None:
    path = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "logits.onnx", output="logits")
    assert check_onnx(dcase21.model, path, dcase21.inputs, tolerance=1e-4).label_flips == 0


def test_independent_probabilities_flip_at_one_half(dcase21, tmp_path) -> None:
    path = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "sigmoid.onnx", output="sigmoid")
    assert check_onnx(dcase21.model, path, dcase21.inputs).label_flips == 0
    with torch.no_grad():
        logits = dcase21.model(torch.from_numpy(dcase21.inputs))
        changed = copy.deepcopy(dcase21.model)
        changed.classifier.output.bias[3] -= logits[:, 3].median()  # one class crosses one half on half of the clips
        before, after = logits >= 0, changed(torch.from_numpy(dcase21.inputs)) >= 0
    flips = int((before != after).any(dim=1).sum())
    assert flips >= 6
    assert check_onnx(changed, path, dcase21.inputs, tolerance=1.0).label_flips == flips


@pytest.mark.parametrize("layer", ["features.conv1", "features.conv2", "features.conv3", "classifier.output"])
def test_one_changed_weight_is_found(dcase21, layer) -> None:
    changed = copy.deepcopy(dcase21.model)
    with torch.no_grad():
        weight = changed.get_submodule(layer).weight
        weight.view(-1)[weight.abs().argmax()] *= -1
    with pytest.raises(CheckFailedError, match="differs from the trained network by") as caught:
        check_onnx(changed, dcase21.onnx, dcase21.inputs)
    assert caught.value.exit_code == 4
    reference = reference_outputs(changed, dcase21.inputs)
    with pytest.raises(CheckFailedError, match=r"more than 0\.0001"):
        check_tflite(reference, dcase21.files["float32"], dcase21.inputs, "float32")
    # quantised files are measured, not judged
    assert check_tflite(reference, dcase21.files["int8"], dcase21.inputs, "int8").max_abs_error > 1e-4


def _with_output_bias(path, target, values: np.ndarray) -> None:
    model = unpack_model(path)
    graph = model.subgraphs[0]
    bias = graph.tensors[graph.operators[-2].inputs[2]]  # the dense layer before the softmax
    assert list(bias.shape) == [10]
    model.buffers[bias.buffer].data = np.frombuffer(values.astype(np.float32).tobytes(), dtype=np.uint8)
    target.write_bytes(pack_model(model))


def test_a_changed_file_is_found(dcase21, tmp_path) -> None:
    reference = dcase21.probabilities
    bias = dcase21.model.get_submodule("classifier.output").bias.detach().numpy()
    path = tmp_path / "changed.tflite"
    _with_output_bias(dcase21.files["float32"], path, bias)  # nothing changed yet
    assert check_tflite(reference, path, dcase21.inputs, "float32").label_flips == 0
    _with_output_bias(dcase21.files["float32"], path, bias + 0.01 * np.eye(10)[3])
    with pytest.raises(CheckFailedError, match="differs from the trained network"):
        check_tflite(reference, path, dcase21.inputs, "float32")
    _with_output_bias(dcase21.files["float32"], path, bias + np.nan * np.eye(10)[3])
    for format in ("float32", "float16"):  # NaN is a failure in any format
        with pytest.raises(CheckFailedError, match="NaN or infinity where the network does not"):
            check_tflite(reference, path, dcase21.inputs, format)


def test_flips_and_error_by_hand(dcase21) -> None:
    path = dcase21.files["int8"]
    outputs = TFLiteModel(path).predict(dcase21.tflite_inputs)
    reference = outputs.copy()
    for clip in (0, 7, 23):
        reference[clip] = np.roll(outputs[clip], 1)  # another class is now the most likely
    reference[5, outputs[5].argmax()] += 3.0  # a difference, but no flip
    parity = check_tflite(reference, path, dcase21.inputs, "int8")
    assert parity.label_flips == 3
    assert parity.max_abs_error == pytest.approx(3.0, abs=1e-6)
    assert check_tflite(outputs, path, dcase21.inputs, "int8").max_abs_error == 0.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda clips: clips[:0], "give at least one clip"),
        (lambda clips: clips[..., :50], r"inputs are \[24, 1, 40, 50\], it takes \['n', 1, 40, 51\]"),
        (lambda clips: clips.transpose(0, 2, 3, 1), r"inputs are \[24, 40, 51, 1\]"),
        (lambda clips: np.where(np.arange(51) == 7, np.nan, clips), "inputs hold NaN"),
    ],
)
def test_inputs_that_are_refused(dcase21, change, says) -> None:
    inputs = change(dcase21.inputs)
    with pytest.raises(EdgepruneError, match=says):
        check_onnx(dcase21.model, dcase21.onnx, inputs)
    with pytest.raises(EdgepruneError, match=says):
        check_tflite(dcase21.probabilities, dcase21.files["float32"], inputs, "float32")


def test_references_of_other_clips_are_refused(dcase21) -> None:
    with pytest.raises(EdgepruneError, match=r"gives \[24, 10\] where the reference has \[23, 10\]"):
        check_tflite(dcase21.probabilities[:-1], dcase21.files["float32"], dcase21.inputs, "float32")
