"""From a budget to widths: what is reached never exceeds what is asked, and hardly anything is left unused."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.graph.cost import cost, count, graph_of
from edgeprune.graph.graph import Graph
from edgeprune.graph.surgery import remove_filters
from edgeprune.graph.trace import trace
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.allocation.allocate import allocate
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.recipe import Budget, Prune

COSTS = {"params": "params", "macs": "macs", "peak_ram": "arena_bytes", "flash": "flash_bytes"}
GRAPHS = {
    "dcase21": graph_of(make_spec("dcase21", 10, (1, 40, 51))),
    "vggish": graph_of(make_spec("vggish", 10, (1, 48, 32), 0.25)),
}
OBJECTIVES = st.sampled_from(["log_mass", "mass", "log_width"])


def _scores(graph: Graph, dense: bool = False, seed: int = 0, heavy: bool = False) -> dict[str, list[float]]:
    """Uniform, or heavy-tailed: few filters hold most of the score, as operator norms of trained networks do."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.pareto(1.1, group.filters) if heavy else rng.random(group.filters)).tolist()
        for name, group in graph.prunable(dense).items()
    }


def _allowed(filters: int, prune: Prune, cap: int | None = None) -> set[int]:
    """Widths a layer may have: multiples from the smallest to the cap, or all of its filters where that is no multiple;
    the least of these where they are none."""
    least = ceil(prune.min_filters / prune.multiple_of) * prune.multiple_of
    most = int(filters * prune.keep + 1e-9) if cap is None else min(cap, filters)
    widths = {width for width in range(least, most + 1) if width % prune.multiple_of == 0}
    if most == filters >= prune.min_filters:
        widths.add(filters)
    return widths or {min(least, filters)}


def _no_filter_more(graph: Graph, found, limits, allowed) -> None:
    """The next wider allowed width of any single layer breaks a limit."""
    for name, width in found.widths.items():
        wider = [other for other in sorted(allowed[name]) if other > width]
        if wider:
            other = count(graph, {**found.widths, name: wider[0]})
            assert any(getattr(other, COSTS[limit]) > value for limit, value in limits.items()), (name, wider[0])


@st.composite
def cases(draw, limited=("flash", "macs", "params")):
    """A network's graph, its scores, and limits between the cost of the smallest network and that of the whole one."""
    graph = GRAPHS[draw(st.sampled_from(sorted(GRAPHS)))]
    prune = Prune(
        keep=draw(st.floats(0.05, 1.0)),
        dense_layers=draw(st.booleans()),
        min_filters=draw(st.integers(1, 20)),
        multiple_of=draw(st.sampled_from([1, 1, 4, 8, 16])),
        objective=draw(OBJECTIVES),
    )
    scores = _scores(graph, prune.dense_layers, draw(st.integers(0, 99)), draw(st.booleans()))
    allowed = {name: _allowed(len(values), prune) for name, values in scores.items()}
    least = count(graph, {name: min(widths) for name, widths in allowed.items()})
    most = count(graph)
    limits = {}
    for name in draw(st.sets(st.sampled_from(limited))):
        low, high = getattr(least, COSTS[name]), getattr(most, COSTS[name])
        limits[name] = draw(st.integers(low, max(low, high)), label=name)
    return graph, Budget(**limits), prune, scores, limits, allowed


def _is_met(graph, budget, prune, scores, limits, allowed):
    found = allocate(graph, budget, prune, scores)
    assert found.asked == limits
    assert found.cost == count(graph, found.widths)
    assert found.reached == {name: getattr(found.cost, COSTS[name]) for name in limits}
    assert all(found.reached[name] <= limit for name, limit in limits.items())
    assert found.slack() == {name: limit - found.reached[name] for name, limit in limits.items()}
    assert found.binding in (limits or {""})
    assert list(found.widths) == list(scores)
    for name, width in found.widths.items():
        assert width in allowed[name]
        kept = np.sort(scores[name])[::-1][:width].sum() / np.sum(scores[name])
        assert found.kept[name] == pytest.approx(kept)
    assert found.bound >= found.value
    assert found.proven == (found.gap == 0)
    return found


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_a_feasible_budget_is_met_and_no_filter_more_would_fit(case) -> None:
    """With any multiples, least widths and shares; nothing that the budget allows is left unused."""
    graph, *_, limits, allowed = case
    _no_filter_more(graph, _is_met(*case), limits, allowed)


@settings(deadline=None, max_examples=15)
@given(case=cases(limited=("peak_ram", "macs", "params")))
def test_planned_memory_is_held_as_well(case) -> None:
    _is_met(*case)


# The 200 budgets of VGGish

SHARES = st.one_of(
    st.fixed_dictionaries({"params": st.floats(0.03, 0.95), "macs": st.floats(0.03, 0.95)}),
    st.sampled_from(["params", "macs"]).flatmap(lambda name: st.fixed_dictionaries({name: st.floats(0.03, 0.95)})),
)


def _vggish(graph: Graph, shares, objective: str, seed: int, heavy: bool):
    """The plan under limits that are shares of the dense cost, but no less than the smallest network's."""
    scores = _scores(graph, seed=seed, heavy=heavy)
    dense, least = count(graph), count(graph, dict.fromkeys(scores, 1))
    limits = {
        name: max(int(share * getattr(dense, COSTS[name])), getattr(least, COSTS[name]))
        for name, share in shares.items()
    }
    found = allocate(graph, Budget(**limits), Prune(objective=objective), scores)
    assert all(found.reached[name] <= limit for name, limit in limits.items())
    assert found.bound >= found.value
    return found, limits


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(SHARES, OBJECTIVES, st.integers(0, 9_999), st.booleans())
def test_vggish_uses_99_percent_of_what_binds(shares, objective, seed, heavy) -> None:
    graph = graph_of(make_spec("vggish", 10))
    found, limits = _vggish(graph, shares, objective, seed, heavy)
    used = {name: found.reached[name] / limit for name, limit in limits.items()}
    assert max(used.values()) >= 0.99
    assert found.binding == max(used, key=used.__getitem__)


@pytest.mark.slow
@settings(deadline=None, max_examples=160)
@given(SHARES, OBJECTIVES, st.integers(0, 9_999), st.booleans())
def test_a_narrow_vggish_uses_all_that_whole_filters_can(shares, objective, seed, heavy) -> None:
    """A quarter as wide, a single filter can be more than 1 % of the budget; but none more fits."""
    graph = GRAPHS["vggish"]
    found, limits = _vggish(graph, shares, objective, seed, heavy)
    allowed = {name: set(range(1, graph.groups[name].filters + 1)) for name in found.widths}
    _no_filter_more(graph, found, limits, allowed)


# Memory

RESNET = make_spec("resnet50_cifar", 10, (3, 32, 32), 0.125)


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 1), seed=st.integers(0, 999), heavy=st.booleans(), objective=OBJECTIVES)
def test_planned_memory_of_dcase21_stays_below_the_limit(share, seed, heavy, objective) -> None:
    """40 x 51 places are no multiple of 16, so what is planned exceeds what is in memory at once."""
    graph = GRAPHS["dcase21"]
    limit = int(4_096 + share * (65_280 - 4_096))
    found = allocate(graph, Budget(peak_ram=limit), Prune(objective=objective), _scores(graph, seed=seed, heavy=heavy))
    assert count(graph, found.widths).arena_bytes == found.reached["peak_ram"] <= limit
    # conv3's 80 bytes a filter are in memory after conv1's and conv2's 2,040 a filter are gone
    assert found.widths["conv3"] == 32 or limit < 8_192
    assert found.reached["peak_ram"] > limit - 2_040 - 16 or found.widths == {"conv1": 16, "conv2": 16, "conv3": 32}


@settings(deadline=None, max_examples=6)
@given(share=st.floats(0.02, 1), seed=st.integers(0, 999), heavy=st.booleans())
def test_planned_memory_of_vggish_stays_below_the_limit(share, seed, heavy) -> None:
    graph = GRAPHS["vggish"]
    scores = _scores(graph, seed=seed, heavy=heavy)
    least, dense = count(graph, dict.fromkeys(scores, 1)).arena_bytes, count(graph).arena_bytes
    limit = int(least + share * (dense - least))
    found = allocate(graph, Budget(peak_ram=limit), Prune(), scores)
    assert count(graph, found.widths).arena_bytes == found.reached["peak_ram"] <= limit
    assert found.bound >= found.value


@pytest.mark.slow
@pytest.mark.parametrize(("share", "macs"), [(0.25, 1.0), (0.6, 0.4)])
def test_planned_memory_of_resnet_stays_below_the_limit(share, macs) -> None:
    """Sums keep tensors alive while others come and go, so the planner leaves gaps."""
    graph = graph_of(RESNET)
    scores, dense = _scores(graph, seed=3, heavy=True), count(graph)
    limits = {"peak_ram": int(share * dense.arena_bytes), "macs": int(macs * dense.macs)}
    found = allocate(graph, Budget(**limits), Prune(), scores)
    cost_of_it = count(graph, found.widths)
    assert cost_of_it.arena_bytes == found.reached["peak_ram"] <= limits["peak_ram"]
    assert cost_of_it.macs == found.reached["macs"] <= limits["macs"]
    # a budget of which a uniform share is one answer; the solver's is no worse
    uniform = allocate(graph, Budget(**limits), Prune(allocation="uniform"), scores)
    assert np.log(list(found.kept.values())).sum() >= np.log(list(uniform.kept.values())).sum()


# Rules of the widths


@pytest.mark.parametrize("multiple_of", [4, 8, 16])
def test_multiples_by_hand(multiple_of) -> None:
    """VGGish a tenth as wide has layers of 6, 13, 26, 26, 51 and 51 filters."""
    graph = graph_of(make_spec("vggish", 10, (1, 48, 32), 0.1))
    full = {name: group.filters for name, group in graph.prunable().items()}
    assert list(full.values()) == [6, 13, 26, 26, 51, 51]
    scores = _scores(graph)
    loose = allocate(graph, Budget(params=10**9), Prune(multiple_of=multiple_of), scores)
    assert loose.widths == full  # left whole, though no multiple
    tight = allocate(graph, Budget(macs=count(graph).macs // 2), Prune(multiple_of=multiple_of), scores)
    for name, width in tight.widths.items():
        assert width == full[name] or width % multiple_of == 0
        if full[name] < multiple_of:  # narrower than one multiple
            assert width == full[name]
    assert tight.widths != full


def test_shares_and_floors_meet_multiples() -> None:
    graph = GRAPHS["dcase21"]
    scores = _scores(graph)
    capped = allocate(graph, Budget(), Prune(keep=0.6, multiple_of=4), scores)
    assert capped.widths == {"conv1": 8, "conv2": 8, "conv3": 16}  # 10, 10 and 19 of them would be allowed
    floored = allocate(graph, Budget(params=12_000), Prune(min_filters=5, multiple_of=4), scores)
    assert min(floored.widths.values()) >= 8
    assert allocate(graph, Budget(), Prune(keep=0.1, min_filters=3), scores).widths == {
        "conv1": 3,
        "conv2": 3,
        "conv3": 3,
    }


def test_caps_take_the_place_of_keep() -> None:
    graph = GRAPHS["dcase21"]
    scores = _scores(graph)
    caps = {"conv1": 5, "conv3": 99}
    assert allocate(graph, Budget(), Prune(), scores, caps=caps).widths == {"conv1": 5, "conv2": 16, "conv3": 32}
    half = allocate(graph, Budget(), Prune(keep=0.5), scores, caps=caps)
    assert half.widths == {"conv1": 5, "conv2": 8, "conv3": 32}
    whole = {"conv1": 16, "conv2": 16, "conv3": 32}
    assert allocate(graph, Budget(), Prune(keep=0.5), scores, caps=whole).widths == whole


def test_without_limits_nothing_is_removed() -> None:
    graph = GRAPHS["dcase21"]
    found = allocate(graph, Budget(), Prune(), _scores(graph))
    assert found.widths == {"conv1": 16, "conv2": 16, "conv3": 32}
    assert (found.cost, found.asked, found.reached, found.binding) == (count(graph), {}, {}, "")
    assert found.proven


@pytest.mark.parametrize(
    ("name", "params", "macs"), [("dcase21", 14_142, 75_581_800), ("vggish", 26_821_130, 225_641_728)]
)
def test_half_of_every_layer_is_the_published_network(name, params, macs) -> None:
    graph = graph_of(make_spec(name, 10))
    found = allocate(graph, Budget(), Prune(keep=0.5), _scores(graph))
    assert (found.cost.params, found.cost.macs) == (params, macs)


@pytest.mark.parametrize("allocation", ["solver", "uniform"])
def test_a_network_of_which_nothing_can_be_pruned(allocation) -> None:
    """A grouped convolution freezes what is around it: the budget holds as it is, or not at all."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Conv2d(6, 2, 1))
    graph = trace(model, torch.zeros(1, 1, 5, 5))
    prune = Prune(allocation=allocation)
    whole = count(graph)
    found = allocate(graph, Budget(params=whole.params), prune, {})
    assert (found.widths, found.reached) == ({}, {"params": whole.params})
    assert allocate(graph, Budget(), prune, {}).cost == whole
    with pytest.raises(InfeasibleBudgetError, match=f"params {whole.params - 1} cannot be met"):
        allocate(graph, Budget(params=whole.params - 1), prune, {})


def test_limits_of_a_network_with_unknown_costs_are_refused() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
            self.mix = nn.Bilinear(4, 4, 2)

        def forward(self, x):
            y = self.second(self.first(x)).mean(2)
            return self.mix(y, y)

    graph = trace(Pairs(), torch.zeros(1, 2, 6))
    scores = _scores(graph)
    assert list(scores) == ["first"]
    with pytest.raises(EdgepruneError, match=r"the cost of mix: bilinear \(.*, line .* is not known, so no limit"):
        allocate(graph, Budget(params=10_000), Prune(), scores)
    assert allocate(graph, Budget(), Prune(keep=0.5), scores).widths == {"first": 2}


@pytest.mark.parametrize(("keep", "width"), [(0.5, 3), (0.9, 6), (2 / 7, 2), (0.01, 1), (1.0, 7)])
def test_no_layer_keeps_more_than_its_share(keep, width) -> None:
    graph = trace(nn.Sequential(nn.Conv2d(1, 7, 1), nn.Conv2d(7, 2, 1)), torch.zeros(1, 1, 2, 2))
    assert allocate(graph, Budget(), Prune(keep=keep), _scores(graph)).widths == {"0": width}


# What is said of a plan


def test_binding_names_the_limit_nearest_to_its_end() -> None:
    graph = GRAPHS["dcase21"]
    whole = count(graph)
    loose = {"params": whole.params, "flash": 10 * whole.flash_bytes}
    assert allocate(graph, Budget(**loose, macs=5_000_000), Prune(), _scores(graph)).binding == "macs"
    assert allocate(graph, Budget(**loose), Prune(), _scores(graph)).binding == "params"


def test_filters_go_where_scores_are_spread() -> None:
    """A layer whose score is in one filter loses little by losing the others."""
    graph = GRAPHS["dcase21"]
    flat = {"conv1": [1.0] * 16, "conv2": [1.0] * 16, "conv3": [1.0] + [0.01] * 31}
    steep = {"conv1": [1.0] + [0.01] * 15, "conv2": [1.0] + [0.01] * 15, "conv3": [1.0] * 32}
    budget = Budget(params=30_000)
    assert (
        allocate(graph, budget, Prune(), flat).widths["conv3"] < allocate(graph, budget, Prune(), steep).widths["conv3"]
    )


def test_uniform_keeps_the_same_share_of_every_layer_and_claims_nothing() -> None:
    graph = GRAPHS["vggish"]
    scores, dense = _scores(graph), count(graph)
    limits = {"params": dense.params // 2, "macs": dense.macs // 3}
    found = allocate(graph, Budget(**limits), Prune(allocation="uniform"), scores)
    assert all(found.reached[name] <= limit for name, limit in limits.items())
    shares = [width / len(scores[name]) for name, width in found.widths.items()]
    narrowest = min(len(layer) for layer in scores.values())
    assert max(shares) - min(shares) < 1 / narrowest
    # the next share at which any width changes does not fit
    following = min((width + 1) / len(scores[name]) for name, width in found.widths.items())
    wider = {name: int(len(layer) * following + 1e-9) for name, layer in scores.items()}
    assert any(getattr(count(graph, wider), COSTS[name]) > limit for name, limit in limits.items())
    solved = allocate(graph, Budget(**limits), Prune(), scores)
    assert sum(np.log(list(solved.kept.values()))) > sum(np.log(list(found.kept.values())))
    assert (found.value, found.gap, found.proven) == (None, None, None)


def test_to_dict_is_what_a_run_keeps() -> None:
    graph = GRAPHS["dcase21"]
    found = allocate(graph, Budget(params=20_000), Prune(), _scores(graph))
    kept = found.to_dict()
    assert kept["asked"] == {"params": 20_000}
    assert kept["slack"] == {"params": 20_000 - found.cost.params}
    assert (kept["binding"], kept["proven"], kept["gap"], kept["value"]) == ("params", True, 0.0, found.value)


# Budgets that cannot be met


@pytest.mark.parametrize(
    ("limit", "words", "least", "heaviest", "its_own"),
    [
        # one filter a convolution at 40x51: 50 + 50 + 50 weights and biases, then dense 2 -> 100 -> 10
        ("params", "params", 150 + 300 + 1_010, "output", 1_010),
        ("flash", "flash", 3 * 53 + 600 + 1_040, "output", 1_040),
        # 49 products at 40x51, 40x51 and 8x10 places
        ("macs", "macs", 49 * (2_040 + 2_040 + 80) + 200 + 1_000, "conv1", 49 * 2_040),
        # 2,040 bytes are rounded up to a multiple of 16
        ("peak_ram", "peak ram", 2 * 2_048, "conv1", 2 * 2_040),
    ],
)
def test_an_infeasible_budget_names_the_cost_and_where_it_goes(limit, words, least, heaviest, its_own) -> None:
    graph = GRAPHS["dcase21"]
    scores = _scores(graph)
    exact = allocate(graph, Budget(**{limit: least}), Prune(), scores)
    assert exact.reached == {limit: least}
    assert exact.proven or limit == "peak_ram"
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate(graph, Budget(**{limit: least - 1}), Prune(), scores)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert message.startswith(f"budget: {words} {least - 1:,} cannot be met: the smallest network (1 filter a layer)")
    assert f"still takes {least:,}, most of it in '{heaviest}' ({its_own:,}" in message
    assert "the least of each cost: params 1,460, macs 205,040, peak ram 4,096, flash 1,799" in message


def test_one_layer_that_is_more_than_the_limit_is_named() -> None:
    """VGGish's second dense layer alone, 4,096 x 128 + 128, and what opening the dense layers would give."""
    graph = graph_of(make_spec("vggish", 10))
    scores = _scores(graph)
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate(graph, Budget(params=500_000), Prune(), scores)
    message = str(caught.value)
    assert message.count(".") == 2  # one sentence, and the flag's
    narrow = count(graph, dict.fromkeys(scores, 1))
    assert f"still takes {narrow.params:,}, most of it in 'fc2' (524,416, alone more than the limit)" in message
    least = (
        f"params {narrow.params:,}, macs {narrow.macs:,}, peak ram {narrow.arena_bytes:,}, flash {narrow.flash_bytes:,}"
    )
    assert f"the least of each cost: {least}" in message
    opened = count(graph, dict.fromkeys(graph.prunable(dense_layers=True), 1)).params
    # by hand: six convolutions of 9 weights and a bias, 6 x 4 places into one unit, one into one, and that into ten
    assert opened == 6 * 10 + (24 + 1) + 2 + 20
    assert f"--prune.dense-layers would let the dense layers shrink too (params down to {opened:,})" in message
    wide = _scores(graph, dense=True)
    assert allocate(graph, Budget(params=500_000), Prune(dense_layers=True), wide).reached["params"] <= 500_000


def test_the_smallest_network_is_told_with_its_rules() -> None:
    graph = GRAPHS["dcase21"]
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate(graph, Budget(macs=1_000_000), Prune(min_filters=3, multiple_of=4), _scores(graph))
    message = str(caught.value)
    assert "the smallest network (3 filters a layer, multiples of 4)" in message
    assert f"still takes {count(graph, dict.fromkeys(('conv1', 'conv2', 'conv3'), 4)).macs:,}" in message


def test_of_several_limits_the_one_that_fails_is_named() -> None:
    graph = GRAPHS["dcase21"]
    with pytest.raises(InfeasibleBudgetError, match=r"^budget: flash 1,000 cannot be met"):
        allocate(graph, Budget(params=20_000, macs=10**7, peak_ram=20_000, flash=1_000), Prune(), _scores(graph))


def test_dense_layers_are_offered_only_where_they_are_not_pruned_yet() -> None:
    graph = GRAPHS["vggish"]
    for dense in (False, True):
        with pytest.raises(InfeasibleBudgetError) as caught:
            allocate(graph, Budget(params=1), Prune(dense_layers=dense), _scores(graph, dense))
        assert ("--prune.dense-layers" in str(caught.value)) is not dense


def test_dense_layers_are_not_offered_where_they_would_not_help() -> None:
    """The convolutions have the most in memory, however narrow the dense layers get."""
    graph = GRAPHS["vggish"]
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate(graph, Budget(peak_ram=1_000), Prune(), _scores(graph))
    assert "--prune.dense-layers" not in str(caught.value)


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        (Prune(keep=1.5), "keep is a share above 0 and at most 1, not 1.5"),
        (Prune(keep=0.0), "not 0.0"),
        (Prune(keep=float("nan")), "not nan"),
        (Prune(min_filters=0), "min_filters must be at least 1, not 0"),
        (Prune(multiple_of=0), "multiple_of must be at least 1, not 0"),
        (Prune(steps=0), "steps must be at least 1, not 0"),
        (Prune(objective="log_mas"), "objective 'log_mas' is unknown; perhaps you meant 'log_mass'"),
    ],
)
def test_impossible_wishes_are_refused(prune, message) -> None:
    graph = GRAPHS["dcase21"]
    with pytest.raises(EdgepruneError, match=message) as caught:
        allocate(graph, Budget(params=20_000), prune, _scores(graph))
    assert caught.value.exit_code == 2


def test_plan_carried_out_costs_what_it_says() -> None:
    spec = make_spec("dcase21", 10, (1, 40, 51))
    model = build(spec)
    scores = score_groups(model, graph_of(spec), "operator_norm", dense_layers=True)
    values = {name: score.tolist() for name, score in scores.items()}
    found = allocate(graph_of(spec), Budget(params=12_345, macs=9_000_000), Prune(dense_layers=True), values)
    pruned, slim = remove_filters(model, spec, choose_filters(scores, found.widths))
    assert cost(slim) == found.cost
    kernels = [layer for layer in pruned.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(layer.weight.numel() + layer.bias.numel() for layer in kernels) == found.reached["params"] <= 12_345
