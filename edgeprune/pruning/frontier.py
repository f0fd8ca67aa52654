"""What the best allocation keeps over a range of budgets."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeprune.errors import InfeasibleBudgetError
from edgeprune.pruning.allocation.allocate import Allocation
from edgeprune.pruning.allocation.latency_limit import LatencyTable
from edgeprune.pruning.allocation.runtime_limit import RuntimeCosts
from edgeprune.pruning.prune import ScoredNetwork
from edgeprune.recipe import Budget

FACTORS: tuple[float, ...] = tuple(2.0 ** (step / 3) for step in range(-6, 7))
"""Of the budget: from a quarter of it to four times."""


@dataclass(frozen=True)
class FrontierPoint:
    """Allocations of `factor` times a budget: the solver's, and the same share of every layer to compare with."""

    factor: float
    solver: Allocation
    uniform: Allocation

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `kept` is the share of the scores that stays, the geometric mean over layers."""
        figures = {
            name: {"reached": one.reached, "widths": one.widths, "kept": mean_kept(one), "proven": one.proven}
            for name, one in (("solver", self.solver), ("uniform", self.uniform))
        }
        return {"factor": self.factor, "asked": self.solver.asked, **figures}


def mean_kept(allocation: Allocation) -> float:
    """Share of the scores that stays: the geometric mean over layers, 1 where no layer may be pruned."""
    shares = list(allocation.kept.values()) or [1.0]
    return float(np.exp(np.mean(np.log(np.maximum(1e-12, shares)))))


def frontier(
    scored: ScoredNetwork, budget: Budget, profile: LatencyTable | None = None, runtime: RuntimeCosts | None = None
) -> list[FrontierPoint]:
    """Allocations of `FACTORS` times a budget; other arguments are those of `ScoredNetwork.allocate`.

    Budgets that no network meets are left out, and those after the first that leaves the network whole.

    Raises:
        InfeasibleBudgetError: even the largest of the budgets cannot be met.
    """
    points: list[FrontierPoint] = []
    infeasible: InfeasibleBudgetError | None = None
    for factor in FACTORS:
        limits = _times(budget, factor)
        try:
            solver, uniform = (
                replace(scored, settings=replace(scored.settings, allocation=name)).allocate(
                    limits, profile, runtime=runtime
                )
                for name in ("solver", "uniform")
            )
        except InfeasibleBudgetError as error:
            infeasible = error
            continue
        points.append(FrontierPoint(factor, solver, uniform))
        if solver.widths == uniform.widths == solver.filters:
            break
    if not points and infeasible is not None:
        raise infeasible
    return points


def _times(budget: Budget, factor: float) -> Budget:
    latency = budget.latency()
    scaled: dict[str, Any] = {name: int(value * factor) for name, value in budget.sizes().items()}
    if latency is not None:
        scaled["latency_ms"] = f"{latency[0] * factor!r}@{latency[1]}"
    return replace(budget, **scaled)
