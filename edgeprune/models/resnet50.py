"""ResNet-50: a 7x7 stem, four stages of 3, 4, 6 and 3 bottleneck blocks, global average pool and the classes.

Source: He et al., "Deep residual learning for image recognition", CVPR 2016, with the stride in a block's 3x3
convolution rather than its first 1x1 (known as version 1.5; torchvision's `resnet50` is the same network). At 3x224x224
and 1000 classes: 25,557,032 trainable parameters and 4,089,184,256 MACs (published: 4.09 G).

Convolutions whose outputs are added must keep the same filters. They share one width, under the label of the first of
them that runs: in stage k `stagek.0.conv3`, which stands for the shortcut and the other blocks' last convolution too.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.models.layers import Flatten, he_start

BLOCKS = (3, 4, 6, 3)
_INNER = (64, 128, 256, 512)
_EXPANSION = 4
WIDTHS = {
    "stem": 64,
    **{
        f"stage{number}.{place}.{conv}": filters
        for number, (blocks, inner) in enumerate(zip(BLOCKS, _INNER, strict=True), 1)
        for place in range(blocks)
        for conv, filters in (("conv1", inner), ("conv2", inner), ("conv3", _EXPANSION * inner))
        if conv != "conv3" or place == 0
    },
}


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions, added to their input `[n, channels, height, width]`.

    Where `project`, the input reaches the sum through a 1x1 convolution of its own.
    """

    def __init__(self, channels: int, inner: tuple[int, int], filters: int, stride: int, project: bool) -> None:
        super().__init__()
        first, second = inner
        self.conv1 = nn.Conv2d(channels, first, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(first, second, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(second, filters, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(filters)
        self.shortcut: nn.Module | None = None
        if project:
            self.shortcut = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(channels, filters, 1, stride, bias=False), bn=nn.BatchNorm2d(filters))
            )
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        # the main path runs first: conv3 is then the layer that names what is added
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet50(nn.Module):
    """Input `[n, channels, height, width]` of any size, output logits `[n, classes]`.

    Args:
        small: for small images such as CIFAR's: a 3x3 stem that keeps the size, and no max-pool.
    """

    def __init__(
        self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int], small: bool = False
    ) -> None:
        super().__init__()
        channels = widths["stem"]
        kernel, stride = (3, 1) if small else (7, 2)
        self.stem = nn.Conv2d(input_shape[0], channels, kernel, stride, padding=kernel // 2, bias=False)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.stem_relu = nn.ReLU()
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        for number, blocks in enumerate(BLOCKS, 1):
            filters = widths[f"stage{number}.0.conv3"]
            stage = []
            for place in range(blocks):
                label = f"stage{number}.{place}"
                inner = widths[f"{label}.conv1"], widths[f"{label}.conv2"]
                stride = 2 if number > 1 and place == 0 else 1
                stage.append(Bottleneck(channels, inner, filters, stride, project=place == 0))
                channels = filters
            stages.append(nn.Sequential(*stage))
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem_relu(self.stem_bn(self.stem(x))))
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.output(self.flatten(self.average(x)))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> ResNet50:
    return he_start(ResNet50(classes, input_shape, widths))
