"""Removing filters from a network, by torch-pruning's dependency graph."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import graph_of
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import ModelSpec, build


def remove(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], graph: Graph, kept: Mapping[str, Sequence[int]]
) -> nn.Module:
    """A copy of the network without the filters that are not kept, in evaluation mode on the CPU.

    Everything that depends on a filter goes with it: the same filter of the other layers in its group, its batch norm,
    its channel in the next layers, and its columns of the next dense layer after a flatten.

    `example` is the input `graph` was traced with; `kept` has the filters by group, and groups it lacks keep theirs.
    """
    import torch_pruning

    _check(graph, kept)
    pruned = copy.deepcopy(model).cpu().eval().requires_grad_(True)  # the dependencies are read from the gradients
    example = tuple(x.cpu() for x in (example if isinstance(example, tuple) else (example,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dependencies = torch_pruning.DependencyGraph().build_dependency(pruned, example)
        for name, keep in kept.items():
            group = graph.groups[name]
            gone = sorted(set(range(group.filters)) - set(keep))
            if gone:
                layer = pruned.get_submodule(group.layers[0])
                dense = isinstance(layer, nn.Linear)
                prune = torch_pruning.prune_linear_out_channels if dense else torch_pruning.prune_conv_out_channels
                dependencies.get_pruning_group(layer, prune, idxs=gone).prune()
    for name, keep in kept.items():
        filters = len(set(keep))
        for path in graph.groups[name].layers:
            left = len(pruned.get_submodule(path).weight)  # type: ignore[arg-type]
            if left != filters:
                raise EdgepruneError(
                    f"layer '{path}' has {left} filters after pruning, not {filters}; the network's layers depend on "
                    "each other in a way that is not understood."
                )
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in pruned.named_parameters():
        parameter.requires_grad_(wanted[name])
        parameter.grad = None
    return pruned


def _check(graph: Graph, kept: Mapping[str, Sequence[int]]) -> None:
    known = graph.prunable(dense_layers=True)
    for name, keep in kept.items():
        if name not in known:
            raise EdgepruneError(f"layer '{name}' cannot be pruned; those that can: {', '.join(known)}.")
        filters = known[name].filters
        if not keep:
            raise EdgepruneError(f"layer '{name}' would lose all its filters; keep at least one.")
        if min(keep) < 0 or max(keep) >= filters:
            raise EdgepruneError(f"layer '{name}' has filters 0 to {filters - 1}, not {min(keep)} to {max(keep)}.")


def remove_filters(model: nn.Module, spec: ModelSpec, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, ModelSpec]:
    """`remove` for a network of the registry; returns the copy and its spec."""
    pruned = remove(model, torch.zeros(1, *spec.input_shape), graph_of(spec), kept)
    slim = replace(spec, widths={**spec.widths, **{name: len(set(keep)) for name, keep in kept.items()}})
    fresh = build(slim)
    fresh.load_state_dict(pruned.state_dict())
    return fresh.eval(), slim
