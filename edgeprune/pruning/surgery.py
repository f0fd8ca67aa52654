"""Taking filters out of a network: torch-pruning's dependency graph behind a thin door."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import ModelSpec
from edgeprune.pruning.scores import score


def prunable_layers(model: nn.Module, dense_layers: bool = False) -> dict[str, nn.Module]:
    """Layers that may lose filters by their short name, in order: convolutions, and hidden dense layers if asked."""
    kinds = (nn.Conv2d, nn.Linear) if dense_layers else (nn.Conv2d,)
    found = [(path.rsplit(".", 1)[-1], layer) for path, layer in model.named_modules() if isinstance(layer, kinds)]
    return {name: layer for name, layer in found if name != "output"}


def score_layers(model: nn.Module, criterion: str, dense_layers: bool = False) -> dict[str, torch.Tensor]:
    """Scores of the prunable layers, each `[filters]`."""
    return {
        name: score(layer.weight, criterion, name)  # type: ignore[arg-type]
        for name, layer in prunable_layers(model, dense_layers).items()
    }


def choose_filters(scores: Mapping[str, torch.Tensor], widths: Mapping[str, int]) -> dict[str, list[int]]:
    """Filters each layer keeps, in ascending order: the highest scores, earlier filters first among equals."""
    return {
        name: sorted(values.argsort(descending=True, stable=True)[: widths[name]].tolist())
        for name, values in scores.items()
    }


def remove_filters(model: nn.Module, spec: ModelSpec, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, ModelSpec]:
    """A copy of the network without the filters that are not kept, and its spec.

    Everything that depends on a filter goes with it: its batch norm, its channel in the next convolution, and the
    columns of the next dense layer that the flatten gives it.

    Raises:
        EdgepruneError: a layer is unknown, or would lose all its filters.
    """
    import torch_pruning

    pruned = copy.deepcopy(model).cpu().eval()
    layers = prunable_layers(pruned, dense_layers=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(pruned, torch.zeros(1, *spec.input_shape))
        for name, keep in kept.items():
            if name not in layers:
                raise EdgepruneError(f"layer '{name}' of {spec.name} cannot be pruned; it has: {', '.join(layers)}.")
            layer = layers[name]
            gone = sorted(set(range(len(layer.weight))) - set(keep))  # type: ignore[arg-type]
            if len(gone) == len(layer.weight):  # type: ignore[arg-type]
                raise EdgepruneError(f"layer '{name}' of {spec.name} would lose all its filters; keep at least one.")
            if gone:
                how = torch_pruning.prune_conv_out_channels
                if isinstance(layer, nn.Linear):
                    how = torch_pruning.prune_linear_out_channels
                graph.get_pruning_group(layer, how, idxs=gone).prune()
    widths = {**spec.widths, **{name: len(layers[name].weight) for name in layers if name in spec.widths}}  # type: ignore[arg-type]
    # the graph leaves gradients and requires_grad in mixed states: a network is its spec and its weights
    from edgeprune.models.registry import build

    slim = replace(spec, widths=widths)
    fresh = build(slim)
    fresh.load_state_dict(pruned.state_dict())
    return fresh.eval(), slim
