"""Scores of what can be pruned: a layer alone, or layers that lose the same filters together."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.graph import Block, FilterGroup, Graph
from edgeprune.pruning.readers import stand_in_scores
from edgeprune.pruning.scores import criterion as find
from edgeprune.pruning.scores.layer_scores import score_network


def score_groups(
    model: nn.Module,
    graph: Graph,
    criterion: str,
    dense_layers: bool = False,
    batches: Iterable[tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Scores of the prunable groups, each `[filters]`, float64 on the CPU.

    A layer that is pruned alone keeps its own scores. Where layers lose the same filters (their outputs are added, or
    one filters each channel of the other), each layer's scores are divided by their mean, since layers differ in scale
    and fan-in, and a filter's score is the mean over the layers. Filters of a layer that can only go together have the
    mean of their scores. The criterion `stand_in` scores groups, not layers. Active criteria need `batches` of network
    inputs `[n, ...]` and labels `[n]`.
    """
    groups = graph.prunable(dense_layers)
    if find(criterion).needs == "readers":
        if batches is None:
            raise EdgepruneError(f"criterion '{criterion}' needs data; give batches of inputs and labels.")
        return stand_in_scores(model, graph, groups, batches)
    layers = {path: model.get_submodule(path) for group in groups.values() for path in group.layers}
    names = {path: name if len(groups[name].layers) == 1 else path for name in groups for path in groups[name].layers}
    scores = score_network(model, criterion, {names[path]: layer for path, layer in layers.items()}, batches, graph)
    return {
        name: combine([_of_group(scores[names[path]], graph, path, group) for path in group.layers])
        for name, group in groups.items()
    }


def _of_group(scores: Tensor, graph: Graph, path: str, group: FilterGroup) -> Tensor:
    """The scores `[filters of the group]`, from those of a layer's filters, which may belong to several groups."""
    filters = graph.filters_of(path)
    if filters == (Block(group.name, 1),):
        return scores
    places = torch.tensor([filter if name == group.name else -1 for name, filter in graph.places(filters)])
    sums = torch.zeros(group.filters, dtype=scores.dtype).index_add_(0, places[places >= 0], scores[places >= 0])
    return sums / (places >= 0).sum() * group.filters


def combine(scores: Sequence[Tensor]) -> Tensor:
    """One score a filter, `[filters]`, from those of several layers; a single layer's are left as they are."""
    if len(scores) == 1:
        return scores[0]
    means = [layer.mean() for layer in scores]
    shares = [layer / mean if mean > 0 else torch.zeros_like(layer) for layer, mean in zip(scores, means, strict=True)]
    return torch.stack(shares).mean(dim=0)


def choose_filters(scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, list[int]]:
    """Filters each group keeps, in ascending order: the highest scores, earlier filters first among equals."""
    return {
        name: sorted(values.argsort(descending=True, stable=True)[: widths[name]].tolist())
        for name, values in scores.items()
    }
