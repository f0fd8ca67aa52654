"""Pruning networks of one's own: consistent, within the budget, equal to the network with silenced filters."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import EXAMPLES, Branches, Residual, Separable
from torch import nn
from torch.nn import functional as F

import edgeprune
from edgeprune import Budget, Prune
from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.graph.cost import Cost, count
from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import trace
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.group_scores import combine, score_groups

NETWORKS = {
    "residual": (Residual, (1, 3, 8, 8)),
    "separable": (Separable, (1, 1, 8, 8)),
    "1d": (Branches, (1, 2, 10)),
    "resnet50_cifar": (lambda: build(make_spec("resnet50_cifar", 4, (3, 8, 8), 0.07)), (1, 3, 8, 8)),
    "resnet50": (lambda: build(make_spec("resnet50", 4, (1, 32, 40), 0.07)), (1, 1, 32, 40)),
    "vgg16": (lambda: build(make_spec("vgg16", 4, (1, 28, 28), 0.07)), (1, 1, 28, 28)),
    "cnn14": (lambda: build(make_spec("cnn14", 4, (1, 40, 64), 0.04)), (1, 1, 40, 64)),
}
NORMS = nn.BatchNorm1d | nn.BatchNorm2d


def _network(name: str, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    kind, shape = NETWORKS[name]
    torch.manual_seed(seed)
    model = kind().double().eval()
    for layer in model.modules():
        if isinstance(layer, NORMS):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return model, torch.randn(3, *shape[1:], dtype=torch.float64)


def _norm_after(model: nn.Module, x: torch.Tensor) -> dict[str, str]:
    """Which batch norm is given what a layer put out, by running the network."""
    made: dict[int, str] = {}
    found: dict[str, str] = {}
    kept = []  # or another tensor takes the identity

    def note(path):
        def hook(module, inputs, output):
            if isinstance(module, NORMS) and id(inputs[0]) in made:
                found[made[id(inputs[0])]] = path
            elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                made[id(output)] = path
            kept.append((inputs, output))

        return hook

    hooks = [module.register_forward_hook(note(path)) for path, module in model.named_modules()]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def _silenced(model: nn.Module, layers: dict[str, list[int]], x: torch.Tensor) -> torch.Tensor:
    """Output when the filters that are not kept put out nothing; of all layers here an activation keeps zero at zero
    (or multiplies it)."""
    norms = _norm_after(model, x)
    model = copy.deepcopy(model)
    for path, keep in layers.items():
        for owner in (path, norms.get(path)):
            if owner is None:
                continue
            layer = model.get_submodule(owner)
            gone = sorted(set(range(len(layer.weight))) - set(keep))
            layer.weight[gone] = 0
            if layer.bias is not None:
                layer.bias[gone] = 0
    return model(x)


@st.composite
def cases(draw):
    name = draw(st.sampled_from(sorted(NETWORKS)))
    seed = draw(st.integers(0, 99))
    share = draw(st.floats(0.2, 1.0))
    return name, seed, share


def _some(filters: int, share: float, generator: torch.Generator) -> list[int]:
    keep = max(1, round(filters * share))
    return sorted(torch.randperm(filters, generator=generator)[:keep].tolist())


def _without_kinds(cost: Cost) -> Cost:
    """A depthwise layer of one channel is an ordinary one."""
    return replace(cost, by_layer=tuple(replace(layer, kind="") for layer in cost.by_layer))


def _assert_equal(name: str, seed: int, share: float) -> None:
    model, x = _network(name, seed)
    graph = trace(model, x)
    generator = torch.Generator().manual_seed(seed)
    groups = graph.prunable(dense_layers=True)
    kept = {group: _some(found.filters, share, generator) for group, found in groups.items()}
    pruned = remove(model, x, graph, kept)
    layers = {path: kept[group] for group, found in groups.items() for path in found.layers}
    expected = _silenced(model, layers, x)
    with torch.no_grad():
        distance = (pruned(x) - expected).abs().max() / expected.abs().max()
    assert distance < 1e-6
    widths = {group: len(keep) for group, keep in kept.items()}
    found = count(graph, widths)
    assert _without_kinds(count(trace(pruned, x))) == _without_kinds(found)
    assert sum(parameter.numel() for parameter in pruned.parameters()) == found.params_trainable


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(case=cases())
def test_pruned_equals_silenced(case) -> None:
    _assert_equal(*case)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_half_of_everything(name) -> None:
    _assert_equal(name, seed=1, share=0.5)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.parametrize("criterion", ["operator_norm", "l1", "random"])
def test_the_budget_is_met_by_the_network_that_comes_back(name, criterion) -> None:
    model, x = _network(name)
    whole = count(trace(model, x))
    budget = Budget(macs=whole.macs // 2, params=int(whole.params * 0.6), flash=int(whole.flash_bytes * 0.7))
    pruned, plan = edgeprune.prune(model, x, budget, Prune(criterion=criterion))
    found = count(trace(pruned, x))
    assert found == plan.cost
    assert found.macs <= budget.macs
    assert found.params <= budget.params
    assert found.flash_bytes <= budget.flash
    assert not pruned.training


def test_filters_of_a_group_are_chosen_together() -> None:
    """A filter that one layer finds weak and the other strong stays before one that both find weak."""
    model, x = _network("residual")
    with torch.no_grad():
        for layer in (model.stem, model.outer):
            layer.weight.fill_(1.0)
        model.stem.weight[0] *= 0.1
        model.stem.weight[1] *= 0.1
        model.outer.weight[0] *= 0.1
        model.outer.weight[1] *= 9.0
    graph = trace(model, x)
    scores = score_groups(model, graph, "l1")["stem"]
    assert scores.argsort().tolist()[0] == 0
    assert scores[1] == scores.max()
    stem, outer = (layer.weight.flatten(1).abs().sum(1) for layer in (model.stem, model.outer))
    assert torch.allclose(scores, (stem / stem.mean() + outer / outer.mean()).detach() / 2)


def test_scores_of_one_layer_stay_and_layers_without_any_do_not_count() -> None:
    one = torch.tensor([3.0, 5.0], dtype=torch.float64)
    assert combine([one]) is one
    assert combine([one, torch.zeros_like(one)]).tolist() == [0.375, 0.625]


def test_criteria_that_look_at_data() -> None:
    model, x = _network("residual")
    batches = [(x, torch.tensor([0, 1, 0]))]
    for criterion in ("hrank", "taylor", "apoz"):
        pruned, plan = edgeprune.prune(model, x, Budget(macs=12_000), Prune(criterion=criterion), batches)
        assert plan.reached["macs"] <= 12_000
        assert pruned(x).shape == (3, 2)
    with pytest.raises(EdgepruneError, match="criterion 'hrank' needs data"):
        edgeprune.prune(model, x, Budget(macs=12_000), Prune(criterion="hrank"))


def test_the_model_stays_as_it_is() -> None:
    model, x = _network("residual")
    model.train()
    model.inner.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    pruned, _ = edgeprune.prune(model, x, settings=Prune(keep=0.5))
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in (*model.parameters(), *pruned.parameters()))
    wanted = {name: name != "inner.weight" for name, _ in model.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in pruned.named_parameters()} == wanted


def test_it_trains_afterwards() -> None:
    model, x = _network("separable")
    pruned, _ = edgeprune.prune(model, x, settings=Prune(keep=0.5))
    pruned.train()
    optimizer = torch.optim.SGD(pruned.parameters(), 0.1)
    labels = torch.tensor([0, 1, 2])
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(pruned(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_half_precision_and_two_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x, y):
            return self.head((self.a(x) + self.b(y)).relu().mean((2, 3)))

    inputs = (torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16), torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16))
    pruned, plan = edgeprune.prune(Two().bfloat16(), inputs, settings=Prune(keep=0.5))
    assert plan.widths == {"a": 2}
    assert pruned.a.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({}, EdgepruneError, "neither budget nor share is given"),
        ({"budget": Budget(macs=1)}, InfeasibleBudgetError, "macs 1 cannot be met"),
        (
            {"budget": Budget(macs=9000), "settings": Prune(criterion="hrnk")},
            EdgepruneError,
            "perhaps you meant 'hrank'",
        ),
        (
            {"budget": Budget(macs=9000), "settings": Prune(criterion="batchnorm_scale")},
            EdgepruneError,
            "no batch norm",
        ),
        ({"settings": Prune(keep=2.0)}, EdgepruneError, "prune.keep"),
        ({"settings": Prune(keep=0.5, steps=2)}, EdgepruneError, "prune.steps: needs training"),
        ({"settings": Prune(keep=0.5, restart=True)}, EdgepruneError, "prune.restart: needs training"),
        ({"settings": Prune(keep=0.5, clips=20)}, EdgepruneError, "prune.clips: picks clips of a run's data"),
        ({"settings": Prune(keep=0.5, profile=Path("profile_host.json"))}, EdgepruneError, "need each other"),
        ({"settings": Prune(keep=0.5, objective="sensitivity")}, EdgepruneError, "measured on clips; give batches="),
        ({"budget": Budget(latency_ms="1@host")}, EdgepruneError, "need each other"),
        ({"budget": Budget(flash=9000, include_frontend=True)}, EdgepruneError, "front-end of this network"),
    ],
)
def test_what_cannot_be_done(kwargs, error, message) -> None:
    model, x = _network("residual")
    with pytest.raises(error, match=message):
        edgeprune.prune(model, x, **kwargs)


def test_an_allocation_is_a_table_of_groups() -> None:
    model, x = _network("separable")
    _, allocation = edgeprune.prune(model, x, settings=Prune(keep=0.5))
    table = allocation.table()
    assert table.index.tolist() == list(allocation.widths)
    assert table["filters after"].tolist() == list(allocation.widths.values())
    assert (table["filters after"] == (table["filters before"] * table["share"])).all()
    assert table["score kept"].to_dict() == allocation.kept
    assert "filters before" in allocation._repr_html_()


def test_a_network_without_layers_to_prune() -> None:
    with pytest.raises(EdgepruneError, match="has no layer that may lose filters"):
        edgeprune.prune(nn.Sequential(nn.Conv2d(1, 3, 1)), torch.zeros(1, 1, 4, 4), Budget(macs=9))


def test_pixels_are_shuffled_from_filters_that_go_together() -> None:
    deeper = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Conv2d(6, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 1, 1))
    pruned, plan = edgeprune.prune(deeper, torch.randn(1, 1, 4, 4), settings=Prune(keep=0.5))
    assert plan.widths == {"0": 3, "1": 1}
    assert pruned[1].out_channels == 4


def test_a_network_that_may_lose_nothing_tells_why_by_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 2, 1))
    with pytest.raises(
        EdgepruneError, match=r"has no layer that may lose filters \(0: sigmoid.*zero of a silent filter"
    ):
        edgeprune.prune(model, torch.zeros(1, 1, 4, 4), Budget(macs=100))


def test_a_forward_that_counts_on_sizes_is_told() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.head = nn.Linear(4 * 16, 2)

        def forward(self, x):
            return self.head(self.conv(x).view(-1, 64))

    with pytest.raises(EdgepruneError, match="does not run any more after pruning"):
        edgeprune.prune(Stubborn(), torch.zeros(1, 1, 4, 4), settings=Prune(keep=0.5))


def test_layers_whose_sizes_the_forward_counts_on_stay_whole() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.two = nn.Conv2d(1, 8, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            first, second = self.stem(x).relu().split(4, 1)
            return self.head((self.one(first) + self.two(second)).relu().mean((2, 3)))

    pruned, plan = edgeprune.prune(Halves(), torch.zeros(1, 1, 4, 4), settings=Prune(keep=0.5))
    assert plan.widths == {"one": 3}
    assert pruned.stem.out_channels == 8


def test_a_function_that_holds_the_network_is_told() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 8, 1), nn.Linear(8, 2)
            self.features = lambda x: self.conv(x).relu().mean((2, 3))

        def forward(self, x):
            return self.head(self.features(x))

    with pytest.raises(EdgepruneError, match=r"still runs 'conv' of the network it was copied from.*lambda"):
        edgeprune.prune(Held(), torch.zeros(1, 1, 4, 4), settings=Prune(keep=0.5))


def test_a_network_that_differs_from_the_silenced_one_is_refused_with_the_layer(monkeypatch) -> None:
    """The surgery takes another filter than asked for."""
    from edgeprune.graph import cutting, surgery

    def shifted(model, entries):
        cutting.cut(model, [replace(entry, kept=entry.kept.roll(1)) if entry.axis else entry for entry in entries])

    model, x = _network("residual")
    monkeypatch.setattr(surgery, "cut", shifted)
    with pytest.raises(
        EdgepruneError, match=r"than with the filters silenced; they differ by .*; layer 'stem', 'inner'"
    ):
        edgeprune.prune(model, x, settings=Prune(keep=0.5))
