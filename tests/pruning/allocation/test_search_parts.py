"""Branch and bound alone, with no exchange of filters to find what it misses: against all allocations."""

import numpy as np
import pytest
from allocation_problems import all_allocations, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.pruning.allocation import solver
from edgeprune.pruning.allocation.local_search import Problem
from edgeprune.pruning.allocation.solver import Solution, _Search

EXACT = 1e-6


def search(problem: Problem, nodes: int) -> Solution:
    """Each part's own allocation is the narrowest of all; only parts of up to 8 combinations are tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "into_limits", lambda problem, chosen: np.zeros_like(chosen))
        patch.setattr(solver, "improve", lambda problem, chosen: chosen)
        patch.setattr(solver, "_FEW", 8)
        return _Search(problem, tried=10**9).run(nodes)


@settings(deadline=None, max_examples=25)
@given(problem=problems())
def test_no_allocation_is_lost_between_the_parts(problem) -> None:
    _, value, fits = all_allocations(problem)
    found = search(problem, nodes=10**6)
    assert found.proven
    assert found.value == pytest.approx(value[fits].max(), abs=EXACT)


@settings(deadline=None, max_examples=25)
@given(problem=problems(), nodes=st.integers(1, 6))
def test_what_is_left_open_stays_within_the_bound(problem, nodes) -> None:
    _, value, fits = all_allocations(problem)
    best = value[fits].max()
    found = search(problem, nodes)
    assert found.value <= best + EXACT
    assert found.bound >= best - EXACT
    assert not found.proven or found.value == pytest.approx(best, abs=EXACT)


@settings(deadline=None, max_examples=50)
@given(problem=problems(), data=st.data())
def test_two_halves_make_the_part(problem, data) -> None:
    """Every option of the group that is split lies in one of them; the other groups keep theirs."""
    ranges = []
    for widths in problem.options:
        first = data.draw(st.integers(0, len(widths) - 1))
        ranges.append((first, data.draw(st.integers(first, len(widths) - 1))))
    if all(first == last for first, last in ranges):
        return
    tree = _Search(problem, tried=0)
    part = tree.relaxation.whole().cut_out(tuple(ranges))
    excess = np.array([data.draw(st.floats(0, 1)) for _ in ranges])
    one, other = (half.ranges for half in tree._split(part, excess))
    (split,) = (group for group in range(len(ranges)) if one[group] != other[group])
    assert [one[split][0], one[split][1] + 1, other[split][1]] == [ranges[split][0], other[split][0], ranges[split][1]]
    assert one[split][0] <= one[split][1]
    assert other[split][0] <= other[split][1]
    assert all(one[group] == ranges[group] for group in range(len(ranges)) if group != split)
