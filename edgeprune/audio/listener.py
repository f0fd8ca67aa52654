"""Listening: a stream of samples becomes decisions, one every hop.

The blocks of the stream may have any length, even none; the decisions are those of the whole recording at once.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import Samples
from edgeprune.audio.listen_rules import UNIT, Judge, Judgement, ListenRules, mean_square, power_sums
from edgeprune.audio.streaming import FrameStream, Sliding
from edgeprune.recipe import LogMel


@dataclass(frozen=True, eq=False)
class Decision:
    """What was heard at one time.

    Attributes:
        time_s: seconds from the start to the end of the window.
        latest: the network's probabilities for this window, `[classes]`.
        judgement: by the rules.
    """

    time_s: float
    latest: NDArray[np.float64]
    judgement: Judgement

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Smoothed over the windows since the last silence, `[classes]`; zeros in silence."""
        return self.judgement.smoothed / UNIT


class Listener:
    """Decides every hop from the latest window, by the rules that firmware follows too.

    Args:
        spec: the front-end.
        predict: probabilities `[classes]` of a patch: log-mel `[patch_frames, mels]`, not normalised, or samples
            `[patch_samples]` if `from_samples`.
        rules: of decision.
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
        rules: ListenRules,
        from_samples: bool = False,
    ) -> None:
        self.spec, self._predict, self._judge = spec, predict, Judge(rules)
        self._hop_frames = rules.hop_frames(spec)
        self._frames = None if from_samples else FrameStream(spec)
        self._sums, self._levels = _FrameSums(spec), Sliding(spec.patch_frames, self._hop_frames)
        if from_samples:
            self._patches = Sliding(spec.patch_samples, self._hop_frames * spec.hop_samples)
            predict(np.zeros(spec.patch_samples, np.float32))
        else:
            self._patches = Sliding(spec.patch_frames, self._hop_frames)
            predict(np.zeros((spec.patch_frames, spec.mels), np.float32))
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
        list(self._patches.windows(self._rows(np.zeros(before, np.float32))))  # completes nothing
        for block in blocks:
            self.samples += len(block)
            yield from self._process(block)
        missing = Frontend(self.spec).padded_samples(self.samples) - self.samples  # of one patch
        yield from self._process(np.zeros(after + missing, np.float32))

    def _process(self, block: Samples) -> list[Decision]:
        started = time.perf_counter()
        patches, levels = self._patches.windows(self._rows(block)), self._levels.windows(self._sums.push(block))
        decisions = [self._decide(self._predict(patch), sums) for patch, sums in zip(patches, levels, strict=True)]
        self.processing_s += time.perf_counter() - started
        return decisions

    def _rows(self, block: Samples) -> Samples:
        """What patches are cut from: frames, or samples."""
        return block if self._frames is None else self._frames.push(block)

    def _decide(self, probabilities: NDArray[Any], sums: NDArray[np.int64]) -> Decision:
        judgement = self._judge.judge(probabilities, mean_square(sums.sum(axis=0)))
        end = self.decisions * self._hop_frames * self.spec.hop_samples + self.spec.patch_samples
        end -= self.spec.samples_around[0]
        self.decisions += 1
        return Decision(
            min(end, self.samples) / self.spec.sample_rate, np.asarray(probabilities, np.float64), judgement
        )


class _FrameSums:
    """Power sums of the samples that came since the frame before was complete, frame by frame."""

    def __init__(self, spec: LogMel) -> None:
        self._hop = spec.hop_samples
        self._wanted = spec.window_samples - spec.samples_around[0]
        """Samples that the next frame still needs."""
        self._held = np.zeros(3, np.int64)

    def push(self, block: Samples) -> NDArray[np.int64]:
        """`[frames, 3]` of the frames that the block `[samples]` completes."""
        frames = []
        while len(block) >= self._wanted:
            frames.append(self._held + power_sums(block[: self._wanted]))
            block, self._wanted, self._held = block[self._wanted :], self._hop, np.zeros(3, np.int64)
        self._held = self._held + power_sums(block)
        self._wanted -= len(block)
        return np.array(frames, np.int64).reshape(-1, 3)
