"""Scores of a network's layers by any criterion: from weights, batch norm, or what the layers do on data."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeprune.errors import EdgepruneError
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.pruning.scores import Criterion, check_weight, criterion
from edgeprune.pruning.scores.capture import Capture

Batches = Iterable[tuple[Tensor, Tensor]]
_Add = Callable[..., None]
"""Takes a layer's name, its feature maps and, for `gradients`, the gradients by them."""


def score_network(
    model: nn.Module,
    criterion_name: str,
    layers: Mapping[str, nn.Module],
    batches: Batches | None = None,
    graph: Graph | None = None,
) -> dict[str, Tensor]:
    """Scores `[filters]` of each of the model's `layers`, float64, on the CPU; the model stays as it is.

    Active criteria see the batches one after the other, in inference. `activations` needs memory for one layer's
    feature map at a time; `gradients` needs it for a copy of every layer's feature map and for autograd's graph. One
    number a filter is kept of all batches, of `entropy` one for each clip and filter. A layer that is called several
    times in a pass counts as that many clips.

    The batches are network inputs `[n, ...]` and labels `[n]`, class indices, which only `gradients` looks at; a few
    hundred training clips are usual. `batch_norm` needs the graph to see which batch norm follows which layer.
    """
    chosen = criterion(criterion_name)
    for name, layer in layers.items():
        check_weight(_weight(layer), name)
    if chosen.needs == "readers":
        raise EdgepruneError(f"criterion '{chosen.name}' scores groups, by what reads them; use `score_groups`.")
    if chosen.needs == "weight":
        by_layer = {name: chosen.function()(_weight(layer)) for name, layer in layers.items()}
    elif not layers:
        by_layer = {}
    else:
        with evaluating(model):
            if chosen.active:
                by_layer = _active(model, chosen, layers, batches)
            else:
                by_layer = _from_batch_norm(model, chosen, layers, graph)
    return {name: scores.to("cpu", torch.float64) for name, scores in by_layer.items()}


def _active(
    model: nn.Module, chosen: Criterion, layers: Mapping[str, nn.Module], batches: Batches | None
) -> dict[str, Tensor]:
    first = next(iter(layers))
    if batches is None:
        raise EdgepruneError(f"{first}: criterion '{chosen.name}' needs data; give batches of inputs and labels.")
    statistics = {name: _Statistic(chosen.pools) for name in layers}
    function = chosen.function()

    def add(name: str, *values: Tensor) -> None:
        statistics[name].add(function(*values))

    run = _run_gradients if chosen.needs == "gradients" else _run_activations
    clips = 0
    for inputs, labels in batches:
        if len(inputs):
            run(model, layers, add, inputs, labels)
            clips += len(inputs)
    if not clips:
        raise EdgepruneError(f"{first}: criterion '{chosen.name}' got batches without clips; give a few hundred.")
    for name, statistic in statistics.items():
        if not statistic.count:
            raise EdgepruneError(f"{name}: the network does not call this layer on the data; leave it out.")
    return {name: chosen.over_clips()(statistic.values()) for name, statistic in statistics.items()}


def _run_activations(
    model: nn.Module, layers: Mapping[str, nn.Module], add: _Add, inputs: Tensor, labels: Tensor
) -> None:
    def receive(name: str, maps: Tensor) -> None:
        add(name, _filters_second(name, layers[name], maps, "feature maps"))

    with torch.no_grad(), Capture(layers, receive) as capture:
        model(inputs.to(_device(layers)))
        capture.finish()


def _run_gradients(
    model: nn.Module, layers: Mapping[str, nn.Module], add: _Add, inputs: Tensor, labels: Tensor
) -> None:
    held: dict[int, tuple[str, Tensor]] = {}

    def receive(name: str, maps: Tensor) -> None:
        if not maps.requires_grad:
            raise EdgepruneError(f"{name}: no gradient reaches the network's input; choose another criterion.")
        key = len(held)
        # The network may change it in place, which a hook on its gradient survives and its values do not.
        held[key] = name, _filters_second(name, layers[name], maps, "feature maps").clone()
        maps.register_hook(lambda gradient: take(key, gradient))  # type: ignore[no-untyped-call]

    def take(key: int, gradient: Tensor) -> None:
        name, maps = held[key]
        held[key] = name, maps[:0]
        add(name, maps, _filters_second(name, layers[name], gradient, "gradients"))

    # Gradients by the input pass all layers and leave the parameters' own alone.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = inputs.clone().to(_device(layers)).detach().requires_grad_()
        with Capture(layers, receive) as capture:
            logits = model(leaf.clone())
            capture.finish()
        loss = summed_loss(logits, _checked(labels, logits))
        torch.autograd.grad(loss, leaf, allow_unused=True)
    for name, maps in held.values():
        if len(maps):  # no gradient came, so the loss does not depend on these maps
            add(name, maps, torch.zeros_like(maps))


def _from_batch_norm(
    model: nn.Module, chosen: Criterion, layers: Mapping[str, nn.Module], graph: Graph | None
) -> dict[str, Tensor]:
    if graph is None:
        raise EdgepruneError(
            f"{next(iter(layers))}: criterion '{chosen.name}' needs the network's graph; give graph=trace(...)."
        )
    names = {id(layer): name for name, layer in layers.items()}
    scales: dict[str, list[Tensor]] = {}  # of the batch norms that directly follow a layer, one for each call of it
    for operator in graph.operators:
        if operator.norm_scale and id(model.get_submodule(operator.path)) in names:
            name = names[id(model.get_submodule(operator.path))]
            scales.setdefault(name, []).append(model.get_parameter(operator.norm_scale))
    for name, layer in layers.items():
        if name not in scales or scales[name][0].shape != _weight(layer).shape[:1]:
            raise EdgepruneError(
                f"{name}: no batch norm with a scale directly follows it, which criterion '{chosen.name}' needs; "
                "choose another."
            )
        if not all(scale.isfinite().all() for scale in scales[name]):
            raise EdgepruneError(f"{name}: its batch norm holds NaN or infinite values; train the network again.")
    return {name: torch.stack([chosen.function()(one) for one in scales[name]]).mean(dim=0) for name in layers}


class _Statistic:
    """The sum of the values of a layer's clips or, where they must be pooled, all of the values."""

    def __init__(self, pools: bool) -> None:
        self.count = 0
        self._pools = pools
        self._parts: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        self.count += len(values)
        if self._pools:
            self._parts.append(values.to("cpu", torch.float64))
        else:
            total = values.to(torch.float64).sum(dim=0).cpu()
            self._parts = [self._parts[0] + total] if self._parts else [total]

    def values(self) -> Tensor:
        """`[clips, filters]`, or the mean over the clips as `[1, filters]`."""
        return torch.cat(self._parts) if self._pools else self._parts[0][None] / self.count


def _filters_second(name: str, layer: nn.Module, maps: Tensor, what: str) -> Tensor:
    """Finite values `[n, filters, ...]`, detached."""
    maps = maps.detach()
    if isinstance(layer, nn.Linear):
        maps = maps.movedim(-1, 1)
    if maps.ndim < 2 or maps.shape[1] != len(_weight(layer)):
        raise EdgepruneError(f"{name}: {what} of shape {list(maps.shape)} are not [clips, {len(_weight(layer))}, ...].")
    if not all(extreme.isfinite() for extreme in maps.aminmax()):
        raise EdgepruneError(f"{name}: its {what} hold NaN or infinite values; check the inputs, or train again.")
    return maps


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy summed over clips: of one class a clip (labels `[clips]`), or of independent ones, as floats."""
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    return F.cross_entropy(logits, labels, reduction="sum")


def _checked(labels: Tensor, logits: Tensor) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
        raise EdgepruneError("the network's output is not [clips, classes], as its loss needs; choose another score.")
    if labels.is_floating_point() and labels.shape == logits.shape and bool(((labels >= 0) & (labels <= 1)).all()):
        return labels.to(logits.device)
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise EdgepruneError(f"labels must be from 0 to {logits.shape[1] - 1}, the network's classes; correct them.")
    return labels.to(logits.device, torch.long)


def _weight(layer: nn.Module) -> Tensor:
    """The weight, filters first; a transposed convolution holds `[channels, filters of a group, ...]`."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight


def _device(layers: Mapping[str, nn.Module]) -> torch.device:
    return _weight(next(iter(layers.values()))).device
