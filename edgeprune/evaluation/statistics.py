"""Intervals of an accuracy, and of the difference between two systems on the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError


@dataclass(frozen=True)
class Difference:
    """Accuracy of system A minus that of system B, with its interval; all in [-1, 1]."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """Clips that only one system decided rightly, and the exact two-sided p-value under no difference."""

    only_a: int
    only_b: int
    p_value: float


def wilson_interval(correct: int, clips: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion `correct / clips` (Wilson, JASA 22, 1927), without continuity correction.

    It stays inside [0, 1] and keeps its coverage for few clips and for accuracies near 0 or 1. It treats
    clips as independent; where many come from one recording, the true interval is wider.
    """
    from scipy.stats import binomtest

    if not 0 < confidence < 1:
        raise EdgepruneError(f"confidence: {confidence} is outside 0 to 1; 0.95 is usual.")
    if clips < 1 or not 0 <= correct <= clips:
        raise EdgepruneError(
            f"interval: {correct} right of {clips} clips is no proportion; give 0 to clips, of at least 1."
        )
    interval = binomtest(int(correct), int(clips)).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def paired_bootstrap(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    resamples: int = 10_000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Difference:
    """95 % percentile bootstrap interval of accuracy A minus accuracy B on the same clips (Efron & Tibshirani, 1993).

    Args:
        correct_a, correct_b: whether each system decided each clip rightly, `[clips]`, bool or 0 and 1.
        groups: the recording or location of each clip. Whole groups are drawn then, as clips of one recording are not
            independent.
    """
    a, b = _paired(correct_a, correct_b)
    if resamples < 1:
        raise EdgepruneError(f"bootstrap: {resamples} resamples; ask for at least 1.")
    kinds, counts = _kinds_of_group(a.astype(np.int64) - b, groups)
    # Groups of the same sum and size are interchangeable: the number of draws of each kind is multinomial.
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=resamples) @ kinds
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Difference(float(a.mean() - b.mean()), float(low), float(high))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """McNemar's test in its exact binomial form (McNemar, Psychometrika 12, 1947), two-sided.

    Only the clips on which the systems disagree count; with none, the p-value is 1. Arguments as `paired_bootstrap`.
    """
    from scipy.stats import binomtest

    a, b = _paired(correct_a, correct_b)
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    p_value = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


def _kinds_of_group(
    differences: NDArray[np.int64], groups: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct (sum of differences, clips) of the groups `[kinds, 2]` and how many groups are of each `[kinds]`."""
    if groups is None:
        owner = np.arange(len(differences))
    elif len(groups) == len(differences):
        owner = np.unique(np.asarray(groups), return_inverse=True)[1]
    else:
        raise EdgepruneError(f"bootstrap: {len(groups)} groups for {len(differences)} clips; give one a clip.")
    clips = np.bincount(owner)
    sums = np.zeros(len(clips), dtype=np.int64)
    np.add.at(sums, owner, differences)
    kinds, counts = np.unique(np.stack([sums, clips], axis=1), axis=0, return_counts=True)
    return kinds, counts


def _paired(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        raise EdgepruneError(
            f"comparison: shapes {a.shape} and {b.shape}; give both systems' results on the same clips."
        )
    for values in (a, b):
        if not np.isin(values, (0, 1)).all():
            raise EdgepruneError("comparison: a result is neither right nor wrong; give True or False for each clip.")
    return a.astype(np.bool_), b.astype(np.bool_)
