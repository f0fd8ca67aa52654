"""RAM and flash of a program as limits: a made-up runtime whose bytes have steps and sometimes fall with a width."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.graph.cost import graph_of
from edgeprune.models.registry import make_spec
from edgeprune.pruning.allocation.allocate import Allocation, allocate, allocate_within
from edgeprune.pruning.allocation.cost_polynomials import Forms
from edgeprune.pruning.allocation.limits import BudgetLimits
from edgeprune.recipe import Budget, Prune

DCASE21 = graph_of(make_spec("dcase21", 10, (1, 40, 51)))
NAMES = ("conv1", "conv2", "conv3")
ALL = np.array(list(product(range(1, 17), range(1, 17), range(1, 33))))


class SteppedRuntime:
    """Pairs of channels, and a buffer that even numbers of filters need twice; flash 2 B for each product of widths."""

    def bytes(self, limit: str, widths: np.ndarray, names: Sequence[str]) -> np.ndarray:
        w = dict(zip(names, widths.T, strict=True))
        one, two, three = (w[name] for name in NAMES)
        if limit == "flash":
            return 500 + 2 * (one * two + two * three)
        return 300 + 40 * -(-one // 2) + 60 * -(-two // 2) + 8 * three + 30 * np.where(two % 2 == 0, 2, 1)

    def below(self, names: Sequence[str]) -> Forms:
        place = {name: names.index(name) for name in NAMES}
        linear, quadratic = np.zeros((2, len(names)), np.int64), np.zeros((2, len(names), len(names)), np.int64)
        for name, bytes_ in zip(NAMES, (20, 30, 8), strict=True):
            linear[0, place[name]] = bytes_
        for one, two in (("conv1", "conv2"), ("conv2", "conv3")):
            quadratic[1, place[one], place[two]] = quadratic[1, place[two], place[one]] = 2
        return Forms(tuple(names), ("peak_ram", "flash"), np.array([330, 500]), linear, quadratic)

    def largest(self, limit: str, widths: Mapping[str, int]) -> tuple[str, int]:
        return "the buffer", 300


RUNTIME = SteppedRuntime()


def _allocate(budget: Budget, scores: Mapping[str, Sequence[float]]) -> Allocation:
    return allocate_within(BudgetLimits.of(DCASE21, budget, None, RUNTIME), Prune(), scores)


@settings(max_examples=25, deadline=None)
@given(ram=st.integers(440, 1400), flash=st.integers(504, 2000), seed=st.integers(0, 50))
def test_the_best_allocation_of_all_is_found(ram, flash, seed):
    scores = {
        name: np.random.default_rng(seed + place).random(DCASE21.groups[name].filters) + 0.01
        for place, name in enumerate(NAMES)
    }
    budget = Budget(peak_ram=ram, flash=flash, runtime="stream")
    found = _allocate(budget, {name: s.tolist() for name, s in scores.items()})
    ok = (RUNTIME.bytes("peak_ram", ALL, NAMES) <= ram) & (RUNTIME.bytes("flash", ALL, NAMES) <= flash)
    kept = [np.log(np.cumsum(np.sort(s)[::-1]) / s.sum()) for s in scores.values()]
    best = max(sum(values[width - 1] for values, width in zip(kept, row, strict=True)) for row in ALL[ok])
    assert found.value == pytest.approx(best, abs=1e-6)
    assert found.proven
    chosen = np.array([[found.widths[name] for name in NAMES]])
    assert found.reached == {name: RUNTIME.bytes(name, chosen, NAMES)[0] for name in ("peak_ram", "flash")}
    assert all(found.reached[name] <= limit for name, limit in found.asked.items())


def test_a_program_that_cannot_fit_is_refused_with_its_largest_part():
    scores = {name: [1.0] * DCASE21.groups[name].filters for name in NAMES}
    with pytest.raises(InfeasibleBudgetError, match=r"peak ram 400 cannot.*takes 438, most of it in 'the buffer'"):
        _allocate(Budget(peak_ram=400, runtime="stream"), scores)


def test_limits_on_a_program_need_its_costs():
    scores = {name: [1.0] * DCASE21.groups[name].filters for name in NAMES}
    with pytest.raises(EdgepruneError, match=r"budget\.runtime: .*not known here"):
        allocate(DCASE21, Budget(flash=9000, runtime="stream"), Prune(), scores)


def test_other_limits_are_the_networks_own():
    scores = {name: [1.0] * DCASE21.groups[name].filters for name in NAMES}
    budget = Budget(macs=1_000_000, peak_ram=2000, runtime="stream")
    found = _allocate(budget, scores)
    assert found.reached["macs"] == found.cost.macs <= 1_000_000
