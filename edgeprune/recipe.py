"""What a run is, as plain values: every field is a flag of every recipe script and of `edgeprune run`."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeprune import script
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Latency, Limit, Names, parse_latency
from edgeprune.frontend import LogMel as LogMel
from edgeprune.units import parse_size

Runtime = Literal["tflm", "stream"]
FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")


class _Paths:
    """A part of a recipe whose paths may be given as text."""

    def __post_init__(self) -> None:
        for field_ in fields(self):  # type: ignore[arg-type]
            if field_.type == Path | None and isinstance(getattr(self, field_.name), str):
                object.__setattr__(self, field_.name, Path(getattr(self, field_.name)))


@dataclass(frozen=True)
class Data(_Paths):
    """Which clips (or images), and where they lie."""

    name: str = "synthetic"
    """Dataset card: a name from `edgeprune data list` or the path of a card of your own."""
    root: Path | None = None
    """Folder that holds the data set; the synthetic scenes are made there (or in the user's cache) when absent."""
    fold: int = 1
    """Fold of the official split; images have one split, fold 1."""
    subset: str = ""
    """Part of the training split, where the card has some (DCASE 2024: 5, 10, 25, 50, 100)."""
    validation: float = 0.15
    """Share of the training split kept for validation, cut by recording or location (images: by chance, the same share
    of every class); 0: none, the last epoch counts."""
    train_share: float = 1.0
    """Share of the training split that is used, chosen by chance, the same share of every class; 1: all of it."""
    cache: Path | None = None
    """Folder of the feature cache (default: the user's cache folder)."""
    workers: int = 0
    """Threads that extract features; 0: one a core."""
    clips_per_scene: int = 90
    """Synthetic scenes only: how many clips a scene."""
    detect: str = ""
    """Detect this one label of the data: one output, whether a clip holds the sound; "": tell all classes apart."""
    detect_recall: float = 0.9
    """Detection: recall that the network's threshold is set for, on validation clips."""


@dataclass(frozen=True)
class Model(_Paths):
    """Which network."""

    name: str = "dcase21"
    """A name from the registry: vggish, dcase21, cnn14, dscnn, cpmobile, bcresnet, mobilenetv3_small, yamnet, vgg16,
    resnet50, resnet50_cifar."""
    width: float = 1.0
    """All hidden layers times this; BC-ResNet-8 is bcresnet times 8."""
    audioset_weights: Path | None = None
    """VGGish and CNN14: state dict to start from, of the common PyTorch port or of the PANNs."""


@dataclass(frozen=True)
class Train:
    """How to train or fine-tune."""

    epochs: int = 80
    batch_size: int = 32
    lr: float = 2e-3
    """Peak learning rate of Adam."""
    weight_decay: float = 0.0
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    label_smoothing: float = 0.0
    mixup: float = 0.3
    """Beta parameter of mixup; 0: off."""
    time_roll: bool = True
    """Roll each patch in time by a random number of frames."""
    freq_mask: int = 0
    """SpecAugment: widest masked band, below the patch's mels; 0: off."""
    time_mask: int = 0
    """SpecAugment: longest masked stretch, below the patch's frames; 0: off."""
    flip: bool = False
    """Images: mirror every other one, left for right."""
    shift: int = 0
    """Images: move each by at most so many pixels up or down and left or right; 0: off."""
    mixstyle: float = 0.0
    """Freq-MixStyle: probability of a batch; 0: off."""
    mixstyle_alpha: float = 0.3
    patience: int = 0
    """Stop when the validation loss has not improved for so many epochs; 0: never."""
    choose: Literal["best", "last"] = "best"
    """Which epoch to keep: the best on validation, or the last."""
    distillation: float = 0.0
    """Fine-tuning: weight of the dense network's soft targets, 0 to 1."""
    temperature: float = 2.0
    """Temperature of the soft targets."""
    accelerator: Literal["auto", "cpu", "gpu"] = "cpu"
    devices: int = 1
    """How many GPUs (or CPU processes)."""
    precision: Literal["32", "bf16"] = "32"
    """bf16 helps on GPUs and on CPUs with AVX512-BF16 or AMX; it is slower on others."""
    threads: int = 0
    """Threads of the CPU; 0: one a core."""
    tensorboard: bool = False
    """Also log to TensorBoard."""


@dataclass(frozen=True)
class Prune(_Paths):
    """How filters are judged and how the allocation is found."""

    criterion: str = "operator_norm"
    """How filters are judged: operator_norm, operator_norm_unsigned, l1, l2, geometric_mean, geometric_median,
    similarity, batchnorm_scale, hrank, energy, apoz, entropy, taylor, stand_in, random."""
    keep: float = 1.0
    """No layer keeps more than this share of its filters; 1: the budget alone decides."""
    dense_layers: bool = False
    """Prune hidden units of dense layers too."""
    min_filters: int = 1
    """No layer goes below."""
    multiple_of: int = 1
    """Layers keep multiples of so many filters (4, 8, 16: what fast kernels work in), or all of theirs."""
    objective: str = "log_mass"
    """What the allocation maximises: log_mass, mass, log_width, or sensitivity, which is measured on clips."""
    allocation: Literal["solver", "uniform"] = "solver"
    """solver: the best allocation under all limits; uniform: the same share of every layer, for comparison."""
    restart: bool = False
    """Control: keep the widths, but train them from random weights with the settings and epochs of `train`, and as many
    epochs more as `finetune` has."""
    steps: int = 1
    """Prune, fine-tune and score again so many times on the way to the budget; the epochs are shared out."""
    profile: Path | None = None
    """Latency table of `edgeprune profile`, for a limit on latency (default: one is measured in the run)."""
    clips: int = 200
    """Clips that active criteria (hrank, taylor ...), the objective sensitivity and reconstruction look at."""
    reconstruct: bool = True
    """After filters are cut, fit the layers that remain to the outputs of the dense network on training clips (not with
    `restart`, which draws them anew)."""

    def check(self) -> "Prune":
        """Raise EdgepruneError if a field asks for the impossible; return self."""
        rules = (
            (0 < self.keep <= 1, f"keep is a share above 0 and at most 1, not {self.keep}"),
            (self.min_filters >= 1, f"min_filters must be at least 1, not {self.min_filters}"),
            (self.multiple_of >= 1, f"multiple_of must be at least 1, not {self.multiple_of}"),
            (self.steps >= 1, f"steps must be at least 1, not {self.steps}"),
            (
                not self.restart or self.steps == 1,
                "restart: a network trained from random weights is not pruned in steps; leave out prune.steps",
            ),
            (self.clips >= 1, f"clips must be at least 1, not {self.clips}"),
        )
        for holds, message in rules:
            if not holds:
                raise EdgepruneError(f"prune.{message}.")
        return self


@dataclass(frozen=True)
class Budget:
    """What the device allows; None: unlimited."""

    params: Limit = None
    """Parameters, batch norm folded, zeros included."""
    macs: Limit = None
    """Multiply-accumulates a network input: convolutions and dense layers."""
    peak_ram: Limit = None
    """Bytes of RAM: int8 activations (runtime tflm), or all that the linked program takes (stream)."""
    flash: Limit = None
    """Bytes of flash: int8 weights and int32 biases (runtime tflm), or all of the linked program (stream)."""
    latency_ms: Latency = None
    """Milliseconds an inference of the int8 file, on a device, as 0.8@host."""
    runtime: Runtime = "tflm"
    """Whose RAM and flash the limits mean: TFLite Micro's, or edgeprune's streaming C, linked for a Cortex-M4."""
    include_frontend: bool = False
    """RAM and flash limits hold for the network and its log-mel front-end in C together."""

    if TYPE_CHECKING:  # sizes may be written as on the command line; the fields hold numbers

        def __init__(
            self,
            params: int | str | None = None,
            macs: int | str | None = None,
            peak_ram: int | str | None = None,
            flash: int | str | None = None,
            latency_ms: str | None = None,
            runtime: Runtime = "tflm",
            include_frontend: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Raise EdgepruneError if a size is written as text that is none, such as 20kB is."""
        for name in ("params", "macs", "peak_ram", "flash"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, parse_size(getattr(self, name)))

    def sizes(self) -> dict[str, int]:
        """The limits that are whole numbers, those that are given: params, macs, peak_ram, flash."""
        limits = {name: getattr(self, name) for name in ("params", "macs", "peak_ram", "flash")}
        return {name: value for name, value in limits.items() if value is not None}

    def names_program(self, limit: str) -> bool:
        """Whether a limit is on what a linked program takes."""
        return self.runtime == "stream" and limit in ("peak_ram", "flash")

    @property
    def limits_program(self) -> bool:
        """Whether there is a limit on what a linked program takes."""
        return any(self.names_program(name) for name in self.sizes())

    def latency(self) -> tuple[float, str] | None:
        """Milliseconds and device of the limit on latency; None where there is none."""
        return None if self.latency_ms is None else parse_latency(self.latency_ms)


@dataclass(frozen=True)
class Export:
    """Which files to make."""

    formats: Names = FORMATS
    """float32, float16, dynamic, int8, int16x8."""
    dense_formats: Names = ("float32", "int8")
    """Files of the unpruned network, to compare with."""
    calibration_clips: int = 100
    """Training clips that set the ranges of int8 and int16x8."""


@dataclass(frozen=True)
class Bench:
    """Where and how latency is measured."""

    devices: Names = ("host",)
    """Devices of `edgeprune bench`: host times all files; the others take the int8 files, dense and pruned."""
    threads: Names = ("1",)
    """Numbers of threads to measure, as 1,2,4; on the host."""
    runs: int = 50
    """Timed runs of each file, interleaved."""
    timeout_s: float = 600.0
    """After so many seconds a device that gives no answer is cut off."""


@dataclass(frozen=True)
class Recipe(_Paths):
    """A whole experiment: train, prune to the budget, fine-tune, export, evaluate, measure."""

    name: str
    data: Data = field(default_factory=Data)
    frontend: LogMel = field(default_factory=LogMel)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    prune: Prune = field(default_factory=Prune)
    budget: Budget = field(default_factory=Budget)
    finetune: Train = field(default_factory=lambda: Train(epochs=20, lr=1e-3, distillation=0.5))
    export: Export = field(default_factory=Export)
    bench: Bench = field(default_factory=Bench)
    seed: int = 0
    """Fixes the validation cut, data order, initialisation and augmentation."""
    dense_from: Path | None = None
    """Take the dense network from this checkpoint (a run's dense.ckpt) instead of training one."""
    out: Path | None = None
    """Run folder (default: runs/NAME-foldF-seedS)."""

    def folder(self) -> Path:
        return self.out or Path("runs") / f"{self.name}-fold{self.data.fold}-seed{self.seed}"

    def main(self, args: Sequence[str] | None = None) -> None:
        """Run the recipe with the flags of the command line; ends the program with the contract's exit code."""
        sys.exit(script.run(self, sys.argv[1:] if args is None else args))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; paths as text."""
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return value
