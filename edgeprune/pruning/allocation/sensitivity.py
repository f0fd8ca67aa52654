"""How much each group of layers matters: the loss on clips when it alone is pruned."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.console import track
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.graph.surgery import remove
from edgeprune.pruning.group_scores import choose_filters

SHARES = (0.125, 0.25, 0.5, 0.75)
"""Of a group's filters, at which the loss is measured, beside one filter and all of them."""


def measure_losses(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    graph: Graph,
    scores: Mapping[str, Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
) -> dict[str, dict[int, float]]:
    """By group, the mean cross entropy by the number of its filters that are kept while all other groups keep theirs.

    Nothing is fine-tuned in between, so this tells which layers hurt first, not what can be recovered.

    Args:
        scores: of the groups, each `[filters]`: the filters with the lowest go first.
        batches: network inputs `[n, ...]` and labels `[n]` of clips the network was not trained on, if there are any;
            never of the evaluation part.
    """
    held = list(batches)
    whole = _loss(model, held)
    losses: dict[str, dict[int, float]] = {name: {len(layer): whole} for name, layer in scores.items()}
    wanted = [(name, width) for name, layer in scores.items() for width in _widths(len(layer))]
    for name, width in track(wanted, "measuring sensitivity", len(wanted)):
        kept = choose_filters({name: scores[name]}, {name: width})
        losses[name][width] = _loss(remove(model, example, graph, kept), held)
    return losses


def _widths(filters: int) -> list[int]:
    return sorted({1, *(max(1, round(filters * share)) for share in SHARES)} - {filters})


def _loss(model: nn.Module, batches: Iterable[tuple[Any, Any]]) -> float:
    total, clips = 0.0, 0
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode():
        for x, labels in batches:
            total += float(functional.cross_entropy(model(x.to(device)), labels.to(device), reduction="sum"))
            clips += len(labels)
    return total / max(1, clips)
