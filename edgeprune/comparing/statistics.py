"""Means over runs with their intervals, and whether paired differences are more than chance."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.comparing.comparison import Estimate
from edgeprune.errors import EdgepruneError

EXACT_PAIRS = 16
"""Up to so many pairs all signs are tried."""
DRAWS = 10_000
"""Random signs that are tried of more pairs."""


def estimate(values: ArrayLike, test_to_train: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Mean of some runs with Student's t interval; of one run neither spread nor interval.

    Args:
        values: one a run, `[runs]`.
        test_to_train: clips of the evaluation part by those of the training part, where the runs come from several
            folds. Their training sets overlap, so they are no independent runs; the variance of the mean is then taken
            as `(1 / runs + test_to_train) * std ** 2` (the corrected resampled t interval of Nadeau & Bengio,
            "Inference for the generalization error", Machine Learning 52, 2003).
        confidence: of the interval.

    Raises:
        EdgepruneError: no values, or one that is not finite.
    """
    numbers = _finite(values)
    runs, mean = len(numbers), float(numbers.mean())
    if runs == 1:
        return Estimate(mean, 1)
    from scipy.special import stdtrit

    std = float(numbers.std(ddof=1))
    half = float(stdtrit(runs - 1, (1 + confidence) / 2)) * std * (1 / runs + test_to_train) ** 0.5
    return Estimate(mean, runs, std, mean - half, mean + half)


def median_estimate(values: ArrayLike) -> Estimate:
    """Median of some runs in the place of the mean, with their spread; without an interval, as timings are skewed.

    Raises:
        EdgepruneError: no values, or one that is not finite.
    """
    numbers = _finite(values)
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return Estimate(float(np.median(numbers)), len(numbers), std)


def sign_flip_test(differences: ArrayLike, seed: int = 0) -> float | None:
    """Two-sided p-value of the mean of paired differences being zero (Fisher's permutation test of matched pairs).

    Were there no difference, each could as well have come with the other sign. The p-value is the share of all sign
    patterns whose mean lies at least as far from zero; beyond `EXACT_PAIRS` pairs, of `DRAWS` random patterns and the
    one observed (Phipson & Smyth, "Permutation p-values should never be zero", 2010).

    Args:
        differences: one a pair, `[pairs]`.
        seed: equal seeds draw equal patterns.

    Returns:
        None of one pair, which cannot tell.

    Raises:
        EdgepruneError: no differences, or one that is not finite.
    """
    numbers = _finite(differences)
    if len(numbers) == 1:
        return None
    # Ties are sums that are equal but for rounding.
    least = abs(float(numbers.sum())) - 1e-12 * float(np.abs(numbers).sum())
    if len(numbers) <= EXACT_PAIRS:
        return float(np.mean(np.abs(_all_sums(numbers)) >= least))
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(DRAWS, len(numbers)))
    return (int(np.sum(np.abs(signs @ numbers) >= least)) + 1) / (DRAWS + 1)


def smallest_p(pairs: int) -> float:
    """The smallest p-value that so many pairs can give: 2 of all their sign patterns."""
    return 2.0 ** (1 - pairs) if pairs <= EXACT_PAIRS else 1 / (DRAWS + 1)


def _all_sums(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums under all sign patterns with the last number's sign kept; the other half mirrors them."""
    sums = numbers[-1:]
    for number in numbers[:-1]:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise EdgepruneError("comparison: figures are missing or not finite; give at least one finite number.")
    return numbers
