"""The parameters of a network without some filters, or with these filters silenced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, remove_weight_norm, weight_norm

from edgeprune.graph.graph import Graph


@dataclass(frozen=True)
class Entries:
    """What goes and what stays on one axis of a parameter or buffer; `silences` as in `graph.Cut`."""

    tensor: str
    axis: int
    kept: Tensor
    gone: Tensor
    silences: bool


def entries_to_cut(graph: Graph, kept: Mapping[str, Sequence[int]]) -> list[Entries]:
    """The entries of all parameters and buffers that belong to filters which are not kept."""
    keeps = {name: set(filters) for name, filters in kept.items()}
    entries = []
    for cut in graph.cuts:
        if any(block.group in kept for block in cut.channels):
            places = graph.places(cut.channels)
            stays = torch.tensor([group not in keeps or filter in keeps[group] for group, filter in places])
            kept_places, gone = stays.nonzero().flatten(), (~stays).nonzero().flatten()
            entries.append(Entries(cut.tensor, cut.axis, kept_places, gone, cut.silences))
    return entries


@torch.no_grad()
def silence(model: nn.Module, entries: Sequence[Entries]) -> None:
    """Make the weights, biases, scales and shifts of the filters that go zero."""
    tensors = _tensors(model)
    for entry in entries:
        if entry.silences:
            tensors[entry.tensor].index_fill_(entry.axis, entry.gone, 0)


@torch.no_grad()
def cut(model: nn.Module, entries: Sequence[Entries]) -> None:
    """Take the filters that go out of all parameters and buffers, and correct the sizes that modules hold."""
    tensors = _tensors(model)
    shorter: dict[str, Tensor] = {}
    for entry in entries:
        tensor = shorter.get(entry.tensor, tensors[entry.tensor])
        shorter[entry.tensor] = tensor.index_select(entry.axis, entry.kept)
    replaced = {
        id(tensors[name]): nn.Parameter(tensor, tensors[name].requires_grad)
        if isinstance(tensors[name], nn.Parameter)
        else tensor
        for name, tensor in shorter.items()
    }
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name in [name for name, tensor in held.items() if id(tensor) in replaced]:
                setattr(module, name, replaced[id(held[name])])
        _correct_sizes(module)


class PlainWeights:
    """A network whose weight norms are folded into plain weights until `restore` norms them again."""

    def __init__(self, model: nn.Module) -> None:
        self._new = [module for module in model.modules() if _has_weight_norm(module)]
        self._old = [module for module in model.modules() if _has_old_weight_norm(module)]
        self._dims: list[Any] = [module.parametrizations.weight[0].dim for module in self._new]  # type: ignore[index,union-attr]
        for module in self._new:
            # not `remove_parametrizations`: it takes the weight out of a class that the original shares
            weight = nn.Parameter(module.weight.detach().clone())  # type: ignore[operator]
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module._modules["parametrizations"]
            module.weight = weight
        for module in self._old:
            remove_weight_norm(module)

    def restore(self) -> None:
        for module, dim in zip(self._new, self._dims, strict=True):
            parametrizations.weight_norm(module, dim=dim)
        for module in self._old:
            weight_norm(module)


def has_weight_norms(model: nn.Module) -> bool:
    return any(_has_weight_norm(module) or _has_old_weight_norm(module) for module in model.modules())


def _has_old_weight_norm(module: nn.Module) -> bool:
    return "weight_g" in module._parameters


def _has_weight_norm(module: nn.Module) -> bool:
    made = getattr(module, "parametrizations", {})
    return "weight" in made and type(made["weight"][0]).__name__ == "_WeightNorm" and len(made["weight"]) == 1


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


def _correct_sizes(module: nn.Module) -> None:
    """Set the sizes that a module of PyTorch holds to those of its parameters."""
    if isinstance(module, nn.modules.conv._ConvNd):
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        # the first axis has all channels or filters, the second those of one group
        first, second = module.weight.shape[:2]
        if module.groups > 1:
            module.groups = first // ((module.in_channels if transposed else module.out_channels) // module.groups)
        sizes = first, second * module.groups
        module.in_channels, module.out_channels = sizes if transposed else sizes[::-1]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        held = module.weight if module.affine else module.running_mean
        module.num_features = module.num_features if held is None else len(held)
    elif isinstance(module, nn.GroupNorm) and module.affine:
        module.num_groups = len(module.weight) // (module.num_channels // module.num_groups)
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.RNNBase):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
