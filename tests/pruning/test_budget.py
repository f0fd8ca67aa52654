"""From a budget to widths: what is reached never exceeds what is asked."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.budget import plan
from edgeprune.pruning.cost import cost, count, graph_of
from edgeprune.pruning.graph import Graph
from edgeprune.pruning.groups import choose_filters, score_groups
from edgeprune.pruning.surgery import remove_filters
from edgeprune.recipe import Budget, Prune

COSTS = {"params": "params", "macs": "macs", "peak_ram": "peak_ram_bytes", "flash": "flash_bytes"}
GRAPHS = {
    "dcase21": graph_of(make_spec("dcase21", 10, (1, 40, 51))),
    "vggish": graph_of(make_spec("vggish", 10, (1, 48, 32), 0.25)),
}


def _scores(graph: Graph, dense: bool = False, seed: int = 0) -> dict[str, list[float]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(group.filters, generator=generator).tolist() for name, group in graph.prunable(dense).items()
    }


@st.composite
def cases(draw):
    """A network's graph, its scores, and limits between the cost of the smallest network and that of the whole one."""
    graph = GRAPHS[draw(st.sampled_from(sorted(GRAPHS)))]
    prune = Prune(
        keep=draw(st.floats(0.05, 1.0)), dense_layers=draw(st.booleans()), min_filters=draw(st.integers(1, 5))
    )
    scores = _scores(graph, prune.dense_layers, draw(st.integers(0, 99)))
    least = count(graph, {name: min(prune.min_filters, len(values)) for name, values in scores.items()})
    most = count(graph)
    limits = {}
    for name in draw(st.sets(st.sampled_from(sorted(COSTS)))):
        low, high = getattr(least, COSTS[name]), getattr(most, COSTS[name])
        limits[name] = draw(st.integers(low, high), label=name)
    return graph, Budget(**limits), prune, scores, limits


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_a_feasible_budget_is_met(case) -> None:
    graph, budget, prune, scores, limits = case
    found = plan(graph, budget, prune, scores)
    assert found.asked == limits
    assert found.cost == count(graph, found.widths)
    assert found.reached == {name: getattr(found.cost, COSTS[name]) for name in limits}
    assert all(found.reached[name] <= limit for name, limit in limits.items())
    assert found.binding in (limits or {""})
    assert set(found.widths) == set(scores)
    for name, width in found.widths.items():
        full = len(scores[name])
        least = min(prune.min_filters, full)
        assert least <= width <= max(least, int(full * prune.keep + 0.5))


@settings(deadline=None, max_examples=50)
@given(case=cases())
def test_no_single_filter_more_would_fit(case) -> None:
    """Nothing that the budget allows is left unused."""
    graph, budget, prune, scores, limits = case
    found = plan(graph, budget, prune, scores)
    for name, width in found.widths.items():
        cap = max(min(prune.min_filters, len(scores[name])), int(len(scores[name]) * prune.keep + 0.5))
        if width < cap:
            wider = count(graph, {**found.widths, name: width + 1})
            assert any(getattr(wider, COSTS[limit]) > value for limit, value in limits.items())


def test_without_limits_nothing_is_removed() -> None:
    graph = GRAPHS["dcase21"]
    found = plan(graph, Budget(), Prune(), _scores(graph))
    assert found.widths == {"conv1": 16, "conv2": 16, "conv3": 32}
    assert (found.cost, found.asked, found.reached, found.binding) == (count(graph), {}, {}, "")


@pytest.mark.parametrize(
    ("name", "params", "macs"), [("dcase21", 14_142, 75_581_800), ("vggish", 26_821_130, 225_641_728)]
)
def test_half_of_every_layer_is_the_published_network(name, params, macs) -> None:
    graph = graph_of(make_spec(name, 10))
    found = plan(graph, Budget(), Prune(keep=0.5), _scores(graph))
    assert (found.cost.params, found.cost.macs) == (params, macs)


def test_binding_names_the_limit_nearest_to_its_end() -> None:
    graph = GRAPHS["dcase21"]
    whole = count(graph)
    loose = {"params": whole.params, "flash": 10 * whole.flash_bytes}
    assert plan(graph, Budget(**loose, macs=5_000_000), Prune(), _scores(graph)).binding == "macs"
    assert plan(graph, Budget(**loose), Prune(), _scores(graph)).binding == "params"


def test_slack_goes_to_the_highest_relative_scores() -> None:
    graph = GRAPHS["dcase21"]
    flat = {"conv1": [1.0] * 16, "conv2": [1.0] * 16, "conv3": [1.0] + [0.01] * 31}
    steep = {"conv1": [1.0] + [0.01] * 15, "conv2": [1.0] + [0.01] * 15, "conv3": [1.0] * 32}
    budget = Budget(params=30_000)
    assert plan(graph, budget, Prune(), flat).widths["conv3"] < plan(graph, budget, Prune(), steep).widths["conv3"]


@pytest.mark.parametrize(
    ("limit", "words", "least", "heaviest", "its_own"),
    [
        # one filter a convolution at 40x51: 50 + 50 + 50 weights and biases, then dense 2 -> 100 -> 10
        ("params", "params", 150 + 300 + 1_010, "output", 1_010),
        ("flash", "flash", 3 * 53 + 600 + 1_040, "output", 1_040),
        # 49 products at 40x51, 40x51 and 8x10 places
        ("macs", "macs", 49 * (2_040 + 2_040 + 80) + 200 + 1_000, "conv1", 49 * 2_040),
        ("peak_ram", "peak ram", 2 * 2_040, "conv1", 2 * 2_040),
    ],
)
def test_an_infeasible_budget_names_the_cost_and_where_it_goes(limit, words, least, heaviest, its_own) -> None:
    graph = GRAPHS["dcase21"]
    scores = _scores(graph)
    assert plan(graph, Budget(**{limit: least}), Prune(), scores).reached == {limit: least}
    with pytest.raises(InfeasibleBudgetError) as caught:
        plan(graph, Budget(**{limit: least - 1}), Prune(), scores)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert message.startswith(f"budget: {words} {least - 1:,} cannot be met")
    assert f"still takes {least:,}, most of it in '{heaviest}' ({its_own:,})" in message


def test_dense_layers_are_offered_only_where_they_are_not_pruned_yet() -> None:
    graph = GRAPHS["vggish"]
    for dense in (False, True):
        with pytest.raises(InfeasibleBudgetError) as caught:
            plan(graph, Budget(params=1), Prune(dense_layers=dense), _scores(graph, dense))
        assert ("--prune.dense-layers" in str(caught.value)) is not dense


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        (Prune(keep=1.5), "keep is a share above 0 and at most 1, not 1.5"),
        (Prune(keep=0.0), "not 0.0"),
        (Prune(keep=float("nan")), "not nan"),
        (Prune(min_filters=0), "min_filters must be at least 1, not 0"),
    ],
)
def test_impossible_wishes_are_refused(prune, message) -> None:
    graph = GRAPHS["dcase21"]
    with pytest.raises(EdgepruneError, match=message):
        plan(graph, Budget(params=20_000), prune, _scores(graph))


def test_plan_carried_out_costs_what_it_says() -> None:
    spec = make_spec("dcase21", 10, (1, 40, 51))
    model = build(spec)
    scores = score_groups(model, graph_of(spec), "operator_norm", dense_layers=True)
    values = {name: score.tolist() for name, score in scores.items()}
    found = plan(graph_of(spec), Budget(params=12_345, macs=9_000_000), Prune(dense_layers=True), values)
    pruned, slim = remove_filters(model, spec, choose_filters(scores, found.widths))
    assert cost(slim) == found.cost
    kernels = [layer for layer in pruned.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(layer.weight.numel() + layer.bias.numel() for layer in kernels) == found.reached["params"] <= 12_345
