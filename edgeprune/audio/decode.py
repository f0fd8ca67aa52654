"""Audio files to mono float32 samples at the front-end's rate: soundfile decodes, soxr resamples."""

from pathlib import Path

import numpy as np

from edgeprune.errors import EdgepruneError


def load_clip(path: Path | str, sample_rate: int) -> np.ndarray:
    """Decode a clip, mix its channels down to mono by their mean and resample it.

    Returns:
        float32 `[samples]`, full scale is 1; `clip_samples` of the file's frames and rate.

    Raises:
        EdgepruneError: the file is missing, corrupt or empty, is sampled below `sample_rate`, or holds NaN or
            infinite samples.
    """
    import soundfile
    import soxr

    path = Path(path)

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        if not path.exists():
            raise EdgepruneError(f"{path}: the clip is missing; run `edgeprune data verify` to list all.") from error
        raise EdgepruneError(f"{path}: cannot be decoded ({error}); fetch the clip again or leave it out.") from error
    if len(samples) == 0:
        raise EdgepruneError(f"{path}: the clip is empty; fetch it again or leave it out.")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise EdgepruneError(f"{path}: holds NaN or infinite samples; repair the clip or leave it out.")
    if rate != sample_rate:
        _refuse_upsampling(path, rate, sample_rate)
        wanted = clip_samples(len(mono), rate, sample_rate)
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")[:wanted]
        mono = np.pad(mono, (0, wanted - len(mono)))
    return np.ascontiguousarray(mono, dtype=np.float32)


def clip_samples(frames: int, rate: int, sample_rate: int) -> int:
    """Samples a clip of `frames` frames at `rate` Hz has at `sample_rate` Hz."""
    return frames if rate == sample_rate else round(frames * sample_rate / rate)


def probe_clip(path: Path | str, sample_rate: int) -> int:
    """Samples that `load_clip` will return, read from the file's header alone.

    Raises:
        EdgepruneError: as `load_clip`, as far as the header tells.
    """
    import soundfile

    path = Path(path)
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        if not path.exists():
            raise EdgepruneError(f"{path}: the clip is missing; run `edgeprune data verify` to list all.") from error
        raise EdgepruneError(f"{path}: cannot be decoded ({error}); fetch the clip again or leave it out.") from error
    if info.frames == 0:
        raise EdgepruneError(f"{path}: the clip is empty; fetch it again or leave it out.")
    _refuse_upsampling(path, info.samplerate, sample_rate)
    return clip_samples(info.frames, info.samplerate, sample_rate)


def _refuse_upsampling(path: Path, rate: int, sample_rate: int) -> None:
    if rate < sample_rate:
        raise EdgepruneError(
            f"{path}: is sampled at {rate} Hz, below the front-end's {sample_rate} Hz, so its upper mel bands would be "
            f"empty; set --frontend.sample-rate {rate} or use the original clips."
        )
