"""The criterion stand_in: against least squares by NumPy, by hand, and on networks written in many ways."""

from functools import partial

import numpy as np
import pytest
import torch
from random_networks import FACTS, MAP, RandomNetwork, Side
from torch import nn
from torch.nn.utils import parametrizations

import edgeprune
from edgeprune import Prune
from edgeprune.errors import EdgepruneError
from edgeprune.graph.trace import trace
from edgeprune.pruning import readers
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.pruning.scores.layer_scores import score_network
from edgeprune.pruning.scores.stand_in import stand_in

NO_RIDGE = 1e-12


def left_over(x: np.ndarray, weight: np.ndarray, kept: list[int]) -> float:
    """Share of the variance of each output of `x @ weight` that no weights on the kept columns of x give, by `lstsq`;
    the mean over the outputs."""
    x = x - x.mean(0)
    y = x @ weight
    fitted = np.linalg.lstsq(x[:, kept], y, rcond=None)[0]
    return float(np.mean(((y - x[:, kept] @ fitted) ** 2).sum(0) / (y**2).sum(0)))


def correlated(rows: int, filters: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, filters)) @ generator.normal(size=(filters, filters)) + 3


def scores_of(filters: int, *readers: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    covariances = [torch.tensor(np.cov(x.T)) for x, _ in readers]
    return stand_in(covariances, [torch.tensor(weight)[:, None] for _, weight in readers], filters, NO_RIDGE).numpy()


@pytest.mark.parametrize("seed", range(5))
def test_each_score_is_the_error_of_the_best_fit_on_the_filters_that_are_left(seed) -> None:
    x, weight = correlated(200, 6, seed), np.random.default_rng(seed).normal(size=(6, 4))
    scores = scores_of(6, (x, weight))
    order = scores.argsort().tolist()
    for removed in range(1, 6):
        assert scores[order[removed - 1]] == pytest.approx(left_over(x, weight, order[removed:]), rel=1e-6)
    assert scores.max() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_whose_removal_leaves_the_least_error_goes(seed) -> None:
    """Every choice is tried, at each step; the error is the mean over two readers."""
    generator = np.random.default_rng(seed)
    pairs = [(correlated(100, 5, 2 * seed + place), generator.normal(size=(5, 3))) for place in (0, 1)]
    order, left = scores_of(5, *pairs).argsort().tolist(), list(range(5))
    for removed in order[:-1]:
        errors = {
            each: np.mean([left_over(x, weight, [one for one in left if one != each]) for x, weight in pairs])
            for each in left
        }
        assert min(errors, key=errors.__getitem__) == removed
        left.remove(removed)


def test_a_filter_that_others_make_up_for_scores_zero() -> None:
    x = correlated(200, 4, 0)
    x[:, 3] = 2 * x[:, 0] - x[:, 2] + 5
    scores = scores_of(4, (x, np.eye(4)))
    assert scores.min() == pytest.approx(0, abs=1e-6)
    assert np.sort(scores)[1] > 1e-3


def test_a_filter_that_nobody_reads_scores_zero_and_so_does_one_that_is_silent() -> None:
    x, weight = correlated(200, 4, 1), np.eye(4)
    weight[2] = 0
    x[:, 1] = 7
    scores = scores_of(4, (x, weight))
    assert scores[[1, 2]] == pytest.approx(0, abs=1e-9)
    assert scores[[0, 3]].min() > 0.01


def test_by_hand() -> None:
    """Independent filters of variances 1, 4 and 9, read by weights 2, 3 and 1: a reader loses 4, 36 and 9 of 49."""
    covariance, weight = torch.diag(torch.tensor([1.0, 4, 9])), torch.tensor([2.0, 3, 1])[:, None, None]
    assert stand_in([covariance], [weight], 3, NO_RIDGE).tolist() == pytest.approx([4 / 49, 1, 13 / 49])


def test_inputs_of_a_filter_go_together_and_repeats_count_together() -> None:
    x, weight = correlated(300, 6, 2), np.random.default_rng(3).normal(size=(6, 2))
    covariance = torch.tensor(np.cov(x.T))
    scores = stand_in([covariance], [torch.tensor(weight)[:, None]], 3, NO_RIDGE)  # two inputs for each filter
    first = int(scores.argmin())
    kept = [place for place in range(6) if place // 2 != first]
    assert scores[first] == pytest.approx(left_over(x, weight, kept), rel=1e-6)

    repeats = torch.tensor(weight).reshape(6, 2, 1)  # one output that reads the inputs at two places
    scores = stand_in([covariance], [repeats], 6, NO_RIDGE)
    centred = x - x.mean(0)
    kept = [place for place in range(6) if place != int(scores.argmin())]
    y = centred @ weight
    missed = y - centred[:, kept] @ np.linalg.lstsq(centred[:, kept], y, rcond=None)[0]
    assert scores.min() == pytest.approx((missed**2).sum() / (y**2).sum(), rel=1e-6)


class Net(nn.Module):
    """A residual block, a depthwise layer, weight norm, a concatenation, a transposed and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = parametrizations.weight_norm(nn.Conv2d(8, 6, 1))
        self.joined = nn.Conv2d(14, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 5, 2)
        self.rows = nn.GRU(5 * 3, 4, batch_first=True)
        self.last = nn.Linear(4 * 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.second(x))
        y = torch.relu(self.pointwise(torch.relu(self.depthwise(x))))
        x = self.up(torch.relu(self.joined(torch.cat([x, y], 1))))[:, :, 1:, 1:]
        return self.last(self.rows(x[:, :, :3].permute(0, 3, 1, 2).flatten(2))[0].flatten(1))


def test_any_network_gets_scores_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = Net().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    graph = trace(model, torch.zeros(1, 1, 6, 6))
    batches = [(torch.randn(n, 1, 6, 6), torch.zeros(n)) for n in (7, 0, 5)]
    scores = score_groups(model, graph, "stand_in", batches=batches)
    assert {name: len(values) for name, values in scores.items()} == {
        name: group.filters for name, group in graph.prunable().items()
    }
    assert len(scores) == 4
    for values in scores.values():
        assert values.dtype == torch.float64
        assert values.max() == pytest.approx(1, abs=1e-6)
        assert values.min() >= 0
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    again = score_groups(model, graph, "stand_in", batches=batches)
    assert all(torch.equal(again[name], values) for name, values in scores.items())


def test_clips_without_labels_will_do() -> None:
    torch.manual_seed(0)
    model, clips = Net().eval(), torch.randn(50, 1, 6, 6)
    graph = trace(model, clips[:1])
    scores = score_groups(model, graph, "stand_in", batches=[(clips, torch.zeros(50))])
    settings = Prune(keep=0.5, criterion="stand_in")
    slim, allocation = edgeprune.prune(model, clips[:1], settings=settings, batches=iter([clips]))
    kept = choose_filters(scores, allocation.widths)
    torch.testing.assert_close(slim.first.weight, model.first.weight[kept["first"]])  # it is not fitted: it reads clips


def test_a_network_of_two_inputs() -> None:
    torch.manual_seed(0)
    network = RandomNetwork(3, 4).eval()
    inputs = torch.randn(60, *MAP[1:]), torch.randn(60, *FACTS[1:])
    graph = trace(network, tuple(x[:2] for x in inputs))
    scores = score_groups(network, graph, "stand_in", True, [(inputs, torch.zeros(60))])
    assert scores.keys() == graph.prunable(True).keys()
    assert all(values.max() == pytest.approx(1, abs=1e-6) for values in scores.values())


class OneInput(nn.Module):
    """Random networks, whose second input is a constant."""

    def __init__(self, seeds: range) -> None:
        super().__init__()
        self.side = Side([RandomNetwork(seed, 1 + seed % 4) for seed in seeds])
        self.register_buffer("facts", torch.randn(FACTS))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.side(x, self.facts)


def test_random_networks() -> None:
    torch.manual_seed(0)
    model = OneInput(range(8)).eval()
    graph = trace(model, torch.randn(MAP))
    batches = [(torch.randn(MAP), torch.zeros(MAP[0])) for _ in range(20)]
    scores = score_groups(model, graph, "stand_in", dense_layers=True, batches=batches)
    assert scores.keys() == graph.prunable(dense_layers=True).keys()
    assert len(scores) > 8
    assert all(values.min() >= 0 and values.max() == pytest.approx(1, abs=1e-6) for values in scores.values())


def test_of_filters_that_are_copies_one_is_kept_and_a_dense_layer_reads_them_at_all_places() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5))
    with torch.no_grad():
        for copy, original in ((3, 0), (4, 1), (5, 2)):
            model[0].weight[copy] = 2 * model[0].weight[original]
            model[0].bias[copy] = 2 * model[0].bias[original]
    graph = trace(model, torch.zeros(1, 1, 6, 6))
    scores = score_groups(model, graph, "stand_in", batches=[(torch.randn(50, 1, 6, 6), torch.zeros(50))])
    (kept,) = choose_filters(scores, dict.fromkeys(scores, 3)).values()
    assert sorted(filter % 3 for filter in kept) == [0, 1, 2]
    (values,) = scores.values()
    assert values.sort().values[2] < 0.3 * values.sort().values[3]


def test_a_convolution_is_fitted_on_all_positions_of_its_kernel(monkeypatch) -> None:
    """The error of the filter that goes first is that of `lstsq` on windows of what the convolution reads."""
    monkeypatch.setattr(readers, "stand_in", partial(stand_in, ridge=NO_RIDGE))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Conv1d(3, 2, 3), nn.Flatten())
    x = torch.randn(30, 2, 12)
    graph = trace(model, x[:1])
    scores = score_groups(model, graph, "stand_in", batches=[(x, torch.zeros(30))])["0"].numpy()
    windows = model[:2](x).detach().unfold(2, 3, 1).movedim(2, 1).flatten(0, 1).double().numpy()  # [n, filters, kernel]
    weight = model[2].weight.detach().double().numpy()  # [outputs, filters, kernel]
    left = [one for one in range(3) if one != scores.argmin()]
    error = left_over(windows.reshape(-1, 9), weight.reshape(2, 9).T, [3 * one + k for one in left for k in range(3)])
    assert scores.min() == pytest.approx(error, rel=1e-4)


def test_what_no_layer_reads_as_a_module_is_scored_by_its_own_outputs() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.weight = nn.Conv1d(1, 4, 3), nn.Parameter(torch.randn(4, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean(2) @ self.weight

    torch.manual_seed(0)
    model = Product()
    with torch.no_grad():
        model.conv.weight[2] = model.conv.weight[1]
    graph = trace(model, torch.zeros(1, 1, 9))
    scores = score_groups(model, graph, "stand_in", batches=[(torch.randn(40, 1, 9), torch.zeros(40))])
    assert int(scores["conv"].argmin()) in (1, 2)


def test_refusals() -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Conv1d(4, 2, 3), nn.Flatten())
    graph = trace(model, torch.zeros(1, 1, 9))
    with pytest.raises(EdgepruneError, match="needs data; give batches"):
        score_groups(model, graph, "stand_in")
    with pytest.raises(EdgepruneError, match="without clips"):
        score_groups(model, graph, "stand_in", batches=[])
    with pytest.raises(EdgepruneError, match="NaN or infinite"):
        score_groups(model, graph, "stand_in", batches=[(torch.full((2, 1, 9), torch.nan), torch.zeros(2))])
    with pytest.raises(EdgepruneError, match="scores groups, by what reads them"):
        score_network(model, "stand_in", {"0": model[0]})
