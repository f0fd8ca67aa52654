"""The scale of batch norm as a score, and which batch norm belongs to which layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.scores.batch_norm import batchnorm_scale
from edgeprune.pruning.scores.layer_scores import score_network


def _data(model_input: tuple[int, ...], n: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(n, *model_input), torch.zeros(n, dtype=torch.long))]


def _scales(norm: nn.Module, *values: float) -> nn.Module:
    norm.weight.data = torch.tensor(values)
    return norm


def test_it_is_the_magnitude() -> None:
    scores = batchnorm_scale(nn.Parameter(torch.tensor([-2.0, 0.0, 1.5])))
    assert scores.tolist() == [2.0, 0.0, 1.5]
    assert scores.dtype == torch.float64
    assert not scores.requires_grad


@pytest.mark.parametrize("data", [None, _data((1, 40, 51))], ids=["from the code", "from a run"])
def test_each_layer_has_its_own(data) -> None:
    model = build(make_spec("dcase21", input_shape=(1, 40, 51), width=0.25))
    layers = {name: model.features.get_submodule(name) for name in ("conv1", "conv2", "conv3")}
    for number in (1, 2, 3):
        nn.init.normal_(model.features.get_submodule(f"bn{number}").weight)
    found = score_network(model, "batchnorm_scale", layers, data)
    for number in (1, 2, 3):
        expected = model.features.get_submodule(f"bn{number}").weight.detach().double().abs()
        assert torch.equal(found[f"conv{number}"], expected)


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


@pytest.mark.parametrize("data", [None, _data((1, 10, 10))], ids=["from the code", "from a run"])
def test_the_order_of_registration_plays_no_part(data) -> None:
    model = OutOfOrder()
    layers = {"a": model.conv_a, "b": model.conv_b}
    found = score_network(model, "batchnorm_scale", layers, data)
    assert {name: scores.tolist() for name, scores in found.items()} == {"a": [1, 2], "b": [3, 4]}
    with pytest.raises(EdgepruneError, match="c: no batch norm with a scale directly follows it"):
        score_network(model, "batchnorm_scale", {**layers, "c": model.conv_c}, data)


@pytest.mark.parametrize("data", [None, _data((1, 4, 4))], ids=["from the code", "from a run"])
@pytest.mark.parametrize(
    "between",
    [[], [nn.BatchNorm2d(2, affine=False)], [nn.ReLU(), nn.BatchNorm2d(2)], [nn.MaxPool2d(2), nn.BatchNorm2d(2)]],
    ids=["none", "without scale", "after the activation", "after a pool"],
)
def test_no_batch_norm_that_directly_follows(between, data) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), *between)
    with pytest.raises(EdgepruneError, match="stem: no batch norm with a scale directly follows it"):
        score_network(model, "batchnorm_scale", {"stem": model[0]}, data)


def test_dense_layers_and_convolutions_of_one_dimension() -> None:
    model = nn.Sequential(
        *(nn.Conv1d(1, 2, 3), _scales(nn.BatchNorm1d(2), 1.0, -2.0), nn.Flatten()),
        *(nn.Linear(8, 3), _scales(nn.BatchNorm1d(3), 3.0, 4.0, 5.0)),
    )
    for data in (None, _data((1, 6))):
        found = score_network(model, "batchnorm_scale", {"conv": model[0], "fc": model[3]}, data)
        assert {name: scores.tolist() for name, scores in found.items()} == {"conv": [1, 2], "fc": [3, 4, 5]}


class Winding(nn.Module):
    """Its path depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 2, 1), _scales(nn.BatchNorm2d(2), 1.0, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x if x.sum() > 0 else -x))


def test_a_network_that_cannot_be_read_must_be_run() -> None:
    model = Winding()
    with pytest.raises(EdgepruneError, match="conv: the batch norm after it cannot be found without data"):
        score_network(model, "batchnorm_scale", {"conv": model.conv})
    assert score_network(model, "batchnorm_scale", {"conv": model.conv}, _data((1, 4, 4)))["conv"].tolist() == [1, 2]
    with pytest.raises(EdgepruneError, match="conv: criterion 'batchnorm_scale' got batches without clips"):
        score_network(model, "batchnorm_scale", {"conv": model.conv}, _data((1, 4, 4), 0))


def test_a_scale_that_is_no_number_is_refused() -> None:
    model = Winding()
    model.bn.weight.data[1] = float("nan")
    with pytest.raises(EdgepruneError, match="conv: its batch norm holds NaN"):
        score_network(model, "batchnorm_scale", {"conv": model.conv}, _data((1, 4, 4)))
