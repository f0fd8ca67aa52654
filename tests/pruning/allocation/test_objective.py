"""What the best k filters of a layer are worth, against sums by hand."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.errors import EdgepruneError
from edgeprune.pruning.allocation.objective import OBJECTIVES, check_objective, importance, kept_share

SCORES = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=40)
TIE = 1e-9  # of networks worth the same the wider one


def test_kept_share_by_hand() -> None:
    assert kept_share([1.0, 4.0, 0.0, 3.0]).tolist() == [0.0, 0.5, 0.875, 1.0, 1.0]
    assert kept_share([7.0]).tolist() == [0.0, 1.0]


def test_scores_that_are_all_zero_are_shares_of_filters() -> None:
    assert kept_share([0.0] * 4).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@given(scores=SCORES)
def test_kept_share_never_falls_and_ends_at_one(scores) -> None:
    share = kept_share(scores)
    assert len(share) == len(scores) + 1
    assert share[0] == 0
    assert share[-1] == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(share) >= 0).all()
    assert share.max() <= 1


@given(scores=SCORES, factor=st.floats(1e-3, 1e3))
def test_the_scale_of_a_layers_scores_does_not_count(scores, factor) -> None:
    np.testing.assert_allclose(kept_share([factor * score for score in scores]), kept_share(scores), atol=1e-12)
    np.testing.assert_array_equal(kept_share(scores[::-1]), kept_share(scores))


def test_objectives_by_hand() -> None:
    scores = {"conv1": [1.0, 4.0, 0.0, 3.0], "conv2": [0.0, 0.0]}
    expected = {
        "log_mass": ([log(0.5), log(0.875), 0.0, 0.0], [log(0.5), 0.0]),
        "mass": ([0.5, 0.875, 1.0, 1.0], [0.5, 1.0]),
        "log_width": ([log(0.25), log(0.5), log(0.75), 0.0], [log(0.5), 0.0]),
    }
    for objective, (first, second) in expected.items():
        found = importance(scores, objective)
        assert list(found) == ["conv1", "conv2"]
        np.testing.assert_allclose(found["conv1"][1:], first, atol=2 * TIE)
        np.testing.assert_allclose(found["conv2"][1:], second, atol=2 * TIE)


def test_no_filter_at_all_is_never_an_answer() -> None:
    for objective in ("log_mass", "mass", "log_width"):
        assert importance({"conv1": [1.0, 2.0]}, objective)["conv1"][0] == -np.inf


def test_filters_without_a_score_break_ties() -> None:
    """They are worth keeping where the budget has room for them."""
    values = importance({"conv1": [5.0, 0.0, 0.0]}, "log_mass")["conv1"][1:]
    assert (np.diff(values) > 0).all()
    assert values[-1] - values[0] < 2 * TIE


@given(scores=SCORES, objective=st.sampled_from(["log_mass", "mass", "log_width"]))
def test_more_filters_are_never_worth_less(scores, objective) -> None:
    values = importance({"conv1": scores}, objective)["conv1"]
    assert len(values) == len(scores) + 1
    assert np.isfinite(values[1:]).all()
    assert (np.diff(values[1:]) > 0).all()


def test_losses_by_hand() -> None:
    """Between the widths that were measured by the logarithm of the width; what noise lets rise is held down."""
    losses = {"conv1": {1: 2.0, 2: 1.2, 4: 1.5, 8: 1.0}}
    values = importance({"conv1": [1.0] * 8}, "sensitivity", losses)["conv1"]
    # 2 of 8 cannot be better than 4 of 8: both have lost 0.5
    at_3 = 0.5
    at_6 = 0.5 * (1 - log(6 / 4) / log(2))
    np.testing.assert_allclose(values[[1, 2, 3, 4, 6, 8]], [-1.0, -0.5, -at_3, -0.5, -at_6, 0.0], atol=2 * TIE)
    assert values[0] == -np.inf


def test_a_loss_that_pruning_lowers_counts_as_none() -> None:
    values = importance({"conv1": [1.0] * 4}, "sensitivity", {"conv1": {1: 0.9, 2: 0.7, 4: 1.0}})["conv1"]
    np.testing.assert_allclose(values[1:], 0.0, atol=2 * TIE)


@given(data=st.data(), filters=st.integers(1, 40))
def test_values_of_losses_never_fall(data, filters) -> None:
    widths = data.draw(st.sets(st.integers(1, filters))) | {1, filters}
    losses = {width: data.draw(st.floats(0, 10)) for width in widths}
    values = importance({"conv1": [1.0] * filters}, "sensitivity", {"conv1": losses})["conv1"][1:]
    assert (np.diff(values) > 0).all()
    for width in widths:  # at what was measured: the largest rise that any width at least as large has
        lost = max(0.0, *(loss - losses[filters] for other, loss in losses.items() if other >= width), 0.0)
        assert values[width - 1] == pytest.approx(-lost, abs=1e-8)


def test_a_product_of_shares_is_what_log_mass_adds_up() -> None:
    scores = {"a": [3.0, 1.0], "b": [1.0, 1.0, 2.0]}
    values = importance(scores, "log_mass")
    assert exp(values["a"][1] + values["b"][2]) == pytest.approx(0.75 * 0.75)


def test_an_unknown_objective_is_refused_with_the_nearest_name() -> None:
    for call in (check_objective, lambda name: importance({"conv1": [1.0]}, name)):
        with pytest.raises(
            EdgepruneError, match="objective 'log_mas' is unknown; perhaps you meant 'log_mass'"
        ) as caught:
            call("log_mas")
        assert caught.value.exit_code == 2
    with pytest.raises(EdgepruneError, match=f"known: {', '.join(OBJECTIVES)}"):
        check_objective("xyz")
    assert [check_objective(name) for name in OBJECTIVES] == list(OBJECTIVES)
