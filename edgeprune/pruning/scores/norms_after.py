"""Which batch norm directly follows a layer, by the network's graph."""

from collections.abc import Mapping

from torch import Tensor, nn

from edgeprune.graph.graph import Graph


def scales_after(model: nn.Module, graph: Graph, layers: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    """Scales `[filters]` of the batch norms that directly follow each layer, one a call; other layers are left out."""
    names = {id(layer): name for name, layer in layers.items()}
    scales: dict[str, list[Tensor]] = {}
    for operator in graph.operators:
        name = names.get(id(model.get_submodule(operator.path))) if operator.path else None
        if name is not None and operator.norm_scale:
            scales.setdefault(name, []).append(model.get_parameter(operator.norm_scale))
    return scales
