"""The best allocation against all allocations: networks small enough that every one of them can be tried."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from allocation_problems import all_allocations, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.graph.cost import count, graph_of
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import make_spec
from edgeprune.pruning.allocation.allocate import allocate
from edgeprune.pruning.allocation.local_search import improve, into_limits
from edgeprune.pruning.allocation.solver import solve
from edgeprune.recipe import Budget, Prune

COSTS = {"params": "params", "macs": "macs", "peak_ram": "arena_bytes", "flash": "flash_bytes"}
DCASE21 = graph_of(make_spec("dcase21", 10, (1, 40, 500)))
NARROW_VGGISH = graph_of(make_spec("vggish", 10, (1, 48, 32), 0.25))
CONVOLUTIONS = ("conv1", "conv2", "conv3")
EXACT = 1e-6
"""What two sums of logarithms may differ by, and the tolerance within which a bound counts as reached."""


def random_scores(graph: Graph, seed: int, heavy: bool, dense: bool = False) -> dict[str, list[float]]:
    """Uniform, or heavy-tailed: few filters hold most of the score, as operator norms of trained networks do."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.pareto(1.1, group.filters) if heavy else rng.random(group.filters)).tolist()
        for name, group in graph.prunable(dense).items()
    }


def _worth(scores: list[float], objective: str) -> np.ndarray:
    """Of the best 1, 2, ... filters: their share of the scores or of the filters, or its logarithm."""
    ranked = np.sort(scores)[::-1]
    share = np.arange(1, len(ranked) + 1) / len(ranked) if objective == "log_width" else ranked.cumsum() / ranked.sum()
    return share if objective == "mass" else np.log(share)


@cache
def _all_of_dcase21() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All 16 x 16 x 32 = 8,192 allocations of DCASE21_Net and what each of them costs."""
    widths = np.array(list(product(range(1, 17), range(1, 17), range(1, 33))))
    costs = [count(DCASE21, dict(zip(CONVOLUTIONS, map(int, row), strict=True))) for row in widths]
    return widths, {limit: np.array([getattr(cost, field) for cost in costs]) for limit, field in COSTS.items()}


@settings(deadline=None, max_examples=60)
@given(
    shares=st.dictionaries(st.sampled_from(sorted(COSTS)), st.floats(0, 1), min_size=1),
    objective=st.sampled_from(["log_mass", "mass", "log_width"]),
    seed=st.integers(0, 9_999),
    heavy=st.booleans(),
)
def test_dcase21_is_solved_to_the_optimum(shares, objective, seed, heavy) -> None:
    widths, costs = _all_of_dcase21()
    limits = {
        name: int(costs[name].min() + share * (costs[name].max() - costs[name].min())) for name, share in shares.items()
    }
    scores = random_scores(DCASE21, seed, heavy)
    fits = np.all([costs[name] <= limit for name, limit in limits.items()], axis=0)
    worth = sum(_worth(scores[name], objective)[widths[:, column] - 1] for column, name in enumerate(CONVOLUTIONS))
    found = allocate(DCASE21, Budget(**limits), Prune(objective=objective), scores)
    assert found.proven
    assert found.gap == 0
    assert found.value == pytest.approx(worth[fits].max(), abs=EXACT)
    row = np.flatnonzero((widths == [found.widths[name] for name in CONVOLUTIONS]).all(axis=1))[0]
    assert fits[row]
    assert worth[row] == pytest.approx(worth[fits].max(), abs=EXACT)


@pytest.mark.parametrize(
    ("shares", "objective", "heavy"),
    [
        ({"params": 0.3, "macs": 0.4}, "log_mass", True),
        ({"flash": 0.5}, "mass", False),
        ({"params": 0.15, "macs": 0.7, "flash": 0.2, "peak_ram": 0.5}, "log_mass", False),
    ],
)
def test_dcase21_with_its_dense_layer_is_solved_to_the_optimum(shares, objective, heavy) -> None:
    """All 819,200 allocations, their costs written down from the layers: 7x7 kernels at 40 x 500, 40 x 500 and 8 x 100
    places, 2 x 1 places before the dense layer."""
    one, two, three, hidden = np.meshgrid(
        np.arange(1, 17), np.arange(1, 17), np.arange(1, 33), np.arange(1, 101), indexing="ij"
    )
    kernels = 49 * (one + one * two + two * three) + 2 * three * hidden + 10 * hidden
    biases = one + two + three + hidden + 10
    costs = {
        "params": kernels + biases,
        "flash": kernels + 4 * biases,
        "macs": 49 * (20_000 * (one + one * two) + 800 * two * three) + 2 * three * hidden + 10 * hidden,
        # the dense layers' few bytes never are the most; 20,000 is a multiple of 16
        "peak_ram": 20_000 * np.maximum(one + two, 1 + one),
    }
    limits = {name: int(share * costs[name].max()) for name, share in shares.items()}
    scores = random_scores(DCASE21, 5, heavy, dense=True)
    fits = np.all([costs[name] <= limit for name, limit in limits.items()], axis=0)
    worth = sum(
        _worth(scores[name], objective)[axis - 1]
        for name, axis in zip(("conv1", "conv2", "conv3", "fc1"), (one, two, three, hidden), strict=True)
    )
    found = allocate(DCASE21, Budget(**limits), Prune(objective=objective, dense_layers=True), scores)
    assert found.proven
    assert found.value == pytest.approx(worth[fits].max(), abs=EXACT)
    assert all(found.reached[name] <= limit for name, limit in limits.items())


@settings(deadline=None, max_examples=40)
@given(problem=problems())
def test_small_chains_are_solved_to_the_optimum(problem) -> None:
    _, value, fits = all_allocations(problem)
    found = solve(problem)
    assert found.proven
    assert found.value == pytest.approx(value[fits].max(), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(problem=problems())
def test_branch_and_bound_encloses_the_optimum(problem) -> None:
    """With no combination tried, so that nothing but the relaxation and exchanges are at work."""
    chosen, value, fits = all_allocations(problem)
    best = value[fits].max()
    found = solve(problem, tried=0)
    assert found.value <= best + 1e-9
    assert found.bound >= best - EXACT
    if found.proven:
        assert found.value == pytest.approx(best, abs=EXACT)
    # what is claimed is an allocation that fits
    widths = np.stack([options[chosen[:, group]] for group, options in enumerate(problem.options)], axis=1)
    row = np.flatnonzero((widths == found.widths).all(axis=1))[0]
    assert fits[row]
    assert value[row] == pytest.approx(found.value, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(problem=problems(), tried=st.integers(1, 60))
def test_branch_and_bound_with_few_combinations_tried_ends_at_the_optimum(problem, tried) -> None:
    """Parts of so few combinations are tried whole, and with enough nodes nothing is left open."""
    _, value, fits = all_allocations(problem)
    found = solve(problem, tried=tried, nodes=20_000)
    assert found.proven
    assert found.value == pytest.approx(value[fits].max(), abs=EXACT)


@settings(deadline=None, max_examples=20)
@given(problem=problems(), nodes=st.integers(1, 8))
def test_a_search_that_is_cut_short_still_has_a_bound(problem, nodes) -> None:
    _, value, fits = all_allocations(problem)
    found = solve(problem, tried=0, nodes=nodes)
    assert found.value <= value[fits].max() + 1e-9
    assert found.bound >= value[fits].max() - EXACT


@settings(deadline=None, max_examples=40)
@given(problem=problems(), data=st.data())
def test_exchanges_end_where_nothing_more_fits(problem, data) -> None:
    start = np.array([data.draw(st.integers(0, len(options) - 1)) for options in problem.options])
    before = into_limits(problem, start)
    after = improve(problem, before)
    assert problem.fits(problem.widths(np.stack([before, after]))).all()
    assert problem.value(after[None])[0] >= problem.value(before[None])[0]
    for group, options in enumerate(problem.options):
        if after[group] + 1 < len(options):
            wider = after.copy()
            wider[group] += 1
            assert not problem.fits(problem.widths(wider[None]))[0]


# Larger budgets

BUDGET_PAIRS = st.dictionaries(
    st.sampled_from(["params", "macs", "flash"]), st.tuples(st.floats(0.06, 1), st.floats(0, 1)), min_size=1
)
"""By limit, the share of the dense cost that the smaller budget allows, and how far the larger goes on from there."""


def _never_worth_less(graph: Graph, pairs, objective: str, seed: int, heavy: bool) -> None:
    dense = count(graph)
    scores = random_scores(graph, seed, heavy)
    plans = []
    for larger in (False, True):
        limits = {
            name: int(getattr(dense, COSTS[name]) * (share + larger * more * (1 - share)))
            for name, (share, more) in pairs.items()
        }
        plans.append(allocate(graph, Budget(**limits), Prune(objective=objective), scores))
    small, large = plans
    assert large.value + large.gap >= small.value - EXACT
    if large.proven:
        assert large.value >= small.value - EXACT
    if small.proven:
        assert large.bound >= small.bound - EXACT


@settings(deadline=None, max_examples=60)
@given(BUDGET_PAIRS, st.sampled_from(["log_mass", "mass", "log_width"]), st.integers(0, 9_999), st.booleans())
def test_a_larger_budget_is_never_worth_less_on_dcase21(pairs, objective, seed, heavy) -> None:
    _never_worth_less(DCASE21, pairs, objective, seed, heavy)


@settings(deadline=None, max_examples=12)
@given(BUDGET_PAIRS, st.sampled_from(["log_mass", "mass", "log_width"]), st.integers(0, 9_999), st.booleans())
def test_a_larger_budget_is_never_worth_less_on_vggish(pairs, objective, seed, heavy) -> None:
    """Too large to try whole: proven by bounds, or true within the gap that is stated."""
    _never_worth_less(NARROW_VGGISH, pairs, objective, seed, heavy)


def test_one_filter_more_or_less_of_a_limit_by_hand() -> None:
    """DCASE21_Net down to its smallest: 20,000 places of 7x7 for one filter each, 800 for the third layer."""
    least = 49 * (20_000 + 20_000 + 800) + 2 * 100 + 1_000
    scores = {"conv1": [1.0] * 16, "conv2": [1.0] * 16, "conv3": [1.0] * 32}
    assert list(allocate(DCASE21, Budget(macs=least), Prune(), scores).widths.values()) == [1, 1, 1]
    third = 49 * 800 + 2 * 100  # of another filter of conv3
    assert list(allocate(DCASE21, Budget(macs=least + third - 1), Prune(), scores).widths.values()) == [1, 1, 1]
    assert list(allocate(DCASE21, Budget(macs=least + third), Prune(), scores).widths.values()) == [1, 1, 2]


def test_the_solution_is_the_same_every_time() -> None:
    scores = random_scores(NARROW_VGGISH, 3, heavy=True)
    dense = count(NARROW_VGGISH)
    budget = Budget(params=dense.params // 3, macs=dense.macs // 4)
    first, second = (allocate(NARROW_VGGISH, budget, Prune(), scores) for _ in range(2))
    assert (first.widths, first.value, first.bound) == (second.widths, second.value, second.bound)
