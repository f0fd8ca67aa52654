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
from edgeprune.pruning.unfolding import groups_of, positions_of, unfolded, weight_of
from edgeprune.pruning.watching import drawn_rows, network_inputs, watched

FEWEST_ROWS, ROWS_AN_INPUT = 20_000, 20
"""Places of all clips that a layer is looked at: so many, or so many an input if these are more."""
MOST_INPUTS = 2_500
"""Unfolded inputs of a reader, whose covariances take the square of it three times, in double precision."""
SEED = 0


@torch.no_grad()
def stand_in_scores(
    model: nn.Module, graph: Graph, groups: Mapping[str, FilterGroup], batches: Iterable[Any]
) -> dict[str, Tensor]:
    """Scores `[filters]` of each group by `scores.stand_in`, float64 on the CPU.

    Its readers are the convolutions and the dense and recurrent layers that read its filters. Where none does as a
    module, the group's own outputs count instead, each as much as the others.

    Args:
        batches: network inputs, with or without labels, as `watching.network_inputs` takes them.
    """
    inputs = network_inputs(batches, next(model.parameters()).device, "criterion 'stand_in'")
    for path in dict.fromkeys(path for group in groups.values() for path in group.layers):
        check_weight(model.get_submodule(path).weight, path)  # type: ignore[arg-type]
    with evaluating(model):
        model = _with_plain_weights(model, inputs[0])
        readers = {name: list(_readers(model, graph, name)) for name in groups}
        itself = {name: _itself(model, graph, name) for name in groups}
        _run(model, [*itself.values(), *(one for several in readers.values() for one in several)], inputs)
    seen = {name: [one for one in several if one.moments.rows] for name, several in readers.items()}
    return {name: _scores(name, several or [itself[name]]) for name, several in seen.items()}


class Reader:
    """A layer that reads a group of filters.

    Attributes:
        layer: whose input holds the filters.
        channels: of that input.
        places: of the filters among the channels, `[filters, repeats]`.
        weight: by which it reads what `moments` are of, as `scores.stand_in` takes it.
        writes: it is one of the group's own layers, and its output is looked at.
        unfolds: the moments are of its unfolded inputs, so that other positions of the kernel stand in too. Of a layer
            with too many of them, and of any but convolutions and dense layers, they are of the channels.
        moments: of its inputs at some of the layer's places.
    """

    def __init__(self, layer: nn.Module, channels: Blocks, graph: Graph, name: str, weight: Tensor | None) -> None:
        """`weight`: `[channels, outputs, *kernel]`; None of a layer that writes."""
        filter_at = torch.tensor([each if group == name else -1 for group, each in graph.places(channels)])
        self.layer, self.channels, self.writes = layer, len(filter_at), weight is None
        filters = graph.groups[name].filters
        self.places = torch.stack([(filter_at == each).nonzero().flatten() for each in range(filters)])
        device = next(layer.parameters()).device
        self._axes = 2 if isinstance(layer, nn.RNNBase) else int(layer.weight.dim())  # type: ignore[operator]
        kernel = 1 if weight is None else weight[0, 0].numel()
        self.unfolds = weight is not None and isinstance(layer, LAYERS) and groups_of(layer) == 1
        self.unfolds &= self.places.numel() * kernel <= MOST_INPUTS
        if weight is None:
            self.weight = torch.eye(filters, device=device)[:, None]
        elif self.unfolds:
            self.places = (self.places[..., None] * kernel + torch.arange(kernel)).flatten(1)
            self.weight = weight_of(layer)[0].mT[self.places.flatten()][:, None]
        else:
            by_place = weight.reshape(*weight.shape[:2], -1)[self.places]  # [filters, repeats, outputs, kernel]
            self.weight = by_place.transpose(2, 3).flatten(1, 2)
        self.moments = NormalEquations(1, len(self.weight), 0, device)

    def look(self, x: Tensor, y: Tensor, share: float, generator: torch.Generator) -> None:
        """Take in what the layer got and gave for a share of all clips."""
        wanted = share * max(FEWEST_ROWS, ROWS_AN_INPUT * len(self.weight))
        if self.unfolds:
            rows = drawn_rows(positions_of(self.layer, y), wanted, generator).to(x.device)
            values = unfolded(self.layer, x, rows)[:, :, self.places.flatten().to(x.device)]
        else:
            values = y if self.writes else x
            if isinstance(self.layer, LAYERS) and not isinstance(self.layer, nn.Linear):
                values = values.movedim(1 - self._axes, -1)
            values = values.flatten(0, -2)
            if values.shape[1] != self.channels:  # a group of a grouped convolution reads some of the channels
                return
            values = values[drawn_rows(len(values), wanted, generator).to(x.device)]
            values = values[:, self.places.to(x.device)].transpose(1, 2).flatten(0, 1)[None]
        self.moments.add(values, values[..., :0])


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


def _run(model: nn.Module, readers: list[Reader], inputs: list[tuple[Tensor, ...]]) -> None:
    """Run the network, and let the readers look."""
    generator, clips, share = torch.Generator().manual_seed(SEED), sum(len(batch[0]) for batch in inputs), 0.0

    def receive(reader: Reader, x: Tensor, y: Tensor) -> None:
        reader.look(x, y, share, generator)

    with watched([(reader, reader.layer) for reader in readers], receive):
        for batch in track(inputs, "scoring by stand_in", len(inputs)):
            share = len(batch[0]) / clips
            model(*batch)


def _scores(name: str, readers: list[Reader]) -> Tensor:
    covariances = [reader.moments.gram[0] for reader in readers]
    if not all(covariance.isfinite().all() for covariance in covariances):
        raise EdgepruneError(f"{name}: its feature maps hold NaN or infinite values; check the inputs, or train again.")
    return stand_in(covariances, [reader.weight for reader in readers], len(readers[0].places))


def _with_plain_weights(model: nn.Module, batch: tuple[Tensor, ...]) -> nn.Module:
    """The network, or a copy with plain weights where weight norm makes some."""
    if not has_weight_norms(model):
        return model
    model(*batch)  # the weights of a training step cannot be copied, those of inference can
    copied = copy.deepcopy(model)
    PlainWeights(copied)
    return copied
