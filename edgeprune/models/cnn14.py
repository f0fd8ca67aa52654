"""CNN14: six blocks of two 3x3 convolutions on log-mel features, pooled over time, with weights from AudioSet.

Source: Kong et al., "PANNs: Large-scale pretrained audio neural networks for audio pattern recognition", IEEE/ACM
TASLP 28, 2020. At 527 classes and 1001x64 (10 s): 80,753,615 trainable parameters (as published) and 20,041,926,656
MACs. The paper's 42.220e9 "multi-adds" count multiplications and additions apart, 40,083,853,312 here, and the STFT as
a convolution, 2 x 1001 x 1024 x 513 MACs or 2,103,349,248. What is left, 0.033e9, is as much as batch norm takes at two
operations a value (32,388,224), and as the MACs of the mel bank (32,864,832): the paper does not say which.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import log
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten, MelNorm, he_start
from edgeprune.models.published import PublishedLayer, published_tensors

_BLOCKS = (64, 128, 256, 512, 1024, 2048)
WIDTHS = {
    **{f"conv{number}_{place}": filters for number, filters in enumerate(_BLOCKS, 1) for place in (1, 2)},
    "fc1": 2048,
}
PANNS_CLASSES = 527
# decibels of a power in units of its natural logarithm
_DECIBELS = 10 / log(10)
_NORM = ("weight", "bias", "running_mean", "running_var")


class CNN14(nn.Module):
    """Input `[clips, 1, frames, mels]` (1001 x 64 by default, time first), output logits `[clips, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, frames, mels = input_shape
        if frames < 32 or mels < 32:
            raise EdgepruneError(
                f"cnn14: an input of {frames} frames x {mels} mels is too small; it needs at least 32 x 32."
            )
        self.bn0 = MelNorm(mels)
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, len(_BLOCKS) + 1):
            for place in (1, 2):
                label = f"{number}_{place}"
                filters = widths[f"conv{label}"]
                features[f"conv{label}"] = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
                features[f"bn{label}"] = nn.BatchNorm2d(filters)
                features[f"relu{label}"] = nn.ReLU()
                channels = filters
            if number < len(_BLOCKS):
                features[f"pool{number}"] = nn.AvgPool2d(2)
                frames = frames // 2
            features[f"drop{number}"] = nn.Dropout(0.2)
        self.features = nn.Sequential(features)
        self.loudest = nn.MaxPool2d((frames, 1))
        self.flatten = Flatten()
        self.classifier = nn.Sequential(
            OrderedDict(
                drop7=nn.Dropout(0.5),
                fc1=nn.Linear(channels, widths["fc1"]),
                relu_fc1=nn.ReLU(),
                drop8=nn.Dropout(0.5),
                output=nn.Linear(widths["fc1"], classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.bn0(x))
        x = x.mean(3, keepdim=True)
        x = self.loudest(x) + x.mean(2, keepdim=True)
        return self.classifier(self.flatten(x))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> CNN14:
    return he_start(CNN14(classes, input_shape, widths))


def load_panns_weights(
    model: CNN14, path: Path | str, mean: ArrayLike | None = None, std: ArrayLike | None = None
) -> list[str]:
    """Load the published AudioSet weights of CNN14, adapted to the features this network is given.

    PANNs takes decibels, 10 log10(power); the front-end `cnn14_frontend` gives natural logarithms, from which a run
    subtracts the `mean` and divides by the `std` of each mel bin. The moving statistics of `bn0` are moved and scaled
    accordingly, so that the network computes what the published one does on the same powers. (Of the same sound, two
    frames at either end differ: PANNs mirrors it there, the front-end pads it with zeros.)

    The file holds a state dict, at the top or under "model": `bn0.*`, `conv_block{1-6}.{conv,bn}{1,2}.*`, `fc1.*` and
    `fc_audioset.*`, which becomes the output layer of a network with 527 classes; another output layer keeps its random
    start. `spectrogram_extractor.*` and `logmel_extractor.*` belong to the front-end and are left out.
    `mean` and `std` are `[mels]`, in natural logarithms (None: 0 and 1). The names of the loaded layers are returned.
    """
    own = model.state_dict()
    layers = _layout(own["classifier.output.bias"].numel())
    use = "width 1 and an input of one channel and 64 mels"
    tensors = published_tensors(path, layers, own, "CNN14", "the PANNs' CNN14", use)
    norm = model.bn0.norm
    centre, spread = (
        _per_mel(values, default, label, norm.num_features)
        for values, default, label in ((mean, 0.0, "mean"), (std, 1.0, "std"))
    )
    if not bool((spread > 0).all()):
        raise EdgepruneError("std of the normalisation must be above 0 in every mel bin.")
    # decibels = d (std x + mean), so (decibels - m) / s = (x - (m/d - mean) / std) / (s / (d std)); s^2: variance + eps
    tensors["bn0.norm.running_mean"] = (tensors["bn0.norm.running_mean"].double() / _DECIBELS - centre) / spread
    variance = (tensors["bn0.norm.running_var"].double() + norm.eps) / (_DECIBELS * spread) ** 2
    tensors["bn0.norm.running_var"] = variance - norm.eps
    model.load_state_dict({**own, **tensors})
    return [ours.removesuffix(".norm") for _, ours, _ in layers]


def _layout(classes: int) -> list[PublishedLayer]:
    """Layers of the checkpoint, the names they have here, and their tensors."""
    layers: list[PublishedLayer] = [("bn0", "bn0.norm", _NORM)]
    for number in range(1, len(_BLOCKS) + 1):
        for place in (1, 2):
            layers.append((f"conv_block{number}.conv{place}", f"features.conv{number}_{place}", ("weight",)))
            layers.append((f"conv_block{number}.bn{place}", f"features.bn{number}_{place}", _NORM))
    layers.append(("fc1", "classifier.fc1", ("weight", "bias")))
    if classes == PANNS_CLASSES:
        layers.append(("fc_audioset", "classifier.output", ("weight", "bias")))
    return layers


def _per_mel(values: ArrayLike | None, default: float, label: str, mels: int) -> Tensor:
    """Normalisation values as float64 `[mels]`."""
    each = np.full(mels, default) if values is None else np.asarray(values, dtype=np.float64)
    if each.shape != (mels,) or not np.isfinite(each).all():
        raise EdgepruneError(f"{label} of the normalisation must be {mels} finite values, one a mel bin.")
    return torch.from_numpy(each.copy())
