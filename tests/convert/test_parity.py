import copy

import numpy as np
import pytest
import torch

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.parity import Limit, check_onnx, check_tflite, compare, reference_outputs
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


def test_every_module_keeps_its_mode(dcase21) -> None:
    model = copy.deepcopy(dcase21.model).train()
    model.features.eval()  # as when only the classifier is trained
    modes = [module.training for module in model.modules()]
    reference_outputs(model, dcase21.inputs[:1])
    assert [module.training for module in model.modules()] == modes


def test_logits_are_compared_with_logits(dcase21, tmp_path) -> None:
    path = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "logits.onnx", output="logits")
    assert check_onnx(dcase21.model, path, dcase21.inputs, tolerance=1e-4).label_flips == 0


def test_independent_probabilities_flip_at_one_half(dcase21, tmp_path) -> None:
    path = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "sigmoid.onnx", output="sigmoid")
    assert check_onnx(dcase21.model, path, dcase21.inputs).label_flips == 0
    with torch.no_grad():
        logits = dcase21.model(torch.from_numpy(dcase21.inputs))
        changed = copy.deepcopy(dcase21.model)
        changed.classifier.output.bias[3] -= (
            logits[:, 3].median() + 0.01
        )  # one class crosses one half on half of the clips
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


@pytest.mark.parametrize("format", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_a_file_of_another_network_is_found_in_every_format(dcase21, format) -> None:
    right = check_tflite(dcase21.probabilities, dcase21.files[format], dcase21.inputs, format)
    assert right.label_flips <= 2
    negated = copy.deepcopy(dcase21.model)
    with torch.no_grad():
        for parameter in negated.parameters():
            parameter.neg_()
    reference = reference_outputs(negated, dcase21.inputs)
    flips = (reference.argmax(axis=1) != dcase21.probabilities.argmax(axis=1)).mean()
    assert flips > 0.5  # the networks do differ
    for wrong in (reference, np.roll(dcase21.probabilities, 1, axis=0)):
        with pytest.raises(CheckFailedError, match="differs from the trained network by") as caught:
            check_tflite(wrong, dcase21.files[format], dcase21.inputs, format)
        assert caught.value.exit_code == 4


def test_classes_that_the_network_is_sure_of_must_stay() -> None:
    reference = np.tile(np.array([[0.55, 0.4, 0.05]], np.float32), (40, 1))
    outputs = reference.copy()
    outputs[:5, :2] = 0.4, 0.55  # too few to show in the mean
    with pytest.raises(CheckFailedError, match="gives another class on 5 of 40 clips that the trained network is sure"):
        compare([reference], [outputs], "file", Limit("int8"))
    outputs[1:5] = reference[1:5]
    assert compare([reference], [outputs], "file", Limit("int8")).label_flips == 1


def test_float16_is_held_to_a_hundredth_of_the_range() -> None:
    reference = np.linspace(-40, 60, 30, dtype=np.float32).reshape(10, 3)
    assert compare([reference], [reference + 0.9], "file", Limit("float16"), "logits").max_abs_error > 0.89
    with pytest.raises(CheckFailedError, match="more than 1;"):
        compare([reference], [reference + 1.1], "file", Limit("float16"), "logits")


def test_an_output_is_no_nearer_than_its_own_steps() -> None:
    """A network that hardly tells clips apart is not refused for the steps of its softmax."""
    reference = np.full((20, 4), 0.25, np.float32) + np.linspace(-1e-4, 1e-4, 80, dtype=np.float32).reshape(20, 4)
    outputs = np.where(np.arange(80).reshape(20, 4) % 3 == 0, 65 / 256, 64 / 256).astype(np.float32)
    assert compare([reference], [outputs], "file", Limit("int8", steps=[1 / 256])).max_abs_error < 0.005


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
    best, second = np.sort(outputs, axis=1)[:, -1], np.sort(outputs, axis=1)[:, -2]
    for clip in np.argsort(best - second)[:3]:  # the least sure of all
        reference[clip, outputs[clip].argmax()] = second[clip] - 0.01  # another class is now the most likely
    sure = (best - second).argmax()
    reference[sure, outputs[sure].argmax()] += 0.5  # a difference, but no flip
    parity = check_tflite(reference, path, dcase21.inputs, "int8")
    assert parity.label_flips == 3
    assert parity.max_abs_error == pytest.approx(0.5, abs=1e-6)
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
