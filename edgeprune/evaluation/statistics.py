"""Intervals of an accuracy and of the difference between two systems on the same clips, and many tests at once."""

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
class TestedDifference(Difference):
    """A difference with the two-sided p-value that goes with its interval."""

    p_value: float


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


def crossed_bootstrap(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    groups: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
) -> TestedDifference:
    """Accuracy A minus accuracy B over several trainings, with an interval over recordings and over trainings.

    Recordings and seeds are drawn independently of each other, each with replacement; a drawn recording takes all of
    its clips along, and a drawn seed its networks of all folds (the pigeonhole bootstrap: Owen, Annals of Applied
    Statistics 1, 2007). The 95 % interval is that of the percentiles, and the p-value the largest at which it excludes
    zero. Of few seeds the spread between seeds is estimated too small, by a factor of (seeds - 1) / seeds in variance;
    of one seed it cannot be seen at all, and the interval is over recordings alone.

    Args:
        correct_a, correct_b: whether each system decided each clip rightly under each seed, `[seeds, clips]`.
        groups: the recording or location of each clip.
    """
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    if a.ndim != 2 or a.shape != b.shape:
        raise EdgepruneError(f"comparison: shapes {a.shape} and {b.shape}; give both systems' [seeds, clips].")
    pairs = [_paired(*rows) for rows in zip(a, b, strict=True)]
    if resamples < 1 or not pairs:
        raise EdgepruneError(f"bootstrap: {resamples} resamples of {len(pairs)} seeds; ask for at least 1 of each.")
    by_seed = [_sums_of_groups(own.astype(np.int64) - other, groups) for own, other in pairs]
    sums, clips = np.stack([each[0] for each in by_seed]), by_seed[0][1]
    random, seeds = np.random.default_rng(seed), len(sums)
    times_group = random.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=resamples)
    times_seed = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    drawn = (times_group @ sums.T * times_seed).sum(axis=1) / (seeds * (times_group @ clips))
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + tail) / (1 + resamples))
    return TestedDifference(float(sums.sum() / (seeds * clips.sum())), float(low), float(high), p_value)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979), however they depend.

    Those below 0.05 are all true with at least 95 % confidence, if each p-value is valid by itself.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


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
    sums_and_clips = np.stack(_sums_of_groups(differences, groups), axis=1)
    kinds, counts = np.unique(sums_and_clips, axis=0, return_counts=True)
    return kinds, counts


def _sums_of_groups(
    differences: NDArray[np.int64], groups: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sum of the differences and the number of clips of each group, `[groups]` both; None: each clip is one."""
    if groups is None:
        owner = np.arange(len(differences))
    elif len(groups) == len(differences):
        owner = np.unique(np.asarray(groups), return_inverse=True)[1]
    else:
        raise EdgepruneError(f"bootstrap: {len(groups)} groups for {len(differences)} clips; give one a clip.")
    clips = np.bincount(owner)
    sums = np.zeros(len(clips), dtype=np.int64)
    np.add.at(sums, owner, differences)
    return sums, clips


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
