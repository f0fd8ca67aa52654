"""Networks of many forms come out of the conversion whole, with their values in an order that needs no TRANSPOSE."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_to_tf import in_file, tf_network
from edgeprune.convert.onnx_to_tflite import _converter, outputs_of
from edgeprune.convert.tf_builder import UnsupportedOperatorError
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import load_interpreter

pytestmark = pytest.mark.slow  # imports TensorFlow


class Then(nn.Module):
    """A network, and a function of what it gives."""

    def __init__(self, network: nn.Module, function: Any) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.network(x))


class Excited(nn.Module):
    """Squeeze and excitation by dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3)))))).view(-1, 8, 1, 1)
        return self.head((y * gate).mean((2, 3)))


class Attention(nn.Module):
    """Attention over time, on a convolution's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight, self.head = nn.Conv2d(1, 8, 3), nn.Conv1d(8, 1, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x)).mean(2)
        return self.head((y * torch.softmax(self.weight(y), -1)).sum(2))


class Recurrent(nn.Module):
    """A recurrent layer over time, after convolutions or on the input itself."""

    def __init__(self, kind: Any, convolved: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1) if convolved else None
        self.recurrent = kind(6 if convolved else 12, 5, batch_first=True, bidirectional=convolved)
        self.head = nn.Linear(10 if convolved else 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is not None:
            x = self.conv(x).mean(2).transpose(1, 2)
        y, _ = self.recurrent(x)
        return self.head(y.mean(1))


class Flattened(nn.Module):
    """A dense layer on two flattened branches and the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 3, 5, stride=2)
        self.head = nn.Linear(10 * 13 + 4 * 8 * 11 + 3 * 3 * 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([x.flatten(1), self.left(x).flatten(1), self.right(x).flatten(1)], 1))


def _framed(y: Tensor) -> Tensor:
    return y.permute(0, 3, 1, 2).flatten(2)


def _banded(y: Tensor) -> Tensor:
    n, channels, mels, frames = y.shape
    return F.layer_norm(y.view(n, channels * 5, mels // 5, frames), (frames,)).view(y.shape).mean((2, 3))


def _attention(y: torch.Tensor) -> torch.Tensor:
    return torch.softmax(y @ y.transpose(1, 2), -1) @ y


def _shuffled(y: Tensor) -> Tensor:
    return y.view(len(y), 2, 2, *y.shape[2:]).transpose(1, 2).reshape(y.shape).mean((2, 3))


CONV, IMAGE = nn.Conv2d(1, 4, 3, padding=1), (1, 10, 13)
LINEAR = nn.Linear(64, 3)
FREE = {  # without a TRANSPOSE
    "plain flatten": (nn.Sequential(CONV, nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(520, 3)), IMAGE),
    "branches flattened": (Flattened(), IMAGE),
    "dense layer a frame": (Then(CONV, lambda y: F.relu(_framed(y)) @ torch.linspace(-1, 1, 120).view(40, 3)), IMAGE),
    "depthwise, unequal strides": (
        nn.Sequential(CONV, nn.Conv2d(4, 4, 3, (1, 2), 1, groups=4), nn.Conv2d(4, 8, 3, (2, 1), 1, groups=4)),
        IMAGE,
    ),
    "grouped and dilated": (nn.Sequential(CONV, nn.Conv2d(4, 6, 3, dilation=2, padding=2, groups=2)), IMAGE),
    "transposed convolution": (nn.Sequential(CONV, nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.Sigmoid()), IMAGE),
    "odd transposed convolution": (nn.Sequential(CONV, nn.ConvTranspose2d(4, 2, 3, 2, 0, 1)), IMAGE),
    "pools with padding": (
        nn.Sequential(CONV, nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2, 2, ceil_mode=True), nn.MaxPool2d(3, 2, 1)),
        IMAGE,
    ),
    "means that count no padding": (nn.Sequential(CONV, nn.AvgPool2d(3, 2, 1, count_include_pad=False)), IMAGE),
    "one dimension": (
        nn.Sequential(nn.Conv1d(12, 8, 5), nn.BatchNorm1d(8), nn.GELU(), nn.MaxPool1d(2), nn.Flatten(), LINEAR),
        (12, 20),
    ),
    "dense layers alone": (nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 20)), (20,)),
    "squeeze and excitation": (Excited(), IMAGE),
    "attention over time": (Attention(), IMAGE),
    "GRU": (Recurrent(nn.GRU, convolved=True), IMAGE),
    "LSTM": (Recurrent(nn.LSTM, convolved=False), (9, 12)),
    "norms in bands": (Then(CONV, _banded), IMAGE),
    "group norm": (nn.Sequential(CONV, nn.GroupNorm(2, 4), nn.ReLU()), IMAGE),
    "instance norm": (nn.Sequential(CONV, nn.InstanceNorm2d(4, affine=True), nn.PReLU(4)), IMAGE),
    "activations": (
        nn.Sequential(CONV, nn.Hardswish(), nn.SiLU(), nn.ELU(0.7), nn.LeakyReLU(), nn.Softplus(), nn.Mish(), nn.SELU(),
                      nn.CELU(2.0), nn.Hardsigmoid(), nn.Hardtanh(-0.2, 0.4), nn.PReLU(), nn.GELU("tanh")),
        IMAGE,
    ),
    "channels put together": (Then(CONV, lambda y: torch.cat([y.mean(1, True), y.amax(1, True), y], 1)), IMAGE),
    "repeated along mels": (Then(CONV, lambda y: y + y.mean(2, keepdim=True).expand(-1, -1, 10, -1)), IMAGE),
    "cut and rolled": (Then(CONV, lambda y: y[..., 1:12].roll(1, -1).flip(2)), IMAGE),
    "split": (Then(CONV, lambda y: torch.cat([y.split([1, 3], 1)[1] * 2, y.split([1, 3], 1)[0]], 1)), IMAGE),
    "enlarged": (nn.Sequential(CONV, nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")), IMAGE),
    "several outputs": (Then(CONV, lambda y: {"map": y.sigmoid(), "mean": y.mean((2, 3))}), IMAGE),
}  # fmt: skip
MOVED = {
    "channels shuffled before groups": (Then(CONV, _shuffled), IMAGE),
    "softmax over mels": (Then(CONV, lambda y: torch.softmax(y, 2)), IMAGE),
    "attention between frames": (Then(nn.Linear(12, 12), _attention), (9, 12)),
}  # fmt: skip


def _exported(network: nn.Module, shape: tuple[int, ...], folder: Path) -> Path:
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
    return export_onnx(network.eval(), shape, folder / "network.onnx", "none")


def _converted(path: Path, folder: Path) -> tuple[Path, Any]:
    import tensorflow as tf

    network, module = tf_network(onnx.load(path)), tf.Module()
    module.function = network.function
    out = folder / "network.tflite"
    out.write_bytes(_converter("float32", module, []).convert())
    return out, network


@pytest.mark.parametrize("name", [*FREE, *MOVED])
def test_a_file_computes_what_the_network_does(name, tmp_path) -> None:
    network, shape = {**FREE, **MOVED}[name]
    path = _exported(network, shape, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file, converted = _converted(path, tmp_path)
    x = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"input": x})
    with torch.no_grad():
        given = network(torch.from_numpy(x))
    given = list(given.values()) if isinstance(given, dict) else [given]
    outputs = outputs_of(load_interpreter(file), in_file(x, converted.input_axes))
    for one, other, output, axes in zip(given, expected, outputs, converted.output_axes, strict=True):
        np.testing.assert_allclose(other, one.numpy(), atol=1e-5)
        np.testing.assert_allclose(output, in_file(other, axes), atol=1e-5)
    transposes = Counter(operators(file))["TRANSPOSE"]
    assert (transposes > 0) == (name in MOVED), (transposes, converted.transposes)
    assert bool(converted.transposes) == (name in MOVED)


def test_an_image_enters_channels_last_and_time_stays_before_channels(tmp_path) -> None:
    image = tf_network(onnx.load(_exported(nn.Conv2d(3, 4, 3), (3, 10, 13), tmp_path)))
    assert image.input_axes == (0, 2, 3, 1)
    time = tf_network(onnx.load(_exported(nn.Conv1d(12, 4, 3), (12, 20), tmp_path)))
    assert time.input_axes == (0, None, 2, 1)
    frames = tf_network(onnx.load(_exported(Recurrent(nn.GRU, convolved=False), (9, 12), tmp_path)))
    assert frames.input_axes == (0, 1, 2)


def _normal_share(y: Tensor) -> Tensor:
    """Looks like the end of a GELU, but multiplies with something else."""
    return (torch.erf(y / 2**0.5) + 1) * y.abs() * 0.5


def test_only_a_whole_gelu_becomes_one(tmp_path) -> None:
    gelu = tf_network(onnx.load(_exported(nn.Sequential(CONV, nn.GELU()), IMAGE, tmp_path)))
    assert gelu.transposes == []
    for function in (_normal_share, torch.erf, lambda y: torch.erf(y / 2**0.5) + torch.erf(y / 2**0.5).square()):
        with pytest.raises(UnsupportedOperatorError, match="TFLite has no such operator"):
            tf_network(onnx.load(_exported(Then(CONV, function), IMAGE, tmp_path)))


@pytest.mark.parametrize(
    ("layer", "x", "why"),
    [
        (nn.GRU(12, 5), (9, 12), "it takes 9 sequences at once where a file takes one; is batch_first meant"),
        (nn.GRU(12, 5, batch_first=True), (300, 12), "it runs 300 steps, and at most 256 are written out"),
    ],
)
def test_recurrent_layers_that_cannot_be_written_out(layer, x, why, tmp_path) -> None:
    with pytest.raises(UnsupportedOperatorError, match=why):
        tf_network(onnx.load(_exported(Then(layer, lambda y: y[0]), x, tmp_path)))


class _Named(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 4, 3), layer)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


@pytest.mark.parametrize(
    ("layer", "operator", "why"),
    [
        (nn.LocalResponseNorm(2), "AveragePool", "TFLite has it for one and two dimensions, not for 3"),
        (nn.MaxPool2d(2, dilation=2), "MaxPool", "TFLite has none with dilation"),
        (nn.ReflectionPad2d(1), None, ""),
    ],
)
def test_what_tflite_lacks_is_named_with_its_module(layer, operator, why, tmp_path) -> None:
    path = _exported(_Named(layer), IMAGE, tmp_path)
    if operator is None:  # it has this one
        tf_network(onnx.load(path))
        return
    with pytest.raises(UnsupportedOperatorError, match=why) as caught:
        tf_network(onnx.load(path))
    assert (caught.value.operator, caught.value.module) == (operator, "block.1")
