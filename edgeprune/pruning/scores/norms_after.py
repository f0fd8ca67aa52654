"""Which batch norm follows a layer, from the network's code alone, for when there is no input to run it on."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.pruning.scores.capture import own_weight


def traced_scales(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    """Scales `[filters]` of the batch norms that directly follow each layer; layers without are left out.

    Raises:
        Exception: whatever PyTorch's symbolic tracing raises where the path through the network depends on its input.
    """
    names = {id(layer): name for name, layer in layers.items()}
    names |= {id(own_weight(layer)): name for name, layer in layers.items() if own_weight(layer) is not None}
    scales: dict[str, list[Tensor]] = {}
    for node in _Tracer(layers).trace(model).nodes:
        is_norm, scale = _norm(model, node)
        before = node.args[0] if is_norm and node.args else None
        if scale is not None and isinstance(before, fx.Node):
            name = names.get(id(_layer(model, before)))
            if name is not None:
                scales.setdefault(name, []).append(scale)
    return scales


class _Tracer(fx.Tracer):
    """Looks into everything but PyTorch's own modules and the layers."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._whole = {id(layer) for layer in layers.values()}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return id(m) in self._whole or isinstance(m, _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def _norm(model: nn.Module, node: fx.Node) -> tuple[bool, Tensor | None]:
    """Whether a node is batch norm, and its scale."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return isinstance(module, _BatchNorm), getattr(module, "weight", None)
    if node.op == "call_function" and getattr(node.target, "__name__", "") == "batch_norm":
        return True, _parameter(model, node, 3 if node.target is F.batch_norm else 1)
    return False, None


def _layer(model: nn.Module, node: fx.Node) -> nn.Module | Tensor | None:
    """The module a node calls, or the weight it gives to a function."""
    if node.op == "call_module":
        return model.get_submodule(str(node.target))
    return _parameter(model, node, 1) if node.op == "call_function" else None


def _parameter(model: nn.Module, node: fx.Node, place: int) -> Tensor | None:
    given: Any = node.kwargs.get("weight", node.args[place] if len(node.args) > place else None)
    if isinstance(given, fx.Node) and given.op == "get_attr":
        return model.get_parameter(str(given.target))
    return None
