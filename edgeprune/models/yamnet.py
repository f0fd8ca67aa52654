"""YAMNet's network: MobileNetV1 on log-mel patches, a convolution and thirteen depthwise separable ones.

Source: Howard et al., "MobileNets: Efficient convolutional neural networks for mobile vision applications", arXiv
1704.04861, with the input and the classes of Plakal and Ellis, YAMNet (github.com/tensorflow/models,
research/audioset/yamnet). Published for 521 classes at 96x64: 3.7 M weights and 69.2 M multiplies; here 3,729,481
parameters with batch norm folded and 69,165,056 MACs, the classes' dense layer among them. Batch norm there shifts
without scaling; here it has a scale, which folds away and which `batchnorm_scale` judges filters by.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Average, he_start, same_pad

_BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))
"""Stride and filters of each depthwise separable convolution."""
WIDTHS = {"conv": 32, **{f"point{number}": filters for number, (_, filters) in enumerate(_BLOCKS, 1)}}


class MobileNetV1(nn.Module):
    """Input `[patches, 1, frames, mels]` (96 x 64 by default, time first), output logits `[patches, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, *size = input_shape
        if min(size) < 32:
            raise EdgepruneError(
                f"yamnet: an input of {size[0]} frames x {size[1]} mels is too small; it needs at least 32 x 32."
            )
        features: OrderedDict[str, nn.Module] = OrderedDict()

        def add(name: str, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
            """A convolution with SAME padding, batch norm and ReLU."""
            nonlocal size
            if stride > 1:
                features[f"{name}_pad"] = same_pad(size, (kernel, kernel), stride)
                size = [-(-length // stride) for length in size]
            padding = kernel // 2 if stride == 1 else 0
            features[name] = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
            features[f"{name}_bn"] = nn.BatchNorm2d(filters, eps=1e-4)
            features[f"{name}_relu"] = nn.ReLU()

        add("conv", widths["conv"], 3, stride=2)
        channels = widths["conv"]
        for number, (stride, _) in enumerate(_BLOCKS, 1):
            add(f"depth{number}", channels, 3, stride, groups=channels)
            add(f"point{number}", widths[f"point{number}"], 1)
            channels = widths[f"point{number}"]
        features["average"] = Average()
        self.features = nn.Sequential(features)
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> MobileNetV1:
    return he_start(MobileNetV1(classes, input_shape, widths))
