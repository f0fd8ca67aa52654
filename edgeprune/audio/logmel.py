"""The log-mel front-end, equal to librosa's to 1e-4, and the cutting of clips into patches."""

import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from edgeprune.recipe import LogMel

_BLOCK_SAMPLES = 1 << 17
"""Framed samples handled at once: they fit a core's cache, which is twice as fast as a whole clip."""


class Frontend:
    """Computes what a `LogMel` describes.

    Frames of `window_samples` are windowed and zero-padded to `fft_size`. Their magnitude (or power) spectrum goes
    through a triangular mel filter bank (librosa's HTK and Slaney scales), then log(x + offset). Windowing and FFT run
    in double precision, as librosa's: a float32 FFT of a loud tone leaves rounding noise in empty bands, up to 7e-4
    after the logarithm.
    """

    def __init__(self, spec: LogMel) -> None:
        self.spec = spec.check()
        self._own = threading.local()

    @cached_property
    def window(self) -> Tensor:
        """float64 `[window_samples]`"""
        make = torch.hann_window if self.spec.window == "hann" else torch.hamming_window
        return make(self.spec.window_samples, periodic=True, dtype=torch.float64)

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
        return torch.from_numpy(np.ascontiguousarray(bank.T))

    def padded_samples(self, samples: int) -> int:
        """Length to which a clip is zero-padded at its end, so that it yields at least one patch."""
        spec = self.spec
        patch = (spec.patch_frames - 1) * spec.hop_samples + (0 if spec.center else spec.window_samples)
        return max(samples, patch)

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples` samples, padding included."""
        samples = self.padded_samples(samples)
        return 1 + (samples - (0 if self.spec.center else self.spec.window_samples)) // self.spec.hop_samples

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Log-mel `[clips, frames, mels]`, natural log units, of waveforms `[clips, samples]` with full scale 1.

        One clip `[samples]` gives `[frames, mels]`.
        """
        if waveforms.ndim == 1:
            return self(waveforms[None])[0]
        mels = [torch.from_numpy(self._mels_of_clip(waveform.numpy())) for waveform in waveforms]
        return torch.log_(torch.stack(mels).add_(self.spec.log_offset))

    def _mels_of_clip(self, waveform: np.ndarray) -> np.ndarray:
        """`[frames, mels]` of one clip on the CPU, block by block in memory that the thread reuses."""
        from edgeprune.audio.logmel_loops import mel_bands, window_frames

        spec = self.spec
        before, _ = spec.samples_around
        block = max(1, _BLOCK_SAMPLES // spec.fft_size)
        windowed, spectrum = self._memory(block)
        out = np.empty((self.frames(len(waveform)), spec.mels), np.float32)
        for start in range(0, len(out), block):
            part = out[start : start + block]
            inside, outside = windowed[: len(part)], spectrum[: len(part)]
            hop = spec.hop_samples
            window_frames(waveform, self.window.numpy(), hop, before - start * hop, inside.numpy())
            torch.fft.rfft(inside, out=outside)
            mel_bands(outside.numpy(), *self._bands, spec.spectrum == "power", part)
        return out

    @cached_property
    def _bands(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The filter bank `[mels, bins]`, each band's first bin, and the bin after its last."""
        bank = np.ascontiguousarray(self.filter_bank.numpy().T)
        used = bank > 0
        first = np.where(used.any(axis=1), used.argmax(axis=1), 0)
        last = np.where(used.any(axis=1), bank.shape[1] - used[:, ::-1].argmax(axis=1), 0)
        return bank, first.astype(np.int64), last.astype(np.int64)

    def _memory(self, block: int) -> tuple[Tensor, Tensor]:
        """This thread's frames and spectra, kept: the system allocates fresh memory slowly, a thread at a time."""
        if not hasattr(self._own, "memory"):
            size = self.spec.fft_size
            spectrum = torch.empty(block, size // 2 + 1, dtype=torch.complex128)
            self._own.memory = torch.empty(block, size, dtype=torch.float64), spectrum
        held: tuple[Tensor, Tensor] = self._own.memory
        return held


def patch_starts(frames: int, patch_frames: int, patch_hop_frames: int) -> list[int]:
    """First frames of the patches of a clip: a 10-s clip (998 frames) holds 19 VGGish patches at 50 % overlap."""
    return list(range(0, frames - patch_frames + 1, patch_hop_frames))


def cut_patches(frames: np.ndarray, starts: Sequence[int] | np.ndarray, patch_frames: int) -> np.ndarray:
    """Patches `[patches, patch_frames, mels]` of `frames` `[frames, mels]`, from the frames `starts` on."""
    patches: np.ndarray = frames[np.asarray(starts)[:, None] + np.arange(patch_frames)]
    return patches


def waveform_patches(clip: np.ndarray, spec: LogMel) -> np.ndarray:
    """The patches of a clip as samples, float32 `[patches, samples]`, for a file whose front-end is inside.

    Zeros are put where the front-end's frames reach beyond the clip's ends, and after a clip that is shorter than a
    patch, so that each patch gives the same features as those cut from the whole clip's.
    """
    frontend = Frontend(spec)
    before, after = spec.samples_around
    after += frontend.padded_samples(len(clip)) - len(clip)
    padded = np.pad(np.asarray(clip, np.float32), (before, after))
    starts = patch_starts(frontend.frames(len(clip)), spec.patch_frames, spec.patch_hop_frames)
    windows = np.lib.stride_tricks.sliding_window_view(padded, spec.patch_samples)
    return np.ascontiguousarray(windows[np.asarray(starts) * spec.hop_samples])
