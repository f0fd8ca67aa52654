"""The scale of batch norm as a score, and which batch norm belongs to which layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeprune.errors import EdgepruneError
from edgeprune.graph.trace import trace
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.scores.batch_norm import batchnorm_scale
from edgeprune.pruning.scores.layer_scores import score_network


def _scored(model: nn.Module, layers: dict[str, nn.Module], *shape: int) -> dict[str, list[float]]:
    """Scores of the layers of a network whose input is `[1, *shape]`."""
    found = score_network(model, "batchnorm_scale", layers, graph=trace(model.eval(), torch.ones(1, *shape)))
    return {name: scores.tolist() for name, scores in found.items()}


def _scales(norm: nn.Module, *values: float) -> nn.Module:
    norm.weight.data = torch.tensor(values)
    return norm


def test_it_is_the_magnitude() -> None:
    scores = batchnorm_scale(nn.Parameter(torch.tensor([-2.0, 0.0, 1.5])))
    assert scores.tolist() == [2.0, 0.0, 1.5]
    assert scores.dtype == torch.float64
    assert not scores.requires_grad


def test_each_layer_has_its_own() -> None:
    model = build(make_spec("dcase21", input_shape=(1, 40, 51), width=0.25))
    layers = {name: model.features.get_submodule(name) for name in ("conv1", "conv2", "conv3")}
    for number in (1, 2, 3):
        nn.init.normal_(model.features.get_submodule(f"bn{number}").weight)
    found = _scored(model, layers, 1, 40, 51)
    for number in (1, 2, 3):
        expected = model.features.get_submodule(f"bn{number}").weight.detach().double().abs()
        assert found[f"conv{number}"] == expected.tolist()


class OutOfOrder(nn.Module):
    """Modules are not registered in the order they run, one norm precedes its layer, and one is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.bn_b = _scales(nn.BatchNorm2d(2), 3.0, -4.0)
        self.conv_a = nn.Conv2d(1, 2, 3)
        self.bn_pre = _scales(nn.BatchNorm2d(2), 5.0, 6.0)
        self.conv_b = nn.Conv2d(2, 2, 3)
        self.bn_a = _scales(nn.BatchNorm2d(2), 1.0, 2.0)
        self.conv_c = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.bn_a
        x = F.conv2d(x, self.conv_a.weight, self.conv_a.bias)
        x = F.relu(F.batch_norm(x, a.running_mean, a.running_var, a.weight, a.bias, False, a.momentum, a.eps))
        x = self.bn_b(self.conv_b(x)).relu()
        return self.conv_c(self.bn_pre(F.max_pool2d(x, 2))).relu().mean(dim=(2, 3))


def test_the_order_of_registration_plays_no_part() -> None:
    model = OutOfOrder()
    layers = {"a": model.conv_a, "b": model.conv_b}
    assert _scored(model, layers, 1, 10, 10) == {"a": [1, 2], "b": [3, 4]}
    with pytest.raises(EdgepruneError, match="c: no batch norm with a scale directly follows it"):
        _scored(model, {**layers, "c": model.conv_c}, 1, 10, 10)


@pytest.mark.parametrize(
    "between",
    [[], [nn.BatchNorm2d(2, affine=False)], [nn.ReLU(), nn.BatchNorm2d(2)], [nn.MaxPool2d(2), nn.BatchNorm2d(2)]],
    ids=["none", "without scale", "after the activation", "after a pool"],
)
def test_no_batch_norm_that_directly_follows(between) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), *between)
    with pytest.raises(EdgepruneError, match="stem: no batch norm with a scale directly follows it"):
        _scored(model, {"stem": model[0]}, 1, 4, 4)


def test_dense_layers_and_convolutions_of_one_dimension() -> None:
    model = nn.Sequential(
        *(nn.Conv1d(1, 2, 3), _scales(nn.BatchNorm1d(2), 1.0, -2.0), nn.Flatten()),
        *(nn.Linear(8, 3), _scales(nn.BatchNorm1d(3), 3.0, 4.0, 5.0)),
    )
    assert _scored(model, {"conv": model[0], "fc": model[3]}, 1, 6) == {"conv": [1, 2], "fc": [3, 4, 5]}


class Branching(nn.Module):
    """Reads its layer's output twice, and runs another layer twice, each time with a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 2, 1), _scales(nn.BatchNorm2d(2), 1.0, 2.0)
        self.loop = nn.Conv2d(2, 2, 1)
        self.first, self.second = _scales(nn.BatchNorm2d(2), 3.0, 4.0), _scales(nn.BatchNorm2d(2), 5.0, -8.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.second(self.loop(self.first(self.loop(self.stem_norm(x))))) + x


def test_a_layer_that_is_read_twice_and_one_that_runs_twice() -> None:
    model = Branching()
    assert _scored(model, {"stem": model.stem, "loop": model.loop}, 1, 4, 4) == {"stem": [1, 2], "loop": [4, 6]}


def test_a_network_without_its_graph_is_refused() -> None:
    model = Branching()
    with pytest.raises(EdgepruneError, match=r"stem: criterion 'batchnorm_scale' needs the network's graph"):
        score_network(model, "batchnorm_scale", {"stem": model.stem})


def test_a_scale_that_is_no_number_is_refused() -> None:
    model = Branching()
    model.stem_norm.weight.data[1] = float("nan")
    with pytest.raises(EdgepruneError, match="stem: its batch norm holds NaN"):
        _scored(model, {"stem": model.stem}, 1, 4, 4)


def test_two_layers_may_share_a_batch_norm() -> None:
    norm = _scales(nn.BatchNorm2d(2), 1.0, 2.0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), norm, nn.ReLU(), nn.Dropout(), nn.Conv2d(2, 2, 1), nn.Dropout(), norm)
    assert _scored(model, {"a": model[0], "b": model[4]}, 1, 4, 4) == {"a": [1, 2], "b": [1, 2]}
