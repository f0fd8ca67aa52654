"""DS-CNN: a convolution and four depthwise separable ones on ten bands, the keyword spotter of MLPerf Tiny.

Sources: Zhang et al., "Hello Edge: Keyword spotting on microcontrollers", arXiv 1711.07128 (the small DS-CNN); Banbury
et al., "MLPerf Tiny benchmark", NeurIPS 2021, who deploy it. At 49x10 and 12 classes: 24,908 parameters with the moving
statistics of batch norm, 22,604 with batch norm folded, 2,656,768 MACs and 16,000 bytes of int8 activations, as their
published int8 file has. They give it ten MFCCs a frame; here it is ten log-mel bands.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Average, he_start, same_pad

BLOCKS = 4
WIDTHS = {"conv": 64, **{f"point{number}": 64 for number in range(1, BLOCKS + 1)}}


class DSCNN(nn.Module):
    """Input `[clips, 1, frames, mels]` (49 x 10 by default, time first), output logits `[clips, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, frames, mels = input_shape
        if frames < 10 or mels < 4:
            raise EdgepruneError(
                f"dscnn: an input of {frames} frames x {mels} mels is too small; it needs at least 10 x 4."
            )
        filters = widths["conv"]
        features: OrderedDict[str, nn.Module] = OrderedDict(
            pad=same_pad((frames, mels), (10, 4), 2),
            conv=nn.Conv2d(channels, filters, (10, 4), stride=2),
            bn=nn.BatchNorm2d(filters),
            relu=nn.ReLU(),
            drop=nn.Dropout(0.2),
        )
        for number in range(1, BLOCKS + 1):
            after = widths[f"point{number}"]
            features[f"depth{number}"] = nn.Conv2d(filters, filters, 3, padding=1, groups=filters)
            features[f"depth_bn{number}"] = nn.BatchNorm2d(filters)
            features[f"depth_relu{number}"] = nn.ReLU()
            features[f"point{number}"] = nn.Conv2d(filters, after, 1)
            features[f"point_bn{number}"] = nn.BatchNorm2d(after)
            features[f"point_relu{number}"] = nn.ReLU()
            filters = after
        features["last_drop"] = nn.Dropout(0.4)
        features["average"] = Average()
        self.features = nn.Sequential(features)
        self.output = nn.Linear(filters, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> DSCNN:
    return he_start(DSCNN(classes, input_shape, widths))
