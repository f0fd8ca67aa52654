"""A module of one's own as files, by the public API: what is refused, what is written, what can be done with it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import edgeprune
from edgeprune import LogMel
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.running import export_module
from edgeprune.tflite.metadata import read_description

MEL = torch.zeros(1, 1, 12, 9)


def _network(values: int, *last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(280, values), *last).eval()


class _Two(nn.Module):
    """Classes, and one number beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.classes, self.level = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = torch.relu(self.conv(x)).mean((2, 3))
        return {"classes": self.classes(y).softmax(1), "level": self.level(y)}


@pytest.mark.parametrize(
    ("model", "settings", "says"),
    [
        (_network(1), {}, "gives one value, whose softmax is always 1; give output='sigmoid'"),
        (_network(3, nn.Softmax(1)), {}, "ends in Softmax itself, so softmax would be taken twice"),
        (_network(3, nn.Sigmoid()), {"output": "sigmoid"}, "ends in Sigmoid itself, so sigmoid would be taken twice"),
        (_Two(), {}, "_Two: gives 2 outputs; put softmax into the module where it belongs"),
        (nn.Conv2d(1, 4, 3), {}, r"gives \[1, 4, 10, 7\], and softmax is over \[n, classes\]"),
        (_network(3), {"output": "gain"}, "output 'gain': choose from softmax, sigmoid, logits, none"),
        (_network(3), {"labels": ["a", "b"]}, "gives 3 values, which need as many different labels; 2 are given"),
        (_network(3), {"labels": ["a", "b", "b"]}, "which need as many different labels"),
        (
            _network(3),
            {"frontend": LogMel(patch_frames=9)},
            r"takes \[1, 12, 9, 1\], but the front-end gives 40 ",
        ),
        (_network(3), {"normalisation": (0.0, 0.0)}, "a standard deviation of 0 divides nothing"),
        (_network(3), {"normalisation": ([0.0] * 12, 1.0)}, "has 12 means and 1 standard deviations; give one for all"),
        (_network(3), {"normalisation": (float("nan"), 1.0)}, "the normalisation holds NaN or infinity"),
        (_network(3), {"formats": ["int4"]}, "format 'int4' is unknown"),
        (_network(3), {"label": ["a", "b", "c"]}, "setting of export 'label' is unknown.*labels"),
        (nn.Linear(5, 3), {}, r"Linear: does not take an input of \[1, 1, 12, 9\]"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_conversion(model, settings, says, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(export_module, "convert_network", lambda *_, **__: pytest.fail("was converted"))
    with pytest.raises(EdgepruneError, match=says):
        edgeprune.export(model, MEL, torch.randn(20, 1, 12, 9), **settings, out=tmp_path / "files")
    assert not list(tmp_path.rglob("*.tflite"))


def test_inputs_that_do_not_fit_are_refused(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match="int8 needs calibration inputs"):
        edgeprune.export(_network(3), MEL, formats=["int8"], out=tmp_path)
    with pytest.raises(EdgepruneError, match=r"calibration inputs are \[1, 12, 8\], the example is \[1, 12, 9\]"):
        edgeprune.export(_network(3), MEL, torch.zeros(5, 1, 12, 8), out=tmp_path)
    with pytest.raises(EdgepruneError, match="takes 2 inputs, and a file has one"):
        edgeprune.export(_network(3), (MEL, MEL), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgepruneError, match="cannot be written"):
        edgeprune.export(_network(3), MEL, formats=["float32"], out=tmp_path / "file" / "folder")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A module of two outputs, exported with noise as calibration."""
    torch.manual_seed(0)
    calibration = torch.randn(40, 1, 12, 9) * torch.linspace(0.2, 3, 40).view(-1, 1, 1, 1)
    out = tmp_path_factory.mktemp("two")
    formats = ["float32", "int8"]
    model = _Two().eval()
    return (
        model,
        calibration,
        edgeprune.export(
            model, MEL, calibration, output="none", labels=["a", "b", "c"], formats=formats, name="two", out=out
        ),
    )


@pytest.mark.slow
def test_files_hold_every_output_and_a_description(two) -> None:
    model, calibration, exported = two
    assert sorted(path.name for path in exported.onnx.parent.iterdir()) == [
        "two.onnx", "two_float32.tflite", "two_float32.tflite.json", "two_int8.tflite", "two_int8.tflite.json"
    ]  # fmt: skip
    assert exported.parity.keys() == {"onnx", "float32", "int8"}
    assert exported.parity["float32"].max_abs_error < 1e-6
    assert 0 < exported.parity["int8"].max_abs_error < 0.1
    with torch.no_grad():
        expected = model(calibration)["classes"].numpy()
    np.testing.assert_allclose(exported["float32"].predict(calibration), expected, atol=1e-6)
    last = np.ascontiguousarray(calibration.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(exported["float32"].predict(last), expected, atol=1e-6)
    assert exported["float32"].cost().params == exported.cost.params == 40 + 15 + 5
    described = read_description(exported["int8"].path)
    assert (described.labels, described.output, described.spec.input_shape) == (("a", "b", "c"), "none", (1, 12, 9))
    sidecar = json.loads((exported.onnx.parent / "two_int8.tflite.json").read_text())
    assert [tensor["name"] for tensor in sidecar["outputs"]] == ["output", "output_1"]
    assert sidecar["extra"]["parity"]["max_abs_error"] == exported.parity["int8"].max_abs_error


@pytest.mark.slow
def test_a_file_of_another_module_is_not_kept(two, tmp_path) -> None:
    """As if the conversion had changed the weights: the reference is another network's."""
    _, calibration, exported = two
    other = _Two().eval()
    file = tmp_path / "copy.tflite"
    file.write_bytes(exported["int8"].path.read_bytes())
    reference = export_module.network_outputs(other, calibration.numpy(), "none")
    conversion = export_module.Conversion({}, (0, 2, 3, 1), ((0, 1), (0, 1)), ())
    with pytest.raises(CheckFailedError, match="differs from the trained network"):
        export_module._checked(file, "int8", (reference, calibration.numpy()), conversion, "none", exported.cost)
    assert not file.exists()
    with pytest.raises(EdgepruneError, match="gives no probabilities"):
        edgeprune.evaluate(exported["int8"], edgeprune.Data())
    with pytest.raises(EdgepruneError, match="gives no probabilities"):
        edgeprune.deploy(exported["int8"], "c11", tmp_path / "firmware")


@pytest.mark.slow
def test_every_output_is_compared_on_the_host(two) -> None:
    *_, exported = two
    (record,) = exported["int8"].bench("host", runs=1).records
    assert record.detail["max_abs_error"] < 0.1
    with pytest.raises(EdgepruneError, match="has 2 outputs; give a network with one"):
        exported["int8"].bench("tflm")
