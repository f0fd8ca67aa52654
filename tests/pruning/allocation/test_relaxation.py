"""The bound never is below what an allocation can be worth, and windows never cut off the best one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeprune.pruning.allocation.cost_polynomials import Forms
from edgeprune.pruning.allocation.local_search import Problem
from edgeprune.pruning.allocation.objective import importance
from edgeprune.pruning.allocation.relaxation import Relaxation


@st.composite
def problems(draw) -> Problem:
    """A chain of 3 or 4 convolutions of up to 8 filters and a dense layer of 10, with limits that some widths meet."""
    filters = draw(st.lists(st.integers(1, 8), min_size=3, max_size=4))
    kernels = [draw(st.sampled_from([1, 3, 9, 49])) for _ in filters]
    places = sorted((draw(st.integers(1, 3_000)) for _ in filters), reverse=True)
    groups = len(filters)
    quadratic, linear = np.zeros((2, groups, groups), np.int64), np.zeros((2, groups), np.int64)
    linear[0] += 1  # biases
    linear[:, -1] += 10
    linear[:, 0] += [kernels[0], kernels[0] * places[0]]
    for layer in range(1, groups):
        for row, weight in enumerate((kernels[layer], kernels[layer] * places[layer])):
            quadratic[row, layer, layer - 1] = quadratic[row, layer - 1, layer] = weight
    memory = np.zeros((groups - 1, groups), np.int64)
    for layer in range(1, groups):
        memory[layer - 1, layer - 1 : layer + 1] = places[layer - 1 : layer + 1]
    forms = Forms(
        names=tuple(f"conv{layer}" for layer in range(1, groups + 1)),
        limits=("params", "macs", *("peak_ram",) * (groups - 1)),
        constant=np.array([10, 0, *[0] * (groups - 1)]),
        linear=np.concatenate([linear, memory]),
        quadratic=np.concatenate([quadratic, np.zeros((groups - 1, groups, groups), np.int64)]),
    ).only(draw(st.sampled_from([["params"], ["macs"], ["params", "macs"], ["params", "macs", "peak_ram"]])))
    step = draw(st.sampled_from([1, 1, 2, 4]))
    options = [np.array(sorted({*range(step, most + 1, step), most})) for most in filters]
    rng = np.random.default_rng(draw(st.integers(0, 9_999)))
    heavy = draw(st.booleans())
    scores = {
        name: (rng.pareto(1.0, most) if heavy else rng.random(most)).tolist()
        for name, most in zip(forms.names, filters, strict=True)
    }
    worth = importance(scores, draw(st.sampled_from(["log_mass", "mass", "log_width"])))
    values = [worth[name][widths] for name, widths in zip(forms.names, options, strict=True)]
    least, most = (forms.values(np.array([[widths[end] for widths in options]]))[0] for end in (0, -1))
    share = np.array([draw(st.floats(0, 1)) for _ in set(forms.limits)])
    limit = dict(zip(dict.fromkeys(forms.limits), share, strict=True))
    peak = {name: max(most[np.array(forms.limits) == name]) for name in limit}
    low = {name: max(least[np.array(forms.limits) == name]) for name in limit}
    limits = np.array([int(low[name] + limit[name] * (peak[name] - low[name])) for name in forms.limits])
    return Problem(forms, limits, options, values)


def all_allocations(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every combination of options, its value, and whether it fits, each summed up by hand."""
    chosen = np.array(list(product(*(range(len(widths)) for widths in problem.options))))
    value, fits = np.zeros(len(chosen)), np.ones(len(chosen), bool)
    for index, options in enumerate(chosen):
        widths = [int(problem.options[group][option]) for group, option in enumerate(options)]
        value[index] = sum(problem.values[group][option] for group, option in enumerate(options))
        for row, limit in enumerate(problem.limits):
            cost = int(problem.forms.constant[row])
            for one, width in enumerate(widths):
                cost += int(problem.forms.linear[row, one]) * width
                for other, second in enumerate(widths[: one + 1]):
                    product_ = int(problem.forms.quadratic[row, one, other]) * width * second
                    cost += product_ // 2 if one == other else product_
            fits[index] &= cost <= limit
    return chosen, value, fits


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
