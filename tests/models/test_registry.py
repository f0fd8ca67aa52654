"""The registry: names, specs and the networks they build."""

import json

import pytest
import torch
from torch import nn

from edgeprune.audio.logmel import Frontend
from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import ENTRIES, ModelSpec, build, entry, make_spec
from edgeprune.recipe import LogMel


def test_a_wrong_name_offers_the_nearest() -> None:
    with pytest.raises(EdgepruneError, match=r"model 'vgish' is unknown; perhaps you meant 'vggish'\."):
        entry("vgish")


@pytest.mark.parametrize("name", ["DCASE21_Net", "dcase21_net", "DCASE21", "dcase21"])
def test_names_are_matched_without_case_and_suffix(name) -> None:
    assert entry(name) is ENTRIES["dcase21"]
    assert make_spec(name) == make_spec("dcase21")
    build(make_spec(name))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *(("VGGish", "vggish"), ("ResNet50", "resnet50"), ("ResNet-50", "resnet50"), ("CNN14", "cnn14")),
        *(("DS-CNN", "dscnn"), ("CP-Mobile", "cpmobile"), ("MobileNetV3-Small", "mobilenetv3_small")),
        *(("BC-ResNet", "bcresnet"), ("YAMNet", "yamnet")),
    ],
)
def test_published_spellings_name_the_network(name, known) -> None:
    assert entry(name).name == known


def test_a_suffix_alone_is_no_name() -> None:
    for name in ("_net", "net", "dcase21_net_net"):
        with pytest.raises(EdgepruneError, match="model"):
            entry(name)


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(EdgepruneError, match="known: vggish, dcase21"):
        make_spec("zzz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "at least 1 class, not 0"),
        ({"width": 0.0}, "width must be above 0, not 0.0"),
        ({"width": -1.0}, "width must be above 0, not -1.0"),
    ],
)
def test_impossible_specs_are_refused(arguments, message) -> None:
    with pytest.raises(EdgepruneError, match=message):
        make_spec("dcase21", **arguments)


def test_width_scales_every_hidden_layer() -> None:
    assert make_spec("dcase21", width=0.5).widths == {"conv1": 8, "conv2": 8, "conv3": 16, "fc1": 50}
    assert set(make_spec("vggish", width=1e-6).widths.values()) == {1}


def test_spec_survives_json() -> None:
    spec = make_spec("vggish", 7, (1, 48, 32), 0.1)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("dcase21", (1, 40, 51), 10),
        ("dcase21", (1, 64, 103), 3),
        ("dcase21", (2, 20, 5), 2),
        ("vggish", (1, 96, 64), 10),
        ("vggish", (3, 16, 31), 4),
        ("dscnn", (1, 49, 10), 12),
        ("dscnn", (1, 98, 40), 2),
        ("cpmobile", (1, 256, 65), 10),
        ("cpmobile", (1, 40, 51), 3),
        ("bcresnet", (1, 40, 101), 12),
        ("bcresnet", (1, 80, 51), 3),
        ("mobilenetv3_small", (1, 128, 101), 10),
        ("mobilenetv3_small", (1, 33, 501), 3),
        ("yamnet", (1, 96, 64), 521),
        ("yamnet", (1, 49, 40), 3),
    ],
)
def test_built_networks_give_one_logit_a_class(name, shape, classes) -> None:
    model = build(make_spec(name, classes, shape, 0.1)).eval()
    out = model(torch.randn(3, *shape))
    assert out.shape == (3, classes)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("dcase21", (1, 19, 51)), ("dcase21", (1, 40, 4)), ("vggish", (1, 15, 64)), ("vggish", (1, 96, 15))),
        *(("dscnn", (1, 9, 10)), ("dscnn", (1, 49, 3)), ("cpmobile", (1, 7, 65)), ("cpmobile", (1, 256, 7))),
        *(("mobilenetv3_small", (1, 31, 101)), ("yamnet", (1, 96, 31))),
    ],
)
def test_inputs_too_small_for_the_pools_are_refused(name, shape) -> None:
    with pytest.raises(EdgepruneError, match="too small; it needs at least"):
        build(make_spec(name, 10, shape, 0.1))


@pytest.mark.parametrize("shape", [(1, 64, 101), (1, 20, 101), (1, 40, 4)])
def test_bcresnet_names_the_inputs_it_takes(shape) -> None:
    with pytest.raises(EdgepruneError, match="needs a multiple of 40 mels, and at least 5 frames"):
        build(make_spec("bcresnet", 12, shape))


@pytest.mark.parametrize("name", [name for name, network in ENTRIES.items() if network.frontend])
def test_the_preset_of_the_front_end_gives_the_input(name) -> None:
    network = ENTRIES[name]
    frontend = getattr(LogMel, network.frontend)().check()
    size = (frontend.patch_frames, frontend.mels)
    assert network.input_shape == (1, *(size if network.layout == "frames_mels" else size[::-1]))


@pytest.mark.parametrize(
    ("name", "seconds"), [("dscnn", 1.0), ("cpmobile", 1.0), ("bcresnet", 1.0), ("mobilenetv3", 1.0), ("yamnet", 0.975)]
)
def test_a_clip_of_the_published_length_is_one_patch(name, seconds) -> None:
    spec: LogMel = getattr(LogMel, name)()
    assert Frontend(spec).frames(round(seconds * spec.sample_rate)) == spec.patch_frames


@pytest.mark.parametrize("name", list(ENTRIES))
def test_initialisation_follows_from_the_seed(name) -> None:
    spec = make_spec(name, width=0.05)

    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(build(spec).parameters())

    first = weights(1)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(1), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, weights(2), strict=True))


def test_layers_are_the_published_ones() -> None:
    """DCASE21_Net: 7x7 convolutions with batch norm, pools 5x5 and 4x100, dropout 0.3."""
    with torch.device("meta"):
        layers = list(build(make_spec("dcase21")).modules())
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(conv.out_channels, conv.kernel_size, conv.padding) for conv in convs] == [
        (16, (7, 7), (3, 3)),
        (16, (7, 7), (3, 3)),
        (32, (7, 7), (3, 3)),
    ]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 3
    assert [layer.kernel_size for layer in layers if isinstance(layer, nn.MaxPool2d)] == [5, (4, 100)]
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.3}
