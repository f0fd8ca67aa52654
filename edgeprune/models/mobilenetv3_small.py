"""MobileNetV3-Small: inverted bottlenecks with squeeze-and-excite gates and hard-swish, on log-mel features.

Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, table 2 (as torchvision builds it, without a gate on the
last 1x1 convolution). At 3x224x224 and 1000 classes: 2,542,856 trainable parameters (published: 2.5 M). As Schmid et
al., "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation", ICASSP 2023, do with its large
sister, it takes one channel of 128 mel bands.

Layers whose outputs are added or multiplied share one width, under the label of the first of them that runs.
"""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Average, he_start, same_pad


class _Block(NamedTuple):
    kernel: int
    expand: int
    project: int
    squeeze: int
    """Filters inside the gate; 0: no gate."""
    swish: bool
    stride: int


_BLOCKS = (
    _Block(3, 16, 16, 8, False, 2),
    _Block(3, 72, 24, 0, False, 2),
    _Block(3, 88, 24, 0, False, 1),
    _Block(5, 96, 40, 24, True, 2),
    _Block(5, 240, 40, 64, True, 1),
    _Block(5, 240, 40, 64, True, 1),
    _Block(5, 120, 48, 32, True, 1),
    _Block(5, 144, 48, 40, True, 1),
    _Block(5, 288, 96, 72, True, 2),
    _Block(5, 576, 96, 144, True, 1),
    _Block(5, 576, 96, 144, True, 1),
)
"""The first block has no 1x1 convolution before its depthwise one."""


def _shares(number: int) -> int:
    """The block under whose label the filters of block `number` stand: where its stage began."""
    while number > 1 and _BLOCKS[number - 1].stride == 1 and _BLOCKS[number - 2].project == _BLOCKS[number - 1].project:
        number -= 1
    return number


def _widths() -> dict[str, int]:
    widths = {"stem": 16}
    for number, block in enumerate(_BLOCKS, 1):
        if number > 1:
            widths[f"block{number}.expand"] = block.expand
        if block.squeeze:
            widths[f"block{number}.gate.squeeze"] = block.squeeze
        if _shares(number) == number:
            widths[f"block{number}.project"] = block.project
    return {**widths, "last": 576, "hidden": 1024}


WIDTHS = _widths()


class SqueezeExcite(nn.Module):
    """A gate: each channel of `[n, channels, height, width]` times a number from 0 to 1."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.relu = nn.ReLU()
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(self.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * (functional.relu6(gate + 3) / 6)  # hard-sigmoid


def _norm(filters: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """1x1, depthwise and 1x1 convolutions on `[n, channels, height, width]`, with a gate, added to the input."""

    def __init__(
        self, channels: int, widths: tuple[int | None, int, int], block: _Block, size: tuple[int, int], added: bool
    ) -> None:
        """`widths`: filters of the expansion (None: there is none), of the gate's inside and of the output."""
        super().__init__()
        inner, squeeze, filters = widths
        kind = nn.Hardswish if block.swish else nn.ReLU
        self.expand: nn.Module | None = None
        if inner is not None:
            self.expand = nn.Conv2d(channels, inner, 1, bias=False)
            self.expand_bn = _norm(inner)
            self.expand_act = kind()
        inner = channels if inner is None else inner
        self.pad = same_pad(size, (block.kernel, block.kernel), block.stride)
        self.depth = nn.Conv2d(inner, inner, block.kernel, block.stride, groups=inner, bias=False)
        self.depth_bn = _norm(inner)
        self.depth_act = kind()
        self.gate = SqueezeExcite(inner, squeeze) if block.squeeze else nn.Identity()
        self.project = nn.Conv2d(inner, filters, 1, bias=False)
        self.project_bn = _norm(filters)
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand_act(self.expand_bn(self.expand(x)))
        y = self.gate(self.depth_act(self.depth_bn(self.depth(self.pad(y)))))
        y = self.project_bn(self.project(y))
        return y + x if self.added else y


class MobileNetV3Small(nn.Module):
    """Input `[clips, channels, mels, frames]` (1 x 128 x 101 by default), output logits `[clips, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < 32:
            raise EdgepruneError(
                f"mobilenetv3_small: an input of {height} x {width} is too small; it needs at least 32 x 32."
            )
        self.stem_pad = same_pad((height, width), (3, 3), 2)
        self.stem = nn.Conv2d(channels, widths["stem"], 3, 2, bias=False)
        self.stem_bn = _norm(widths["stem"])
        self.stem_act = nn.Hardswish()
        channels, size = widths["stem"], (ceil(height / 2), ceil(width / 2))
        for number, block in enumerate(_BLOCKS, 1):
            filters, added = widths[f"block{_shares(number)}.project"], _shares(number) != number
            inner = widths.get(f"block{number}.expand"), widths.get(f"block{number}.gate.squeeze", 0), filters
            self.add_module(f"block{number}", InvertedResidual(channels, inner, block, size, added))
            channels, size = filters, (ceil(size[0] / block.stride), ceil(size[1] / block.stride))
        self.last = nn.Conv2d(channels, widths["last"], 1, bias=False)
        self.last_bn = _norm(widths["last"])
        self.last_act = nn.Hardswish()
        self.average = Average()
        self.hidden = nn.Linear(widths["last"], widths["hidden"])
        self.hidden_act = nn.Hardswish()
        self.drop = nn.Dropout(0.2)
        self.output = nn.Linear(widths["hidden"], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_act(self.stem_bn(self.stem(self.stem_pad(x))))
        for number in range(1, len(_BLOCKS) + 1):
            x = self.get_submodule(f"block{number}")(x)
        x = self.average(self.last_act(self.last_bn(self.last(x))))
        return self.output(self.drop(self.hidden_act(self.hidden(x))))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> MobileNetV3Small:
    return he_start(MobileNetV3Small(classes, input_shape, widths))
