import numpy as np
import pytest
from scipy import stats

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.statistics import crossed_bootstrap, holm, mcnemar, paired_bootstrap, wilson_interval


@pytest.mark.parametrize(
    ("correct", "clips", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_examples(correct, clips, low, high) -> None:
    assert wilson_interval(correct, clips) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_widens_with_confidence_and_is_exact_at_the_ends() -> None:
    assert wilson_interval(5, 10, 0.99)[0] < wilson_interval(5, 10, 0.95)[0]
    assert wilson_interval(7, 7)[1] == 1.0
    # of one clip 1 / (1 + z^2), z = 1.959964
    assert wilson_interval(1, 1) == pytest.approx((0.206549, 1.0), abs=1e-6)


@pytest.mark.parametrize(("correct", "clips"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses(correct, clips) -> None:
    with pytest.raises(EdgepruneError, match="no proportion"):
        wilson_interval(correct, clips)
    for confidence in (0.0, 1.0):
        with pytest.raises(EdgepruneError, match="confidence"):
            wilson_interval(1, 2, confidence)


def test_mcnemar_by_hand() -> None:
    a = [True] * 10 + [False] * 2 + [True] * 5
    b = [False] * 9 + [True] + [True] * 2 + [True] * 5
    result = mcnemar(a, b)
    assert (result.only_a, result.only_b) == (9, 2)
    # 2 x (C(11,0) + C(11,1) + C(11,2)) / 2^11
    assert result.p_value == pytest.approx(2 * (1 + 11 + 55) / 2048)
    assert mcnemar(b, a).p_value == result.p_value


def test_mcnemar_of_equal_systems() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]).p_value == 1.0


def test_bootstrap_equals_scipys() -> None:
    generator = np.random.default_rng(3)
    a = generator.random(400) < 0.7
    b = np.where(generator.random(400) < 0.8, a, generator.random(400) < 0.5)
    ours = paired_bootstrap(a, b, resamples=20_000, seed=1)
    theirs = stats.bootstrap(
        (a.astype(float) - b,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.difference == pytest.approx(a.mean() - b.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_bootstrap_is_seeded() -> None:
    a, b = [1, 0, 1, 1, 0, 1, 1] * 20, [0, 0, 1, 1, 1, 0, 1] * 20
    assert paired_bootstrap(a, b, seed=5) == paired_bootstrap(a, b, seed=5)
    assert paired_bootstrap(a, b, seed=5) != paired_bootstrap(a, b, seed=6)


def test_bootstrap_of_equal_systems_has_no_width() -> None:
    result = paired_bootstrap([1, 0, 1], [1, 0, 1])
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)


def test_bootstrap_of_whole_recordings_is_as_wide_as_that_of_one_clip_each() -> None:
    a, b = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 1]), np.array([0, 1, 1, 0, 0, 0, 0, 1, 1, 0])
    alone = paired_bootstrap(a, b, seed=4)
    groups = [f"recording {number // 10}" for number in range(100)]
    tenfold = paired_bootstrap(a.repeat(10), b.repeat(10), seed=4, groups=groups)
    assert tenfold == alone  # ten copies of each clip tell nothing new
    naive = paired_bootstrap(a.repeat(10), b.repeat(10), seed=4)
    assert naive.high - naive.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize(
    ("a", "b"), [([1, 0], [1]), ([], []), ([[1, 0]], [[1, 0]]), ([0.5, 1], [1, 1]), ([1, np.nan], [1, 1])]
)
def test_comparisons_refuse(a, b) -> None:
    for compare in (mcnemar, paired_bootstrap):
        with pytest.raises(EdgepruneError, match="comparison"):
            compare(a, b)


def test_bootstrap_refuses_bad_parameters() -> None:
    with pytest.raises(EdgepruneError, match="0 resamples"):
        paired_bootstrap([1], [0], resamples=0)
    with pytest.raises(EdgepruneError, match="2 groups for 1 clips"):
        paired_bootstrap([1], [0], groups=["x", "y"])


def test_crossed_bootstrap_of_one_seed_is_that_of_recordings() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random(300) < 0.7, generator.random(300) < 0.6
    groups = [f"recording {number // 3}" for number in range(300)]
    crossed, plain = crossed_bootstrap([a], [b], groups), paired_bootstrap(a, b, groups=groups)
    assert crossed.difference == pytest.approx(plain.difference)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high), abs=0.004)


def test_crossed_bootstrap_of_clips_that_agree_is_scipys_of_seeds() -> None:
    right = np.repeat([1, 1, 0, 1, 0, 1, 1], 40).reshape(7, 40)
    crossed = crossed_bootstrap(right, np.zeros_like(right), [str(number) for number in range(40)], resamples=20_000)
    theirs = stats.bootstrap(
        (right[:, 0].astype(float),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (crossed.low, crossed.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_crossed_bootstrap_has_the_variance_of_both_factors() -> None:
    """Owen's (2007) expectation for an additive table: the variances of the seeds' and of the recordings' means add."""
    generator = np.random.default_rng(3)
    seeds, recordings, clips = 12, 60, 30
    chance = 0.5 + generator.normal(0, 0.12, (seeds, 1, 1)) + generator.normal(0, 0.15, (1, recordings, 1))
    right = (generator.random((seeds, recordings, clips)) < chance).astype(int)
    groups = [str(number) for number in range(recordings) for _ in range(clips)]
    flat = right.reshape(seeds, -1)
    result = crossed_bootstrap(flat, np.zeros_like(flat), groups, resamples=20_000)
    deviation = (right.mean((1, 2)).var() / seeds + right.mean((0, 2)).var() / recordings) ** 0.5
    assert (result.high - result.low) / (2 * 1.96) == pytest.approx(deviation, rel=0.1)


def test_crossed_bootstrap_has_a_p_value_that_goes_with_its_interval() -> None:
    generator = np.random.default_rng(4)
    for chance in (0.5, 0.55, 0.6):
        a, b = generator.random((3, 100)) < chance, generator.random((3, 100)) < 0.5
        result = crossed_bootstrap(a, b, [str(number) for number in range(100)])
        assert (result.p_value < 0.05) == (result.low > 0 or result.high < 0)
    same = crossed_bootstrap(a, a, [str(number) for number in range(100)])
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_crossed_bootstrap_of_a_sure_difference_has_the_smallest_p_value() -> None:
    """No resample lies on the other side of zero: of two-sided p-values, 2 (0 + 1) / (resamples + 1) is the least."""
    better, worse = np.ones((3, 12), int), np.zeros((3, 12), int)
    groups = [str(number // 3) for number in range(12)]
    for a, b, difference in ((better, worse, 1), (worse, better, -1)):
        result = crossed_bootstrap(a, b, groups, resamples=999)
        assert (result.difference, result.low, result.high) == (difference,) * 3
        assert result.p_value == pytest.approx(0.002)
    assert crossed_bootstrap(better, worse, groups, resamples=1).p_value == 1


def test_crossed_bootstrap_is_the_same_every_time() -> None:
    right = np.random.default_rng(5).random((4, 60)) < 0.6
    groups = [str(number) for number in range(60)]
    assert crossed_bootstrap(right, ~right, groups) == crossed_bootstrap(right, ~right, groups)


def test_crossed_bootstrap_refuses() -> None:
    with pytest.raises(EdgepruneError, match="seeds, clips"):
        crossed_bootstrap([1, 0], [1, 0], ["x", "y"])
    with pytest.raises(EdgepruneError, match="0 seeds"):
        crossed_bootstrap(np.zeros((0, 2)), np.zeros((0, 2)), ["x", "y"])
    with pytest.raises(EdgepruneError, match="neither right nor wrong"):
        crossed_bootstrap([[0.5, 1]], [[1, 1]], ["x", "y"])
    with pytest.raises(EdgepruneError, match="1 groups for 2 clips"):
        crossed_bootstrap([[0, 1]], [[1, 1]], ["x"])


def test_holm_by_hand() -> None:
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; 1 x 0.04, which may not be below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
