"""The rules that turn a network's outputs into what was heard, once for all: `edgeprune listen` follows them here,
firmware in C (`export/c/edgeprune_listen.c`), apps in Kotlin (`export/android/ListenRules.kt`).

The arithmetic is in whole numbers, so that all come to the same decision to the last bit. A probability counts in
65536ths (`UNIT`), a level is the mean square of 16-bit samples around their mean.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import Samples
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

UNIT = 1 << 16
"""A probability of 1."""
WEIGHT_UNIT = 1 << 15
"""A weight of 1."""
FULL_SCALE = 1 << 15
"""The 16-bit sample that stands for 1."""
Heard = Literal["class", "none", "silence"]


@dataclass(frozen=True)
class ListenRules:
    """How often it is decided, and when no class is named."""

    hop_s: float | None = None
    """Seconds between decisions, rounded to whole frames; None: one decision a window."""
    hops_per_window: int | None = None
    """Decisions a window, instead of --hop-s: window k begins k / N of a window (rounded up to frames) after the
    first."""
    smoothing: float = 0.7
    """Weight of what was heard before, 0 (none) to below 1."""
    threshold: float = 0.0
    """Smoothed probability below which the answer is "none"; 0: the network's own threshold, or always a class where it
    has none."""
    gate_dbfs: float | None = -80.0
    """Level below which the answer is "silence", dBFS RMS of the window around its mean (full scale is amplitude 1, a
    sine of which has -3); -90 to 0, None: no gate. The quietest second of TUT Acoustic Scenes 2017 has -73."""

    def __post_init__(self) -> None:
        if self.hop_s is not None and not (math.isfinite(self.hop_s) and self.hop_s > 0):
            raise EdgepruneError(f"hop-s: {self.hop_s:g} s between decisions; give more than 0, such as 0.5.")
        if self.hops_per_window is not None and self.hops_per_window < 1:
            raise EdgepruneError(f"hops-per-window: {self.hops_per_window} decisions a window; give 1 or more.")
        if self.hop_s is not None and self.hops_per_window is not None:
            raise EdgepruneError("hop-s: --hops-per-window says the same in another way; leave out one of them.")
        if not 0 <= self.smoothing < 1:
            raise EdgepruneError(f"smoothing: {self.smoothing:g}; give 0 (none) or more, but less than 1.")
        if not 0 <= self.threshold <= 1:
            raise EdgepruneError(f"threshold: {self.threshold:g} is no probability; give 0 (none) to 1.")
        if self.gate_dbfs is not None and not -90 <= self.gate_dbfs <= 0:
            raise EdgepruneError(
                f"gate-dbfs: {self.gate_dbfs:g} dBFS is no level of 16-bit samples; give -90 to 0, or None for no gate."
            )

    def of_network(self, threshold: float | None) -> "ListenRules":
        """The same rules, with a network's own threshold where they have none."""
        return self if self.threshold or threshold is None else replace(self, threshold=threshold)

    def hop_frames(self, spec: LogMel) -> int:
        """Frames between the starts of two windows, at least 1."""
        if self.hop_s is not None:
            return max(1, round(self.hop_s * spec.sample_rate / spec.hop_samples))
        return -(-spec.patch_frames // (self.hops_per_window or 1))

    @property
    def smoothing_weight(self) -> int:
        """In parts of `WEIGHT_UNIT`."""
        return min(round(self.smoothing * WEIGHT_UNIT), WEIGHT_UNIT - 1)

    @property
    def least_probability(self) -> int:
        """In parts of `UNIT`."""
        return round(self.threshold * UNIT)

    @property
    def least_mean_square(self) -> int:
        """Of 16-bit samples; 0 where there is no gate."""
        return 0 if self.gate_dbfs is None else max(1, round(10 ** (self.gate_dbfs / 10) * FULL_SCALE**2))


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was heard in one window.

    Attributes:
        heard: "none": no class is likely enough; "silence": the window is quieter than the gate.
        best: the likeliest class, also where none is likely enough; -1 in silence.
        smoothed: probabilities over the windows since the last silence, integers `[classes]` in parts of `UNIT`; zeros
            in silence.
        mean_square: of the window.
    """

    heard: Heard
    best: int
    smoothed: NDArray[np.int64]
    mean_square: int
    likely: tuple[int, ...] = ()
    """The classes that reach the threshold, the likeliest first: several, where their probabilities are independent;
    without a threshold `best` alone."""

    @property
    def percent(self) -> int:
        """The smoothed probability of `best`; 0 in silence."""
        return 0 if self.heard == "silence" else (100 * int(self.smoothed[self.best]) + UNIT // 2) // UNIT

    @property
    def level_dbfs(self) -> float:
        """Level of the window; minus infinity for digital silence."""
        return 10 * math.log10(self.mean_square / FULL_SCALE**2) if self.mean_square else -math.inf


class Judge:
    """Applies the rules to one window after the other."""

    def __init__(self, rules: ListenRules) -> None:
        self._rules = rules
        self._smoothed: NDArray[np.int64] | None = None
        """None at the start and after silence: what comes next is judged by itself."""

    def judge(self, probabilities: NDArray[Any], mean_square: int) -> Judgement:
        """Probabilities `[classes]` of the window, and its level (see `mean_square`)."""
        latest = np.clip(np.floor(np.asarray(probabilities, np.float64) * UNIT + 0.5), 0, UNIT).astype(np.int64)
        if mean_square < self._rules.least_mean_square:
            self._smoothed = None
            return Judgement("silence", -1, np.zeros_like(latest), mean_square)
        weight, before = self._rules.smoothing_weight, latest if self._smoothed is None else self._smoothed
        self._smoothed = (weight * before + (WEIGHT_UNIT - weight) * latest + WEIGHT_UNIT // 2) // WEIGHT_UNIT
        best = int(self._smoothed.argmax())
        least = self._rules.least_probability
        order = np.argsort(-self._smoothed, kind="stable") if least else (best,)
        likely = tuple(int(place) for place in order if self._smoothed[place] >= least)
        return Judgement("class" if likely else "none", best, self._smoothed, mean_square, likely)


def power_sums(samples: Samples) -> NDArray[np.int64]:
    """Number, sum and sum of squares of samples `[samples]`, full scale 1, as 16-bit ones: what levels are made of.

    The sums of a window are those of its parts, added.
    """
    stored = np.clip(np.round(samples.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int64)
    return np.array([len(stored), stored.sum(), (stored**2).sum()])


def mean_square(sums: NDArray[np.int64]) -> int:
    """Mean square around the mean, both rounded to whole numbers (the mean square down); 0 of no samples.

    A microphone's constant offset is no sound.
    """
    count, total, squares = map(int, sums)
    if count == 0:
        return 0
    mean = (2 * total + count) // (2 * count)
    return (squares - 2 * mean * total + count * mean**2) // count
