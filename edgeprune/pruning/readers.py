"""What reads a group of filters: which layers, by which weights, and what they get on clips."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.console import track
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cutting import PlainWeights, has_weight_norms
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Blocks, FilterGroup, Graph
from edgeprune.graph.trace import LAYERS
from edgeprune.pruning.normal_equations import NormalEquations
from edgeprune.pruning.scores import check_weight
from edgeprune.pruning.scores.stand_in import stand_in

FEWEST_ROWS, ROWS_A_FILTER = 20_000, 20
"""Places of all clips whose values are looked at: so many, or so many a filter if these are more."""
SEED = 0


@torch.no_grad()
def stand_in_scores(
    model: nn.Module, graph: Graph, groups: Mapping[str, FilterGroup], batches: Iterable[tuple[Tensor, Any]]
) -> dict[str, Tensor]:
    """Scores `[filters]` of each group by `scores.stand_in`, float64 on the CPU.

    Its readers are the convolutions and the dense and recurrent layers that read its filters. Where none does as a
    module, the group's own outputs count instead, each as much as the others.

    Args:
        batches: network inputs `[n, ...]`, and labels that are ignored.
    """
    inputs, device = [x for x, _ in batches if len(x)], next(model.parameters()).device
    if not inputs:
        raise EdgepruneError("criterion 'stand_in' got batches without clips; give a few hundred.")
    for path in dict.fromkeys(path for group in groups.values() for path in group.layers):
        check_weight(model.get_submodule(path).weight, path)  # type: ignore[arg-type]
    with evaluating(model):
        model = _with_plain_weights(model, inputs[0].to(device))
        readers = {name: list(_readers(model, graph, name)) for name in groups}
        itself = {name: _itself(model, graph, name) for name in groups}
        _run(model, [*itself.values(), *(one for several in readers.values() for one in several)], inputs, device)
    seen = {name: [one for one in several if one.moments.rows] for name, several in readers.items()}
    return {name: _scores(name, several or [itself[name]]) for name, several in seen.items()}


class Reader:
    """A layer that reads a group of filters.

    Attributes:
        layer: whose input holds the filters.
        channels: of that input.
        places: of the filters among the channels, `[filters, repeats]`.
        products: `[filters, filters]`, of the weights by which two filters are read, summed over all that is computed.
        writes: it is one of the group's own layers, and its output is looked at.
        moments: of the values of the filters, at some of the layer's places.
    """

    def __init__(self, layer: nn.Module, channels: Blocks, graph: Graph, name: str, weight: Tensor | None) -> None:
        """`weight`: `[channels, ...]`; None of a layer that writes."""
        filter_at = torch.tensor([each if group == name else -1 for group, each in graph.places(channels)])
        self.layer, self.channels, self.writes = layer, len(filter_at), weight is None
        filters = graph.groups[name].filters
        self.places = torch.stack([(filter_at == each).nonzero().flatten() for each in range(filters)])
        read = torch.eye(filters) if weight is None else weight[self.places.to(weight.device)].flatten(1).double()
        self.products = read @ read.mT
        self.moments = NormalEquations(1, filters, 0, next(layer.parameters()).device)

    def add(self, values: Tensor, share: float, generator: torch.Generator) -> None:
        """Look at values of a share of all clips, with channels on the layer's own axis for them."""
        if isinstance(self.layer, LAYERS) and not isinstance(self.layer, nn.Linear):
            values = values.movedim(1 - self.layer.weight.ndim, -1)
        rows = values.flatten(0, -2)
        if rows.shape[1] != self.channels:  # a group of a grouped convolution reads some of the channels
            return
        wanted = max(1, round(share * max(FEWEST_ROWS, ROWS_A_FILTER * len(self.places))))
        if wanted < len(rows):
            rows = rows[torch.randperm(len(rows), generator=generator)[:wanted].to(rows.device)]
        by_filter = rows[:, self.places.to(rows.device)].transpose(1, 2).flatten(0, 1)[None]
        self.moments.add(by_filter, by_filter[..., :0])


def _readers(model: nn.Module, graph: Graph, name: str) -> Iterator[Reader]:
    parameters = dict(model.named_parameters())
    for cut in graph.cuts:
        weight, path = parameters.get(cut.tensor), cut.tensor.rpartition(".")[0]
        if cut.silences or weight is None or not any(block.group == name for block in cut.channels):
            continue
        layer = model.get_submodule(path)
        if isinstance(layer, LAYERS | nn.RNNBase):
            yield Reader(layer, cut.channels, graph, name, weight.detach().movedim(cut.axis, 0))


def _itself(model: nn.Module, graph: Graph, name: str) -> Reader:
    path = graph.groups[name].layers[0]
    return Reader(model.get_submodule(path), graph.filters_of(path), graph, name, None)


def _run(model: nn.Module, readers: list[Reader], inputs: list[Tensor], device: torch.device) -> None:
    """Run the network, and let the readers look."""
    generator, clips, share = torch.Generator().manual_seed(SEED), sum(map(len, inputs)), 0.0

    def hook(reader: Reader) -> Any:
        def receive(_layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            reader.add(output if reader.writes else [*args, *kwargs.values()][0], share, generator)

        return receive

    hooks = [reader.layer.register_forward_hook(hook(reader), with_kwargs=True) for reader in readers]
    try:
        for x in track(inputs, "scoring by stand_in", len(inputs)):
            share = len(x) / clips
            model(x.to(device))
    finally:
        for each in hooks:
            each.remove()


def _scores(name: str, readers: list[Reader]) -> Tensor:
    covariances = torch.stack([reader.moments.gram[0] for reader in readers])
    if not covariances.isfinite().all():
        raise EdgepruneError(f"{name}: its feature maps hold NaN or infinite values; check the inputs, or train again.")
    return stand_in(covariances, torch.stack([reader.products for reader in readers])).cpu()


def _with_plain_weights(model: nn.Module, x: Tensor) -> nn.Module:
    """The network, or a copy with plain weights where weight norm makes some."""
    if not has_weight_norms(model):
        return model
    model(x)  # the weights of a training step cannot be copied, those of inference can
    copied = copy.deepcopy(model)
    PlainWeights(copied)
    return copied
