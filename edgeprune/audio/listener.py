"""Listening: a stream of samples becomes decisions, one every hop.

The blocks of the stream may have any length, even none; the decisions are those of the whole recording at once.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import Samples
from edgeprune.audio.streaming import FrameStream, Sliding
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel


@dataclass(frozen=True, eq=False)
class Decision:
    """The probabilities at one time.

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
        smoothing: weight of the earlier decisions, 0 (none) up to below 1.
        from_samples: the network computes its features itself.

    Attributes:
        samples: received so far, at the front-end's rate.
        decisions: made so far.
        processing_s: seconds that front-end and network took, without the waiting for the source.
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
        return self.samples / self.spec.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of processing a second of audio; below 1 keeps up. 0 before the first sample."""
        return self.processing_s / self.audio_s if self.samples else 0.0

    def listen(self, blocks: Iterable[Samples]) -> Iterator[Decision]:
        """Decisions of one stream, as its blocks come.

        When the stream ends, silence follows as in training, so that a recording shorter than a patch gets a decision.
        Blocks are `[samples]` each, full scale 1, at the front-end's rate.
        """
        from edgeprune.audio.logmel import Frontend

        before, after = self.spec.samples_around
        yield from self._process(np.zeros(before, np.float32))
        for block in blocks:
            self.samples += len(block)
            yield from self._process(block)
        missing = Frontend(self.spec).padded_samples(self.samples) - self.samples  # of one patch
        yield from self._process(np.zeros(after + missing, np.float32))

    def _process(self, block: Samples) -> list[Decision]:
        started = time.perf_counter()
        rows = block if self._frames is None else self._frames.push(block)
        decisions = [self._decide(self._predict(patch)) for patch in self._patches.windows(rows)]
        self.processing_s += time.perf_counter() - started
        return decisions

    def _decide(self, probabilities: NDArray[Any]) -> Decision:
        latest = np.asarray(probabilities, np.float64)
        before = latest if self._smoothed is None else self._smoothed
        self._smoothed = self._smoothing * before + (1 - self._smoothing) * latest
        end = self.decisions * self._hop_frames * self.spec.hop_samples + self.spec.patch_samples
        end -= self.spec.samples_around[0]
        self.decisions += 1
        return Decision(min(end, self.samples) / self.spec.sample_rate, latest, self._smoothed)
