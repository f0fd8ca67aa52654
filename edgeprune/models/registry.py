"""The networks by name, each with the input it expects."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgeprune.audio.layout import Layout
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import from_plain

if TYPE_CHECKING:
    from torch import nn

_WIDEST = 1 << 16
_LARGEST_INPUT = 1 << 26
"""Values; with them and the widest layers no count leaves 64 bits."""


@dataclass(frozen=True)
class Entry:
    """A network of the registry.

    Attributes:
        name: of the network and of its module, with `WIDTHS`, the filters of each layer, and
            `build(classes, input_shape, widths)`.
        input_shape: the default input, `(channels, height, width)`.
        frontend: the preset of `LogMel`; empty for networks of images.
        layout: which axis of a patch comes first.
    """

    name: str
    input_shape: tuple[int, int, int]
    frontend: str
    layout: Layout


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again, pruned or not: plain values only, as stored in a checkpoint."""

    name: str
    classes: int
    input_shape: tuple[int, int, int]
    widths: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "input_shape": list(self.input_shape), "widths": dict(self.widths)}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "ModelSpec":
        """From what a file holds; TypeError or EdgepruneError where it does not fit."""
        spec = from_plain(ModelSpec, dict(value), "model.")
        return spec.check()

    def check(self) -> "ModelSpec":
        """Raise EdgepruneError for sizes that no network has; return self."""
        widths = {"classes": self.classes, **self.widths}
        wrong = [name for name, size in widths.items() if not 1 <= size <= _WIDEST]
        if wrong:
            limits = f"a layer has 1 to {_WIDEST:,}"
            raise EdgepruneError(f"model '{self.name}': {widths[wrong[0]]} is no width of {wrong[0]}; {limits}.")
        if min(self.input_shape) < 1 or math.prod(self.input_shape) > _LARGEST_INPUT:
            limits = f"an input has 1 to {_LARGEST_INPUT:,} values"
            raise EdgepruneError(f"model '{self.name}': no input has the shape {self.input_shape}; {limits}.")
        return self


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("vggish", (1, 96, 64), "vggish", "frames_mels"),
        Entry("dcase21", (1, 40, 500), "dcase21", "mels_frames"),
        Entry("cnn14", (1, 1001, 64), "cnn14", "frames_mels"),
        Entry("dscnn", (1, 49, 10), "dscnn", "frames_mels"),
        Entry("cpmobile", (1, 256, 65), "cpmobile", "mels_frames"),
        Entry("bcresnet", (1, 40, 101), "bcresnet", "mels_frames"),
        Entry("mobilenetv3_small", (1, 128, 101), "mobilenetv3", "mels_frames"),
        Entry("yamnet", (1, 96, 64), "yamnet", "frames_mels"),
        Entry("vgg16", (3, 32, 32), "", "mels_frames"),
        Entry("resnet50", (3, 224, 224), "", "mels_frames"),
        Entry("resnet50_cifar", (3, 32, 32), "", "mels_frames"),
    )
}


def entry(name: str) -> Entry:
    """The registry's entry of a network; `DCASE21_Net` names `dcase21` too, and `DS-CNN` names `dscnn`."""

    def plain(text: str) -> str:
        return text.lower().removesuffix("_net").replace("-", "").replace("_", "")

    found = [known for known in ENTRIES.values() if plain(known.name) == plain(name)]
    if not found:
        raise unknown_name("model", name, ENTRIES)
    return found[0]


def _module(name: str) -> Any:
    return import_module(f"edgeprune.models.{entry(name).name}")


def make_spec(
    name: str, classes: int = 10, input_shape: tuple[int, int, int] | None = None, width: float = 1.0
) -> ModelSpec:
    """The spec of an unpruned network, every hidden layer scaled by `width`, rounded, to at least one filter."""
    if classes < 1:  # one: whether a sound is heard
        raise EdgepruneError(f"model '{name}' needs at least 1 class, not {classes}.")
    if not 0 < width < math.inf:
        raise EdgepruneError(f"model '{name}': width must be above 0, not {width}.")
    full: Mapping[str, int] = _module(name).WIDTHS
    widths = {layer: max(1, round(filters * width)) for layer, filters in full.items()}
    return ModelSpec(entry(name).name, classes, input_shape or entry(name).input_shape, widths).check()


def build(spec: ModelSpec) -> "nn.Module":
    """Build the network a spec describes, randomly initialised (seed with `torch.manual_seed`)."""
    return _module(spec.name).build(spec.classes, spec.input_shape, spec.widths)
