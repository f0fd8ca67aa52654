"""How much each layer matters, on a network whose losses can be worked out by hand."""

from math import exp, log

import numpy as np
import pytest
import torch
from small_networks import EXAMPLES, Plain
from torch import nn
from torch.nn import functional as F

from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import trace
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.allocation.objective import importance
from edgeprune.pruning.allocation.sensitivity import SHARES, measure_losses
from edgeprune.pruning.group_scores import choose_filters, score_groups

GAINS = [3.0, 1.0, 0.5, 2.0]
"""What each filter of the layer that matters adds to the first class."""


class TwoPaths(nn.Module):
    """Two layers of four filters side by side, of which the second one's outputs are multiplied by zero.

    On an input of ones, filter k of either gives GAINS[k] for class 0 and nothing for class 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.matters = nn.Conv2d(1, 4, 1, bias=False)
        self.idle = nn.Conv2d(1, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2, bias=False)
        with torch.no_grad():
            for layer in (self.matters, self.idle):
                layer.weight.copy_(torch.tensor(GAINS)[:, None, None, None])
            self.head.weight.copy_(torch.stack([torch.ones(8), torch.zeros(8)]))
        self.norm.eps = 0.0

    def forward(self, x):
        x = torch.cat([self.matters(x), self.idle(x) * 0.0], dim=1)
        return self.head(self.norm(x).mean(dim=(2, 3)))


EXAMPLE = torch.zeros(1, 1, 3, 3)
SCORES = {"matters": torch.tensor(GAINS), "idle": torch.tensor(GAINS)}
BATCHES = [(torch.ones(3, 1, 3, 3), torch.tensor([0, 0, 1])), (torch.ones(1, 1, 3, 3), torch.tensor([0]))]


def _loss(logit: float) -> float:
    """Mean cross entropy of three clips of class 0 and one of class 1, at logits (logit, 0)."""
    return (3 * log(1 + exp(-logit)) + log(1 + exp(logit))) / 4


def _measured(model: nn.Module, scores=SCORES, batches=BATCHES):
    return measure_losses(model, trace(model, EXAMPLE), scores, batches)


def test_losses_are_those_by_hand() -> None:
    """The filters with the lowest scores go first; of the layer that is multiplied by zero any may go."""
    found = _measured(TwoPaths().eval())
    whole = _loss(6.5)
    expected = {1: _loss(3.0), 2: _loss(5.0), 3: _loss(6.0), 4: whole}
    assert {name: sorted(losses) for name, losses in found.items()} == {"matters": [1, 2, 3, 4], "idle": [1, 2, 3, 4]}
    for width, loss in expected.items():
        assert found["matters"][width] == pytest.approx(loss, abs=1e-6)
        assert found["idle"][width] == pytest.approx(whole, abs=1e-6)


def test_only_the_layer_that_matters_is_worth_keeping() -> None:
    """What the loss of a clip of class 0 rises by, in the layer that matters alone."""
    batches = [(torch.ones(1, 1, 3, 3), torch.tensor([0]))]
    values = importance(
        {name: layer.tolist() for name, layer in SCORES.items()},
        "sensitivity",
        _measured(TwoPaths().eval(), batches=batches),
    )

    def lost(logit: float) -> float:
        return log(1 + exp(-logit)) - log(1 + exp(-6.5))

    np.testing.assert_allclose(values["matters"][1:], [-lost(3.0), -lost(5.0), -lost(6.0), 0.0], atol=1e-6)
    np.testing.assert_allclose(values["idle"][1:], 0.0, atol=1e-6)


def test_what_pruning_improves_is_worth_nothing() -> None:
    """Clips of the other class alone: each filter that goes lowers the loss, which noise can do as well."""
    batches = [(torch.ones(2, 1, 3, 3), torch.tensor([1, 1]))]
    found = _measured(TwoPaths().eval(), batches=batches)
    assert list(dict(sorted(found["matters"].items())).values()) == sorted(found["matters"].values())
    values = importance({name: layer.tolist() for name, layer in SCORES.items()}, "sensitivity", found)
    np.testing.assert_allclose(values["matters"][1:], 0.0, atol=1e-6)


def test_scores_say_which_filters_go() -> None:
    """With scores the other way round the strongest filters go first."""
    found = _measured(TwoPaths().eval(), scores={"matters": -torch.tensor(GAINS)})
    assert set(found) == {"matters"}
    assert found["matters"][1] == pytest.approx(_loss(0.5), abs=1e-6)
    assert found["matters"][2] == pytest.approx(_loss(1.5), abs=1e-6)


def test_batches_are_weighted_by_their_clips_and_may_be_an_iterator() -> None:
    one = [(torch.cat([x for x, _ in BATCHES]), torch.cat([labels for _, labels in BATCHES]))]
    first, second, third = (_measured(TwoPaths().eval(), batches=given) for given in (one, BATCHES, iter(BATCHES)))
    for name, losses in first.items():
        for width, loss in losses.items():
            assert second[name][width] == pytest.approx(loss, abs=1e-6)
            assert third[name][width] == second[name][width]


def test_the_model_stays_as_it_was() -> None:
    model = TwoPaths().train()
    model.matters.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    found = _measured(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    # batch norm used its moving statistics all the while, or constant inputs would all come out as 0
    assert found["matters"][4] == pytest.approx(_loss(6.5), abs=1e-6)


def test_widths_of_a_wide_layer_are_the_shares() -> None:
    model = nn.Sequential(nn.Conv2d(1, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)).eval()
    scores = {"0": torch.arange(16.0)}
    found = measure_losses(model, trace(model, EXAMPLE), scores, BATCHES)
    assert sorted(found["0"]) == [1, *(round(16 * share) for share in SHARES), 16] == [1, 2, 4, 8, 12, 16]


class InPlace(nn.Module):
    """Functions that change what a layer has put out, and turn zero into something else."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.hidden, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = self.first(x).add_(1.0).sigmoid_()
        x = self.norm(self.second(x).mul_(2.0)).cos().mean(dim=(2, 3))
        return self.head(self.hidden(x).exp_())


NETWORKS = {name: (build_small, shape[1:]) for name, (build_small, shape) in EXAMPLES.items()} | {
    "in place": (InPlace, (1, 8, 8)),
    "flatten": (lambda: Plain(nn.Sequential(nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten()), 64), (1, 8, 8)),
    "dcase21": (lambda: build(make_spec("dcase21", 4, (1, 40, 51), 0.25)), (1, 40, 51)),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_silenced_filters_lose_what_removed_ones_lose(name) -> None:
    """The loss is that of the smaller network, built anew; also where an activation turns zero into something else."""
    torch.manual_seed(3)
    build_network, shape = NETWORKS[name]
    model = build_network().double().eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean, std=0.3)
    x = torch.randn(6, *shape, dtype=torch.float64)
    graph, labels = trace(model, x), torch.tensor([0, 1, 1, 0, 1, 0])
    scores = score_groups(model, graph, "l2", dense_layers=True)
    before = {path: value.clone() for path, value in model.state_dict().items()}
    losses = measure_losses(model, graph, scores, [(x[:4], labels[:4]), (x[4:], labels[4:])])
    assert all(torch.equal(value, before[path]) for path, value in model.state_dict().items())
    for group, by_width in losses.items():
        for width, loss in by_width.items():
            kept = choose_filters({group: scores[group]}, {group: width})
            rebuilt = F.cross_entropy(remove(model, x, graph, kept)(x), labels)
            assert loss == pytest.approx(rebuilt.item(), rel=1e-9)
