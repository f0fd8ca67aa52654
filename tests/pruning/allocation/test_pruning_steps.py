"""The way to a budget in several steps: budgets fall evenly, and the last one is the budget itself."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.graph.cost import cost
from edgeprune.models.registry import make_spec
from edgeprune.pruning.allocation.pruning_steps import pruning_steps
from edgeprune.recipe import Budget, Prune

DENSE = cost(make_spec("dcase21", 10, (1, 40, 500)))  # 45,990 parameters, 286,637,800 MACs, 640,000 B
FILTERS = {"conv1": 16, "conv2": 16, "conv3": 32}
FIELDS = {"params": DENSE.params, "macs": DENSE.macs, "peak_ram": DENSE.arena_bytes, "flash": DENSE.flash_bytes}
LIMITS = st.fixed_dictionaries({}, optional={name: st.integers(1, 2 * whole) for name, whole in FIELDS.items()})


def _steps(budget: Budget, prune: Prune, epochs: int = 30, dense_latency_ms: float | None = None):
    costs = FIELDS if dense_latency_ms is None else FIELDS | {"latency_ms": dense_latency_ms}
    return list(pruning_steps(costs, FILTERS, budget, prune, epochs))


def test_one_step_is_one_shot() -> None:
    budget = Budget(params=10_000, macs=50_000_000, latency_ms="0.5@host")
    (step,) = _steps(budget, Prune(keep=0.5), epochs=17, dense_latency_ms=2.0)
    assert (step.number, step.of, step.last) == (1, 1, True)
    assert step.budget == budget
    assert step.latency_ms == 0.5
    assert step.caps == {"conv1": 8, "conv2": 8, "conv3": 16}
    assert step.epochs == 17


def test_steps_by_hand() -> None:
    """A quarter of the memory in two steps: a half, then a quarter."""
    budget = Budget(peak_ram=160_000, latency_ms="1@host")
    first, second = _steps(budget, Prune(keep=0.25, steps=2), epochs=5, dense_latency_ms=4.0)
    assert (first.budget.peak_ram, second.budget.peak_ram) == (320_000, 160_000)
    assert (first.latency_ms, second.latency_ms) == (2.0, 1.0)
    assert first.caps == {"conv1": 8, "conv2": 8, "conv3": 16}
    assert second.caps == {"conv1": 4, "conv2": 4, "conv3": 8}
    assert (first.epochs, second.epochs) == (2, 3)
    assert (first.last, second.last) == (False, True)


def test_a_limit_that_is_not_whole_is_rounded_up() -> None:
    first, _ = _steps(Budget(params=10_000), Prune(steps=2))
    assert first.budget.params == ceil((45_990 * 10_000) ** 0.5)


@given(limits=LIMITS, number=st.integers(1, 8), keep=st.floats(0.02, 1), epochs=st.integers(0, 60))
def test_every_schedule_falls_from_the_dense_network_to_the_budget(limits, number, keep, epochs) -> None:
    budget = Budget(**limits)
    found = _steps(budget, Prune(steps=number, keep=keep), epochs)
    assert [(step.number, step.of) for step in found] == [(index + 1, number) for index in range(number)]
    assert [step.last for step in found] == [False] * (number - 1) + [True]
    assert found[-1].budget == budget
    assert sum(step.epochs for step in found) == epochs
    assert max(step.epochs for step in found) - min(step.epochs for step in found) <= 1
    for name, limit in limits.items():
        on_the_way = [getattr(step.budget, name) for step in found]
        assert on_the_way == sorted(on_the_way, reverse=True)
        assert all(limit <= value <= max(limit, FIELDS[name]) for value in on_the_way)
        if limit < FIELDS[name]:  # the same factor from step to step
            for index, value in enumerate(on_the_way, 1):
                assert value == pytest.approx(FIELDS[name] * (limit / FIELDS[name]) ** (index / number), abs=1)
    assert all(getattr(step.budget, name) is None for step in found for name in set(FIELDS) - set(limits))
    for name, filters in FILTERS.items():
        caps = [step.caps[name] for step in found]
        assert caps == sorted(caps, reverse=True)
        assert caps[-1] == max(1, int(filters * keep + 1e-9))
        assert all(1 <= cap <= filters for cap in caps)


@given(limit=st.floats(0.01, 10), dense=st.floats(0.01, 10), number=st.integers(1, 6))
def test_latency_falls_the_same_way(limit, dense, number) -> None:
    found = [step.latency_ms for step in _steps(Budget(latency_ms=f"{limit}@host"), Prune(steps=number), 10, dense)]
    assert found[-1] == limit
    assert found == sorted(found, reverse=True)
    assert all(limit <= value <= max(limit, dense) * (1 + 1e-12) for value in found)


def test_without_a_profile_latency_is_the_limit_from_the_start() -> None:
    found = _steps(Budget(latency_ms="0.5@host"), Prune(steps=3))
    assert [step.latency_ms for step in found] == [0.5, 0.5, 0.5]
    assert [step.latency_ms for step in _steps(Budget(params=9_000), Prune(steps=2), 10, 3.0)] == [None, None]


def test_more_steps_than_epochs() -> None:
    assert [step.epochs for step in _steps(Budget(params=9_000), Prune(steps=5), epochs=3)] == [0, 1, 0, 1, 1]
