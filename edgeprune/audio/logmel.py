"""The log-mel front-end in batched torch; equal to librosa's to 1e-4 (tests hold it)."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from edgeprune.recipe import LogMel


class Frontend:
    """Computes what a `LogMel` describes, on CPU or GPU.

    Frames of `window_samples` are windowed, zero-padded to `fft_size`, and their magnitude (or power) spectrum goes
    through a triangular mel filter bank (librosa's definition of the HTK and Slaney scales), then log(x + offset).
    """

    def __init__(self, spec: LogMel, device: str = "cpu") -> None:
        self.spec = spec.check()
        self.device = device

    @cached_property
    def window(self) -> Tensor:
        make = torch.hann_window if self.spec.window == "hann" else torch.hamming_window
        return make(self.spec.window_samples, periodic=True, device=self.device)

    @cached_property
    def filter_bank(self) -> Tensor:
        """`[bins, mels]`"""
        import librosa

        low, high = self.spec.band_limits
        bank = librosa.filters.mel(  # type: ignore[attr-defined]
            sr=self.spec.sample_rate,
            n_fft=self.spec.fft_size,
            n_mels=self.spec.mels,
            fmin=low,
            fmax=high,
            htk=self.spec.mel_scale == "htk",
            norm=None if self.spec.norm == "none" else self.spec.norm,
        )
        return torch.from_numpy(np.ascontiguousarray(bank.T)).to(self.device)

    def padded_samples(self, samples: int) -> int:
        """Samples a clip is zero-padded to (at its end) so that it yields at least one patch."""
        spec = self.spec
        needed = (spec.patch_frames - 1) * spec.hop_samples
        needed += 0 if spec.center else spec.window_samples
        return max(samples, needed)

    def frames(self, samples: int) -> int:
        """Frames that a clip of so many samples yields, padding included."""
        samples = self.padded_samples(samples)
        if self.spec.center:
            # even windows are padded by half on both sides, odd ones by one sample less: one frame a hop either way
            samples += 2 * (self.spec.window_samples // 2)
        return 1 + (samples - self.spec.window_samples) // self.spec.hop_samples

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Log-mel of equally long waveforms.

        Args:
            waveforms: float32 `[clips, samples]` or `[samples]`, full scale 1, at `spec.sample_rate`.

        Returns:
            float32 `[clips, frames, mels]` or `[frames, mels]`, natural log units.
        """
        if waveforms.ndim == 1:
            return self(waveforms[None])[0]
        spec = self.spec
        pad = self.padded_samples(waveforms.shape[-1]) - waveforms.shape[-1]
        half = spec.window_samples // 2 if spec.center else 0
        if pad or half:
            waveforms = torch.nn.functional.pad(waveforms, (half, half + pad))
        frames = waveforms.unfold(-1, spec.window_samples, spec.hop_samples)
        spectrum = torch.fft.rfft(frames * self.window, n=spec.fft_size).abs()
        if spec.spectrum == "power":
            spectrum = spectrum.square_()
        return torch.log(spectrum @ self.filter_bank + spec.log_offset)


def patch_starts(frames: int, patch_frames: int, patch_hop_frames: int) -> list[int]:
    """First frames of the patches of a clip: a 10-s clip (998 frames) holds 19 VGGish patches at 50 % overlap."""
    return list(range(0, frames - patch_frames + 1, patch_hop_frames))
