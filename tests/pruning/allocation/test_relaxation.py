"""The bound never is below what an allocation can be worth, and windows never cut off the best one."""

import numpy as np
import pytest
from allocation_problems import all_allocations, problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeprune.pruning.allocation.cost_polynomials import Forms
from edgeprune.pruning.allocation.relaxation import Relaxation


@settings(deadline=None, max_examples=60)
@given(problem=problems())
def test_the_bound_is_never_below_the_optimum(problem) -> None:
    _, value, fits = all_allocations(problem)
    relaxation = Relaxation(problem.forms, problem.limits, problem.options, problem.values)
    part = relaxation.bound(relaxation.whole())
    assert part is not None  # the narrowest widths fit
    assert part.bound >= value[fits].max() - 1e-9
    assert part.bound <= value.max() + 1e-6


@settings(deadline=None, max_examples=60)
@given(problem=problems(), data=st.data())
def test_the_bound_of_a_part_holds_in_it(problem, data) -> None:
    """Tangents that are handed down from the whole to its parts included."""
    chosen, value, fits = all_allocations(problem)
    relaxation = Relaxation(problem.forms, problem.limits, problem.options, problem.values)
    whole = relaxation.bound(relaxation.whole())
    assert whole is not None
    ranges = []
    for widths in problem.options:
        first = data.draw(st.integers(0, len(widths) - 1))
        ranges.append((first, data.draw(st.integers(first, len(widths) - 1))))
    inside = np.all([(chosen[:, g] >= low) & (chosen[:, g] <= high) for g, (low, high) in enumerate(ranges)], axis=0)
    part = relaxation.bound(whole.cut_out(tuple(ranges)))
    if (inside & fits).any():
        assert part is not None
        assert value[inside & fits].max() - 1e-9 <= part.bound <= whole.bound


@settings(deadline=None, max_examples=60)
@given(problem=problems())
def test_windows_hold_every_best_allocation(problem) -> None:
    chosen, value, fits = all_allocations(problem)
    best = value[fits].max()
    relaxation = Relaxation(problem.forms, problem.limits, problem.options, problem.values)
    whole = relaxation.bound(relaxation.whole())
    assert whole is not None
    windows = relaxation.windows(whole, best)
    assert windows is not None
    for winner in chosen[fits & (value == best)]:
        assert all(first <= option <= last for option, (first, last) in zip(winner, windows, strict=True))


@settings(deadline=None, max_examples=30)
@given(problem=problems())
def test_where_nothing_is_worth_enough_there_is_no_window_with_one(problem) -> None:
    """More than the bound is asked for."""
    relaxation = Relaxation(problem.forms, problem.limits, problem.options, problem.values)
    whole = relaxation.bound(relaxation.whole())
    assert whole is not None
    assert relaxation.windows(whole, whole.bound + 0.01, rounds=40) is None


def test_a_part_in_which_nothing_fits_has_no_bound() -> None:
    """Limit 12 on a product of two widths: 4 x 4 and wider is out of reach, 4 x 3 is not."""
    square = np.array([[[0, 1], [1, 0]]], np.int64)
    forms = Forms(("a", "b"), ("macs",), np.zeros(1, np.int64), np.zeros((1, 2), np.int64), square)
    options = [np.arange(1, 9)] * 2
    relaxation = Relaxation(forms, np.array([12]), options, [np.log(widths / 8) for widths in options])
    whole = relaxation.whole()
    assert relaxation.bound(whole.cut_out(((3, 7), (3, 7)))) is None
    assert relaxation.bound(whole.cut_out(((3, 7), (2, 7)))) is not None
    # log(a/8) + log(b/8) with a b = 12, wherever on that line
    bounded = relaxation.bound(whole)
    assert bounded is not None
    assert bounded.bound == pytest.approx(np.log(12 / 64), abs=1e-2)
    assert bounded.bound >= np.log(12 / 64) - 1e-9


@settings(deadline=None, max_examples=60)
@given(problem=problems(), enough=st.floats(-5, 0))
def test_a_bound_that_stops_early_is_a_bound(problem, enough) -> None:
    _, value, fits = all_allocations(problem)
    assume(fits.any())
    relaxation = Relaxation(problem.forms, problem.limits, problem.options, problem.values)
    part = relaxation.bound(relaxation.whole(), enough)
    assert part is not None
    assert part.bound >= value[fits].max() - 1e-9
