"""DCASE21_Net: the baseline of DCASE 2021 (and, at one second, 2022) Task 1, three 7x7 convolutions.

Source: Martin-Morato et al., "Low-complexity acoustic scene classification for multi-device audio", DCASE 2021.
At 40x500 and 10 classes: 45,990 parameters with batch norm folded, 286,637,800 MACs; at 40x51: 29,203,560 MACs.
"""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten

WIDTHS = {"conv1": 16, "conv2": 16, "conv3": 32, "fc1": 100}


class DCASE21Net(nn.Module):
    """Input `[clips, 1, mels, frames]`, output logits `[clips, classes]`.

    The second max-pool spans all frames that the first leaves: 4x100 at 500 frames, 4x10 at 51.
    """

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, mels, frames = input_shape
        if mels < 20 or frames < 5:
            raise EdgepruneError(
                f"dcase21: an input of {mels} mels x {frames} frames is too small; it needs at least 20 x 5."
            )
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, widths["conv1"], 7, padding=3),
                bn1=nn.BatchNorm2d(widths["conv1"]),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(widths["conv1"], widths["conv2"], 7, padding=3),
                bn2=nn.BatchNorm2d(widths["conv2"]),
                relu2=nn.ReLU(),
                pool1=nn.MaxPool2d(5),
                drop1=nn.Dropout(0.3),
                conv3=nn.Conv2d(widths["conv2"], widths["conv3"], 7, padding=3),
                bn3=nn.BatchNorm2d(widths["conv3"]),
                relu3=nn.ReLU(),
                pool2=nn.MaxPool2d((4, frames // 5)),
                drop2=nn.Dropout(0.3),
            )
        )
        self.flatten = Flatten()
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(widths["conv3"] * (mels // 5 // 4), widths["fc1"]),
                relu4=nn.ReLU(),
                drop3=nn.Dropout(0.3),
                output=nn.Linear(widths["fc1"], classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.features(x)))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> DCASE21Net:
    return DCASE21Net(classes, input_shape, widths)
