"""How much each group of layers matters: the loss on clips when it alone is pruned.

Filters are silenced rather than removed: the weights by which other layers read them are zero for a while, so the
network computes what it would compute without them, whatever batch norm and activation lie in between. Layers that run
before the first reader give what they gave to the whole network; their outputs are kept and not computed again.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.console import track
from edgeprune.graph.cutting import PlainWeights, has_weight_norms
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Blocks, Graph
from edgeprune.pruning.scores.layer_scores import summed_loss

Batches = Sequence[tuple[Tensor, Tensor]]
SHARES = (0.125, 0.25, 0.5, 0.75)
"""Shares of a group's filters at which the loss is measured, besides one filter and all of them."""


def measure_losses(
    model: nn.Module, graph: Graph, scores: Mapping[str, Tensor], batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, dict[int, float]]:
    """By group, the mean cross entropy by the number of its filters that are kept while all other groups keep theirs.

    The filters with the lowest of `scores`, each `[filters]`, go first. Nothing is fine-tuned in between, so the losses
    show which layers hurt first, not what training can recover. The model's weights change meanwhile and are restored,
    and the outputs of all layers on one batch are in memory at once. The batches are network inputs `[n, ...]` and
    labels `[n]`, at best of clips the network was not trained on, and never of the evaluation part.
    """
    batches, device = list(batches), next(model.parameters()).device
    sums = {name: {len(values): 0.0} for name, values in scores.items()}
    with evaluating(model), torch.inference_mode():
        model = _with_plain_weights(model, batches, device)
        groups = {name: _Group(model, graph, name, values) for name, values in scores.items()}
        for x, labels in track(batches, "measuring sensitivity", len(batches)):
            x, labels = x.to(device), labels.to(device)
            with _recorded(model, graph) as outputs:
                full = _loss(model, x, labels)
            for name, group in groups.items():
                losses = {len(scores[name]): full, **group.losses(outputs, x, labels)}
                sums[name] = {width: sums[name].get(width, 0.0) + loss for width, loss in losses.items()}
    clips = max(1, sum(len(labels) for _, labels in batches))
    return {name: {width: total / clips for width, total in losses.items()} for name, losses in sums.items()}


def _with_plain_weights(model: nn.Module, batches: Batches, device: torch.device) -> nn.Module:
    """The network, or a copy with plain weights where weight norm makes some: only those can be silenced."""
    if not has_weight_norms(model) or not batches:
        return model
    model(batches[0][0].to(device))  # the weights of a training step cannot be copied, those of inference can
    copied = copy.deepcopy(model)
    PlainWeights(copied)
    return copied


class _Group:
    """A group whose filters can be silenced."""

    def __init__(self, model: nn.Module, graph: Graph, name: str, scores: Tensor) -> None:
        self._model = model
        self._ranking = scores.argsort(descending=True, stable=True)
        readers = [op for op in graph.operators if op.path and any(block.group == name for block in op.inputs)]
        first = graph.operators.index(readers[0]) if readers else len(graph.operators)
        self._before = {op.path for op in graph.operators[:first] if op.path}
        tensors = dict(model.named_parameters())
        self._reads = [
            (tensors[cut.tensor], cut.axis, _places(cut.channels, graph, name))
            for cut in graph.cuts
            if not cut.silences and cut.tensor in tensors and any(block.group == name for block in cut.channels)
        ]

    def losses(self, outputs: Mapping[str, Tensor], x: Tensor, labels: Tensor) -> dict[int, float]:
        """Summed loss of a batch by the number of filters kept."""
        originals = [weight.clone() for weight, _, _ in self._reads]
        filters = len(self._ranking)
        widths = sorted({1, *(max(1, round(filters * share)) for share in SHARES)} - {filters}, reverse=True)
        losses = {}
        try:
            with _replayed(self._model, {path: output for path, output in outputs.items() if path in self._before}):
                for width in widths:
                    for weight, axis, places in self._reads:
                        gone = torch.isin(places, self._ranking[width:]).nonzero().flatten()
                        weight.index_fill_(axis, gone.to(weight.device), 0.0)
                    losses[width] = _loss(self._model, x, labels)
        finally:
            for (weight, _, _), original in zip(self._reads, originals, strict=True):
                weight.copy_(original)
        return losses


def _places(channels: Blocks, graph: Graph, name: str) -> Tensor:
    """By place on an axis, which filter of a group is there; -1 where none is."""
    return torch.tensor(
        [filter if group == name else -1 for group, filter in graph.places(channels)], dtype=torch.int64
    )


@contextmanager
def _recorded(model: nn.Module, graph: Graph) -> Iterator[dict[str, Tensor]]:
    """By path, what the layers that run once put out while the network runs."""
    outputs: dict[str, Tensor] = {}

    def record(path: str) -> Any:
        def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):  # recurrent layers put out more than one
                outputs[path] = output.clone()  # which the network may change in place

        return keep

    runs = Counter(operator.path for operator in graph.operators if operator.inputs and operator.path)
    layers = {path: model.get_submodule(path) for path, times in runs.items() if times == 1}
    hooks = [layer.register_forward_hook(record(path)) for path, layer in layers.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _replayed(model: nn.Module, outputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Layers that put out what was recorded, and compute nothing."""
    layers = [model.get_submodule(path) for path in outputs]
    try:
        for layer, output in zip(layers, outputs.values(), strict=True):
            layer.__dict__["forward"] = lambda *_, output=output, **__: output.clone()
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _loss(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Cross entropy, summed over the clips of a batch."""
    return float(summed_loss(model(x), labels))
