"""BC-ResNet: broadcasted residual learning; width 1 is BC-ResNet-1, width 8 is BC-ResNet-8.

Source: Kim et al., "Broadcasted residual learning for efficient keyword spotting", Interspeech 2021. Twelve blocks in
four stages: each filters along the mels in two dimensions, averages over the mels, filters along the frames in one
dimension, and adds that to all mels again. At 40x101 and 12 classes BC-ResNet-1 has 9,232 trainable parameters, as
published, and BC-ResNet-8 321,068. Their convolutions take 2,482,156 and 85,919,328 MACs; the 3.6 M quoted for
BC-ResNet-1 count more than convolutions, and what more is not known here.

A stage's layers are all added to each other, so they share one width, under the label of the first that runs.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Average, SubSpectralNorm, he_start

BLOCKS = (2, 2, 4, 4)
_BANDS = 5
_STRIDES = (1, 2, 2, 1)
"""Of each stage along the mels; the first convolution halves them too."""
WIDTHS = {
    "stem": 16,
    **{f"stage{number}.0.change": filters for number, filters in enumerate((8, 12, 16, 20), 1)},
    "last": 32,
}


class BroadcastBlock(nn.Module):
    """Input and output `[n, channels, mels, frames]`.

    Where the channels `change`, in a stage's first block, a 1x1 convolution changes them and the input is not added.
    `mels` are those of the output.
    """

    def __init__(self, channels: int, filters: int, mels: int, stride: int, dilation: int, change: bool) -> None:
        super().__init__()
        self.change: nn.Module | None = None
        if change:
            self.change = nn.Conv2d(channels, filters, 1, bias=False)
            self.change_bn = nn.BatchNorm2d(filters)
            self.change_relu = nn.ReLU()
        self.mels = nn.Conv2d(filters, filters, (3, 1), (stride, 1), (1, 0), groups=filters, bias=False)
        self.mels_norm = SubSpectralNorm(filters, mels, _BANDS)
        self.frames = nn.Conv2d(
            filters, filters, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=filters, bias=False
        )
        self.frames_bn = nn.BatchNorm2d(filters)
        self.swish = nn.SiLU()
        self.point = nn.Conv2d(filters, filters, 1, bias=False)
        self.drop = nn.Dropout2d(0.1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.change is None else self.change_relu(self.change_bn(self.change(x)))
        y = self.mels_norm(self.mels(y))
        over_frames = self.swish(self.frames_bn(self.frames(y.mean(2, keepdim=True))))
        y = y + self.drop(self.point(over_frames))
        return self.relu(y + x if self.change is None else y)


class BCResNet(nn.Module):
    """Input `[clips, 1, mels, frames]` (40 x 101 by default), output logits `[clips, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, mels, frames = input_shape
        if mels % (8 * _BANDS) or frames < 5:
            raise EdgepruneError(
                f"bcresnet: an input of {mels} mels x {frames} frames does not fit; it needs a multiple of "
                f"{8 * _BANDS} mels, and at least 5 frames."
            )
        filters = widths["stem"]
        self.stem = nn.Conv2d(channels, filters, 5, (2, 1), padding=2, bias=False)
        self.stem_bn = nn.BatchNorm2d(filters)
        self.stem_relu = nn.ReLU()
        mels = mels // 2
        for stage, (blocks, stride) in enumerate(zip(BLOCKS, _STRIDES, strict=True)):
            before, filters = filters, widths[f"stage{stage + 1}.0.change"]
            mels = mels // stride
            layers = [
                BroadcastBlock(before if first else filters, filters, mels, stride if first else 1, 2**stage, first)
                for first in (place == 0 for place in range(blocks))
            ]
            self.add_module(f"stage{stage + 1}", nn.Sequential(*layers))
        self.head = nn.Sequential(
            OrderedDict(
                depth=nn.Conv2d(filters, filters, 5, padding=(0, 2), groups=filters, bias=False),
                last=nn.Conv2d(filters, widths["last"], 1, bias=False),
                last_bn=nn.BatchNorm2d(widths["last"]),
                last_relu=nn.ReLU(),
                average=Average(),
                output=nn.Linear(widths["last"], classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_relu(self.stem_bn(self.stem(x)))
        for stage in range(1, len(BLOCKS) + 1):
            x = self.get_submodule(f"stage{stage}")(x)
        return self.head(x)


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> BCResNet:
    return he_start(BCResNet(classes, input_shape, widths))
