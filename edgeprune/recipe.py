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
from edgeprune.units import parse_size

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


@dataclass(frozen=True)
class LogMel:
    """Log-mel front-end: framing, magnitude or power spectrum, mel bands, logarithm, patches."""

    sample_rate: int = 44100
    """Hz; every clip is resampled to it."""
    window_s: float = 0.040
    """Seconds a frame."""
    hop_s: float = 0.020
    """Seconds between frames."""
    n_fft: int = 0
    """FFT size in samples; 0: the next power of two that holds the window."""
    window: Literal["hann", "hamming"] = "hamming"
    """Periodic window."""
    center: bool = True
    """Frame t is centred on sample t * hop (zeros beyond the ends); otherwise it begins there."""
    mels: int = 40
    """Mel bands."""
    fmin: float = 0.0
    """Lowest band edge, Hz."""
    fmax: float = 0.0
    """Highest band edge, Hz; 0: half the sample rate."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["none", "slaney"] = "none"
    """slaney: each band has unit area."""
    spectrum: Literal["magnitude", "power"] = "magnitude"
    log_offset: float = 1e-3
    """log(x + log_offset), natural logarithm."""
    patch_frames: int = 500
    """Frames a network input."""
    patch_hop_frames: int = 500
    """Frames between the starts of two patches of one clip."""

    @staticmethod
    def vggish(patch_hop_frames: int = 48) -> "LogMel":
        """VGGish's: 16 kHz, 25/10 ms, 512-point FFT, 64 HTK mels 125 to 7500 Hz, log(x + 0.01), 96-frame patches."""
        return LogMel(
            sample_rate=16000,
            window_s=0.025,
            hop_s=0.010,
            n_fft=512,
            window="hann",
            center=False,
            mels=64,
            fmin=125.0,
            fmax=7500.0,
            mel_scale="htk",
            log_offset=0.01,
            patch_frames=96,
            patch_hop_frames=patch_hop_frames,
        )

    @staticmethod
    def dcase21(sample_rate: int = 44100, clip_s: float = 10.0) -> "LogMel":
        """The DCASE 2021 baseline's: 40/20 ms, 40 mels; 500 frames in 10 s, 51 in 1 s."""
        frames = 51 if clip_s == 1.0 else round(clip_s / 0.020)
        return LogMel(sample_rate=sample_rate, patch_frames=frames, patch_hop_frames=frames)

    @staticmethod
    def cnn14(clip_s: float = 10.0) -> "LogMel":
        """CNN14's (PANNs): 32 kHz, 32/10 ms, 64 mels 50 to 14000 Hz of the power; 1001 frames in 10 s, 501 in 5 s."""
        frames = round(clip_s / 0.010) + 1
        return LogMel(
            sample_rate=32000,
            window_s=0.032,
            hop_s=0.010,
            n_fft=1024,
            window="hann",
            mels=64,
            fmin=50.0,
            fmax=14000.0,
            norm="slaney",
            spectrum="power",
            log_offset=1e-10,
            patch_frames=frames,
            patch_hop_frames=frames,
        )

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_s * self.sample_rate)

    @property
    def fft_size(self) -> int:
        return self.n_fft or 1 << (self.window_samples - 1).bit_length()

    @property
    def patch_samples(self) -> int:
        """Samples that the frames of one patch see, from the first frame's first to the last one's last."""
        return (self.patch_frames - 1) * self.hop_samples + self.window_samples

    @property
    def patch_s(self) -> float:
        """Seconds of audio in a patch: its frames times the hop."""
        return self.patch_frames * self.hop_samples / self.sample_rate

    @property
    def samples_around(self) -> tuple[int, int]:
        """Zeros before and after a clip that its first and last frames see beyond its ends.

        Of an odd window the larger half lies before its centre, as in librosa.
        """
        half = self.window_samples // 2
        return (self.window_samples - half, half) if self.center else (0, 0)

    @property
    def band_limits(self) -> tuple[float, float]:
        """Lowest and highest band edge in Hz."""
        return self.fmin, self.fmax or self.sample_rate / 2

    def check(self) -> "LogMel":
        """Raise EdgepruneError if the fields contradict each other; return self."""
        low, high = self.band_limits
        rules = (
            (self.sample_rate > 0, f"sample_rate must be above 0, not {self.sample_rate}"),
            (self.window_samples >= 2, f"window_s {self.window_s} holds fewer than 2 samples at {self.sample_rate} Hz"),
            (self.hop_samples >= 1, f"hop_s {self.hop_s} is shorter than one sample at {self.sample_rate} Hz"),
            (self.fft_size >= self.window_samples, f"n_fft {self.n_fft} is below the window ({self.window_samples})"),
            (self.mels >= 1, f"mels must be at least 1, not {self.mels}"),
            (0 <= low < high <= self.sample_rate / 2, f"bands {low} to {high} Hz do not fit {self.sample_rate} Hz"),
            (self.log_offset > 0, f"log_offset must be above 0, not {self.log_offset}"),
            (self.patch_frames >= 1 and self.patch_hop_frames >= 1, "patch_frames and patch_hop_frames start at 1"),
        )
        for holds, message in rules:
            if not holds:
                raise EdgepruneError(f"front-end: {message}.")
        return self


@dataclass(frozen=True)
class Model(_Paths):
    """Which network."""

    name: str = "dcase21"
    """A name from the registry: dcase21, vggish, cnn14, vgg16, resnet50, resnet50_cifar."""
    width: float = 1.0
    """All hidden layers times this."""
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
    """SpecAugment: widest masked band, mels; 0: off."""
    time_mask: int = 0
    """SpecAugment: longest masked stretch, frames; 0: off."""
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
    """bf16 helps on GPUs and on CPUs with AMX; it is slower on others."""
    threads: int = 0
    """Threads of the CPU; 0: one a core."""
    tensorboard: bool = False
    """Also log to TensorBoard."""


@dataclass(frozen=True)
class Prune(_Paths):
    """How filters are judged and how the allocation is found."""

    criterion: str = "operator_norm"
    """How filters are judged: operator_norm, operator_norm_unsigned, l1, l2, geometric_mean, geometric_median,
    similarity, batchnorm_scale, hrank, energy, apoz, entropy, taylor, random."""
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
    """Clips that active criteria (hrank, taylor ...) and the objective sensitivity look at."""

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
    """Peak int8 activation memory, bytes."""
    flash: Limit = None
    """int8 weights and int32 biases, bytes."""
    latency_ms: Latency = None
    """Milliseconds an inference of the int8 file, on a device, as 0.8@host."""
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
