"""Networks with residual sums, mel-bin norms, other pools and dense batch norm come out of the export whole."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tflite_micro import runtime as tflm
from torch import nn
from torch.nn import functional

from edgeprune.convert.export_form import export_form
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_file import load_onnx
from edgeprune.convert.parity import check_onnx, check_tflite, reference_outputs
from edgeprune.convert.tflite_export import convert
from edgeprune.graph.cost import cost
from edgeprune.models.layers import MelNorm
from edgeprune.models.registry import build, make_spec
from edgeprune.tflite.flatbuffer import operators

pytestmark = pytest.mark.slow  # converts networks

WIDTH = 0.125
_VGG16 = {"CONV_2D": 13, "MAX_POOL_2D": 5, "FULLY_CONNECTED": 2}
_RESNET50 = {"CONV_2D": 53, "ADD": 16, "MEAN": 1, "FULLY_CONNECTED": 1}
_CNN14 = {"MUL": 1, "ADD": 2, "CONV_2D": 12, "AVERAGE_POOL_2D": 5, "MEAN": 2, "MAX_POOL_2D": 1, "FULLY_CONNECTED": 2}
# Name, input, operators of its files, and the largest int8 error of a probability: twice and more what rounding every
# activation and weight to 8 bits in PyTorch gives (0.014, 0.011, 0.15, 0.17, 0.12).
CASES = {
    "vgg16": ("vgg16", (3, 32, 32), _VGG16, 0.05),
    "vgg16 mnist": ("vgg16", (1, 28, 28), _VGG16, 0.05),
    "resnet50_cifar": ("resnet50_cifar", (3, 32, 32), {**_RESNET50, "PAD": 3}, 0.35),
    "resnet50": ("resnet50", (1, 64, 96), {**_RESNET50, "PAD": 5, "MAX_POOL_2D": 1}, 0.35),
    "cnn14": ("cnn14", (1, 101, 64), _CNN14, 0.25),
}


@dataclass(frozen=True)
class Case:
    model: nn.Module
    inputs: np.ndarray
    onnx: Path
    files: dict[str, Path]


def _clips(shape: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """Ten coarse patterns, at different levels and under noise: clips that a deep random network can tell apart."""
    patterns = torch.randn(10, shape[0], 4, 4, generator=torch.Generator().manual_seed(9))
    patterns = functional.interpolate(patterns, size=shape[1:], mode="bilinear").numpy() * 2
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((count, *shape)) * 0.3
    level = generator.uniform(0.7, 1.3, (count, 1, 1, 1))
    return (level * patterns[np.arange(count) % 10] + noise).astype(np.float32)


@cache
def _trained(label: str) -> nn.Module:
    """A network trained for seconds to tell the patterns apart: a random one this deep would drown in 8-bit noise.

    Soft labels keep its outputs from saturating.
    """
    name, shape, *_ = CASES[label]
    torch.manual_seed(5)
    model = build(make_spec(name, 10, shape, WIDTH)).train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for layer in norms:
            layer.weight.uniform_(0.7, 1.3)
            layer.bias.normal_(0, 0.2)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(30):
        clips = torch.from_numpy(_clips(shape, 30, seed=100 + step))
        loss = functional.cross_entropy(model(clips), torch.arange(30) % 10, label_smoothing=0.3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        for layer in norms:
            layer.momentum = 1.0
        model(torch.from_numpy(_clips(shape, 40, seed=3)))
    return model.eval()


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory) -> Case:
    name, shape, *_ = CASES[request.param]
    model, folder = _trained(request.param), tmp_path_factory.mktemp(name)
    onnx = export_onnx(model, shape, folder / "model.onnx")
    files = convert(onnx, folder, ("float32", "int8"), _clips(shape, 40, seed=2))
    return Case(model, _clips(shape, 24, seed=1), onnx, files)


def test_exported_files_compute_what_the_network_does(case, request) -> None:
    _, _, expected, int8_error = CASES[request.node.callspec.params["case"]]
    expected = {**expected, "SOFTMAX": 1}
    reference = reference_outputs(case.model, case.inputs)
    assert len(set(reference.argmax(axis=1).tolist())) >= 4  # the comparison would be worth little otherwise
    assert 0.2 < np.median(reference.max(axis=1)) < 0.99
    assert check_onnx(case.model, case.onnx, case.inputs).label_flips == 0
    exact = check_tflite(reference, case.files["float32"], case.inputs, "float32")
    assert (exact.label_flips, exact.transposes) == (0, 0)
    coarse = check_tflite(reference, case.files["int8"], case.inputs, "int8")
    assert coarse.transposes == 0
    assert coarse.max_abs_error <= int8_error, coarse
    assert coarse.label_flips <= 2, coarse
    assert Counter(operators(case.files["float32"])) == expected
    assert Counter(operators(case.files["int8"])) == expected


def test_memory_is_what_tflite_micro_plans(case, request, capfd) -> None:
    """Residual sums, pads and pools included: the head of its arena, for every network."""
    name, shape, *_ = CASES[request.node.callspec.params["case"]]
    micro = tflm.Interpreter.from_file(str(case.files["int8"]), arena_size=16 << 20)
    micro.print_allocations()
    printed = "".join(capfd.readouterr())
    head = re.search(r"Arena allocation head (\d+) bytes", printed)
    assert head is not None, printed
    assert int(head[1]) == cost(make_spec(name, 10, shape, WIDTH)).peak_ram_bytes


@pytest.mark.parametrize("label", CASES)
def test_export_form_is_folded(label) -> None:
    shape, model = CASES[label][1], _trained(label)
    form = export_form(model, output="logits")
    kinds = {type(layer) for layer in form.modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, MelNorm}
    clips = torch.from_numpy(_clips(shape, 8, seed=4))
    with torch.no_grad():
        torch.testing.assert_close(form(clips), model(clips), atol=1e-4, rtol=1e-4)


def test_mel_norm_as_scale_and_shift() -> None:
    norm = MelNorm(5)
    for tensor, values in [
        (norm.norm.weight, [1.0, 2, 3, 4, 5]),
        (norm.norm.bias, [0.0, 1, 0, 1, 0]),
        (norm.norm.running_mean, [-60.0, -40, -20, 0, 20]),
        (norm.norm.running_var, [100.0, 200, 300, 400, 500]),
    ]:
        tensor.data = torch.tensor(values)
    x = torch.randn(3, 2, 7, 5) * 30 - 20
    scale = norm.as_scale()
    assert scale.scale.shape == scale.shift.shape == (1, 1, 1, 5)
    torch.testing.assert_close(scale(x), norm.eval()(x), atol=1e-5, rtol=1e-5)


class _Functional(nn.Module):
    """A network of a user's own: functional activations, a residual sum, a mean and a functional flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.output = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(x))), 2)
        x = functional.relu(x + self.norm2(self.conv2(x)))
        x = functional.dropout(functional.adaptive_avg_pool2d(x, 1), 0.5, self.training)
        return self.output(torch.flatten(x, 1))


def test_functional_networks_are_folded_too() -> None:
    torch.manual_seed(0)
    model = _Functional().train()
    model(torch.randn(32, 1, 12, 10) * 2 + 1)
    form = export_form(model.eval(), output="logits")
    assert nn.BatchNorm2d not in {type(layer) for layer in form.modules()}
    x = torch.randn(4, 1, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(form(x), model(x), atol=1e-5, rtol=1e-5)


class _Pools(nn.Module):
    def __init__(self, relu: bool, **pool: object) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(1, 3, 1), nn.ReLU() if relu else nn.Identity()
        self.pool = nn.MaxPool2d(**pool)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.pool(self.relu(self.conv(x))).mean((2, 3))
        return out


@pytest.mark.parametrize(
    ("relu", "size", "pool", "kinds", "pads"),
    [
        (True, (7, 7), {"kernel_size": 2, "ceil_mode": True}, [], [0, 0, 1, 1]),  # SAME
        (False, (7, 8), {"kernel_size": 2, "ceil_mode": True}, [], [0, 0, 1, 0]),
        (True, (8, 8), {"kernel_size": 2, "ceil_mode": True}, [], [0, 0, 0, 0]),
        (True, (5, 7), {"kernel_size": (5, 2), "ceil_mode": True}, [], [0, 0, 0, 1]),
        (True, (8, 8), {"kernel_size": 3, "stride": 2, "padding": 1}, ["Pad"], [0, 0, 0, 0]),
        (False, (8, 8), {"kernel_size": 3, "stride": 2, "padding": 1}, [], [1, 1, 1, 1]),  # zero may exceed its values
        (True, (9, 9), {"kernel_size": 3, "stride": 2, "padding": 1}, [], [1, 1, 1, 1]),  # SAME
        (True, (9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, ["Pad"], [0, 0, 0, 0]),
        (True, (10, 11), {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}, ["Pad"], [0, 0, 0, 0]),
    ],
)
def test_max_pools_become_what_tflite_has(tmp_path, relu, size, pool, kinds, pads) -> None:
    torch.manual_seed(1)
    model = _Pools(relu, **pool).eval()
    path = export_onnx(model, (1, *size), tmp_path / "pool.onnx", output="logits")
    nodes = load_onnx(path).graph.node
    names = [node.op_type for node in nodes if node.op_type != "Constant"]
    assert names == ["Conv", *(["Relu"] if relu else []), *kinds, "MaxPool", "ReduceMean"]
    (pooling,) = [node for node in nodes if node.op_type == "MaxPool"]
    attributes = {attribute.name: attribute for attribute in pooling.attribute}
    assert list(attributes["pads"].ints) == pads
    assert "ceil_mode" not in attributes or attributes["ceil_mode"].i == 0
    x = np.random.default_rng(0).standard_normal((3, 1, *size)).astype(np.float32) - 1
    assert check_onnx(model, path, x).max_abs_error <= 1e-6
