"""ResNet-50 for small images: a 3x3 stem without stride, no max-pool; all else as in `resnet50`.

The stem of He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2, on the ImageNet blocks.
At 3x32x32 and 10 classes: 23,520,842 trainable parameters, 1,297,829,888 MACs.
"""

from collections.abc import Mapping

from edgeprune.models.layers import he_start
from edgeprune.models.resnet50 import WIDTHS, ResNet50

__all__ = ["WIDTHS", "build"]


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> ResNet50:
    return he_start(ResNet50(classes, input_shape, widths, small=True))
