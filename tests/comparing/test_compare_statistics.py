import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from edgeprune.comparing.comparison import MeanEstimate
from edgeprune.comparing.statistics import estimate, median_estimate, sign_flip_test, smallest_p
from edgeprune.errors import EdgepruneError


def test_the_interval_is_students() -> None:
    values = [0.61, 0.65, 0.6, 0.7]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.n) == (pytest.approx(0.64), 4)
    assert (found.std, found.low, found.high) == pytest.approx((stats.tstd(values), low, high))


def test_the_interval_of_three_by_hand() -> None:
    # the 97.5 % quantile of t with 2 degrees of freedom is 4.30265; std is 0.1
    found = estimate([0.6, 0.7, 0.8])
    assert (found.low, found.high) == pytest.approx((0.7 - 4.30265 * 0.1 / 3**0.5, 0.7 + 4.30265 * 0.1 / 3**0.5))


def test_the_interval_over_folds_counts_their_overlap() -> None:
    # Nadeau & Bengio: five folds, test by train 1/4, so the variance of the mean is (1/5 + 1/4) std^2; t(4) is 2.77645
    values = [0.5, 0.6, 0.7, 0.6, 0.6]
    found = estimate(values, test_to_train=0.25)
    half = 2.77645 * (0.02 / 4) ** 0.5 * (1 / 5 + 1 / 4) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


def test_one_run_has_neither_spread_nor_interval() -> None:
    assert estimate([0.7]) == MeanEstimate(0.7, 1)
    assert median_estimate([1.5]) == MeanEstimate(1.5, 1)


def test_a_median_has_no_interval() -> None:
    assert median_estimate([1.0, 3.0]) == MeanEstimate(2.0, 2, pytest.approx(2**0.5))
    assert median_estimate([1.0, 9.0, 2.0]) == MeanEstimate(2.0, 3, pytest.approx(np.std([1, 9, 2], ddof=1)))


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_figures_that_are_none_are_refused(values) -> None:
    for function in (estimate, median_estimate, sign_flip_test):
        with pytest.raises(EdgepruneError, match="finite"):
            function(values)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.01, 0.02, 0.03], 2 / 8),  # only all plus and all minus reach 6
        ([0.03, 0.02, -0.01], 4 / 8),  # sums 6, 4, 2 and 0, each sign; 6 and 4 reach 4
        ([0.1, 0.1, -0.1], 1.0),  # the smallest sum there can be
        ([0.0, 0.0, 0.0], 1.0),
        ([0.02, 0.0, 0.02, 0.0], 2 / 4),  # a difference of zero tells nothing
        ([0.01, -0.01], 1.0),
    ],
)
def test_sign_flips_by_hand(differences, p) -> None:
    assert sign_flip_test(differences) == pytest.approx(p)


@pytest.mark.parametrize("pairs", [2, 3, 5, 8, 12])
def test_sign_flips_are_scipys_permutation_test(pairs) -> None:
    differences = np.random.default_rng(pairs).normal(0.4, 1, pairs)
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_test(differences) == pytest.approx(exact.pvalue, abs=1e-12)


def test_ties_are_counted_as_fractions_count_them() -> None:
    """Differences of accuracies on 145 clips, whose sums are often equal but for rounding."""
    generator = np.random.default_rng(1)
    for _ in range(50):
        clips = generator.integers(-4, 5, size=7)
        exact = [Fraction(int(count), 145) for count in clips]
        sums = [sum(s * d for s, d in zip(signs, exact, strict=True)) for signs in itertools.product((1, -1), repeat=7)]
        p = Fraction(sum(abs(total) >= abs(sum(exact)) for total in sums), len(sums))
        before = generator.integers(40, 80, size=7)
        differences = (before + clips) / 145 - before / 145
        assert sign_flip_test(differences) == pytest.approx(float(p))


def test_many_pairs_are_drawn_and_close_to_all_patterns() -> None:
    differences = np.random.default_rng(3).normal(0.35, 1, 17)
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**17)
    drawn = sign_flip_test(differences)
    assert drawn == pytest.approx(exact.pvalue, abs=4 * (exact.pvalue / 10_000) ** 0.5)
    assert drawn == sign_flip_test(differences)
    assert drawn != sign_flip_test(differences, seed=1)


def test_it_agrees_with_the_t_test_where_that_holds() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.normal(0.5, 0.1, 16), generator.normal(0.45, 0.1, 16)
    assert sign_flip_test(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_the_smallest_p() -> None:
    assert [smallest_p(pairs) for pairs in (2, 3, 6)] == [0.5, 0.25, 0.03125]
    assert sign_flip_test(np.ones(6)) == smallest_p(6)
    assert sign_flip_test(np.ones(16)) == smallest_p(16) == 2**-15
    assert sign_flip_test(np.ones(40)) == pytest.approx(smallest_p(40))
    assert sign_flip_test([0.1]) is None
