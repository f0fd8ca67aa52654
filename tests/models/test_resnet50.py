"""ResNet-50 in both forms: published counts, shared widths, shapes, seed."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.models.registry import build, make_spec

BLOCKS = [(64, 3), (128, 4), (256, 6), (512, 3)]


def _meta(spec):
    with torch.device("meta"):
        return build(spec).eval()


def _by_hand(channels: int, classes: int, stem: int, stem_places: int, places: int) -> tuple[int, int]:
    """Trainable parameters and MACs; `stem`: its kernel's weights, `places`: positions of stage 1's output."""
    params, macs = stem * channels * 64 + 2 * 64, stem * channels * 64 * stem_places
    before = 64
    for number, (inner, blocks) in enumerate(BLOCKS):
        for block in range(blocks):
            entering = places  # of the first 1x1, ahead of the stride in the 3x3
            if number and not block:
                places //= 4
            layers = [(before * inner, entering), (9 * inner * inner, places), (inner * 4 * inner, places)]
            normalised = 6 * inner
            if not block:
                layers.append((before * 4 * inner, places))
                normalised += 4 * inner
            params += sum(weights for weights, _ in layers) + 2 * normalised
            macs += sum(weights * positions for weights, positions in layers)
            before = 4 * inner
    return params + before * classes + classes, macs + before * classes


@pytest.mark.parametrize(
    ("name", "classes", "hand", "published"),
    [
        ("resnet50", 1000, (3, 1000, 49, 112**2, 56**2), (25_557_032, 4_089_184_256)),
        ("resnet50_cifar", 10, (3, 10, 9, 32**2, 32**2), (23_520_842, 1_297_829_888)),
    ],
)
def test_counts(name, classes, hand, published) -> None:
    spec = make_spec(name, classes)
    model = _meta(spec)
    params = sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *spec.input_shape, device="meta"))
    assert (params, counter.get_total_flops() // 2) == _by_hand(*hand) == published


def test_default_widths() -> None:
    widths = make_spec("resnet50").widths
    assert widths == make_spec("resnet50_cifar").widths
    assert list(widths)[:8] == [
        "stem",
        "stage1.0.conv1",
        "stage1.0.conv2",
        "stage1.0.conv3",
        "stage1.1.conv1",
        "stage1.1.conv2",
        "stage1.2.conv1",
        "stage1.2.conv2",
    ]
    assert [widths[f"stage{stage}.0.conv3"] for stage in (1, 2, 3, 4)] == [256, 512, 1024, 2048]
    assert len(widths) == 1 + 2 * 16 + 4


@pytest.mark.parametrize("name", ["resnet50", "resnet50_cifar"])
def test_layers_that_are_added_share_a_width_and_all_others_have_their_own(name) -> None:
    spec = make_spec(name, 4, (1, 32, 48))
    widths = {label: 1 + place % 7 for place, label in enumerate(spec.widths)}
    model = build(replace(spec, widths=widths)).eval()
    convs = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    assert len(convs) == 53
    for path, conv in convs.items():
        stage, _, rest = path.partition(".")
        shared = rest.endswith(("conv3", "shortcut.conv"))
        assert conv.out_channels == widths[f"{stage}.0.conv3" if shared else path], path
        assert conv.bias is None
    assert model(torch.randn(2, 1, 32, 48)).shape == (2, 4)


@pytest.mark.parametrize("name", ["resnet50", "resnet50_cifar"])
def test_the_main_path_runs_before_the_shortcut(name) -> None:
    model = build(make_spec(name, 4, (1, 32, 32), 0.05)).eval()
    order = []
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _module, _inputs, _output, path=path: order.append(path))
    model(torch.randn(1, 1, 32, 32))
    block = [path for path in order if path.startswith("stage2.0.")]
    assert block == [f"stage2.0.{layer}" for layer in ("conv1", "conv2", "conv3", "shortcut.conv")]
    strides = [model.stage2[0].conv1.stride, model.stage2[0].conv2.stride, model.stage2[0].shortcut.conv.stride]
    assert strides == [(1, 1), (2, 2), (2, 2)]


def test_each_relu_is_called_once() -> None:
    model = build(make_spec("resnet50", 4, (1, 32, 32), 0.05)).eval()
    calls = []
    relus = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    for layer in relus:
        layer.register_forward_hook(lambda module, _inputs, _output: calls.append(module))
    model(torch.randn(1, 1, 32, 32))
    assert len(calls) == len(set(calls)) == len(relus) == 1 + 3 * 16


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("resnet50", (3, 224, 224), 5),
        ("resnet50", (1, 64, 1001), 10),
        ("resnet50", (1, 40, 51), 10),
        ("resnet50_cifar", (3, 32, 32), 10),
        ("resnet50_cifar", (1, 28, 28), 10),
    ],
)
def test_shapes(name, shape, classes) -> None:
    out = build(make_spec(name, classes, shape, 0.05)).eval()(torch.randn(2, *shape))
    assert out.shape == (2, classes)
    assert out.isfinite().all()


def test_the_seed_decides_and_no_block_starts_silent() -> None:
    def built(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build(make_spec("resnet50_cifar", width=0.125))

    first, again, other = (built(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stage4.2.conv3.weight"], other["stage4.2.conv3.weight"])
    assert all(bool((value == 1).all()) for name, value in first.items() if name.endswith("bn3.weight"))
    logits = built(1).train()(torch.randn(16, 3, 32, 32))
    assert 0.05 < logits.std() < 5
