"""Costs as polynomials of the widths against the layer-by-layer count, and slopes against differences by hand."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_networks import EXAMPLES
from torch import nn

from edgeprune.graph.cost import count, graph_of
from edgeprune.graph.graph import Graph
from edgeprune.graph.trace import trace
from edgeprune.models.registry import make_spec
from edgeprune.pruning.allocation.cost_polynomials import Forms, _undominated, forms

FIELDS = {"params": "params", "macs": "macs", "flash": "flash_bytes", "peak_ram": "peak_ram_bytes"}
REGISTRY = {
    "dcase21": ((1, 40, 51), 1.0),
    "vggish": ((1, 48, 32), 0.25),
    "cnn14": ((1, 64, 32), 0.05),  # its batch norm over the mel bands is a scale of fixed size
    "vgg16": ((3, 32, 32), 0.25),
    "resnet50_cifar": ((3, 32, 32), 0.125),  # sums, and strided convolutions with a PAD of their own
}


class Grouped(nn.Module):
    """A grouped convolution, which keeps its filters, and a batch norm that nothing can fold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 6, 3, padding=1, groups=2)
        self.after = nn.Conv2d(6, 5, 1)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = torch.relu(self.after(self.grouped(self.stem(x))))
        return self.head(self.norm(x).mean(dim=(2, 3)))


class Twice(nn.Module):
    """A layer that runs twice: its weights are in the file once, its MACs count again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 1)
        self.loop = nn.Conv2d(3, 3, 3, padding=1)
        self.wide = nn.Conv2d(3, 7, 1)
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        x = self.wide(self.loop(torch.relu(self.loop(self.stem(x)))))
        return self.head(x.mean(dim=(2, 3)))


class Recurrent(nn.Module):
    """A GRU, whose MACs are not known, between layers that are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 6, 3, padding=1)
        self.second = nn.Conv1d(6, 4, 3, padding=1)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.gru(self.second(self.first(x)).transpose(1, 2))[0][:, -1])


OWN = {
    **EXAMPLES,
    "grouped": (Grouped, (1, 1, 6, 6)),
    "twice": (Twice, (1, 1, 4, 4)),
    "recurrent": (Recurrent, (1, 2, 6)),
}
NETWORKS = [*REGISTRY, *OWN]


@cache
def _graph(name: str) -> Graph:
    if name in OWN:
        kind, shape = OWN[name]
        return trace(kind().eval(), torch.zeros(shape))
    shape, width = REGISTRY[name]
    return graph_of(make_spec(name, 10, shape, width))


def _random_widths(graph: Graph, names: list[str], number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(1, graph.groups[name].filters + 1, number) for name in names], axis=1)


def _counted(graph: Graph, names: list[str], widths: np.ndarray) -> dict[str, list[int]]:
    costs = [count(graph, dict(zip(names, map(int, row), strict=True))) for row in widths]
    return {limit: [getattr(cost, field) for cost in costs] for limit, field in FIELDS.items()}


@pytest.mark.parametrize("dense_layers", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_polynomials_give_what_is_counted(name, dense_layers) -> None:
    graph = _graph(name)
    names = list(graph.prunable(dense_layers))
    assert names or name == "twice"
    widths = np.concatenate(
        [
            _random_widths(graph, names, 12, seed=0),
            [[1] * len(names), [graph.groups[group].filters for group in names]],
        ]
    )
    found = forms(graph, names).costs(widths)
    assert {limit: costs.tolist() for limit, costs in found.items()} == _counted(graph, names, widths)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_of_the_groups_may_be_left_out(data) -> None:
    """Groups that are not named keep their filters, frozen or not; named ones may be frozen all the same."""
    graph = _graph(data.draw(st.sampled_from(NETWORKS)))
    names = data.draw(st.lists(st.sampled_from(sorted(graph.groups)), min_size=1, unique=True))
    widths = _random_widths(graph, names, 3, data.draw(st.integers(0, 999)))
    found = forms(graph, names).costs(widths)
    assert {limit: costs.tolist() for limit, costs in found.items()} == _counted(graph, names, widths)


def test_dcase21_by_hand() -> None:
    """Biases and batch norms folded: 49 weights a pair of channels, 2 x 1 places before the dense layer of 100."""
    graph = graph_of(make_spec("dcase21", 10, (1, 40, 500)))
    one, two, three = 5, 7, 11
    found = forms(graph, ["conv1", "conv2", "conv3"]).costs(np.array([[one, two, three]]))
    weights = 49 * (one + one * two + two * three) + 2 * three * 100 + 1_000
    biases = one + two + three + 100 + 10
    assert found["params"].tolist() == [weights + biases]
    assert found["flash"].tolist() == [weights + 4 * biases]
    places = 20_000 * (one + one * two) + 800 * two * three
    assert found["macs"].tolist() == [49 * places + 2 * three * 100 + 1_000]
    assert found["peak_ram"].tolist() == [20_000 * (one + two)]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_slopes_are_differences(data) -> None:
    """A quadratic p has p(w + d) - p(w) = slope d + bend d^2 / 2 exactly."""
    graph = _graph(data.draw(st.sampled_from(NETWORKS)))
    names = sorted(graph.groups)
    costs = forms(graph, names)
    widths = _random_widths(graph, names, 2, data.draw(st.integers(0, 999)))
    column, step = data.draw(st.integers(0, len(names) - 1)), data.draw(st.integers(1, 9))
    wider = widths.copy()
    wider[:, column] += step
    bend = costs.quadratic[:, column, column]
    expected = costs.slopes(widths)[:, :, column] * step + bend * step**2 // 2
    np.testing.assert_array_equal(costs.values(wider) - costs.values(widths), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_grow_with_every_width(name) -> None:
    """What makes the narrowest network the proof of an infeasible budget."""
    costs = forms(_graph(name), sorted(_graph(name).groups))
    assert min(costs.constant.min(), costs.linear.min(), costs.quadratic.min()) >= 0
    np.testing.assert_array_equal(costs.quadratic, costs.quadratic.transpose(0, 2, 1))


LINES = st.integers(1, 4).flatmap(
    lambda groups: arrays(np.int64, st.tuples(st.integers(1, 9), st.just(1 + groups)), elements=st.integers(0, 4))
)


@settings(deadline=None, max_examples=100)
@given(lines=LINES, seed=st.integers(0, 999))
def test_dropped_lines_never_are_the_largest(lines, seed) -> None:
    kept = _undominated(lines)
    assert {tuple(line) for line in kept.tolist()} <= {tuple(line) for line in lines.tolist()}
    assert len({tuple(line) for line in kept.tolist()}) == len(kept)
    rng = np.random.default_rng(seed)
    points = np.concatenate([np.ones((20, 1), np.int64), rng.integers(0, 30, (20, lines.shape[1] - 1))], axis=1)
    np.testing.assert_array_equal((points @ kept.T).max(axis=1), (points @ lines.T).max(axis=1))
    # and no line is kept that another one covers
    for row, line in enumerate(kept):
        assert not any((line <= other).all() for index, other in enumerate(kept) if index != row)


def test_rows_of_some_limits() -> None:
    graph = _graph("vggish")
    names = list(graph.prunable())
    widths = _random_widths(graph, names, 5, seed=1)
    whole = forms(graph, names)
    part = whole.only(["peak_ram", "params"])
    assert set(part.limits) == {"params", "peak_ram"}
    everything, some = whole.costs(widths), part.costs(widths)
    assert set(some) == {"params", "peak_ram"}
    for limit, costs in some.items():
        np.testing.assert_array_equal(costs, everything[limit])
    again = whole.only(["macs"]).and_also(whole.only(["flash"]))
    assert (again.names, again.limits) == (tuple(names), ("macs", "flash"))
    np.testing.assert_array_equal(again.values(widths), whole.only(["macs", "flash"]).values(widths))


def test_large_counts_stay_exact() -> None:
    """Sums above 2^31, by hand: a VGGish a hundred times as wide would have 10^11 parameters."""
    side = 1_000_003
    square = np.array([[[0, 1], [1, 0]]], np.int64)
    found = Forms(("a", "b"), ("params",), np.array([1]), np.zeros((1, 2), np.int64), square)
    assert found.costs(np.array([[side, side + 1]]))["params"].tolist() == [side * (side + 1) + 1]
