"""Parameters, MACs and memory of the networks against published figures."""

import pytest

from edgeprune.models.registry import make_spec
from edgeprune.pruning.cost import Chain

HALF = {"vggish": (26_821_130, 26_821_130, 225_641_728), "dcase21": (14_142, 14_270, 75_581_800)}


@pytest.mark.parametrize(
    ("name", "shape", "folded", "trainable", "statistics", "macs"),
    [
        ("vggish", None, 55_361_162, 55_361_162, 55_361_162, 847_119_616),
        ("dcase21", None, 45_990, 46_118, 46_246, 286_637_800),
        ("dcase21", (1, 40, 51), 45_990, 46_118, 46_246, 29_203_560),
    ],
)
def test_published_counts(name, shape, folded, trainable, statistics, macs):
    cost = Chain(make_spec(name, 10, shape)).cost()
    assert (cost.params, cost.params_trainable, cost.params_with_statistics, cost.macs) == (
        folded,
        trainable,
        statistics,
        macs,
    )


@pytest.mark.parametrize("name", ["vggish", "dcase21"])
def test_half_of_every_conv_layer(name):
    spec = make_spec(name, 10)
    cost = Chain(spec).cost({layer: filters // 2 for layer, filters in spec.widths.items() if "conv" in layer})
    assert (cost.params, cost.params_with_statistics, cost.macs) == HALF[name]


def test_memory_of_the_baseline():
    assert Chain(make_spec("dcase21", 10)).cost().peak_ram_bytes == 640_000
    small = Chain(make_spec("dcase21", 10, (1, 40, 51))).cost()
    assert (small.peak_ram_bytes, small.flash_bytes) == (65_280, 46_512)
