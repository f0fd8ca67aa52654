"""Means over runs with their intervals, and a test of paired differences."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.comparing.comparison import MeanEstimate
from edgeprune.errors import EdgepruneError

EXACT_PAIRS = 16
"""Up to this many pairs the test tries all sign patterns."""
DRAWS = 10_000
"""Random sign patterns the test tries for more pairs."""


def estimate(
    values: ArrayLike, test_to_train: float = 0.0, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> MeanEstimate:
    """Mean of some runs with Student's 95 % t interval; one run has neither spread nor interval.

    Args:
        values: one a run, `[runs]`.
        test_to_train: clips of the evaluation part divided by clips of the training part, where the runs come from
            several folds. Training sets of folds overlap, so these runs are not independent. The variance of the mean
            is then `(1 / runs + test_to_train) * std ** 2`: the corrected resampled t interval of Nadeau & Bengio,
            "Inference for the generalization error", Machine Learning 52, 2003.
        bounds: the least and the most that a figure can be; the interval ends there. A share has 0 and 1.
    """
    numbers = _finite(values)
    runs, mean = len(numbers), float(numbers.mean())
    if runs == 1:
        return MeanEstimate(mean, 1)
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    std = float(numbers.std(ddof=1))
    half = float(stdtrit(runs - 1, 0.975)) * std * (1 / runs + test_to_train) ** 0.5
    return MeanEstimate(mean, runs, std, max(mean - half, bounds[0]), min(mean + half, bounds[1]))


def median_estimate(values: ArrayLike) -> MeanEstimate:
    """Median of some runs in the place of the mean, with their spread; no interval, because timings are skewed."""
    numbers = _finite(values)
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return MeanEstimate(float(np.median(numbers)), len(numbers), std)


def sign_flip_test(differences: ArrayLike, seed: int = 0) -> float | None:
    """Two-sided p-value of the mean of paired differences being zero (Fisher's permutation test of matched pairs).

    Without a difference, each pair could as well have come with the other sign. The p-value is the share of all sign
    patterns whose mean lies at least as far from zero. Beyond `EXACT_PAIRS` pairs it is the share among `DRAWS` random
    patterns and the observed one (Phipson & Smyth, "Permutation p-values should never be zero", 2010). One pair has no
    p-value.

    Args:
        differences: one a pair, `[pairs]`.
    """
    numbers = _finite(differences)
    if len(numbers) == 1:
        return None
    from scipy.stats import permutation_test

    scale = float(np.abs(numbers).sum()) or 1.0

    def distance(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        # Rounded, because sums that are equal may differ in their last bits.
        return np.round(np.abs(sample.sum(axis=axis)) / scale, 10)

    test = permutation_test(
        (numbers,),
        distance,
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if len(numbers) <= EXACT_PAIRS else DRAWS,
        alternative="greater",
        rng=seed,
    )
    return float(test.pvalue)


def smallest_p(pairs: int) -> float:
    """The smallest p-value that this many pairs can give: 2 of all sign patterns."""
    return 2.0 ** (1 - pairs) if pairs <= EXACT_PAIRS else 1 / (DRAWS + 1)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise EdgepruneError("comparison: figures are missing or not finite; give at least one finite number.")
    return numbers
