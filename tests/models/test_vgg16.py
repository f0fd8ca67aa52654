"""VGG-16 for CIFAR and MNIST: counts by hand and by PyTorch's own counter, shapes, widths, seed."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.models.registry import build, make_spec

CONVS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
CIFAR_SIDES = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]
MNIST_SIDES = [28, 28, 14, 14, 7, 7, 7, 4, 4, 4, 2, 2, 2]


def _meta(spec):
    with torch.device("meta"):
        return build(spec).eval()


@pytest.mark.parametrize(
    ("shape", "sides", "trainable", "macs"),
    [((3, 32, 32), CIFAR_SIDES, 14_991_946, 313_463_808), ((1, 28, 28), MNIST_SIDES, 14_990_794, 267_909_120)],
)
def test_counts(shape, sides, trainable, macs) -> None:
    model = _meta(make_spec("vgg16", 10, shape))
    weights = [9 * before * after for before, after in zip([shape[0], *CONVS], CONVS, strict=False)]
    dense = 512 * 512 + 512 * 10
    by_hand = sum(weights) + sum(CONVS) + dense + 512 + 10 + 2 * (sum(CONVS) + 512)
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand == trainable
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape, device="meta"))
    assert counter.get_total_flops() == 2 * macs
    assert sum(weight * side * side for weight, side in zip(weights, sides, strict=True)) + dense == macs


def test_count_with_moving_statistics_is_the_published_one() -> None:
    state = _meta(make_spec("vgg16")).state_dict()
    assert sum(value.numel() for name, value in state.items() if "num_batches" not in name) == 15_001_418


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((3, 32, 32), [16, 8, 4, 2, 1]), ((1, 28, 28), [14, 7, 4, 2, 1]), ((3, 64, 50), [25, 13, 7, 4, 2])],
)
def test_pools_round_up(shape, sides) -> None:
    model = build(make_spec("vgg16", 7, shape, 0.05)).eval()
    seen = []
    for layer in model.modules():
        if isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[-1]))
    assert model(torch.randn(3, *shape)).shape == (3, 7)
    assert seen == sides


def test_sizes_of_32_are_pooled_without_an_edge() -> None:
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nn.MaxPool2d(2, ceil_mode=True)(x), nn.MaxPool2d(2)(x))


def test_every_hidden_layer_is_normalised_and_rectified() -> None:
    model = _meta(make_spec("vgg16"))
    kinds = [type(layer) for layer in [*model.features, *model.classifier]]
    for place, kind in enumerate(kinds[:-1]):
        if kind in (nn.Conv2d, nn.Linear):
            norm = nn.BatchNorm2d if kind is nn.Conv2d else nn.BatchNorm1d
            assert kinds[place + 1 : place + 3] == [norm, nn.ReLU]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear), kinds.count(nn.MaxPool2d)) == (13, 2, 5)


def test_any_widths_can_be_built() -> None:
    spec = make_spec("vgg16", 4, (1, 28, 28))
    widths = {name: 1 + place % 5 for place, name in enumerate(spec.widths)}
    model = build(replace(spec, widths=widths)).eval()
    layers = {path.rsplit(".", 1)[-1]: layer for path, layer in model.named_modules()}
    assert {name: len(layers[name].weight) for name in widths} == widths
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 4)


def test_the_seed_decides_and_the_signal_neither_fades_nor_bursts() -> None:
    def built(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build(make_spec("vgg16", width=0.25))

    first, again, other = (built(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.conv5_3.weight"], other["features.conv5_3.weight"])
    logits = built(1).train()(torch.randn(16, 3, 32, 32))
    assert 0.05 < logits.std() < 2
