"""Listening: samples that arrive in blocks become decisions, one every hop, and no frame is computed twice.

Blocks may have any length, even none; the decisions are those that the whole recording at once would give.
"""

import math
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

BLOCK_S = 0.1
"""Seconds of audio read at once."""
QUEUE_S = 10.0
"""Seconds of audio that wait for a slow network before blocks are lost."""
SILENCE_S = 5.0
"""A microphone that gives no block for so long has gone."""

Samples = NDArray[np.float32]


class Sliding:
    """Windows of `size` rows, one every `hop` rows, over rows that arrive in pieces."""

    def __init__(self, size: int, hop: int) -> None:
        self.size, self.hop = size, hop
        self._held: NDArray[Any] | None = None
        self._skip = 0
        """Rows to come that no window needs (where `hop` is above `size`)."""

    def push(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The stretch of rows that holds all windows complete by now, none twice; 0 rows where there is none."""
        passed = min(self._skip, len(rows))
        self._skip -= passed
        held = rows[passed:] if self._held is None else np.concatenate([self._held, rows[passed:]])
        windows = max(0, (len(held) - self.size) // self.hop + 1)
        done = windows * self.hop
        self._held = held[done:].copy()
        self._skip += max(0, done - len(held))
        return held[: (windows - 1) * self.hop + self.size] if windows else held[:0]

    def windows(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The windows that these rows complete, each `size` rows."""
        stretch = self.push(rows)
        for start in range(0, len(stretch) - self.size + 1, self.hop):
            yield stretch[start : start + self.size]


class FrameStream:
    """The log-mel front-end over a stream; frame by frame what `Frontend` gives for the whole of it.

    Silence before and after the recording is the caller's (see `LogMel.samples_around`).
    """

    def __init__(self, spec: LogMel) -> None:
        import torch

        from edgeprune.audio.logmel import Frontend

        self._spec = spec
        # Without padding of its own, a frame begins where its samples begin.
        self._frontend = Frontend(replace(spec, center=False, patch_frames=1))
        self._samples = Sliding(spec.window_samples, spec.hop_samples)
        self._frontend(torch.zeros(1))  # compiled loops are made before anyone waits for them

    def push(self, block: Samples) -> Samples:
        """Log-mel `[frames, mels]`, natural log units, of the frames that the block `[samples]` completes."""
        import torch

        stretch = self._samples.push(block)
        if len(stretch) == 0:
            return np.empty((0, self._spec.mels), np.float32)
        frames: Samples = self._frontend(torch.from_numpy(np.ascontiguousarray(stretch))).numpy()
        return frames


@dataclass(frozen=True, eq=False)
class Decision:
    """What is heard at a time.

    Attributes:
        time_s: seconds from the start to the end of the patch.
        latest: probabilities of this patch, `[classes]`.
        probabilities: the same, smoothed over the patches so far.
    """

    time_s: float
    latest: NDArray[np.float64]
    probabilities: NDArray[np.float64]


class Listener:
    """Decides every hop from the latest patch, and smooths exponentially.

    Args:
        spec: the front-end.
        predict: probabilities `[classes]` of a patch: log-mel `[patch_frames, mels]`, not normalised, or samples
            `[patch_samples]` if `from_samples`.
        hop_s: seconds between decisions, rounded to whole frames, at least one.
        smoothing: weight of what was heard before, 0 (none) up to below 1.
        from_samples: the network computes its features itself.

    Attributes:
        samples: heard so far, at the front-end's rate.
        decisions: made so far.
        processing_s: seconds that front-end and network took; waiting for the source is not among them.

    Raises:
        EdgepruneError: hop or smoothing is out of range.
    """

    def __init__(
        self,
        spec: LogMel,
        predict: Callable[[Samples], NDArray[Any]],
        hop_s: float = 0.5,
        smoothing: float = 0.7,
        from_samples: bool = False,
    ) -> None:
        if not (math.isfinite(hop_s) and hop_s > 0):
            raise EdgepruneError(f"hop-s: {hop_s:g} s between decisions; give more than 0, such as 0.5.")
        if not 0 <= smoothing < 1:
            raise EdgepruneError(f"smoothing: {smoothing:g}; give 0 (none) or more, but less than 1.")
        self.spec, self._predict, self._smoothing = spec, predict, smoothing
        self._hop_frames = max(1, round(hop_s * spec.sample_rate / spec.hop_samples))
        self._frames = None if from_samples else FrameStream(spec)
        if from_samples:
            self._patches = Sliding(spec.patch_samples, self._hop_frames * spec.hop_samples)
            predict(np.zeros(spec.patch_samples, np.float32))
        else:
            self._patches = Sliding(spec.patch_frames, self._hop_frames)
            predict(np.zeros((spec.patch_frames, spec.mels), np.float32))
        self._smoothed: NDArray[np.float64] | None = None
        self.samples, self.decisions, self.processing_s = 0, 0, 0.0

    @property
    def audio_s(self) -> float:
        """Seconds heard so far."""
        return self.samples / self.spec.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of processing a second of audio; below 1 keeps up. 0 before anything was heard."""
        return self.processing_s / self.audio_s if self.samples else 0.0

    def listen(self, blocks: Iterable[Samples]) -> Iterator[Decision]:
        """Decisions of one stream, as its blocks come.

        When the stream ends, silence follows as in training, so that a recording shorter than a patch gets a decision.

        Args:
            blocks: float32 `[samples]` each, full scale 1, at the front-end's rate.
        """
        before, after = self.spec.samples_around
        yield from self._heard(np.zeros(before, np.float32))
        for block in blocks:
            self.samples += len(block)
            yield from self._heard(block)
        yield from self._heard(np.zeros(after + self._missing(), np.float32))

    def _missing(self) -> int:
        """Samples that a short recording lacks to one patch."""
        from edgeprune.audio.logmel import Frontend

        return Frontend(self.spec).padded_samples(self.samples) - self.samples

    def _heard(self, block: Samples) -> list[Decision]:
        started = time.perf_counter()
        rows = block if self._frames is None else self._frames.push(block)
        made = [self._decide(self._predict(patch)) for patch in self._patches.windows(rows)]
        self.processing_s += time.perf_counter() - started
        return made

    def _decide(self, probabilities: NDArray[Any]) -> Decision:
        latest = np.asarray(probabilities, np.float64)
        before = latest if self._smoothed is None else self._smoothed
        self._smoothed = self._smoothing * before + (1 - self._smoothing) * latest
        end = self.decisions * self._hop_frames * self.spec.hop_samples + self.spec.patch_samples
        end -= self.spec.samples_around[0]
        self.decisions += 1
        return Decision(min(end, self.samples) / self.spec.sample_rate, latest, self._smoothed)


# Where samples come from


def file_blocks(path: Path | str, sample_rate: int, block_s: float = BLOCK_S) -> Iterator[Samples]:
    """An audio file block by block; put together, the samples of `decode.load_clip`.

    Raises:
        EdgepruneError: as `decode.load_clip`.
    """
    import soundfile

    from edgeprune.audio.decode import probe_clip

    probe_clip(path, sample_rate)
    with soundfile.SoundFile(path) as stream:
        size = max(1, round(block_s * stream.samplerate))
        yield from resampled(_decoded(Path(path), stream, size), stream.samplerate, sample_rate)


def _decoded(path: Path, stream: Any, size: int) -> Iterator[Samples]:
    """Mono blocks of an open file at its own rate."""
    import soundfile

    while True:
        try:
            block = stream.read(size, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise EdgepruneError(
                f"{path}: cannot be decoded ({error}); fetch the clip again or leave it out."
            ) from error
        if len(block) == 0:
            return
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise EdgepruneError(f"{path}: holds NaN or infinite samples; repair the clip or leave it out.")
        yield np.ascontiguousarray(mono)


def resampled(blocks: Iterable[Samples], rate: int, sample_rate: int) -> Iterator[Samples]:
    """Mono blocks at `rate` Hz as blocks at `sample_rate` Hz, the same samples as resampled at once."""
    import soxr

    from edgeprune.audio.decode import clip_samples

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


class Microphone:
    """A microphone through PortAudio (package sounddevice).

    It records at the rate wanted, or at its own if it takes no other and that is higher; several channels become
    their mean.

    Args:
        sample_rate: Hz of the blocks it gives.
        device: a part of its name or its number (`python -m sounddevice` lists them); None: the system's choice.

    Attributes:
        name: of the device.
        overruns: how often samples were lost: PortAudio's own overflows, and blocks that found `QUEUE_S` seconds
            waiting.

    Raises:
        EdgepruneError: sounddevice or PortAudio is missing, or there is no such microphone.
    """

    def __init__(self, sample_rate: int, device: str | None = None) -> None:
        self._sounddevice = _sounddevice()
        self._device: str | int | None = int(device) if device is not None and device.isdecimal() else device
        self.sample_rate, self.overruns = sample_rate, 0
        info = self._info()
        self.name = str(info["name"])
        self._rate, self._channels = self._settings(info)
        self._blocks: queue.Queue[Samples] = queue.Queue(max(1, round(QUEUE_S / BLOCK_S)))

    def blocks(self, seconds: float | None = None) -> Iterator[Samples]:
        """Float32 blocks `[samples]`, as they are recorded, for so many seconds or for ever.

        Raises:
            EdgepruneError: the microphone cannot be opened, or stops.
        """
        yield from resampled(self._recorded(seconds), self._rate, self.sample_rate)

    def _info(self) -> Any:
        try:
            return self._sounddevice.query_devices(self._device, "input")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            which = "there is no microphone" if self._device is None else f"there is no microphone '{self._device}'"
            raise EdgepruneError(
                f"listen: {which} ({_line(error)}); plug one in, choose one with --device (`python -m sounddevice` "
                "lists them), or give --file."
            ) from error

    def _settings(self, info: Any) -> tuple[int, int]:
        """Rate and channels to record with."""
        for rate in (self.sample_rate, int(info["default_samplerate"])):
            for channels in (1, int(info["max_input_channels"])):
                try:
                    self._sounddevice.check_input_settings(self._device, channels, "float32", None, rate)
                except (ValueError, self._sounddevice.PortAudioError):
                    continue
                if rate >= self.sample_rate:
                    return rate, channels
        raise EdgepruneError(
            f"listen: microphone '{self.name}' does not record at {self.sample_rate} Hz, which the model needs, or "
            "above; choose another with --device."
        )

    def _recorded(self, seconds: float | None) -> Iterator[Samples]:
        """Mono blocks at the microphone's rate."""
        left = math.inf if seconds is None else round(seconds * self._rate)
        size = max(1, round(BLOCK_S * self._rate))
        try:
            stream = self._sounddevice.InputStream(
                samplerate=self._rate,
                blocksize=size,
                device=self._device,
                channels=self._channels,
                dtype="float32",
                callback=self._take,
            )
            with stream:
                while left > 0:
                    block = self._blocks.get(timeout=SILENCE_S)
                    yield block[: int(min(left, len(block)))]
                    left -= len(block)
        except queue.Empty as error:
            raise EdgepruneError(
                f"listen: microphone '{self.name}' gave nothing for {SILENCE_S:g} s; check that it is plugged in."
            ) from error
        except self._sounddevice.PortAudioError as error:
            raise EdgepruneError(
                f"listen: microphone '{self.name}' cannot be opened ({_line(error)}); close what uses it or choose "
                "another with --device."
            ) from error

    def _take(self, block: NDArray[np.float32], frames: int, clock: Any, status: Any) -> None:
        """PortAudio's callback, in its own thread: it must not wait."""
        if status.input_overflow:
            self.overruns += 1
        try:
            self._blocks.put_nowait(block.mean(axis=1))  # a copy: PortAudio uses the block again
        except queue.Full:
            self.overruns += 1


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise EdgepruneError(
            "listen: needs the package sounddevice for the microphone; install edgeprune[listen], or give --file."
        ) from error
    except OSError as error:
        raise EdgepruneError(
            "listen: needs the PortAudio library for the microphone; install libportaudio2 (Debian), or give --file."
        ) from error
    return sounddevice


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
