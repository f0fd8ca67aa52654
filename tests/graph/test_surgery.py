"""The network without filters must equal the network whose filters are silenced."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import cost, count, graph_of
from edgeprune.graph.surgery import remove_filters
from edgeprune.models.registry import ModelSpec, build, make_spec

SPECS = {
    "dcase21 40x51": make_spec("dcase21", 10, (1, 40, 51), 0.4),
    "dcase21 40x100": make_spec("dcase21", 4, (1, 40, 100), 0.3),
    "dcase21 64x33": make_spec("dcase21", 5, (1, 64, 33), 0.4),
    "dcase21 20x5": make_spec("dcase21", 3, (2, 20, 5), 0.4),
    "vggish 96x64": make_spec("vggish", 10, (1, 96, 64), 0.06),
    "vggish 35x49": make_spec("vggish", 3, (1, 35, 49), 0.06),
}
# the activation that follows each layer
ACTIVATION = {
    "dcase21": {"conv1": "relu1", "conv2": "relu2", "conv3": "relu3", "fc1": "relu4"},
    "vggish": {**{f"conv{n}": f"relu{n}" for n in range(1, 7)}, "fc1": "relu_fc1", "fc2": "relu_fc2"},
}
TOLERANCE = 1e-6


def _network(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """Random weights whose activations keep their size, and batch norm statistics of a trained network."""
    torch.manual_seed(seed)
    model = build(spec)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return model.eval()


@torch.no_grad()
def _silenced(model: nn.Module, spec: ModelSpec, kept: dict[str, list[int]], x: torch.Tensor) -> torch.Tensor:
    """Output when the channels that are not kept are zero after their activation."""
    model = copy.deepcopy(model)
    modules = {path.rsplit(".", 1)[-1]: module for path, module in model.named_modules()}
    for layer, keep in kept.items():

        def silence(_module, _inputs, output, keep=keep):
            mask = torch.zeros(output.shape[1])
            mask[keep] = 1
            return output * mask.reshape(1, -1, *[1] * (output.ndim - 2))

        modules[ACTIVATION[spec.name][layer]].register_forward_hook(silence)
    return model(x)


@torch.no_grad()
def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the largest output."""
    return float((a - b).abs().max() / b.abs().max())


def _assert_equal(model: nn.Module, spec: ModelSpec, kept: dict[str, list[int]]) -> None:
    # double precision: the two networks add up in different orders
    x = torch.randn(4, *spec.input_shape)
    pruned, slim = remove_filters(model, spec, kept)
    assert slim.widths == {**spec.widths, **{name: len(keep) for name, keep in kept.items()}}
    expected = _silenced(model.double(), spec, kept, x.double())
    model.float()
    with torch.no_grad():
        assert _distance(pruned.double()(x.double()), expected) < TOLERANCE


@st.composite
def cases(draw):
    spec = SPECS[draw(st.sampled_from(sorted(SPECS)))]
    layers = draw(st.sets(st.sampled_from(sorted(spec.widths)), min_size=1))
    kept = {
        name: sorted(draw(st.sets(st.integers(0, spec.widths[name] - 1), min_size=1), label=name))
        for name in sorted(layers)
    }
    return spec, kept, draw(st.integers(0, 999))


@settings(deadline=None, max_examples=25)
@given(case=cases())
def test_pruned_equals_silenced(case) -> None:
    spec, kept, seed = case
    _assert_equal(_network(spec, seed), spec, kept)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_half_of_every_layer(name) -> None:
    """Hidden dense units too, every second filter: blocks and strides of the flatten cannot be mistaken."""
    spec = SPECS[name]
    kept = {layer: list(range(0, filters, 2)) for layer, filters in spec.widths.items()}
    _assert_equal(_network(spec), spec, kept)


@pytest.mark.parametrize("name", ["dcase21 40x51", "vggish 96x64"])
def test_the_other_flatten_order_would_be_noticed(name) -> None:
    """Removing the strided columns, which a channel-last flatten has, gives another network."""
    spec = SPECS[name]
    model = _network(spec)
    last = "conv3" if spec.name == "dcase21" else "conv6"
    filters = spec.widths[last]
    kept = {last: list(range(filters // 2))}
    pruned, _ = remove_filters(model, spec, kept)
    dense = model.classifier.fc1.weight.detach()
    positions = dense.shape[1] // filters
    assert positions > 1, "with one position both orders are the same"
    columns = {
        "block": [f * positions + s for f in kept[last] for s in range(positions)],
        "strided": [f + s * filters for s in range(positions) for f in kept[last]],
    }
    assert torch.equal(pruned.classifier.fc1.weight, dense[:, columns["block"]])
    x = torch.randn(4, *spec.input_shape)
    expected = _silenced(model, spec, kept, x)
    with torch.no_grad():
        assert _distance(pruned(x), expected) < 1e-5
        pruned.classifier.fc1.weight.copy_(dense[:, sorted(columns["strided"])])
        assert _distance(pruned(x), expected) > 1e-2


@pytest.mark.parametrize("name", ["dcase21 64x33", "vggish 35x49"])
def test_pruned_module_holds_what_the_cost_says(name) -> None:
    spec = SPECS[name]
    kept = {layer: list(range(1, filters)) for layer, filters in spec.widths.items()}
    pruned, slim = remove_filters(_network(spec), spec, kept)
    expected = count(graph_of(spec), {layer: len(keep) for layer, keep in kept.items()})
    assert sum(parameter.numel() for parameter in pruned.parameters()) == expected.params_trainable
    statistics = [value.numel() for name, value in pruned.named_buffers() if "running" in name]
    assert expected.params_trainable + sum(statistics) == expected.params_with_statistics
    assert cost(slim) == expected


def test_what_stays_is_copied_and_the_original_untouched() -> None:
    spec = SPECS["dcase21 40x51"]
    model = _network(spec).to(memory_format=torch.channels_last).train()
    before = copy.deepcopy(model.state_dict())
    pruned, slim = remove_filters(model, spec, {"conv1": [1, 4], "conv2": [0, 2, 3]})
    assert torch.equal(pruned.features.conv1.weight, before["features.conv1.weight"][[1, 4]])
    assert torch.equal(pruned.features.conv2.weight, before["features.conv2.weight"][[0, 2, 3]][:, [1, 4]])
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(pruned.features.bn2.state_dict()[name], before[f"features.bn2.{name}"][[0, 2, 3]])
    assert not pruned.training
    assert all(parameter.requires_grad for parameter in pruned.parameters())
    assert (spec.widths["conv1"], slim.widths["conv1"]) == (6, 2)
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    pruned.features.conv1.weight.data.zero_()
    assert model.features.conv1.weight.any()


def test_nothing_removed_is_the_same_network() -> None:
    spec = SPECS["vggish 35x49"]
    model = _network(spec)
    pruned, slim = remove_filters(model, spec, {"conv1": list(range(spec.widths["conv1"]))})
    assert slim == spec
    x = torch.randn(2, *spec.input_shape)
    with torch.no_grad():
        assert torch.equal(pruned(x), model(x))


def test_pruned_again() -> None:
    spec = SPECS["dcase21 40x51"]
    model = _network(spec)
    twice, last = remove_filters(*remove_filters(model, spec, {"conv3": [0, 2, 4, 6, 8]}), {"conv3": [1, 3]})
    once, same = remove_filters(model, spec, {"conv3": [2, 6]})
    assert last == same
    assert all(torch.equal(once.state_dict()[name], value) for name, value in twice.state_dict().items())


@pytest.mark.parametrize(
    ("keep", "message"),
    [([], "layer 'conv2' would lose all its filters"), ([1, 99], "layer 'conv2' has filters 0 to 5, not 1 to 99")],
)
def test_filters_that_cannot_be_kept_are_refused(keep, message) -> None:
    spec = SPECS["dcase21 20x5"]
    with pytest.raises(EdgepruneError, match=message):
        remove_filters(_network(spec), spec, {"conv1": [0], "conv2": keep})


@pytest.mark.parametrize("layer", ["conv9", "output", "bn1", ""])
def test_unknown_layers_are_refused(layer) -> None:
    spec = SPECS["dcase21 20x5"]
    with pytest.raises(EdgepruneError, match="cannot be pruned; those that can: conv1, conv2, conv3, fc1"):
        remove_filters(_network(spec), spec, {layer: [0]})
