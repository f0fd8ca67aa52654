"""Random networks without filters equal those in which the filters are silenced; never wrong, never a traceback."""

import copy
import random

import pytest
import torch
from random_networks import FACTS, MAP, RandomNetwork, Side
from torch import Tensor, nn

from edgeprune.graph.cost import count
from edgeprune.graph.graph import Graph
from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import LAYERS, trace

pytestmark = pytest.mark.slow
NORMS = nn.modules.batchnorm._NormBase | nn.GroupNorm


@pytest.fixture(autouse=True)
def one_thread():
    """Threads only wait for each other where tensors are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@torch.no_grad()
def silenced(model: nn.Module, graph: Graph, kept: dict[str, list[int]], inputs: tuple[Tensor, ...]) -> nn.Module:
    """The network whose filters put out zero, and so do the norms behind them.

    Which channel of a norm is a filter's is not asked of the graph: the filters put out NaN, and where a norm reads NaN
    it reads them. Layers that sum over channels read zero instead, so that NaN goes no further.
    """
    model = copy.deepcopy(model)
    gone: dict[str, list[int]] = {}
    for name, keep in kept.items():
        for layer in graph.groups[name].layers:
            places = enumerate(graph.places(graph.filters_of(layer)))
            gone.setdefault(layer, []).extend(at for at, (group, one) in places if group == name and one not in keep)
    heard: dict[str, list[int]] = {}

    def speak(layer, _inputs, output, places=()):
        output.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0)[places] = torch.nan

    def listen(_layer, inputs, path=""):
        heard[path] = inputs[0].isnan().movedim(1, 0).flatten(1).any(1).nonzero().flatten().tolist()
        return inputs[0].nan_to_num(0) if isinstance(model.get_submodule(path), nn.GroupNorm) else None

    hooks = [
        model.get_submodule(path).register_forward_hook(lambda *a, p=p: speak(*a, places=p)) for path, p in gone.items()
    ]
    for path, module in model.named_modules():
        if isinstance(module, LAYERS) and getattr(module, "groups", 1) == 1:
            hooks.append(module.register_forward_pre_hook(lambda _m, x: x[0].nan_to_num(0)))
        elif isinstance(module, NORMS):
            hooks.append(module.register_forward_pre_hook(lambda m, x, path=path: listen(m, x, path)))
    model(*inputs)
    for hook in hooks:
        hook.remove()
    for path, places in gone.items():
        layer = model.get_submodule(path)
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) and layer.groups == 1 else 0
        _zero(_held(layer), layer, axis, places)
        if layer.bias is not None:
            layer.bias[places] = 0
    for path, places in heard.items():
        norm = model.get_submodule(path)
        norm.weight[places] = norm.bias[places] = 0
    return model


def _held(layer: nn.Module) -> Tensor:
    """The weight of a layer; of one with weight norm, the norms of its filters."""
    if hasattr(layer, "parametrizations"):
        return layer.parametrizations.weight.original0
    return getattr(layer, "weight_g", layer.weight)


def _zero(weight: Tensor, layer: nn.Module, axis: int, places: list[int]) -> None:
    """Zero the weights of filters; of a grouped transposed convolution they are in the rows of their group."""
    if isinstance(layer, nn.ConvTranspose2d) and layer.groups > 1:
        each = weight.shape[1]
        rows = weight.view(layer.groups, -1, *weight.shape[1:])
        for place in places:
            rows[place // each, :, place % each] = 0
    else:
        weight.index_fill_(axis, torch.tensor(places, dtype=torch.int64), 0)


@pytest.mark.parametrize("batch", range(40))
def test_pruned_equals_silenced(batch) -> None:
    torch.manual_seed(batch)
    draw = random.Random(batch)
    networks = [RandomNetwork(1000 * batch + number, draw.randint(1, 4)) for number in range(50)]
    model = Side(networks).double().eval()
    inputs = (torch.randn(MAP, dtype=torch.float64), torch.randn(FACTS, dtype=torch.float64))
    graph = trace(model, inputs)
    kept = {
        name: sorted(draw.sample(range(group.filters), draw.randint(min(2, group.filters), group.filters)))
        for name, group in graph.prunable(dense_layers=True).items()
    }
    pruned = remove(model, inputs, graph, kept)
    other = silenced(model, graph, kept, inputs)
    with torch.no_grad():
        for network, (one, two) in enumerate(zip(pruned(*inputs), other(*inputs), strict=True)):
            assert (one - two).abs().max() <= 1e-9 * two.abs().max(), networks[network].steps
    if batch % 10 == 0:
        found = count(trace(pruned, inputs))
        expected = count(graph, {name: len(keep) for name, keep in kept.items()})
        assert (found.params, found.macs, found.flash_bytes) == (expected.params, expected.macs, expected.flash_bytes)
        assert found.arena_bytes == expected.arena_bytes


def test_most_layers_of_random_networks_may_be_pruned() -> None:
    """So the test above does not hold because all is frozen."""
    torch.manual_seed(0)
    model = Side([RandomNetwork(number, 5) for number in range(40)]).eval()
    graph = trace(model, (torch.randn(MAP), torch.randn(FACTS)))
    hidden = [group for group in graph.groups.values() if "output" not in group.reason]
    assert sum(not group.frozen for group in hidden) > 0.6 * len(hidden)
