"""VGGish as a scene classifier: six 3x3 convolutions, four 2x2 max-pools, dense 4096, 128 and the classes.

Source: Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017; the classifier head of
Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning", arXiv 2304.02319. At 96x64 and 10 classes it holds
55,361,162 parameters and takes 847,119,616 MACs a patch (convolutions and dense layers).
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten, channels_first_columns, he_start
from edgeprune.models.published import published_tensors

WIDTHS = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 256, "conv5": 512, "conv6": 512, "fc1": 4096, "fc2": 128}
_POOL_AFTER = ("conv1", "conv2", "conv4", "conv6")

# Convolutions of the common PyTorch port by our names; its `embeddings.0` is our fc1.
PORT_LAYOUT = {
    "features.0": "features.conv1",
    "features.3": "features.conv2",
    "features.6": "features.conv3",
    "features.8": "features.conv4",
    "features.11": "features.conv5",
    "features.13": "features.conv6",
    "embeddings.0": "classifier.fc1",
}


class VGGish(nn.Module):
    """Input `[patches, 1, frames, mels]` (96 x 64 by default, time first), output logits `[patches, classes]`."""

    def __init__(self, classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, 7):
            name = f"conv{number}"
            features[name] = nn.Conv2d(channels, widths[name], 3, padding=1)
            features[f"relu{number}"] = nn.ReLU()
            if name in _POOL_AFTER:
                features[f"pool{number}"] = nn.MaxPool2d(2)
                height, width = height // 2, width // 2
            channels = widths[name]
        if height < 1 or width < 1:
            raise EdgepruneError(
                f"vggish: an input of {input_shape[1]} x {input_shape[2]} is too small; it needs at least 16 x 16."
            )
        self.features = nn.Sequential(features)
        self.flatten = Flatten()
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels * height * width, widths["fc1"]),
                relu_fc1=nn.ReLU(),
                fc2=nn.Linear(widths["fc1"], widths["fc2"]),
                relu_fc2=nn.ReLU(),
                output=nn.Linear(widths["fc2"], classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.features(x)))


def build(classes: int, input_shape: tuple[int, int, int], widths: Mapping[str, int]) -> VGGish:
    # nine layers without batch norm: PyTorch's own start lets the signal fade
    return he_start(VGGish(classes, input_shape, widths), output=True)


def load_audioset_weights(model: VGGish, path: Path | str) -> list[str]:
    """Load the convolutions and the first dense layer from the state dict of the common PyTorch port of VGGish.

    The file holds `features.{0,3,6,8,11,13}` and `embeddings.{0,2,4}`, each with `.weight` and `.bias`. Its flatten is
    channel-last, so the columns of `embeddings.0` are permuted. `embeddings.2` (4096 x 4096) has no counterpart here,
    and without it `embeddings.4` means nothing: fc2 and the output layer keep their random start.
    The names of the layers that were loaded are returned.
    """
    own = model.state_dict()
    layers = [(theirs, ours, ("weight", "bias")) for theirs, ours in PORT_LAYOUT.items()]
    tensors = published_tensors(
        path, layers, own, "VGGish", "the common PyTorch port of VGGish", "width 1 and a 96 x 64 input"
    )
    channels = own["features.conv6.bias"].numel()
    tensors["classifier.fc1.weight"] = channels_first_columns(tensors["classifier.fc1.weight"], channels)
    model.load_state_dict({**own, **tensors})
    return list(PORT_LAYOUT.values())
