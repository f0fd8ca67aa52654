"""Small networks and their exported files, made once: every conversion starts TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.tflite_export import FORMATS, convert
from edgeprune.graph.surgery import remove_filters
from edgeprune.models.registry import ModelSpec, build, make_spec

METADATA = {"labels": [f"scene {number}" for number in range(10)], "frontend": {"mels": 40}}


@dataclass(frozen=True)
class Exported:
    """A network, the clips it is tried on `[n, 1, height, width]`, what it gives them, and its files by format."""

    model: nn.Module
    spec: ModelSpec
    inputs: np.ndarray
    calibration: np.ndarray
    probabilities: np.ndarray
    onnx: Path
    files: dict[str, Path]

    @property
    def tflite_inputs(self) -> np.ndarray:
        return np.ascontiguousarray(self.inputs.transpose(0, 2, 3, 1))


def _trained_looking(spec: ModelSpec, seed: int) -> nn.Module:
    """Random weights, but no batch norm that does nothing, no bias of zero and outputs far from uniform."""
    torch.manual_seed(seed)
    model = build(spec)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 2.0)
                layer.bias.normal_(0, 0.3)
                layer.running_mean.normal_(0, 0.5)
                layer.running_var.uniform_(0.2, 3.0)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                layer.bias.normal_(0, 0.1)
    return model.eval()


def _clips(shape: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """Clips that differ in level and in where their energy lies, so that networks tell them apart."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((count, *shape))
    tilt = generator.normal(0, 1.0, (count, 1, 1, 1)) * np.linspace(-1, 1, shape[1])[:, None]
    return (noise + tilt + generator.normal(0, 0.5, (count, 1, 1, 1))).astype(np.float32)


def _export(folder: Path, model: nn.Module, spec: ModelSpec, formats: tuple[str, ...]) -> Exported:
    inputs, calibration = _clips(spec.input_shape, 24, seed=1), _clips(spec.input_shape, 40, seed=2)
    with torch.no_grad():
        probabilities = torch.softmax(model(torch.from_numpy(inputs)), dim=1).numpy()
    onnx = export_onnx(model, spec.input_shape, folder / "model.onnx")
    files = convert(onnx, folder, formats, calibration, METADATA)
    return Exported(model, spec, inputs, calibration, probabilities, onnx, files)


@pytest.fixture(scope="session")
def dcase21(tmp_path_factory) -> Exported:
    """The one-second DCASE21_Net pruned to odd widths, in all formats."""
    spec = make_spec("dcase21", 10, (1, 40, 51))
    kept = {"conv1": range(1, 14), "conv2": range(11), "conv3": range(3, 30)}
    model, slim = remove_filters(_trained_looking(spec, seed=3), spec, kept)
    assert slim.widths == {"conv1": 13, "conv2": 11, "conv3": 27, "fc1": 100}
    return _export(tmp_path_factory.mktemp("dcase21"), model, slim, FORMATS)


@pytest.fixture(scope="session")
def vggish(tmp_path_factory) -> Exported:
    """A narrow VGGish; its flatten has 6 x 4 places."""
    spec = make_spec("vggish", 10, (1, 96, 64), width=0.05)
    return _export(tmp_path_factory.mktemp("vggish"), _trained_looking(spec, seed=4), spec, ("float32", "int8"))


@pytest.fixture(scope="session")
def networks(dcase21, vggish) -> dict[str, Exported]:
    return {"dcase21": dcase21, "vggish": vggish}
