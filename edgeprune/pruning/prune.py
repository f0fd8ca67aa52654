"""Pruning any network to a budget in one call."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import trace
from edgeprune.pruning.allocation.latency import LatencyLimit
from edgeprune.pruning.allocation.plan import Plan, plan
from edgeprune.pruning.allocation.sensitivity import measure_losses
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.recipe import Budget, Prune


def prune(
    model: nn.Module,
    example_input: Tensor | tuple[Tensor, ...],
    budget: Budget | None = None,
    criterion: str = "operator_norm",
    rules: Prune | None = None,
    batches: Iterable[tuple[Tensor, Tensor]] | None = None,
    latency: LatencyLimit | None = None,
) -> tuple[nn.Module, Plan]:
    """Prune a network of your own to a budget; see `edgeprune.prune`."""
    budget = budget or Budget()
    rules = replace(rules or Prune(), criterion=criterion)
    if rules.check().keep == 1 and budget == Budget():
        raise EdgepruneError(
            "prune: nothing is asked for; give a budget, as Budget(macs=10_000_000), or rules=Prune(keep=0.5)."
        )
    graph = trace(model, example_input)
    if not graph.prunable(rules.dense_layers):
        raise EdgepruneError(
            f"{type(model).__name__}: has no layer that may lose filters; see rules=Prune(dense_layers=True)."
        )
    if rules.objective == "sensitivity":
        if batches is None:
            raise EdgepruneError("prune: the objective sensitivity is measured on clips; give batches=.")
        batches = list(batches)  # they are looked at twice
    scores = score_groups(model, graph, criterion, rules.dense_layers, batches)
    losses = None
    if rules.objective == "sensitivity":
        assert batches is not None
        losses = measure_losses(model, example_input, graph, scores, batches)
    values = {name: layer.tolist() for name, layer in scores.items()}
    found = plan(graph, budget, rules, values, losses, latency)
    pruned = remove(model, example_input, graph, choose_filters(scores, found.widths))
    _run(pruned, example_input)
    return pruned.to(next(model.parameters()).device), found


def _run(pruned: nn.Module, example_input: Tensor | tuple[Tensor, ...]) -> None:
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    try:
        with torch.inference_mode():
            pruned(*(x.cpu() for x in example))
    except (RuntimeError, ValueError, IndexError) as error:
        raise EdgepruneError(
            f"{type(pruned).__name__}: does not run any more after pruning ({error}); its forward counts on sizes."
        ) from error
