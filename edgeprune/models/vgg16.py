"""VGG-16 for small images: thirteen 3x3 convolutions with batch norm, five 2x2 max-pools, dense 512 and the classes.

Source: Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, in the
form that papers on pruning use for CIFAR-10: batch norm (Ioffe & Szegedy, ICML 2015) after every hidden layer and one
hidden dense layer. At 3x32x32 and 10 classes: 14,982,474 parameters with batch norm folded, 14,991,946 trainable,
15,001,418 with moving statistics, 313,463,808 MACs.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.models.layers import Flatten, he_start

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
WIDTHS = {
    **{f"conv{s}_{i}": filters for s, stage in enumerate(_STAGES, 1) for i, filters in enumerate(stage, 1)},
    "fc1": 512,
}


class VGG16(nn.Module):
    """Input `[images, channels, height, width]`, output logits `[images, classes]`.

    The pools round up, so that 28 x 28 (MNIST) leaves 14, 7, 4, 2 and 1; sizes of 32 and its multiples are halved as
    they always were.
    """

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number, stage in enumerate(_STAGES, 1):
            for place in range(1, len(stage) + 1):
                label = f"{number}_{place}"
                filters = widths[f"conv{label}"]
                features[f"conv{label}"] = nn.Conv2d(channels, filters, 3, padding=1)
                features[f"bn{label}"] = nn.BatchNorm2d(filters)
                features[f"relu{label}"] = nn.ReLU()
                channels = filters
            features[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
            height, width = (height + 1) // 2, (width + 1) // 2
        self.features = nn.Sequential(features)
        self.flatten = Flatten()
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels * height * width, widths["fc1"]),
                bn_fc1=nn.BatchNorm1d(widths["fc1"]),
                relu_fc1=nn.ReLU(),
                output=nn.Linear(widths["fc1"], classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.features(x)))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> VGG16:
    return he_start(VGG16(classes, input_shape, widths))
