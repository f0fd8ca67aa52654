"""Operators, groups and costs of networks of any shape, against hand counts and PyTorch's own counter."""

import re

import pytest
import torch
from small_networks import EXAMPLES, Plain, Residual
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import count
from edgeprune.graph.graph import FilterGroup
from edgeprune.graph.padding import conv_padding, pool_padding
from edgeprune.graph.trace import trace


def _traced(name: str):
    kind, shape = EXAMPLES[name]
    torch.manual_seed(0)
    model = kind().eval()
    return model, trace(model, torch.zeros(shape)), torch.zeros(shape)


def test_layers_that_are_added_are_one_group() -> None:
    _, graph, _ = _traced("residual")
    assert graph.groups == {
        "stem": FilterGroup("stem", ("stem", "outer"), 6, frozen=False, dense=False),
        "inner": FilterGroup("inner", ("inner",), 4, frozen=False, dense=False),
        "hidden": FilterGroup("hidden", ("hidden",), 5, frozen=False, dense=True),
        "head": FilterGroup("head", ("head",), 2, frozen=True, dense=True),
    }
    assert list(graph.prunable()) == ["stem", "inner"]
    assert list(graph.prunable(dense_layers=True)) == ["stem", "inner", "hidden"]


def test_depthwise_layers_and_gates_belong_to_what_they_act_on() -> None:
    _, graph, _ = _traced("separable")
    assert graph.groups["first"].layers == ("first", "depthwise", "excite")
    assert list(graph.prunable()) == ["first", "squeeze", "pointwise"]


def test_branches_joined_by_channel_stay_apart() -> None:
    _, graph, _ = _traced("1d")
    assert {name: group.layers for name, group in graph.prunable().items()} == {
        "left": ("left",),
        "right": ("right",),
        "join": ("join",),
    }


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_macs_are_half_of_what_pytorch_counts(name) -> None:
    model, graph, x = _traced(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert 2 * count(graph).macs == counter.get_total_flops()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_parameters_are_what_the_modules_hold(name) -> None:
    model, graph, _ = _traced(name)
    found = count(graph)
    assert found.params_trainable == sum(parameter.numel() for parameter in model.parameters())
    statistics = sum(value.numel() for key, value in model.named_buffers() if "running" in key)
    assert found.params_with_statistics == found.params_trainable + statistics
    assert found.unknown == ()


def test_residual_by_hand() -> None:
    _, graph, _ = _traced("residual")
    found = count(graph)
    # stem 3x6x9 + folded bias, inner 6x4x9 + 4, outer 4x6 + 6, hidden 6x5 + 5, head 5x2 + 2
    assert found.params == 162 + 6 + 216 + 4 + 24 + 6 + 30 + 5 + 10 + 2
    assert found.flash_bytes == 162 + 216 + 24 + 30 + 10 + 4 * (6 + 4 + 6 + 5 + 2)
    assert found.macs == 64 * (162 + 216 + 24) + 30 + 10
    ram = {layer.name: layer.ram_bytes for layer in found.by_layer}
    # the skipped tensor (6 x 64) waits while the block computes
    assert ram == {
        "stem": 64 * (3 + 6),
        "inner": 64 * (6 + 4),
        "outer": 64 * (6 + 4 + 6),
        "add_1": 64 * (6 + 6 + 6),
        "reduce_1": 64 * 6 + 6,
        "hidden": 6 + 5,
        "head": 5 + 2,
    }
    assert found.peak_ram_bytes == 64 * 18
    half = count(graph, {"stem": 3, "inner": 2})
    assert half.macs == 64 * (3 * 3 * 9 + 3 * 2 * 9 + 2 * 3) + 3 * 5 + 10
    assert half.peak_ram_bytes == 64 * 9


def test_separable_by_hand() -> None:
    _, graph, _ = _traced("separable")
    half = count(graph, {"first": 2, "squeeze": 1, "pointwise": 4})
    # first 1x2x9, depthwise 2x9, squeeze 2x1 and excite 1x2 once, pointwise 2x4, head 16x3
    assert half.macs == 64 * (18 + 18 + 8) + 2 + 2 + 48
    assert half.params == (18 + 2) + (18 + 2) + (2 + 1) + (2 + 2) + (8 + 4) + (48 + 3)


@pytest.mark.parametrize(
    ("between", "features", "frozen"),
    [
        (nn.Flatten(), 64, False),
        (nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), 4, False),
        (nn.Sequential(nn.ZeroPad2d(1), nn.Flatten()), 4 * 36, False),
        (nn.Softmax(dim=1), 4, True),  # the dense layer works along the width
    ],
)
def test_what_lies_between(between, features, frozen) -> None:
    graph = trace(Plain(between, features), torch.zeros(1, 1, 4, 4))
    assert graph.groups["conv"].frozen == frozen


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: (x + torch.arange(4.0)[None, :, None, None]).flatten(1), "add .* gives each channel a constant"),
        (lambda x: x[:, [2, 0, 1, 3]].flatten(1), "index .* is not followed"),
        (lambda x: x.cumsum(1).flatten(1), "cumsum .* mixes its channels"),
        (lambda x: x.softmax(1).flatten(1), "softmax .* mixes its channels"),
        (lambda x: F.max_pool1d(x.flatten(2).transpose(1, 2), 2).flatten(1), "max_pool1d .* mixes its channels"),
        (lambda x: x.sigmoid().flatten(1), r"sigmoid \(test_graph.py, line \d+\) makes something else than zero"),
        (lambda x: x.roll(1, 1).flatten(1), "roll .* moves channels on"),
        (lambda x: x[:, 1:].flatten(1), "slice .* takes channels by their numbers"),
        (lambda x: x.mean(1).flatten(1), "mean .* mixes its channels"),
    ],
)
def test_a_frozen_group_tells_what_froze_it(function, reason) -> None:
    x = torch.zeros(1, 1, 4, 4)
    features = function(torch.zeros(1, 4, 4, 4)).shape[1]
    graph = trace(Plain(Function(function), features), x)
    assert graph.groups["conv"].frozen
    assert re.match(reason, graph.groups["conv"].reason)
    assert count(graph).macs == 16 * 36 + 2 * features


@pytest.mark.parametrize(
    ("function", "filters"),
    [
        (lambda x: x.permute(0, 2, 3, 1).flatten(1), 4),
        (lambda x: x.flip(1).flatten(1), 4),
        (lambda x: x.reshape(1, 2, 2, 16).transpose(1, 2).flatten(1), 2),  # channel shuffle: one of each half
        (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1).flatten(1), 2),
        (lambda x: F.pad(x, (0, 0, 0, 0, 0, 2)).flatten(1), 4),  # zero channels, as some residual networks have
        (lambda x: x.sum(1).flatten(1), 4),
        (lambda x: (x @ x.transpose(2, 3)).flatten(1), 4),
        (lambda x: torch.einsum("bcij,bdij->bcd", x, x.mean(1, keepdim=True)).flatten(1), None),
    ],
)
def test_channels_are_followed_to_where_they_go(function, filters) -> None:
    features = function(torch.zeros(1, 4, 4, 4)).shape[1]
    graph = trace(Plain(Function(function), features), torch.zeros(1, 1, 4, 4))
    assert graph.groups["conv"].frozen == (filters is None)
    assert filters is None or graph.groups["conv"].filters == filters


def test_only_a_batch_norm_that_directly_follows_is_folded() -> None:
    """Behind a ReLU, or a flatten, it stays an operator with a scale and a shift; the convolution ships zero biases."""

    def params(*between: nn.Module) -> list[tuple[str, int]]:
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), *between)
        found = count(trace(model, torch.zeros(1, 1, 2, 2)))
        assert found.params_trainable == sum(parameter.numel() for parameter in model.parameters())
        return [(layer.kind, layer.params) for layer in found.by_layer]

    assert params(nn.BatchNorm2d(4), nn.ReLU()) == [("conv", 36 + 4)]
    assert params(nn.Dropout(), nn.BatchNorm2d(4)) == [("conv", 36 + 4)]
    assert params(nn.ReLU(), nn.BatchNorm2d(4)) == [("conv", 36 + 4), ("scale", 8)]
    assert params(nn.Flatten(), nn.BatchNorm1d(16)) == [("conv", 36 + 4), ("scale", 32)]
    assert params(nn.BatchNorm2d(4), nn.BatchNorm2d(4)) == [("conv", 36 + 4), ("scale", 8)]


def test_grouped_convolutions_lose_whole_groups() -> None:
    """The two channels and the three filters of a group are one filter of the network's group of layers."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 1)
    )
    graph = trace(model, torch.zeros(1, 1, 5, 5))
    assert graph.prunable() == {"0": FilterGroup("0", ("0", "2"), 2, frozen=False, dense=False)}
    assert count(graph).macs == 25 * (4 + 6 * 2 * 9 + 12)
    assert count(graph, {"0": 1}).macs == 25 * (2 + 3 * 2 * 9 + 6)


def test_the_input_cannot_be_pruned_through_a_sum() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.head(x + self.conv(x))

    assert trace(Skip(), torch.zeros(1, 3, 4, 4)).prunable() == {}


def test_recurrent_layers_are_counted_and_read_fewer_channels() -> None:
    class Recurrent(nn.Module):
        def __init__(self, kind) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 4, 3, padding=1)
            self.rnn = kind(4, 5, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(10, 2)

        def forward(self, x):
            return self.head(self.rnn(self.conv(x).transpose(1, 2))[0][:, -1])

    for kind, gates in ((nn.GRU, 3), (nn.LSTM, 4), (nn.RNN, 1)):
        model = Recurrent(kind)
        graph = trace(model, torch.zeros(1, 2, 6))
        found = count(graph)
        assert found.unknown == ()
        assert found.params == sum(parameter.numel() for parameter in model.parameters())
        # both directions at 6 steps: the first layer reads 4 channels, the second the 10 units of the first
        recurrent = 6 * 2 * gates * 5 * ((4 + 5) + (10 + 5))
        assert found.macs == 6 * 4 * 6 + recurrent + 20
        assert count(graph, {"conv": 1}).macs == 6 * 1 * 6 + recurrent - 6 * 2 * gates * 5 * 3 + 20


def test_an_operator_of_unknown_cost_is_named_with_its_line_and_parameters() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = nn.Conv1d(2, 4, 3), nn.Bilinear(4, 4, 3)

        def forward(self, x):
            y = self.conv(x).mean(2)
            return self.mix(y, y)

    graph = trace(Pairs(), torch.zeros(1, 2, 6))
    (named,) = graph.unknown
    assert re.fullmatch(r"mix: bilinear \(test_graph.py, line \d+\)", named)
    assert count(graph).params == (24 + 4) + (48 + 3)


def test_weights_that_no_layer_owns_are_counted() -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 1)
            self.weight = nn.Parameter(torch.randn(2, 3, 1, 1))

        def forward(self, x):
            return F.conv2d(self.conv(x), self.weight)

    graph = trace(Raw(), torch.zeros(1, 1, 4, 4))
    assert list(graph.prunable()) == ["conv"]
    assert graph.unknown == ()
    assert count(graph).params == (3 + 3) + 6 + 2  # zero biases, since TFLite's convolutions have some
    assert count(graph).macs == 16 * (3 + 6)


def test_a_layer_that_is_called_twice_reads_the_same_filters_both_times() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 3, 1)
            self.loop = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.head(self.loop(F.relu(self.loop(self.stem(x)))))

    found = trace(Twice(), torch.zeros(1, 1, 4, 4))
    assert found.prunable() == {"stem": FilterGroup("stem", ("stem", "loop"), 3, frozen=False, dense=False)}
    # its weights are in the file once
    assert count(found).params == (3 + 3) + (81 + 3) + (6 + 2)
    assert count(found).macs == 16 * (3 + 81 + 81 + 6)


class Tied(nn.Module):
    """Two convolutions with one weight and a bias each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.two.weight = self.one.weight
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(self.two(F.relu(self.one(self.stem(x)))))


class Learned(nn.Module):
    """Parameters that no layer owns: added, multiplied, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 1), nn.Conv2d(6, 2, 1)
        self.scale = nn.Parameter(torch.randn(4))
        self.shift = nn.Parameter(torch.randn(1, 4, 3, 3))
        self.place = nn.Parameter(torch.randn(3, 3))
        self.token = nn.Parameter(torch.randn(1, 2, 3, 3))
        self.register_buffer("mean", torch.randn(1, 1, 3, 1))

    def forward(self, x):
        y = self.conv(x - self.mean) * self.scale[:, None, None] + self.shift
        return self.head(torch.cat([y * self.place, self.token], 1))


def test_learned_parameters_are_counted_and_go_with_the_filters() -> None:
    for model, groups in ((Tied(), {"stem": 3}), (Learned(), {"conv": 4})):
        graph = trace(model, torch.zeros(1, 1, 3, 3))
        found = count(graph)
        assert found.params_trainable == sum(parameter.numel() for parameter in model.parameters())
        assert {name: group.filters for name, group in graph.prunable().items()} == groups
        buffers = sum(buffer.numel() for buffer in model.buffers())
        assert found.params == found.params_trainable + buffers
    less = count(graph, {"conv": 1})
    # three filters less: weight and bias, scale and shift at nine places, and their columns in the head
    assert found.params - less.params == 3 * (2 + 1 + 9 + 2)


def test_a_gate_of_one_channel_is_one_filter() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate, self.head = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return self.head(y * self.gate(y).sigmoid())

    graph = trace(Gate(), torch.zeros(1, 1, 5, 5))
    assert {name: group.filters for name, group in graph.prunable().items()} == {"conv": 8, "gate": 1}
    assert count(graph, {"conv": 3}).params == (3 + 3) + (3 + 1) + (6 + 2)


def test_what_only_training_gives_is_no_part_of_the_network() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.aux, self.head = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 3, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            aux = self.aux(y).mean((2, 3))
            return (self.head(y), aux) if self.training else self.head(y)

    graph = trace(Auxiliary(), torch.zeros(1, 1, 5, 5))
    assert list(graph.prunable()) == ["conv"]
    assert "does not depend on it" in graph.groups["aux"].reason
    assert count(graph).params == 8 + (8 + 2)


def test_a_layer_that_also_runs_for_its_shape_alone_is_counted_once() -> None:
    class Shaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 1), nn.Linear(100, 2)

        def forward(self, x):
            clips, channels, rows, columns = self.conv(x).shape
            return self.head(self.conv(x).view(clips, channels * rows * columns))

    graph = trace(Shaped(), torch.zeros(1, 1, 5, 5))
    assert list(graph.prunable()) == ["conv"]
    assert (count(graph).params, count(graph).macs) == (8 + 202, 100 + 200)


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
def test_recurrent_cells_are_of_unknown_cost(cell) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.cell = nn.Conv1d(1, 4, 1), cell(4, 3)

        def forward(self, x):
            state = self.cell(self.conv(x)[..., 0])
            return state[0] if isinstance(state, tuple) else state

    assert len(trace(Loop(), torch.zeros(1, 1, 5)).unknown) == 1


def test_names_are_short_where_they_are_unique() -> None:
    model = nn.ModuleDict({"a": nn.Sequential(nn.Conv1d(1, 2, 1)), "b": nn.Sequential(nn.Conv1d(2, 3, 1))})
    model.forward = lambda x: model["b"](torch.relu(model["a"](x)))
    assert list(trace(model, torch.zeros(1, 1, 3)).groups) == ["a.0", "b.0"]


def test_the_model_stays_as_it_is() -> None:
    model = Residual().train()
    model.stem_norm.eval()
    trace(model, torch.zeros(2, 3, 8, 8))
    assert model.training
    assert not model.stem_norm.training
    assert int(model.stem_norm.num_batches_tracked) == 0


def test_the_batch_of_the_example_does_not_count() -> None:
    assert count(trace(Residual(), torch.zeros(7, 3, 8, 8))) == count(trace(Residual(), torch.zeros(1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Conv2d(3, 4, 1), "cannot be traced"),  # the example has one channel
        (nn.ReLU(), "no convolution and no dense layer"),
    ],
)
def test_what_cannot_be_traced(model, message) -> None:
    with pytest.raises(EdgepruneError, match=message):
        trace(model, torch.zeros(1, 1, 4, 4))


# Padding: TFLite's layers pad nothing or SAME (as TensorFlow defines it); all else is a PAD of its own


def _pads(*layers: nn.Module, size: int = 8) -> dict[str, tuple[int, ...]]:
    """The PAD operators of a network on 1 x size x size, and the shapes they make."""
    graph = trace(nn.Sequential(*layers), torch.zeros(1, 1, size, size))
    return {operator.name: operator.shape for operator in graph.operators if operator.kind == "pad"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(1, 4, 3, stride=2, padding=1), (1, 10, 10)),
        (nn.Conv2d(1, 4, 5, padding=1), (1, 10, 10)),  # shrinks, so it is not SAME
        (nn.Conv2d(1, 4, (3, 1), stride=(2, 1), padding=(1, 0)), (1, 10, 8)),
        (nn.Conv2d(1, 4, 3, padding=1), None),
        (nn.Conv2d(1, 4, (5, 3), padding=(2, 1)), None),
        (nn.Conv2d(1, 4, 3, padding=2, dilation=2), None),
        (nn.Conv2d(1, 4, 3, padding="same"), None),
        (nn.Conv2d(1, 4, 3, stride=2), None),
        (nn.Conv2d(1, 4, 1, stride=2), None),
    ],
)
def test_convolutions_that_are_padded_by_an_operator_of_its_own(layer, shape) -> None:
    assert _pads(layer) == ({} if shape is None else {"0.pad": shape})


@pytest.mark.parametrize(
    ("pool", "size", "padded"),
    [
        (nn.MaxPool2d(3, stride=2, padding=1), 8, 10),  # SAME would pad 8 at the end only
        (nn.MaxPool2d(3, stride=2, padding=1), 7, None),  # and 7 on both sides, as PyTorch does
        (nn.MaxPool2d(3, stride=1, padding=1), 8, None),
        (nn.MaxPool2d(2), 8, None),
        (nn.MaxPool2d(2), 7, None),
        (nn.MaxPool2d(2, ceil_mode=True), 7, None),  # one place at the end, which is SAME
        (nn.AvgPool2d(2), 8, None),
    ],
)
def test_pools_that_are_padded_by_an_operator_of_their_own(pool, size, padded) -> None:
    found = _pads(nn.Conv2d(1, 4, 1), pool, size=size)
    assert list(found.values()) == ([] if padded is None else [(4, padded, padded)])


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: as many outputs as steps fit into the size, the odd place of padding at the end."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


@pytest.mark.parametrize("size", range(4, 12))
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "ceil"), [(2, 2, 0, True), (3, 2, 1, False), (3, 1, 1, False), (3, 3, 1, False)]
)
def test_a_pool_has_a_pad_exactly_where_same_would_pad_otherwise(size, kernel, stride, pad, ceil) -> None:
    out = F.max_pool2d(torch.zeros(1, 1, size, size), kernel, stride, pad, ceil_mode=ceil).shape[-1]
    found = pool_padding((size, size), (out, out), (kernel, kernel), (stride, stride), [(pad, pad)] * 2)
    # the places the windows reach, beyond the start and beyond the end
    reached = (pad, max(pad, (out - 1) * stride + kernel - size - pad))
    needed = reached != _same(size, kernel, stride) and any(reached)
    assert found == ([reached] * 2 if needed else [])


def test_a_strided_convolution_that_pads_as_same_does_has_no_pad() -> None:
    """7 places in steps of 2 need one more on either side: the file of such a network has no PAD, of 8 it has."""
    assert _pads(nn.Conv2d(1, 4, 3, stride=2, padding=1), size=7) == {}
    assert _pads(nn.Conv2d(1, 4, 3, stride=2, padding=1), size=8) == {"0.pad": (1, 10, 10)}


def test_an_average_pool_that_is_padded_has_a_pad() -> None:
    """Its zeros count in the average, so TFLite's SAME, which leaves them out, never will do."""
    pool = nn.AvgPool2d(3, stride=2, padding=1)
    assert list(_pads(nn.Conv2d(1, 4, 1), pool).values()) == [(4, 10, 10)]


def test_a_convolution_of_the_same_size_needs_no_pad() -> None:
    three, one, two = (3, 3), (1, 1), (2, 2)
    assert conv_padding((8, 8), (8, 8), three, one, [(1, 1), (1, 1)]) == []
    assert conv_padding((8, 8), (6, 6), three, one, [(0, 0), (0, 0)]) == []
    assert conv_padding((8, 8), (8, 8), (2, 3), one, [(1, 0), (1, 1)]) == [(1, 0), (1, 1)]
    assert conv_padding((8, 8), (4, 4), three, two, [(1, 1), (1, 1)]) == [(1, 1), (1, 1)]
    assert conv_padding((7, 7), (4, 4), three, two, [(1, 1), (1, 1)]) == []


def test_a_pad_takes_memory_and_nothing_else() -> None:
    """Three channels at 8 x 8 are copied to 10 x 10, both in memory at once; then 4 x 4 places are convolved."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
    graph = trace(model, torch.zeros(1, 1, 8, 8))
    found = count(graph)
    assert [(layer.name, layer.kind, layer.params, layer.macs, layer.flash_bytes) for layer in found.by_layer] == [
        ("0", "conv", 6, 64 * 3, 3 + 12),
        ("2.pad", "pad", 0, 0, 0),
        ("2", "conv", 5 * 27 + 5, 16 * 5 * 27, 5 * 27 + 20),
    ]
    assert [layer.ram_bytes for layer in found.by_layer] == [64 + 3 * 64, 3 * 64 + 3 * 100, 3 * 100 + 5 * 16]
    assert found.by_layer[1].output_shape == (3, 10, 10)
    # it follows the filters it copies
    assert [layer.ram_bytes for layer in count(graph, {"0": 2}).by_layer] == [64 + 128, 128 + 200, 200 + 80]
