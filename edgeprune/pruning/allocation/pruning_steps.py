"""One shot or several steps: the budgets on the way to the final one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from edgeprune.recipe import Budget, Prune


@dataclass(frozen=True)
class PruningStep:
    """One of `of` steps: its budget, the most filters each group may keep, and its share of the epochs."""

    number: int
    of: int
    budget: Budget
    caps: dict[str, int]
    epochs: int

    @property
    def last(self) -> bool:
        return self.number == self.of

    @property
    def latency_ms(self) -> float | None:
        limit = self.budget.latency()
        return None if limit is None else limit[0]


def pruning_steps(
    dense: Mapping[str, float],
    filters: Mapping[str, int],
    budget: Budget,
    prune: Prune,
    epochs: int,
) -> Iterator[PruningStep]:
    """The steps in order; the last one has the budget itself.

    Limits and shares shrink by the same factor from step to step. They start from what the dense network takes by
    limit, and from its filters by group. `epochs` are shared out.
    """
    latency = budget.latency()
    for number in range(1, prune.steps + 1):
        done = number / prune.steps
        limits: dict[str, Any] = {
            name: ceil(_interpolated(dense[name], final, done)) for name, final in budget.sizes().items()
        }
        if latency is not None and "latency_ms" in dense and done < 1:
            latency_ms = float(_interpolated(dense["latency_ms"], latency[0], done))
            limits["latency_ms"] = f"{latency_ms!r}@{latency[1]}"
        caps = {name: max(1, floor(count * prune.keep**done + 1e-9)) for name, count in filters.items()}
        share = epochs * number // prune.steps - epochs * (number - 1) // prune.steps
        yield PruningStep(number, prune.steps, replace(budget, **limits), caps, share)


def _interpolated(whole: float, final: float, done: float) -> float:
    """The limit after a share `done` of the steps; a limit that the whole network meets stays as it is."""
    return final if done == 1 or whole <= final else whole * (final / whole) ** done
