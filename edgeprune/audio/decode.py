"""Audio files to mono float32 samples at the front-end's rate: soundfile decodes, soxr resamples.

A file is read from start to end and whole, or refused by name; what its header promises takes no memory.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edgeprune.audio.containers import Stream, cut_short, streams
from edgeprune.errors import EdgepruneError

Samples = NDArray[np.float32]
BLOCK_S = 0.1
"""Seconds of audio read at once from a stream."""
_BLOCK_VALUES = 1 << 20
"""Samples of all channels read at once from a file that is read whole."""
_UNKNOWN = (1 << 63) - 1
"""Frames of a stream whose header does not say how many it has, as libsndfile gives them."""
_MOST_FRAMES_A_BYTE = 64
"""Above it a header's promise is not believed but counted; only near-silence is packed denser."""
DECODING_ERRORS = (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, TypeError)
"""What a file that cannot be decoded raises; TypeError where its name ends in .raw."""


def load_clip(path: Path | str, sample_rate: int) -> Samples:
    """A clip as `[samples]`, full scale 1: the mean of its channels, resampled to `clip_samples` of its frames."""
    clip = _ClipFile(Path(path))
    _refuse_upsampling(clip.path, clip.rate, sample_rate)
    blocks = list(clip.blocks())
    if not blocks:
        raise _empty(clip.path)
    mono = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if clip.rate != sample_rate:
        wanted = clip_samples(len(mono), clip.rate, sample_rate)
        mono = soxr.resample(mono, clip.rate, sample_rate, quality="HQ")[:wanted]
        mono = np.pad(mono, (0, wanted - len(mono)))
    return np.ascontiguousarray(mono, dtype=np.float32)


def clip_samples(frames: int, rate: int, sample_rate: int) -> int:
    """Samples at `sample_rate` Hz of a clip that has `frames` frames at `rate` Hz."""
    return frames if rate == sample_rate else round(frames * sample_rate / rate)


def probe_clip(path: Path | str, sample_rate: int) -> int:
    """Samples that `load_clip` will return: from the file's headers, or counted where they do not say."""
    clip = _ClipFile(Path(path))
    _refuse_upsampling(clip.path, clip.rate, sample_rate)
    return clip_samples(clip.frames(), clip.rate, sample_rate)


def rate_and_seconds(path: Path | str) -> tuple[int, float]:
    """A clip's own sample rate in Hz, and its length as `probe_clip` finds it."""
    clip = _ClipFile(Path(path))
    return clip.rate, clip.frames() / clip.rate


def check_clip(path: Path | str) -> None:
    """Decode a clip from start to end; raise EdgepruneError where it cannot be used."""
    clip = _ClipFile(Path(path))
    if not sum(len(block) for block in clip.blocks()):
        raise _empty(clip.path)


def file_blocks(path: Path | str, sample_rate: int, block_s: float = BLOCK_S) -> Iterator[Samples]:
    """An audio file block by block; put together, the blocks are the samples of `load_clip`."""
    clip = _ClipFile(Path(path))
    _refuse_upsampling(clip.path, clip.rate, sample_rate)
    clip.frames()  # refuses an empty one
    yield from resampled(clip.blocks(max(1, round(block_s * clip.rate))), clip.rate, sample_rate)


def resampled(blocks: Iterable[Samples], rate: int, sample_rate: int) -> Iterator[Samples]:
    """Mono blocks at `rate` Hz as blocks at `sample_rate` Hz, the same samples as resampled at once."""
    if rate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    taken = given = 0
    for block in blocks:
        taken += len(block)
        out = resampler.resample_chunk(block)
        given += len(out)
        if len(out):
            yield out
    rest = clip_samples(taken, rate, sample_rate) - given
    last = resampler.resample_chunk(np.empty(0, np.float32), last=True)[: max(0, rest)]
    yield np.pad(last, (0, max(0, rest - len(last))))


class _Forward(soundfile.SoundFile):
    """Read from start to end alone: soundfile seeks after each read, which fails where the length is unknown."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class _StreamHeader:
    """One stream of a file, and how many frames its header promises."""

    stream: Stream
    promised: int

    def open(self) -> _Forward:
        return _Forward(BytesIO(self.stream) if isinstance(self.stream, bytes) else self.stream)

    @property
    def bytes(self) -> int:
        return len(self.stream) if isinstance(self.stream, bytes) else os.path.getsize(self.stream)


class _ClipFile:
    """An audio file's headers, and its mono samples block by block at its own rate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._headers: list[_StreamHeader] = []
        rates = set()
        try:
            for stream in streams(path):
                with _StreamHeader(stream, 0).open() as sound:
                    self._headers.append(_StreamHeader(stream, sound.frames))
                    rates.add(sound.samplerate)
        except DECODING_ERRORS as error:
            raise _undecodable(path, error) from error
        if len(rates) > 1:
            raise EdgepruneError(f"{path}: is several recordings of different sample rates in one file; split them.")
        (self.rate,) = rates

    def frames(self) -> int:
        """Frames of all streams; those of an unlikely promise are counted. None at all are refused."""
        frames = sum(
            header.promised
            if header.promised <= _MOST_FRAMES_A_BYTE * header.bytes
            else sum(len(block) for block in self._read(header, 0))
            for header in self._headers
        )
        if frames == 0:
            raise _empty(self.path)
        return frames

    def blocks(self, frames: int = 0) -> Iterator[Samples]:
        """Mono blocks of this many frames; 0: as many as fit well into memory."""
        for header in self._headers:
            yield from self._read(header, frames)

    def _read(self, header: _StreamHeader, frames: int) -> Iterator[Samples]:
        held = 0
        try:
            with header.open() as sound:
                size = frames or max(1, _BLOCK_VALUES // sound.channels)
                # never more than is promised: libsndfile fills the rest of what it was asked for with zeros
                while len(block := sound.read(min(size, header.promised - held), dtype="float32", always_2d=True)):
                    held += len(block)
                    yield np.ascontiguousarray(_mono(self.path, block))
        except DECODING_ERRORS as error:
            raise _undecodable(self.path, error) from error
        if header.promised not in (held, _UNKNOWN):
            raise cut_short(self.path, held, header.promised, "frames")


def _mono(path: Path, channels: Samples) -> Samples:
    """The mean of `[samples, channels]`."""
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if not np.isfinite(mono).all():
        raise EdgepruneError(f"{path}: holds NaN or infinite samples; repair the clip or leave it out.")
    return mono


def _undecodable(path: Path, error: Exception) -> EdgepruneError:
    if not path.exists():
        return EdgepruneError(f"{path}: the clip is missing; run `edgeprune data verify` to list all.")
    return EdgepruneError(f"{path}: cannot be decoded ({error}); fetch the clip again or leave it out.")


def _empty(path: Path) -> EdgepruneError:
    return EdgepruneError(f"{path}: the clip is empty; fetch it again or leave it out.")


def _refuse_upsampling(path: Path, rate: int, sample_rate: int) -> None:
    if rate < sample_rate:
        raise EdgepruneError(
            f"{path}: is sampled at {rate} Hz, below the front-end's {sample_rate} Hz, so its upper mel bands would be "
            f"empty; use the original clips, or set --frontend.sample-rate {rate} --frontend.fmax {rate / 2:g}."
        )
