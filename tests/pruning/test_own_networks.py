"""Small networks of the shapes that audio people use: pruned to half their MACs and right, or refused for a reason."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from test_random_networks import one_thread, silenced
from torch import nn

import edgeprune
from edgeprune import Budget, Prune
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import count
from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import trace
from edgeprune.pruning.allocation.sensitivity import measure_losses

pytestmark = pytest.mark.slow
__all__ = ["one_thread"]  # a fixture that all tests here use
FILE = Path(__file__).parents[2] / "../shared/cases/networks.py"

REFUSED = {"activation LogSigmoid": r"log_sigmoid \(networks.py, line \d+\) makes something else than zero of a silent"}
"""Networks none of whose layers may lose filters, and the reason that is given for the first."""
FROZEN = {
    "spatial gate of CBAM": {"a": "mean (networks.py, line"},
    "auxiliary head that only training returns": {"aux1": "the output in inference", "aux2": "the output in inference"},
    "normalisation LayerNorm": {"c1": "layer_norm (networks.py, line"},
    "operator 1 - x": {"a": "rsub (networks.py, line"},
}
"""Layers of the other networks that keep all filters, apart from the last one of each, and how the reason starts."""


def _cases():
    if not FILE.is_file():
        return {}
    spec = importlib.util.spec_from_file_location("networks", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


CASES = _cases()


def _network(name: str):
    torch.manual_seed(0)
    model, example = CASES[name]()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            nn.init.normal_(norm.running_mean, std=0.3)
    return model, example


@pytest.mark.skipif(not CASES, reason="../shared/cases/networks.py is not there")
@pytest.mark.parametrize("name", sorted(CASES) or ["none"])
def test_it_is_pruned_and_right_or_refused_for_a_reason(name) -> None:
    model, example = _network(name)
    graph = trace(model, example)
    assert graph.unknown == ()
    whole = count(graph)
    budget = Budget(macs=whole.macs // 2)
    if name in REFUSED:
        with pytest.raises(EdgepruneError, match=rf"has no layer that may lose filters \(\S+ {REFUSED[name]}"):
            edgeprune.prune(model, example, budget)
        return
    frozen = {group.name: group.reason for group in graph.groups.values() if "network's output" not in group.reason}
    frozen = {layer: reason for layer, reason in frozen.items() if reason}
    assert frozen.keys() == FROZEN.get(name, {}).keys()
    assert all(frozen[layer].startswith(reason) for layer, reason in FROZEN.get(name, {}).items())
    pruned, allocation = edgeprune.prune(model, example, budget)
    found = count(trace(pruned, example))
    assert (found.params, found.macs, found.arena_bytes) == (
        allocation.cost.params,
        allocation.cost.macs,
        allocation.cost.arena_bytes,
    )
    assert 0.4 * whole.macs < found.macs <= budget.macs
    inputs = tuple(x.double() for x in (example if isinstance(example, tuple) else (example,)))
    exact = copy.deepcopy(model).double()
    kept = {
        group: list(range(1, graph.groups[group].filters))
        for group in graph.prunable()
        if graph.groups[group].filters > 1
    }
    without_first = remove(exact, inputs, graph, kept)
    with torch.no_grad():
        one, two = without_first(*inputs), silenced(exact, graph, kept, inputs)(*inputs)
    assert (one - two).abs().max() <= 1e-9 * two.abs().max()


@pytest.mark.skipif(not CASES, reason="../shared/cases/networks.py is not there")
def test_how_many_are_pruned() -> None:
    assert len(CASES) - len(REFUSED) >= 26
    assert REFUSED.keys() <= CASES.keys()
    assert FROZEN.keys() <= CASES.keys()


class Layers(nn.Module):
    """Modules by name, and a function that says how they follow each other."""

    def __init__(self, forward, **layers: nn.Module) -> None:
        super().__init__()
        self.how = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs):
        return self.how(self, *inputs)


def _conv(channels: int, filters: int, size: int = 3, **settings) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, size, padding=size // 2, **settings)


class SubSpectralNorm(nn.Module):
    """A batch norm for each band of frequencies (Chang et al., ICASSP 2021)."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(channels * bands)

    def forward(self, x):
        clips, channels, rows, frames = x.shape
        y = self.norm(x.view(clips, channels * self.bands, rows // self.bands, frames))
        return y.view(clips, channels, rows, frames)


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al., CVPR 2023)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.rand(channels))

    def forward(self, x):
        size = x.norm(dim=(2, 3), keepdim=True)
        y = x * (size / (size.mean(1, keepdim=True) + 1e-6))
        return self.gamma[:, None, None] * y + self.beta[:, None, None] + x


class Recurrent(nn.Module):
    """The units of a recurrent layer at the last step."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.mean(2).transpose(1, 2))[0][:, -1]


def _shuffled(m, x):
    """A unit of ShuffleNet V2: half of the channels pass, the other half are filtered, then both are interleaved."""
    y = m.stem(x).relu()
    for block in (m.one, m.two):
        left, right = y.chunk(2, 1)
        y = torch.cat([left, block(right).relu()], 1)
        y = y.view(len(y), 2, -1, 8, 8).transpose(1, 2).flatten(1, 2)
    return m.head(y.mean((2, 3)))


def _attended(m, x):
    y = m.stem(x).relu().mean(2)
    weights = m.score(y.transpose(1, 2)).softmax(1)
    return m.head((y @ weights).squeeze(2))


def _plain(m, x):
    return m.head(m.after(m.between(m.stem(x))).relu().mean((2, 3)))


def _between(between: nn.Module, channels: int = 8) -> Layers:
    return Layers(_plain, stem=_conv(1, 8), between=between, after=_conv(channels, 6), head=nn.Linear(6, 3))


OWN = {
    "shuffled": (
        lambda: Layers(_shuffled, stem=_conv(1, 8), one=_conv(4, 4), two=_conv(4, 4), head=nn.Linear(8, 3)),
        {"stem": 2},  # one filter of each quarter, since both units halve what they read
        {},
    ),
    "attended": (
        lambda: Layers(_attended, stem=_conv(1, 8), score=nn.Linear(8, 1), head=nn.Linear(8, 3)),
        {"stem": 8, "score": 1},
        {},
    ),
    "facts, then a flatten": (
        lambda: Layers(
            lambda m, x: m.head(torch.cat([x.mean((2, 3)), m.stem(x).flatten(1)], 1)),
            stem=_conv(1, 8),
            head=nn.Linear(1 + 512, 3),
        ),
        {"stem": 8},
        {},
    ),
    "gated linear unit": (lambda: _between(nn.GLU(1), 4), {"stem": 4, "after": 6}, {}),
    "weight norm": (
        lambda: _between(nn.utils.parametrizations.weight_norm(_conv(8, 8))),
        {"stem": 8, "between": 8, "after": 6},
        {},
    ),
    "weight norm of old": (
        lambda: _between(nn.utils.weight_norm(_conv(8, 8))),
        {"stem": 8, "between": 8, "after": 6},
        {},
    ),
    "transposed": (lambda: _between(nn.ConvTranspose2d(8, 8, 2, 2)), {"stem": 8, "between": 8, "after": 6}, {}),
    "grouped": (lambda: _between(_conv(8, 12, groups=4), 12), {"stem": 4, "after": 6}, {}),
    "channels doubled by a depthwise layer": (
        lambda: _between(_conv(8, 16, groups=8), 16),
        {"stem": 8, "after": 6},
        {},
    ),
    "norms of bands": (lambda: _between(SubSpectralNorm(8, 4)), {"stem": 8, "after": 6}, {}),
    "response norm": (lambda: _between(ResponseNorm(8)), {"after": 6}, {"stem": "mean (test_own_networks.py, line"}),
    "norm over time": (lambda: _between(nn.LayerNorm(8)), {"after": 6}, {"stem": "layer_norm (test_own"}),
    "norm over time, no shift": (lambda: _between(nn.LayerNorm(8, bias=False)), {"stem": 8, "after": 6}, {}),
    **{
        kind.__name__: (
            lambda kind=kind: Layers(
                lambda m, x: m.head(m.units(m.stem(x).relu())),
                stem=_conv(1, 8),
                units=Recurrent(kind(8, 5, batch_first=True, bidirectional=True, num_layers=2)),
                head=nn.Linear(10, 3),
            ),
            {"stem": 8},
            {},
        )
        for kind in (nn.GRU, nn.LSTM)
    },
}
"""Networks of one input `[2, 1, 8, 8]`; the filters of the groups that may lose some; why others keep theirs."""


@pytest.mark.parametrize("name", sorted(OWN))
def test_what_can_be_pruned(name) -> None:
    make, widths, frozen = OWN[name]
    torch.manual_seed(0)
    model, x = make().double().eval(), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.bias)
    graph = trace(model, x)
    assert {group: found.filters for group, found in graph.prunable(True).items()} == widths
    for layer, reason in frozen.items():
        assert graph.groups[layer].reason.startswith(reason)
    assert graph.unknown == ()
    assert count(graph).params_trainable == sum(p.numel() for p in model.parameters()) - (
        8 if "weight norm" in name else 0
    )
    kept = {group: list(range(filters // 2, filters)) for group, filters in widths.items()}
    pruned = remove(model, x, graph, kept)
    with torch.no_grad():
        one, two = pruned(x), silenced(model, graph, kept, (x,))(x)
    assert (one - two).abs().max() <= 1e-9 * two.abs().max()
    found = count(trace(pruned, x))
    expected = count(graph, {group: len(keep) for group, keep in kept.items()})
    assert (found.params, found.macs, found.arena_bytes) == (expected.params, expected.macs, expected.arena_bytes)
    pruned.train()
    pruned(x).sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


@pytest.mark.parametrize("criterion", ["operator_norm", "similarity", "hrank", "taylor", "random"])
@pytest.mark.parametrize("name", ["transposed", "grouped", "weight norm", "GRU", "gated linear unit"])
def test_every_criterion_judges_them(name, criterion) -> None:
    torch.manual_seed(0)
    model, x = OWN[name][0](), torch.randn(2, 1, 8, 8)
    pruned, allocation = edgeprune.prune(
        model,
        x,
        settings=Prune(keep=0.5, criterion=criterion, objective="sensitivity"),
        batches=[(x, torch.tensor([0, 2]))],
    )
    assert allocation.widths == {group: max(1, filters // 2) for group, filters in OWN[name][1].items()}
    assert pruned(x).shape == (2, 3)


@pytest.mark.parametrize("name", ["weight norm", "weight norm of old"])
def test_the_loss_without_filters_that_weight_norm_reads(name) -> None:
    """As of the network whose filters put out zero; the first step of training left its weights with gradients."""
    torch.manual_seed(0)
    model, x, labels = OWN[name][0](), torch.randn(2, 1, 8, 8), torch.tensor([0, 2])
    model.train()(x)
    graph = trace(model, x)
    scores = {group: torch.arange(filters, 0.0, -1) for group, filters in OWN[name][1].items()}
    losses = measure_losses(model, graph, scores, [(x, labels)])
    with torch.no_grad():
        quiet = silenced(model.eval(), graph, {"stem": [0]}, (x,))
        expected = float(nn.functional.cross_entropy(quiet(x), labels))
    assert losses["stem"][1] == pytest.approx(expected, rel=1e-5)
    assert losses["stem"][1] != pytest.approx(losses["stem"][8], rel=1e-3)


def test_the_message_on_a_budget_tells_why_its_heaviest_layer_stays_whole() -> None:
    torch.manual_seed(0)
    model = Layers(
        lambda m, x: m.head(m.wide(x).softmax(1).mean((2, 3)) + m.narrow(x).mean((2, 3))),
        wide=_conv(1, 64),
        narrow=_conv(1, 64, 1),
        head=nn.Linear(64, 3),
    )
    with pytest.raises(EdgepruneError, match="has no layer that may lose filters"):
        edgeprune.prune(model, torch.randn(1, 1, 8, 8), Budget(macs=1000))
    model = Layers(
        lambda m, x: m.head(m.last(m.wide(x).softmax(1)).mean((2, 3))),
        wide=_conv(1, 64),
        last=_conv(64, 4, 1),
        head=nn.Linear(4, 3),
    )
    with pytest.raises(
        EdgepruneError, match=r"'wide' .*; it keeps all filters: softmax \(test_own_networks.py, line \d+\)"
    ):
        edgeprune.prune(model, torch.randn(1, 1, 8, 8), Budget(macs=30_000))
