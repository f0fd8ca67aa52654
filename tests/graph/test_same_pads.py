"""Zero padding before a convolution: where TFLite's SAME takes it in, and where it stays a PAD."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeprune.graph.cost import count
from edgeprune.graph.trace import trace

X = torch.zeros(1, 3, 49, 10)


def kinds(network: nn.Module) -> list[str]:
    return [operator.kind for operator in trace(network, X).operators]


@pytest.mark.parametrize(
    ("pad", "convolution", "places"),
    [
        # 49 x 10 to 25 x 5: 9 places are missing above and below, 2 at the sides, the odd one at the end
        (nn.ZeroPad2d((1, 1, 4, 5)), nn.Conv2d(3, 8, (10, 4), stride=2), 25 * 5),
        (nn.ZeroPad2d((0, 1, 1, 1)), nn.Conv2d(3, 3, 3, stride=2, groups=3), 25 * 5),
        (nn.ConstantPad2d((2, 2, 2, 2), 0.0), nn.Conv2d(3, 8, 3, dilation=2), 49 * 10),
    ],
)
def test_same_is_taken_in(pad, convolution, places) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), pad, convolution, nn.ReLU())
    assert kinds(network) == ["conv", "depthwise" if convolution.groups > 1 else "conv"]
    # what it reads and what it writes, and no padded copy
    last = count(trace(network, X)).by_layer[-1]
    assert last.ram_bytes == X.numel() + convolution.out_channels * places


@pytest.mark.parametrize(
    ("pad", "convolution"),
    [
        (nn.ZeroPad2d((1, 1, 5, 5)), nn.Conv2d(3, 8, (10, 4), stride=2)),  # more than SAME
        (nn.ZeroPad2d((1, 1, 5, 4)), nn.Conv2d(3, 8, (10, 4), stride=2)),  # the odd place at the beginning
        (nn.ConstantPad2d((1, 1, 4, 5), 1.0), nn.Conv2d(3, 8, (10, 4), stride=2)),
        (nn.ReflectionPad2d((1, 1, 4, 5)), nn.Conv2d(3, 8, (10, 4), stride=2)),
        (nn.ZeroPad2d((1, 1, 1, 1)), nn.Conv2d(3, 8, 3, padding=1)),
    ],
)
def test_other_padding_stays(pad, convolution) -> None:
    assert "pad" in kinds(nn.Sequential(pad, convolution, nn.ReLU()))


def test_what_another_operator_reads_too_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            padded = functional.pad(x, (1, 1, 1, 1))
            return self.conv(padded).mean((2, 3)) + padded.mean((2, 3))

    assert kinds(Twice())[0] == "pad"
