"""Detection of one sound: the threshold that a recall asks for, and the false alarms an hour it costs.

The probabilities are of clips, `[clips]`; a clip raises the alarm where its probability is at least the threshold. A
false alarm is a clip without the sound that raises it. They are counted by the hour of such clips, as keyword spotters
are measured (Chen, Parada, Heigold, "Small-footprint keyword spotting using deep neural networks", ICASSP 2014).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError

STEPS = 256
"""Thresholds are multiples of 1/256, the step of an int8 file's probability, which all formats can reach."""


def choose_threshold(holds: ArrayLike, probabilities: ArrayLike, recall: float) -> float:
    """The highest threshold at which this share of the sounds is found: a multiple of 1/256, from 1/256 to 255/256.

    Args:
        holds: whether each clip holds the sound, bool `[clips]`; of validation clips, never of those it is judged on.
        recall: above 0, at most 1.
    """
    truth, scores = _checked(holds, probabilities)
    if not truth.any():
        raise EdgepruneError("threshold: no validation clip holds the sound; hold more clips out (data.validation).")
    wanted = math.ceil(recall * int(truth.sum()) - 1e-9)  # 0.9 of 10 clips is 9, though 0.9 is a little more in binary
    reached = np.sort(scores[truth])[::-1][max(wanted, 1) - 1]
    return min(max(1, math.floor(reached * STEPS)), STEPS - 1) / STEPS


def evaluate(
    holds: ArrayLike, probabilities: ArrayLike, seconds: Sequence[float], threshold: float
) -> dict[str, float | int | list[float] | None]:
    """Counts and rates at a threshold, ready for JSON.

    - `threshold`; `recall` (found of the clips with the sound), `precision` (None where nothing raises the alarm).
    - `hits`, `misses`, `false_alarms`: clips.
    - `hours_without`: hours of the clips without the sound.
    - `false_alarms_per_hour`, and its exact 95 % Poisson `interval` (Garwood, Biometrika 28, 1936).

    Args:
        seconds: length of each clip.
    """
    truth, scores = _checked(holds, probabilities)
    lengths = np.asarray(seconds, dtype=np.float64)
    if lengths.shape != truth.shape or not (lengths > 0).all():
        raise EdgepruneError(f"detection: {lengths.size} lengths for {truth.size} clips; give seconds above 0.")
    alarm = scores >= threshold
    hits, false_alarms = int((alarm & truth).sum()), int((alarm & ~truth).sum())
    hours = float(lengths[~truth].sum() / 3600)
    return {
        "threshold": threshold,
        "recall": hits / int(truth.sum()) if truth.any() else None,
        "precision": hits / (hits + false_alarms) if hits + false_alarms else None,
        "hits": hits,
        "misses": int((~alarm & truth).sum()),
        "false_alarms": false_alarms,
        "hours_without": hours,
        "false_alarms_per_hour": false_alarms / hours if hours else None,
        "interval": [bound / hours for bound in poisson_interval(false_alarms)] if hours else None,
    }


def poisson_interval(count: int) -> tuple[float, float]:
    """Exact 95 % interval of the mean of a Poisson variable that was `count` (Garwood 1936)."""
    from scipy.stats import chi2

    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * count + 2) / 2)


def _checked(holds: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, scores = np.asarray(holds, dtype=np.bool_), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape or truth.size == 0 or not np.isfinite(scores).all():
        raise EdgepruneError(f"detection: shapes {truth.shape} and {scores.shape}; give one finite probability a clip.")
    return truth, scores
