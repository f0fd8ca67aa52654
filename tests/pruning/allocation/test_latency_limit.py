"""Latency as a limit: a made-up table whose milliseconds are a known function of the widths, with steps of 8."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import InfeasibleBudgetError
from edgeprune.graph.cost import count, graph_of
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import make_spec
from edgeprune.pruning.allocation.allocate import allocate
from edgeprune.pruning.allocation.latency_limit import LatencyLimit
from edgeprune.recipe import Budget, Prune

DCASE21 = graph_of(make_spec("dcase21", 10, (1, 40, 500)))
NARROW_VGGISH = graph_of(make_spec("vggish", 10, (1, 48, 32), 0.25))
ALL = np.array(list(product(range(1, 17), range(1, 17), range(1, 33))))
"""All allocations of DCASE21_Net's convolutions."""
OVERHEAD_MS = 0.125


def _tiles(width):
    return -(-width // 8)


class SteppedTable:
    """A chain of stages; each takes a time for every pair of tiles of 8 channels, and a little for every channel.

    Groups that are not asked for have the widths of the network.
    """

    overhead_ms = OVERHEAD_MS

    def __init__(self, graph: Graph, pair_ms: Sequence[float], channel_ms: float = 0.002) -> None:
        self.full = {name: group.filters for name, group in graph.groups.items()}
        self.chain = list(self.full)
        self.pair_ms = pair_ms
        self.channel_ms = channel_ms

    def stage(self, number: int, before, after):
        return self.pair_ms[number] * _tiles(before) * _tiles(after) + self.channel_ms * after

    def latency_ms(self, widths, names: Sequence[str]) -> np.ndarray:
        columns = {name: np.full(len(widths), full) for name, full in self.full.items()}
        columns |= {name: np.asarray(widths)[:, place] for place, name in enumerate(names)}
        before, total = np.ones(len(widths), np.int64), np.full(len(widths), OVERHEAD_MS)
        for number, name in enumerate(self.chain):
            total = total + self.stage(number, before, columns[name])
            before = columns[name]
        return total

    def stage_tables(self, candidates: Mapping[str, Sequence[int]]):
        axes = {name: np.array(candidates.get(name, [full])) for name, full in self.full.items()}
        first = self.chain[0]
        tables = [((first,), self.stage(0, np.ones_like(axes[first]), axes[first]))]
        for number, (before, after) in enumerate(zip(self.chain, self.chain[1:], strict=False), 1):
            grid = np.meshgrid(axes[before], axes[after], indexing="ij")
            tables.append(((before, after), self.stage(number, *grid)))
        return tables


DCASE21_TABLE = SteppedTable(DCASE21, [0.4, 0.5, 0.05, 0.001, 0.001])
VGGISH_TABLE = SteppedTable(NARROW_VGGISH, [0.2, 0.15, 0.02, 0.02, 0.01, 0.01, 0.001, 0.001, 0.001])


def _scores(graph: Graph, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {name: rng.pareto(1.2, group.filters).tolist() for name, group in graph.prunable().items()}


def _text(limit_ms: float) -> str:
    """A limit on latency as a budget holds it."""
    return f"{float(limit_ms)!r}@host"


def _dcase21_params(widths: np.ndarray) -> np.ndarray:
    """7x7 kernels, then 2 places of each filter into a dense layer of 100, and 10 classes."""
    one, two, three = widths.T
    return 50 * one + (49 * one + 1) * two + (49 * two + 1) * three + 200 * three + 100 + 1_010


def test_the_table_by_hand() -> None:
    # 1 -> 8: one pair of tiles; 8 -> 9: two; 9 -> 32: two times four; 32 -> 100 -> 10 stay as they are
    pairs = 0.4 * 1 + 0.5 * 1 * 2 + 0.05 * 2 * 4 + 0.001 * 4 * 13 + 0.001 * 13 * 2
    limit = LatencyLimit(5.0, DCASE21_TABLE)
    expected = OVERHEAD_MS + pairs + 0.002 * (8 + 9 + 32 + 100 + 10)
    assert limit.of({"conv1": 8, "conv2": 9, "conv3": 32}) == pytest.approx(expected)
    assert limit.of({"conv3": 32, "conv2": 9, "conv1": 8}) == pytest.approx(expected)
    held = limit.bind(["conv1", "conv2", "conv3"])(np.array([[8, 9, 32], [1, 1, 1], [16, 16, 32]]))
    assert held.tolist() == [True, True, limit.of({}) <= 5.0]


@settings(deadline=None, max_examples=40)
@given(
    share=st.floats(0, 1),
    params=st.one_of(st.none(), st.floats(0.05, 1)),
    objective=st.sampled_from(["log_mass", "mass", "log_width"]),
    seed=st.integers(0, 999),
)
def test_the_optimum_of_all_allocations_is_found(share, params, objective, seed) -> None:
    scores = _scores(DCASE21, seed)
    times = DCASE21_TABLE.latency_ms(ALL, list(scores))
    limit = LatencyLimit(float(times.min() + share * (times.max() - times.min())), DCASE21_TABLE)
    fits = times <= limit.limit_ms
    budget = Budget()
    if params is not None:
        counted = _dcase21_params(ALL)
        budget = Budget(params=int(counted.min() + params * (counted.max() - counted.min())))
        fits &= counted <= budget.params
    worth = np.zeros(len(ALL))
    for column, layer in enumerate(scores.values()):
        ranked = np.sort(layer)[::-1]
        kept = np.arange(1, len(ranked) + 1) / len(ranked) if objective == "log_width" else ranked.cumsum() / sum(layer)
        worth += (kept if objective == "mass" else np.log(kept))[ALL[:, column] - 1]
    found = allocate(
        DCASE21,
        replace(budget, latency_ms=_text(limit.limit_ms)),
        Prune(objective=objective),
        scores,
        profile=DCASE21_TABLE,
    )
    assert found.proven
    assert found.value == pytest.approx(worth[fits].max(), abs=1e-6)
    assert found.reached["latency_ms"] == pytest.approx(limit.of(found.widths))
    assert found.reached["latency_ms"] <= limit.limit_ms
    assert found.asked == {"latency_ms": limit.limit_ms} | ({} if params is None else {"params": budget.params})


@pytest.mark.slow
@settings(deadline=None, max_examples=3)
@given(share=st.floats(0.15, 0.95), macs=st.one_of(st.none(), st.floats(0.1, 0.9)), seed=st.integers(0, 999))
def test_a_network_too_large_to_try_keeps_the_limit(share, macs, seed) -> None:
    """The bound is that of polynomials below the table; no single filter more is quick enough."""
    scores, dense = _scores(NARROW_VGGISH, seed), count(NARROW_VGGISH)
    narrow = dict.fromkeys(scores, 1)
    at_least, at_most = (LatencyLimit(0.0, VGGISH_TABLE).of(widths) for widths in (narrow, {"conv1": 16}))
    limit = LatencyLimit(at_least + share * (at_most - at_least), VGGISH_TABLE)
    budget = Budget() if macs is None else Budget(macs=int(macs * dense.macs))
    found = allocate(
        NARROW_VGGISH, replace(budget, latency_ms=_text(limit.limit_ms)), Prune(), scores, profile=VGGISH_TABLE
    )
    assert limit.of(found.widths) <= limit.limit_ms
    assert macs is None or found.cost.macs <= budget.macs
    assert found.bound >= found.value
    for name, width in found.widths.items():
        if width < len(scores[name]):
            wider = {**found.widths, name: width + 1}
            quick = limit.of(wider) <= limit.limit_ms
            assert not quick or (macs is not None and count(NARROW_VGGISH, wider).macs > budget.macs)


def test_on_a_step_the_whole_tile_is_kept() -> None:
    """A limit that allows just two tiles of conv3 gives 16 filters, not 9."""
    table = SteppedTable(DCASE21, [0.0, 0.0, 1.0, 0.0, 0.0], channel_ms=0.0)
    scores = {"conv1": [1.0] * 16, "conv2": [1.0] * 8 + [0.0] * 8, "conv3": [1.0] * 32}
    found = allocate(DCASE21, Budget(latency_ms=_text(OVERHEAD_MS + 2.0)), Prune(), scores, profile=table)
    assert found.widths == {"conv1": 16, "conv2": 8, "conv3": 16}


@pytest.mark.parametrize("step", [1, 4, 8])
def test_the_polynomial_is_below_the_table_everywhere(step) -> None:
    names = ["conv1", "conv2", "conv3"]
    options = {name: np.arange(step, full + 1, step) for name, full in zip(names, (16, 16, 32), strict=True)}
    limit = LatencyLimit(3.0, DCASE21_TABLE)
    below = limit.below(names, options)
    assert below is not None
    forms, most = below
    widths = np.array(list(product(*options.values())))
    assert forms.names == tuple(names)
    assert (forms.linear >= 0).all()
    assert (forms.quadratic >= 0).all()
    # picoseconds above the limit by the polynomial, never more than by the table, but for rounding
    above = forms.values(widths)[:, 0] - most[0]
    by_table = (DCASE21_TABLE.latency_ms(widths, names) - limit.limit_ms) * 1e9
    assert (above <= by_table + 10).all()
    # and it follows the table: where all widths are whole tiles, to a third of what lies between least and most
    whole = (widths % 8 == 0).all(axis=1)
    assert (by_table - above)[whole].max() < (by_table.max() - by_table.min()) / 3


@settings(deadline=None, max_examples=40)
@given(
    pairs=st.lists(st.floats(0, 2), min_size=5, max_size=5),
    channel_ms=st.floats(0, 0.1),
    limit_ms=st.floats(0.2, 20),
    first=st.integers(1, 16),
)
def test_no_allocation_that_is_quick_enough_is_above_the_polynomials_limit(pairs, channel_ms, limit_ms, first) -> None:
    """So the solver's bound never cuts off what the table allows."""
    table = SteppedTable(DCASE21, pairs, channel_ms)
    names = ["conv1", "conv2", "conv3"]
    options = {"conv1": np.arange(first, 17), "conv2": np.arange(1, 17), "conv3": np.array([1, 7, 8, 9, 16, 32])}
    limit = LatencyLimit(limit_ms, table)
    found = limit.below(names, options)
    widths = np.array(list(product(*options.values())))
    quick = limit.bind(names)(widths)
    if found is not None and quick.any():
        forms, most = found
        assert (forms.values(widths[quick])[:, 0] <= most[0] + 10).all()


def test_nothing_is_said_below_where_fixed_costs_take_it_all() -> None:
    names = ["conv1", "conv2", "conv3"]
    options = {"conv1": np.arange(1, 17), "conv2": np.arange(1, 17), "conv3": np.arange(1, 33)}
    assert LatencyLimit(OVERHEAD_MS / 2, DCASE21_TABLE).below(names, options) is None


def test_a_latency_that_cannot_be_met() -> None:
    scores = _scores(DCASE21, 0)
    least = LatencyLimit(1.0, DCASE21_TABLE).of({"conv1": 1, "conv2": 1, "conv3": 1})
    assert allocate(DCASE21, Budget(latency_ms=_text(least)), Prune(), scores, profile=DCASE21_TABLE).proven
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate(DCASE21, Budget(latency_ms="0.5@host"), Prune(), scores, profile=DCASE21_TABLE)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert message.startswith(
        "budget: latency ms 0.5 cannot be met: the smallest network (1 filter a layer) still takes"
    )
    assert "the least of each cost: params 1,460, macs 2,000,400, peak ram 40,000, flash 1,799" in message


def test_latency_stands_beside_the_other_limits() -> None:
    scores = _scores(DCASE21, 1)
    budget = Budget(params=10**6, macs=10**9, latency_ms="1.5@host")
    found = allocate(DCASE21, budget, Prune(), scores, profile=DCASE21_TABLE)
    assert found.binding == "latency_ms"
    assert found.slack()["latency_ms"] == pytest.approx(1.5 - found.reached["latency_ms"])
    assert set(found.asked) == {"params", "macs", "latency_ms"}
