"""Parameters, MACs and memory of the networks against published figures and arithmetic by hand."""

import pytest

from edgeprune.graph.cost import cost, count, graph_of
from edgeprune.models.registry import make_spec
from edgeprune.tflite.cost import cost_of_tflite

NEW = ["dscnn", "cpmobile", "yamnet", "mobilenetv3_small"]
HALF = {"vggish": (26_821_130, 26_821_130, 225_641_728), "dcase21": (14_142, 14_270, 75_581_800)}


@pytest.mark.parametrize(
    ("name", "classes", "shape", "folded", "trainable", "statistics", "macs"),
    [
        ("vggish", 10, None, 55_361_162, 55_361_162, 55_361_162, 847_119_616),
        ("dcase21", 10, None, 45_990, 46_118, 46_246, 286_637_800),
        ("dcase21", 10, (1, 40, 51), 45_990, 46_118, 46_246, 29_203_560),
        # 4,736 normalised channels: 2 trained values each, 2 statistics, none when folded into a layer with a bias
        ("vgg16", 10, None, 14_982_474, 14_982_474 + 9_472, 15_001_418, 313_463_808),
        ("vgg16", 10, (1, 28, 28), 14_981_322, 14_990_794, 15_000_266, 267_909_120),
        # 26,560 normalised channels behind convolutions without a bias, which folding gives them
        ("resnet50", 1000, None, 25_557_032 - 26_560, 25_557_032, 25_557_032 + 53_120, 4_089_184_256),
        ("resnet50_cifar", 10, None, 23_494_282, 23_520_842, 23_573_962, 1_297_829_888),
        # 8,064 such channels, and 64 mel bins with a scale and a shift that remain
        ("cnn14", 527, None, 80_753_615 - 8_064, 80_753_615, 80_753_615 + 2 * 8_128, 20_041_926_656),
        ("cnn14", 10, (1, 501, 64), 79_686_218, 79_694_282, 79_710_538, 9_952_960_512),
        # MLPerf Tiny's Keras model: 24,908; its published file is compared below
        ("dscnn", 12, None, 22_604, 23_756, 24_908, 2_656_768),
        # the baseline's README: 61,148; 1,354 normalised channels behind convolutions without a bias
        ("cpmobile", 10, None, 61_148 - 1_354, 61_148, 61_148 + 2 * 1_354, 29_416_448),
        # YAMNet's README: 3.7 M weights, 69.2 M multiplies
        ("yamnet", 521, None, 3_729_481, 3_740_425, 3_762_313, 69_165_056),
        # torchvision's mobilenet_v3_small: 2,542,856; the paper: 56 M
        ("mobilenetv3_small", 1000, (3, 224, 224), 2_536_800, 2_542_856, 2_554_968, 56_510_400),
    ],
)
def test_published_counts(name, classes, shape, folded, trainable, statistics, macs):
    ours = cost(make_spec(name, classes, shape))
    assert (ours.params, ours.params_trainable, ours.params_with_statistics, ours.macs) == (
        folded,
        trainable,
        statistics,
        macs,
    )
    assert ours.unknown == ()


@pytest.mark.parametrize("name", ["vggish", "dcase21"])
def test_half_of_every_conv_layer(name):
    spec = make_spec(name, 10)
    half = {layer: filters // 2 for layer, filters in spec.widths.items() if "conv" in layer}
    ours = count(graph_of(spec), half)
    assert (ours.params, ours.params_with_statistics, ours.macs) == HALF[name]


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnet50_cifar", "cnn14", *NEW])
def test_labels_of_widths_are_the_groups_of_the_graph(name):
    spec = make_spec(name, 10, width=0.125)
    groups = graph_of(spec).groups
    assert {label: groups[label].filters for label in spec.widths} == spec.widths
    assert [label for label, group in groups.items() if not group.frozen] == list(spec.widths)


@pytest.mark.parametrize("name", ["vgg16", "resnet50_cifar", "cnn14", *NEW])
def test_cost_of_other_widths_is_that_of_the_network_built_so(name):
    spec, narrow = make_spec(name, 10), make_spec(name, 10, width=0.1)
    assert count(graph_of(spec), narrow.widths) == cost(narrow)


def test_dscnn_is_the_published_keyword_spotter(shared_data):
    """MLPerf Tiny's int8 file has the same layers, parameters, MACs and arena."""
    ours = cost(make_spec("dscnn", 12))
    theirs = cost_of_tflite(shared_data / "models" / "mlperf_tiny" / "mlperf_kws_int8.tflite")
    figures = ("params", "macs", "flash_bytes", "peak_ram_bytes", "arena_bytes")
    assert [getattr(ours, name) for name in figures] == [getattr(theirs, name) for name in figures]
    weighty = [
        [(layer.params, layer.macs, layer.filters) for layer in cost.by_layer if layer.macs] for cost in (ours, theirs)
    ]
    assert weighty[0] == weighty[1]
    assert len(weighty[0]) == 10


def test_cpmobile_as_nessi_counts():
    """It adds a MAC for each parameter of a batch norm; the baseline's README gives 29,419,156."""
    ours = cost(make_spec("cpmobile", 10))
    normalised = ours.params_trainable - ours.params  # a scale and a shift each, one bias when folded
    assert ours.macs + 2 * normalised == 29_419_156


@pytest.mark.parametrize(("width", "trainable", "macs"), [(1, 9_232, 2_482_156), (8, 321_068, 85_919_328)])
def test_bcresnet(width, trainable, macs):
    """BC-ResNet-1 has 9,232 parameters as published; the MACs are the convolutions' by hand."""
    ours = cost(make_spec("bcresnet", 12, width=width))
    assert (ours.params_trainable, ours.macs) == (trainable, macs)
    assert sum(by_hand(*(filters * width for filters in (16, 8, 12, 16, 20, 32)))) == macs


def test_stages_of_bcresnet_have_one_width_each():
    """What is added up loses the same filters, through the views of the norms of bands."""
    spec, narrow = make_spec("bcresnet", 10), make_spec("bcresnet", 10, width=0.5)
    groups = graph_of(spec).groups
    assert {label: group.filters for label, group in groups.items() if not group.frozen} == spec.widths
    assert len(groups["stage3.0.change"].layers) == 1 + 3 * 4
    assert count(graph_of(spec), narrow.widths) == cost(narrow)


def by_hand(stem: int, *rest: int, frames: int = 101, classes: int = 12):
    """MACs of BC-ResNet's convolutions at 40 mels."""
    *stages, last = rest
    yield 25 * stem * 20 * frames
    before, mels = stem, 20
    for filters, blocks, stride in zip(stages, (2, 2, 4, 4), (1, 2, 2, 1), strict=True):
        yield before * filters * mels * frames
        mels //= stride
        # along the mels, along the frames, and between channels
        yield blocks * (3 * filters * mels + 3 * filters + filters * filters) * frames
        before = filters
    yield (25 * before + before * last) * frames + last * classes


def test_memory_of_the_baseline():
    assert cost(make_spec("dcase21", 10)).peak_ram_bytes == 640_000
    small = cost(make_spec("dcase21", 10, (1, 40, 51)))
    assert (small.peak_ram_bytes, small.flash_bytes) == (65_280, 46_512)
