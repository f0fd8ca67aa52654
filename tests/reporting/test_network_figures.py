"""The frontier of budgets as a figure, held to allocations of its own."""

import pytest
import torch
from small_networks import Residual

import edgeprune
from edgeprune import Budget, Prune
from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.pruning.frontier import mean_kept
from edgeprune.pruning.scores import score

EXAMPLE = torch.zeros(1, 3, 8, 8)


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return Residual()


def test_frontier_has_what_pruning_to_each_budget_keeps(model: torch.nn.Module) -> None:
    whole = edgeprune.cost(model, EXAMPLE).params
    (axes,) = edgeprune.plots.frontier(model, EXAMPLE, Budget(params=whole // 2)).axes
    solver, uniform, itself = axes.lines
    budgets = solver.get_xdata().tolist()
    assert budgets == uniform.get_xdata().tolist() == sorted(budgets)
    assert itself.get_xdata()[0] == whole // 2
    for line, allocation in ((solver, "solver"), (uniform, "uniform")):
        for budget, kept in zip(budgets[::5], line.get_ydata()[::5], strict=True):
            _, found = edgeprune.prune(model, EXAMPLE, Budget(params=budget), Prune(allocation=allocation))
            assert kept == pytest.approx(100 * mean_kept(found))
    assert axes.get_xlabel() == "parameters, at most"
    assert next(label.get_text() for label in axes.get_xticklabels()).endswith(("k", "0"))


def test_other_limits_are_named_and_the_tightest_is_the_axis(model: torch.nn.Module) -> None:
    cost = edgeprune.cost(model, EXAMPLE)
    (axes,) = edgeprune.plots.frontier(model, EXAMPLE, Budget(params=cost.params, macs=cost.macs // 3)).axes
    assert axes.get_xlabel() == "MACs, at most (parameters in proportion)"


def test_a_budget_whose_whole_range_is_out_of_reach_is_refused(model: torch.nn.Module) -> None:
    with pytest.raises(InfeasibleBudgetError):
        edgeprune.plots.frontier(model, EXAMPLE, Budget(params=3))


def test_scores_of_a_module_are_its_own(model: torch.nn.Module) -> None:
    figure = edgeprune.plots.scores(model, ["l1"], EXAMPLE)
    layers = {axes.get_title(): axes.lines[0].get_ydata() for axes in figure.axes}
    own = score(model.get_submodule("inner").weight, "l1").sort().values  # type: ignore[arg-type]
    assert layers["inner"] == pytest.approx((own / own.max()).tolist())
    with pytest.raises(EdgepruneError, match="example"):
        edgeprune.plots.scores(model)
