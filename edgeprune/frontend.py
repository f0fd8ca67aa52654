"""The settings of the log-mel front-end, and those that published networks take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import from_plain

LARGEST_FFT = 1 << 16
"""Samples; at 44.1 kHz one and a half seconds."""
LONGEST_PATCH = 10**7
"""Samples; at 44.1 kHz nearly four minutes."""


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
    def from_dict(fields: Mapping[str, Any]) -> "LogMel":
        """From JSON or TOML values, checked.

        Raises:
            EdgepruneError: a field is unknown, of another type, or contradicts another.
        """
        try:
            return from_plain(LogMel, dict(fields), "front-end: ").check()
        except (TypeError, ValueError) as error:
            raise EdgepruneError(f"the front-end has other fields than LogMel ({first_line(error)}).") from error

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

    @staticmethod
    def yamnet(patch_hop_frames: int = 48) -> "LogMel":
        """YAMNet's: VGGish's with log(x + 0.001)."""
        return replace(LogMel.vggish(patch_hop_frames), log_offset=0.001)

    @staticmethod
    def dscnn() -> "LogMel":
        """As MLPerf Tiny's keyword spotting frames a second: 16 kHz, 30/20 ms, 49 frames; ten bands 20 to 4000 Hz."""
        return LogMel(
            sample_rate=16000,
            window_s=0.030,
            window="hann",
            center=False,
            mels=10,
            fmin=20.0,
            fmax=4000.0,
            mel_scale="htk",
            log_offset=1e-6,
            patch_frames=49,
            patch_hop_frames=49,
        )

    @staticmethod
    def bcresnet() -> "LogMel":
        """BC-ResNet's: 16 kHz, 30/10 ms, 40 HTK mels of the power, log(x + 1e-6); 101 frames in 1 s."""
        return LogMel(
            sample_rate=16000,
            window_s=0.030,
            hop_s=0.010,
            n_fft=512,
            window="hann",
            mel_scale="htk",
            spectrum="power",
            log_offset=1e-6,
            patch_frames=101,
            patch_hop_frames=101,
        )

    @staticmethod
    def cpmobile() -> "LogMel":
        """DCASE 2024's baseline's: 32 kHz, 96/15.625 ms, 256 HTK mels of the power, log(x + 1e-5); 65 frames in 1 s."""
        return LogMel(
            sample_rate=32000,
            window_s=0.096,
            hop_s=0.015625,
            n_fft=4096,
            window="hann",
            mels=256,
            mel_scale="htk",
            spectrum="power",
            log_offset=1e-5,
            patch_frames=65,
            patch_hop_frames=65,
        )

    @staticmethod
    def mobilenetv3(clip_s: float = 1.0) -> "LogMel":
        """EfficientAT's, without its pre-emphasis: 32 kHz, 25/10 ms, 128 HTK mels of the power up to 15 kHz.

        log(x + 1e-5); 101 frames in 1 s, 501 in 5 s.
        """
        frames = round(clip_s / 0.010) + 1
        return LogMel(
            sample_rate=32000,
            window_s=0.025,
            hop_s=0.010,
            n_fft=1024,
            window="hann",
            mels=128,
            fmax=15000.0,
            mel_scale="htk",
            spectrum="power",
            log_offset=1e-5,
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
        for name in ("sample_rate", "window_s", "hop_s", "fmin", "fmax", "log_offset"):
            if not abs(getattr(self, name)) <= 10**9:  # NaN too
                raise EdgepruneError(f"front-end: {name} is {getattr(self, name)}; give a finite number in its range.")
        low, high = self.band_limits
        rules = (
            (0 < self.sample_rate <= 10**7, f"sample_rate must be above 0 and at most 10 MHz, not {self.sample_rate}"),
            (self.window_samples >= 2, f"window_s {self.window_s} holds fewer than 2 samples at {self.sample_rate} Hz"),
            (self.hop_samples >= 1, f"hop_s {self.hop_s} is shorter than one sample at {self.sample_rate} Hz"),
            (self.hop_samples <= 10**6, f"hop_s {self.hop_s} is longer than a million samples"),
            (self.fft_size >= self.window_samples, f"n_fft {self.n_fft} is below the window ({self.window_samples})"),
            (self.fft_size % 2 == 0, f"n_fft {self.n_fft} is odd; take {self.n_fft + 1}"),
            (self.fft_size <= LARGEST_FFT, f"an FFT of {self.fft_size} is above {LARGEST_FFT}; shorten the window"),
            (1 <= self.mels <= LARGEST_FFT // 2, f"mels must be 1 to {LARGEST_FFT // 2}, not {self.mels}"),
            (0 <= low < high <= self.sample_rate / 2, f"bands {low} to {high} Hz do not fit {self.sample_rate} Hz"),
            (self.log_offset > 0, f"log_offset must be above 0, not {self.log_offset}"),
            (
                all(1 <= frames <= 10**6 for frames in (self.patch_frames, self.patch_hop_frames)),
                f"patch_frames {self.patch_frames} and patch_hop_frames {self.patch_hop_frames} are not 1 to a million",
            ),
            (self.patch_samples <= LONGEST_PATCH, f"a patch of {self.patch_samples} samples is above {LONGEST_PATCH}"),
        )
        for holds, message in rules:
            if not holds:
                raise EdgepruneError(f"front-end: {message}.")
        return self
