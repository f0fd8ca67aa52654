"""Parameters, MACs and memory of the networks against published figures and arithmetic by hand."""

import pytest

from edgeprune.graph.cost import cost, count, graph_of
from edgeprune.models.registry import make_spec

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


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnet50_cifar", "cnn14"])
def test_labels_of_widths_are_the_groups_of_the_graph(name):
    spec = make_spec(name, 10, width=0.125)
    groups = graph_of(spec).groups
    assert {label: groups[label].filters for label in spec.widths} == spec.widths
    assert [label for label, group in groups.items() if not group.frozen] == list(spec.widths)


@pytest.mark.parametrize("name", ["vgg16", "resnet50_cifar", "cnn14"])
def test_cost_of_other_widths_is_that_of_the_network_built_so(name):
    spec, narrow = make_spec(name, 10), make_spec(name, 10, width=0.1)
    assert count(graph_of(spec), narrow.widths) == cost(narrow)


def test_memory_of_the_baseline():
    assert cost(make_spec("dcase21", 10)).peak_ram_bytes == 640_000
    small = cost(make_spec("dcase21", 10, (1, 40, 51)))
    assert (small.peak_ram_bytes, small.flash_bytes) == (65_280, 46_512)
