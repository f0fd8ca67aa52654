"""CP-Mobile as the baseline of DCASE 2024 task 1: two strided convolutions and six inverted bottlenecks.

Sources: Schmid et al., "Distilling the knowledge of transformers and CNNs with CP-Mobile", DCASE 2023 workshop; its
simplified form in Schmid et al., "Data-efficient low-complexity acoustic scene classification in the DCASE 2024
challenge", arXiv 2405.10018, whose README (github.com/CPJKU/dcase2024_task1_baseline) lists every layer's size. At
256x65 and 10 classes: 61,148 trainable parameters and, as NeSsi counts, 29,419,156 MACs. NeSsi adds one MAC for each
parameter of a batch norm (2,708); the convolutions alone take 29,416,448.

Layers whose outputs are added share one width, under the label of the first of them that runs.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Average, he_start

_BLOCKS = (
    *(((1, 1), "stem2"), ((1, 1), "stem2"), ((1, 2), "stem2")),
    *(((2, 1), "block4.project"), ((1, 1), "block4.project"), ((1, 1), "block6.project")),
)
"""Stride (mels, frames) of each block, and the label under which its filters stand."""
WIDTHS = {
    "stem1": 8,
    "stem2": 32,
    "block1.expand": 64,
    "block2.expand": 64,
    "block3.expand": 64,
    "block4.expand": 64,
    "block4.project": 56,
    "block5.expand": 120,
    "block6.expand": 120,
    "block6.project": 104,
}


def _convolution(
    channels: int, filters: int, kernel: int, stride: int | tuple[int, int] = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)


class InvertedBottleneck(nn.Module):
    """1x1, depthwise 3x3 (with the stride) and 1x1 convolutions on `[n, channels, mels, frames]`.

    Where `added`, the input is added to the output, averaged over 3x3 where there is a stride; a ReLU follows. At the
    edges the average is over the places there are (the baseline's counts zeros beyond them), as TFLite's pools do.
    """

    def __init__(self, channels: int, inner: int, filters: int, stride: tuple[int, int], added: bool) -> None:
        super().__init__()
        self.expand = _convolution(channels, inner, 1)
        self.expand_bn = nn.BatchNorm2d(inner)
        self.expand_relu = nn.ReLU()
        self.depth = _convolution(inner, inner, 3, stride, groups=inner)
        self.depth_bn = nn.BatchNorm2d(inner)
        self.depth_relu = nn.ReLU()
        self.project = _convolution(inner, filters, 1)
        self.project_bn = nn.BatchNorm2d(filters)
        self.shortcut: nn.Module | None = None
        if added:
            self.shortcut = (
                nn.Identity() if stride == (1, 1) else nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand_relu(self.expand_bn(self.expand(x)))
        y = self.depth_relu(self.depth_bn(self.depth(y)))
        y = self.project_bn(self.project(y))
        return self.relu(y if self.shortcut is None else y + self.shortcut(x))


class CPMobile(nn.Sequential):
    """Input `[clips, 1, mels, frames]` (256 x 65 by default), output logits `[clips, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        channels, mels, frames = input_shape
        if mels < 8 or frames < 8:
            raise EdgepruneError(
                f"cpmobile: an input of {mels} mels x {frames} frames is too small; it needs at least 8 x 8."
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name in ("stem1", "stem2"):
            layers[name] = _convolution(channels, widths[name], 3, 2)
            layers[f"{name}_bn"] = nn.BatchNorm2d(widths[name])
            layers[f"{name}_relu"] = nn.ReLU()
            channels = widths[name]
        for number, (stride, label) in enumerate(_BLOCKS, 1):
            filters, added = widths[label], label != f"block{number}.project"
            layers[f"block{number}"] = InvertedBottleneck(
                channels, widths[f"block{number}.expand"], filters, stride, added
            )
            channels = filters
        layers["output"] = nn.Conv2d(channels, classes, 1, bias=False)
        layers["output_bn"] = nn.BatchNorm2d(classes)
        layers["average"] = Average()
        super().__init__(layers)


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> CPMobile:
    return he_start(CPMobile(classes, input_shape, widths))
