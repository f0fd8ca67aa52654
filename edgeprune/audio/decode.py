"""Audio files to mono float32 samples at the front-end's rate: soundfile decodes, soxr resamples."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError

Samples = NDArray[np.float32]
BLOCK_S = 0.1
"""Seconds of audio read at once from a stream."""
_DECODING_ERRORS = (soundfile.LibsndfileError, OSError, RuntimeError)


def load_clip(path: Path | str, sample_rate: int) -> Samples:
    """A clip as `[samples]`, full scale 1: the mean of its channels, resampled to `clip_samples` of its frames."""
    path = Path(path)
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except _DECODING_ERRORS as error:
        raise _undecodable(path, error) from error
    if len(channels) == 0:
        raise _empty(path)
    mono = _mono(path, channels)
    if rate != sample_rate:
        _refuse_upsampling(path, rate, sample_rate)
        wanted = clip_samples(len(mono), rate, sample_rate)
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")[:wanted]
        mono = np.pad(mono, (0, wanted - len(mono)))
    return np.ascontiguousarray(mono, dtype=np.float32)


def clip_samples(frames: int, rate: int, sample_rate: int) -> int:
    """Samples at `sample_rate` Hz of a clip that has `frames` frames at `rate` Hz."""
    return frames if rate == sample_rate else round(frames * sample_rate / rate)


def probe_clip(path: Path | str, sample_rate: int) -> int:
    """Samples that `load_clip` will return, read from the file's header alone."""
    path = Path(path)
    try:
        info = soundfile.info(str(path))
    except _DECODING_ERRORS as error:
        raise _undecodable(path, error) from error
    if info.frames == 0:
        raise _empty(path)
    _refuse_upsampling(path, info.samplerate, sample_rate)
    return clip_samples(info.frames, info.samplerate, sample_rate)


def file_blocks(path: Path | str, sample_rate: int, block_s: float = BLOCK_S) -> Iterator[Samples]:
    """An audio file block by block; put together, the blocks are the samples of `load_clip`."""
    probe_clip(path, sample_rate)
    with soundfile.SoundFile(path) as stream:
        size = max(1, round(block_s * stream.samplerate))
        yield from resampled(_decoded(Path(path), stream, size), stream.samplerate, sample_rate)


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


def _decoded(path: Path, stream: Any, size: int) -> Iterator[Samples]:
    """Mono blocks of an open file at its own rate."""
    while True:
        try:
            block = stream.read(size, dtype="float32", always_2d=True)
        except _DECODING_ERRORS as error:
            raise _undecodable(path, error) from error
        if len(block) == 0:
            return
        yield np.ascontiguousarray(_mono(path, block))


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
            f"empty; set --frontend.sample-rate {rate} or use the original clips."
        )
