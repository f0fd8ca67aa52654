"""The chain of pruning: score the filters, allocate the budget, cut the network.

`edgeprune.prune`, `edgeprune budget` and the pruning of a run go through it; they differ in where clips and latency
profiles come from, and a run fine-tunes afterwards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune import console
from edgeprune.errors import EdgepruneError
from edgeprune.graph.graph import Graph
from edgeprune.graph.surgery import UnlikeSilencedError, remove
from edgeprune.graph.trace import trace
from edgeprune.pruning.allocation.allocate import Allocation, allocate_within
from edgeprune.pruning.allocation.latency_limit import LatencyTable
from edgeprune.pruning.allocation.limits import BudgetLimits
from edgeprune.pruning.allocation.objective import check_objective
from edgeprune.pruning.allocation.runtime_limit import RuntimeCosts
from edgeprune.pruning.allocation.sensitivity import measure_losses
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.pruning.reconstruction import reconstruct
from edgeprune.pruning.scores import criterion
from edgeprune.recipe import Budget, Prune

Example = Tensor | tuple[Tensor, ...]
Batches = Iterable[tuple[Tensor, Tensor]]
Clips = Iterable[Tensor | tuple[Example, Tensor]]
"""Network inputs alone, or with their labels."""
MOST_REASONS = 8
"""Layers whose reason a message gives."""


@dataclass(frozen=True)
class ScoredNetwork:
    """A network whose filters are scored; it can be allocated any number of budgets.

    Attributes:
        example_input: the input `graph` was traced with.
        scores: of each prunable group, `[filters]`, float64 on the CPU.
        losses: by group, the loss by the number of filters kept; measured for the objective `sensitivity` alone.
    """

    model: nn.Module
    example_input: Example
    graph: Graph
    settings: Prune
    scores: dict[str, Tensor]
    losses: dict[str, dict[int, float]] | None = None

    def allocate(
        self,
        budget: Budget,
        profile: LatencyTable | None = None,
        caps: Mapping[str, int] | None = None,
        runtime: RuntimeCosts | None = None,
    ) -> Allocation:
        """How many filters each group keeps, with the arguments and errors of `allocation.allocate.allocate`.

        `runtime` has the costs of the runtime `stream`.
        """
        values = {name: scores.tolist() for name, scores in self.scores.items()}
        limits = BudgetLimits.of(self.graph, budget, profile, runtime)
        return allocate_within(limits, self.settings, values, self.losses, caps)

    def kept(self, allocation: Allocation) -> dict[str, list[int]]:
        """Indices of the filters each group keeps, ascending: those with the highest scores."""
        return choose_filters(self.scores, allocation.widths)

    def cuts(self, allocation: Allocation) -> bool:
        """Whether any filter goes."""
        return any(width < self.graph.groups[name].filters for name, width in allocation.widths.items())

    def cut(self, allocation: Allocation) -> nn.Module:
        """A copy of the network that has only the filters it keeps, in evaluation mode, on the CPU."""
        return remove(self.model, self.example_input, self.graph, self.kept(allocation))


def score_filters(
    model: nn.Module,
    example_input: Example,
    graph: Graph,
    settings: Prune,
    batches: Batches | None = None,
    loss_batches: Batches | None = None,
) -> ScoredNetwork:
    """Score the prunable groups of a network by `settings.criterion`, and measure the losses the objective needs.

    Batches are network inputs `[n, ...]` and labels `[n]`: active criteria look at `batches`, and the objective
    `sensitivity` is measured on `loss_batches`.
    """
    if check_objective(settings.objective) != "sensitivity":
        loss_batches = None
    elif loss_batches is None:
        raise EdgepruneError("prune: the objective sensitivity is measured on clips; give batches=.")
    scores = score_groups(model, graph, settings.criterion, settings.dense_layers, batches)
    losses = None if loss_batches is None else measure_losses(model, graph, scores, loss_batches)
    return ScoredNetwork(model, example_input, graph, settings, scores, losses)


def prune(
    model: nn.Module,
    example_input: Example,
    budget: Budget | None = None,
    settings: Prune | None = None,
    batches: Clips | None = None,
    profile: LatencyTable | None = None,
    runtime: Callable[[Graph], RuntimeCosts] | None = None,
) -> tuple[nn.Module, Allocation]:
    """Prune whole filters of any network until it fits a budget; `edgeprune.prune` documents arguments and errors.

    `profile` is the content of `settings.profile`; `runtime` makes the costs of the runtime `stream` from the network's
    graph.
    """
    budget, settings = budget or Budget(), (settings or Prune()).check()
    _check_settings(budget, settings)
    graph = trace(model, example_input)
    _check_prunable(model, graph, settings)
    clips = None if batches is None else list(batches)  # scores, losses and reconstruction each go through them
    labelled = _labelled(clips, settings)
    scored = score_filters(model, example_input, graph, settings, labelled, labelled)
    costs = runtime(graph) if runtime is not None and budget.limits_program else None
    while True:
        allocation = scored.allocate(budget, profile, runtime=costs)
        try:
            pruned = scored.cut(allocation)
        except UnlikeSilencedError as error:
            scored = _without(scored, error)
            continue
        if settings.reconstruct and scored.cuts(allocation):
            _repair(pruned, scored, allocation, clips)
        return pruned.to(next(model.parameters()).device), allocation


def _repair(pruned: nn.Module, scored: ScoredNetwork, allocation: Allocation, clips: Sequence[Any] | None) -> None:
    """Fit the layers that remain to the dense network's on clips, or say that this needs some."""
    if clips is None:
        console.say("warning: the network stays as the cut leaves it; batches= of network inputs would repair it")
        return
    report = reconstruct(scored.model, pruned, scored.kept(allocation), scored.graph, clips)
    console.say(report.sentence())


def _labelled(clips: Sequence[Tensor | tuple[Example, Tensor]] | None, settings: Prune) -> Batches | None:
    """Batches for the criterion and the objective; labels that are not given are zeros where nothing needs them."""
    chosen = criterion(settings.criterion)
    needs_labels = chosen.needs == "gradients" or settings.objective == "sensitivity"
    if clips is None or not (chosen.active or needs_labels):
        return None
    if needs_labels and any(isinstance(batch, Tensor) for batch in clips):
        reader = settings.criterion if chosen.needs == "gradients" else settings.objective
        raise EdgepruneError(f"prune: {reader} looks at clips with labels; give batches= of pairs (inputs, labels).")
    return [(batch, torch.zeros(len(batch))) if isinstance(batch, Tensor) else batch for batch in clips]  # type: ignore[misc]


def _without(scored: ScoredNetwork, error: UnlikeSilencedError) -> ScoredNetwork:
    """The network with those layers left whole whose sizes its forward counts on; any other error is raised."""
    scores = {name: values for name, values in scored.scores.items() if name not in error.reasons}
    if error.runs or not scores:
        raise error
    console.say(
        f"{type(scored.model).__name__}: keeps all filters of {', '.join(error.reasons)}; its forward counts on them"
    )
    return replace(scored, graph=scored.graph.frozen(error.reasons), scores=scores)


def _check_prunable(model: nn.Module, graph: Graph, settings: Prune) -> None:
    """Raise EdgepruneError, with the reason by layer, if no layer may lose filters."""
    if graph.prunable(settings.dense_layers):
        return
    reasons = [f"{name}: {group.reason}" for name, group in graph.groups.items() if group.reason][:MOST_REASONS]
    hint = "" if not graph.prunable(dense_layers=True) else "; see settings=Prune(dense_layers=True)"
    why = "; ".join(reasons) or "it has dense layers only"
    raise EdgepruneError(f"{type(model).__name__}: has no layer that may lose filters ({why}){hint}.")


def _check_settings(budget: Budget, settings: Prune) -> None:
    """Raise EdgepruneError if nothing limits the network, or a setting has no meaning without a run."""
    if settings.keep == 1 and not budget.sizes() and budget.latency_ms is None:
        raise EdgepruneError(
            "prune: neither budget nor share is given; give Budget(macs=10_000_000), or settings=Prune(keep=0.5)."
        )
    for name in ("steps", "restart"):
        if getattr(settings, name) != getattr(Prune, name):
            raise EdgepruneError(f"prune.{name}: needs training, which this call does not do; leave it out.")
    if settings.clips != Prune.clips:
        raise EdgepruneError("prune.clips: picks clips of a run's data; here `batches` holds them; leave it out.")
    if budget.include_frontend:
        raise EdgepruneError("budget.include_frontend: the front-end of this network is not known; leave it out.")
    if (budget.latency_ms is None) != (settings.profile is None):
        raise EdgepruneError(
            "prune: a limit on latency and a latency profile need each other; give Budget(latency_ms='0.8@host') and "
            "settings=Prune(profile=FILE), or neither."
        )
