"""Scores from activations and gradients: each against its definition, then on networks written in many ways."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional as F

from edgeprune.errors import EdgepruneError
from edgeprune.graph.trace import trace
from edgeprune.pruning.scores import CRITERIA, criterion, score
from edgeprune.pruning.scores.activity import apoz, entropy, entropy_over_clips
from edgeprune.pruning.scores.capture import Capture
from edgeprune.pruning.scores.layer_scores import score_network
from edgeprune.pruning.scores.singular_values import energy, hrank
from edgeprune.pruning.scores.taylor import taylor, taylor_over_clips

ACTIVE = ["hrank", "energy", "apoz", "entropy", "taylor"]  # by layer; `stand_in` goes by what reads them
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
seeds = st.integers(0, 2**32 - 1)


# The scores themselves


def test_registry() -> None:
    assert [name for name in CRITERIA if criterion(name).active] == [*ACTIVE, "stand_in"]
    for name, one in CRITERIA.items():
        assert one.name == name
        assert one.source
        assert callable(one.function())


@pytest.mark.parametrize("name", [*ACTIVE, "batchnorm_scale"])
def test_more_than_a_weight_is_asked_for(name) -> None:
    with pytest.raises(EdgepruneError, match=f"criterion '{name}' needs .* use `edgeprune score RUN`"):
        score(torch.randn(3, 3), name)


def _low_rank(seed: int, shape: tuple[int, int, int, int], dtype: type) -> np.ndarray:
    """Maps whose ranks run from 0 to full."""
    generator = np.random.default_rng(seed)
    n, filters, height, width = shape
    full = min(height, width)
    maps = np.empty(shape)
    for index in np.ndindex(n, filters):
        rank = generator.integers(0, full + 1)
        maps[index] = generator.standard_normal((height, rank)) @ generator.standard_normal((rank, width))
    return maps.astype(dtype)


map_shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@settings(deadline=None, max_examples=40)
@given(shape=map_shapes, seed=seeds, dtype=st.sampled_from([np.float32, np.float64]))
def test_hrank_is_numpys_rank(shape, seed, dtype) -> None:
    maps = _low_rank(seed, shape, dtype)
    expected = np.array([[np.linalg.matrix_rank(one) for one in clip] for clip in maps])
    assert np.array_equal(hrank(torch.from_numpy(maps)).numpy(), expected)


@settings(deadline=None, max_examples=40)
@given(shape=map_shapes, seed=seeds)
def test_energy_is_the_sum_of_numpys_singular_values(shape, seed) -> None:
    maps = _low_rank(seed, shape, np.float64)
    expected = [[np.linalg.svd(one, compute_uv=False).sum() for one in clip] for clip in maps]
    np.testing.assert_allclose(energy(torch.from_numpy(maps)).numpy(), expected, rtol=1e-10, atol=1e-12)
    single = energy(torch.from_numpy(maps.astype(np.float32)))
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5, atol=1e-4)


def test_maps_of_one_dimension_and_of_none() -> None:
    maps = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    assert hrank(maps).tolist() == [[1, 0]]
    assert energy(maps)[0].tolist() == pytest.approx([5, 0])
    values = torch.tensor([[0.0, -2.0]])
    assert hrank(values).tolist() == [[0, 1]]
    assert energy(values).tolist() == [[0, 2]]


def test_apoz_by_hand() -> None:
    maps = torch.zeros(2, 3, 2, 2)
    maps[0, 0] = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    maps[1, 2] = 3
    assert apoz(maps).tolist() == [[0.5, 0, 0], [0, 0, 1]]
    assert apoz(maps[:, :, 0, 0]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_entropy_by_hand() -> None:
    # all alike; two halves; four quarters; all but one
    values = torch.tensor([[1.0, 0, 0, 0], [1.0, 1, 1, 0], [1.0, 0, 2, 0], [1.0, 1, 3, -8]], dtype=torch.float64)
    expected = [0, np.log(2), np.log(4), 0.25 * np.log(4) + 0.75 * np.log(4 / 3)]
    assert entropy_over_clips(values).tolist() == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(clips=st.integers(1, 300), filters=st.integers(1, 5), seed=seeds, relu=st.booleans())
def test_entropy_is_scipys_of_numpys_histogram(clips, filters, seed, relu) -> None:
    maps = np.random.default_rng(seed).standard_normal((clips, filters, 2, 3))
    maps = np.maximum(maps - 1, 0) if relu else maps
    means = maps.mean(axis=(2, 3))
    values = entropy(torch.from_numpy(maps))
    np.testing.assert_allclose(values.numpy(), means, rtol=1e-12, atol=1e-15)
    expected = [stats.entropy(np.histogram(column, bins=100)[0]) for column in values.numpy().T]
    np.testing.assert_allclose(entropy_over_clips(values).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_taylor_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0], [4.0, 0.0]], [[1.0, 1.0], [0.0, 2.0]]])
    gradients = torch.tensor([[[1.0, 1.0], [-2.0, 5.0]], [[1.0, -1.0], [3.0, 3.0]]])
    values = taylor(maps, gradients)
    assert values.tolist() == [[1.5, 4.0], [0.0, 3.0]]
    assert taylor_over_clips(values).tolist() == pytest.approx([0.75 / np.hypot(0.75, 3.5), 3.5 / np.hypot(0.75, 3.5)])
    assert taylor_over_clips(torch.zeros(3, 2)).tolist() == [0, 0]


# On networks


class Modules(nn.Module):
    """Two convolutions and two dense layers, their activations modules."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2)
        self.fc1, self.fc2 = nn.Linear(5, 6), nn.Linear(6, 3)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(inplace), nn.ReLU(inplace), nn.ReLU(inplace)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.relu1(self.bn1(self.conv1(x))), 2)
        x = self.relu2(self.conv2(x))
        return self.fc2(self.drop(self.relu3(self.fc1(x.mean(dim=(2, 3))))))


class Functions(Modules):
    """The same, written with functions of torch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bn = self.bn1
        x = torch.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1)
        x = F.relu(F.batch_norm(x, bn.running_mean, bn.running_var, weight=bn.weight, bias=bn.bias, eps=bn.eps))
        x = torch.relu(self.conv2(F.max_pool2d(x, 2)))
        x = F.linear(x.mean((2, 3)), weight=self.fc1.weight, bias=self.fc1.bias)
        return self.fc2(torch.relu_(x))


class Methods(Modules):
    """The same, written with methods and in place, and with looks at what is on the way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bn = self.bn1
        x = self.conv1(x)
        assert x.shape[1] == x.size(1) == 4
        assert x.dim() == 4
        x = torch.batch_norm(
            x.contiguous(), bn.weight, bn.bias, bn.running_mean, bn.running_var, False, 0.1, bn.eps, False
        )
        x = self.conv2(F.max_pool2d(x.relu_(), 2)).relu()
        return self.fc2(F.relu(F.dropout(self.fc1(x.mean((2, 3))), 0.5, self.training), inplace=True))


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def _data(*sizes: int, shape: tuple[int, ...] = (1, 12, 10), seed: int = 0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(sizes), *shape, generator=generator, dtype=dtype)
    labels = torch.randint(0, 3, (len(x),), generator=generator)
    return list(zip(x.split(list(sizes)), labels.split(list(sizes)), strict=True))


def _net(kind: type[nn.Module] = Modules, **options) -> nn.Module:
    torch.manual_seed(3)
    model = kind(**options).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
            nn.init.uniform_(module.running_mean, -1, 1)
    return model


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for name, scores in first.items():
        np.testing.assert_allclose(scores.numpy(), second[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ACTIVE)
def test_any_way_of_writing_a_network_gives_the_same(name) -> None:
    data = _data(3, 4, dtype=torch.float64)
    model = _net()
    expected = score_network(model, name, _layers(model), data)
    for kind, options in ((Modules, {"inplace": True}), (Functions, {}), (Methods, {})):
        model = _net(kind, **options)
        _same(score_network(model, name, _layers(model), data), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_scores_are_those_of_the_maps_after_activation(device) -> None:
    data = _data(3, 4, dtype=torch.float64)
    model = _net().eval()
    x, labels = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    one = model.relu1(model.bn1(model.conv1(x)))
    two = model.relu2(model.conv2(F.max_pool2d(one, 2)))
    three = model.relu3(model.fc1(two.mean(dim=(2, 3))))
    logits = model.fc2(three)
    maps = dict(zip(_layers(model), (one, two, three, logits), strict=True))
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), list(maps.values()))
    model.to(device)
    for name in ("hrank", "energy", "apoz"):
        function = criterion(name).function()
        expected = {layer: function(maps[layer]).mean(dim=0) for layer in maps}
        _same(score_network(model, name, _layers(model), data), expected)
    expected = {layer: entropy_over_clips(entropy(maps[layer])) for layer in maps}
    _same(score_network(model, "entropy", _layers(model), data), expected)
    expected = {layer: taylor_over_clips(taylor(maps[layer], g)) for layer, g in zip(maps, gradients, strict=True)}
    _same(score_network(model, "taylor", _layers(model), data), expected)


@pytest.mark.parametrize("independent", [False, True])
def test_taylor_is_what_fading_a_filter_does_to_the_loss(independent: bool) -> None:
    x, labels = _data(5, dtype=torch.float64)[0]
    model = _net().eval()
    step = 1e-6
    if independent:
        labels = (torch.arange(model(x).numel()).view_as(model(x)) % 2).double()

    def losses(filter_: int, factor: float) -> torch.Tensor:
        def fade(_module, _inputs, output):
            mask = torch.ones(5, dtype=torch.float64)
            mask[filter_] = factor
            return output * mask[:, None, None]

        handle = model.relu2.register_forward_hook(fade)
        with torch.no_grad():
            logits = model(x)
            if independent:
                found = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(dim=1)
            else:
                found = F.cross_entropy(logits, labels, reduction="none")
        handle.remove()
        return found

    slopes = [(losses(each, 1 + step) - losses(each, 1 - step)) / (2 * step) for each in range(5)]
    changes = torch.stack([slope.abs().mean() for slope in slopes])
    expected = changes / changes.norm()
    scores = score_network(model, "taylor", {"conv2": model.conv2}, [(x, labels)])["conv2"]
    np.testing.assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVE)
def test_batches_of_any_size_give_the_same(name) -> None:
    model = _net()
    expected = score_network(model, name, _layers(model), _data(12, dtype=torch.float64))
    for sizes in ((6, 6), (1, 4, 7), (0, 12), (1,) * 12):
        _same(score_network(model, name, _layers(model), _data(*sizes, dtype=torch.float64)), expected)


@pytest.mark.parametrize("name", [*ACTIVE, "batchnorm_scale"])
@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(4)))
def test_permuting_filters_permutes_scores(name, order) -> None:
    model, data = _net(), _data(6, dtype=torch.float64)
    layers = {"conv1": model.conv1} if name == "batchnorm_scale" else _layers(model)
    graph = trace(model, data[0][0])
    before = score_network(model, name, layers, data, graph)
    with torch.no_grad():
        for tensor in (model.conv1.weight, model.conv1.bias, *model.bn1.parameters()):
            tensor.copy_(tensor[order])
        model.bn1.running_mean.copy_(model.bn1.running_mean[order])
        model.conv2.weight.copy_(model.conv2.weight[:, order])
    after = score_network(model, name, layers, data, graph)
    np.testing.assert_allclose(after["conv1"].numpy(), before["conv1"][order].numpy(), rtol=1e-9, atol=1e-12)
    _same({**after, "conv1": before["conv1"]}, before)


class Residual(nn.Module):
    """A block whose second layer is taken into a sum, in place, before its activation; the third has no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = (nn.Conv2d(c, 4, 3, padding=1, bias=False) for c in (1, 4, 4))
        self.bn0, self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu, self.conv3, self.output = nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn0(self.stem(x)))
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        out = self.conv3(self.relu(out)).mul_(2)
        return self.output(out.mean(dim=(2, 3)))


def test_a_sum_in_place_is_no_part_of_a_feature_map() -> None:
    x, labels = _data(4, dtype=torch.float64)[0]
    model = _net(Residual).eval()
    stem = model.bn0(model.stem(x)).relu()
    inner = model.bn1(model.conv1(stem)).relu()
    second = model.bn2(model.conv2(inner))
    third = model.conv3((second + stem).relu())
    logits = model.output((2 * third).mean(dim=(2, 3)))
    maps = {"stem": stem, "conv1": inner, "conv2": second, "conv3": third, "output": logits}
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), list(maps.values()))
    found = score_network(model, "energy", _layers(model), [(x, labels)])
    _same({name: found[name] for name in maps}, {name: energy(maps[name]).mean(dim=0) for name in maps})
    found = score_network(model, "taylor", _layers(model), [(x, labels)])
    expected = {name: taylor_over_clips(taylor(maps[name], g)) for name, g in zip(maps, gradients, strict=True)}
    _same({name: found[name] for name in maps}, expected)


ACTIVATIONS = [
    *(nn.ReLU6(), nn.LeakyReLU(0.2), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.ELU(), nn.PReLU(), nn.Tanh()),
    *(nn.Sigmoid(), nn.Mish(), nn.Hardtanh(), nn.Softplus(), nn.SELU(), nn.ReLU(inplace=True), nn.SiLU(inplace=True)),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda module: type(module).__name__)
def test_every_activation_is_followed(activation) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), activation, nn.AvgPool2d(2), nn.Flatten()).eval()
    x = torch.randn(2, 1, 8, 8)
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad(), Capture({"conv": model[0]}, found.__setitem__):
        model(x)
    assert torch.equal(found["conv"], model[:3](x).detach())


def test_one_dimension_and_dense_layers_over_time() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(2, 3, 3), nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x).relu().transpose(1, 2)).relu().mean(dim=1)

    model, data = Net(), _data(3, shape=(2, 9))
    x = data[0][0]
    maps = model.conv(x).relu()
    dense = model.fc(maps.transpose(1, 2)).relu().transpose(1, 2)
    expected = {"conv": apoz(maps).mean(dim=0), "fc": apoz(dense).mean(dim=0)}
    _same(score_network(model, "apoz", _layers(model), data), expected)
    for name in ACTIVE:
        scores = score_network(model, name, _layers(model), data)
        assert {layer: len(values) for layer, values in scores.items()} == {"conv": 3, "fc": 4}


def test_a_layer_called_twice_counts_twice() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(x).relu()).tanh().mean(dim=(2, 3))

    torch.manual_seed(1)
    model, data = Net(), _data(3, shape=(2, 4, 4))
    labels = data[0][1].clamp(max=1)
    first = model.conv(data[0][0]).relu()
    both = torch.cat([first, model.conv(first).tanh()])
    assert torch.allclose(
        score_network(model, "energy", _layers(model), data)["conv"], energy(both).mean(dim=0), rtol=1e-6
    )
    scores = score_network(model, "taylor", _layers(model), [(data[0][0], labels)])["conv"]
    assert scores.norm().item() == pytest.approx(1)


class Standardised(nn.Conv2d):
    """Alters its weight before it uses it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True), self.bias)


@pytest.mark.parametrize(
    "conv", [Standardised(1, 3, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 3, 3))], ids=["subclass", "norm"]
)
def test_layers_that_alter_their_weight(conv) -> None:
    model = nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    data = _data(4)
    expected = apoz(model[:3](data[0][0])).mean(dim=0)
    assert torch.equal(score_network(model, "apoz", {"conv": conv}, data)["conv"], expected)


def test_two_layers_that_share_a_weight() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3), nn.Flatten())
    model[2].weight = model[0].weight
    data = _data(3, shape=(1, 6, 6))
    first = model[:2](data[0][0])
    expected = {"a": energy(first).mean(dim=0), "b": energy(model[2](first)).mean(dim=0)}
    found = score_network(model, "energy", {"a": model[0], "b": model[2]}, data)
    assert torch.allclose(found["a"], expected["a"], rtol=1e-6)
    assert torch.allclose(found["b"], expected["b"], rtol=1e-6)


# What is left behind


@pytest.mark.parametrize("name", [*ACTIVE, "batchnorm_scale", "l1"])
def test_the_network_is_left_as_it_was(name) -> None:
    model = _net().train()
    model.drop.eval()
    model.conv2.weight.requires_grad_(False)
    model.conv1.weight.grad = torch.ones_like(model.conv1.weight)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    layers = {"conv1": model.conv1}
    data = _data(3, dtype=torch.float64)
    score_network(model, name, layers, data, trace(model, data[0][0]))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [module is not model.drop for module in model.modules()]
    assert torch.equal(model.conv1.weight.grad, torch.ones_like(model.conv1.weight))
    assert [key for key, value in model.named_parameters() if value.grad is not None] == ["conv1.weight"]
    assert [key for key, value in model.named_parameters() if not value.requires_grad] == ["conv2.weight"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ACTIVE)
def test_frozen_networks_and_callers_without_gradients(name) -> None:
    model, data = _net(), _data(3, dtype=torch.float64)
    expected = score_network(model, name, _layers(model), data)
    model.requires_grad_(False)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            _same(score_network(model, name, _layers(model), [(x.clone(), y) for x, y in data]), expected)


def test_one_feature_map_at_a_time_is_held() -> None:
    blocks = [(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU()) for _ in range(6)]
    model = nn.Sequential(*(module for block in blocks for module in block)).eval()
    maps: list[weakref.ref[torch.Tensor]] = []
    alive = []

    def receive(_name: str, tensor: torch.Tensor) -> None:
        alive.append(sum(one() is not None for one in maps))
        maps.append(weakref.ref(tensor))

    with torch.no_grad(), Capture(_layers(model), receive):
        model(torch.randn(3, 2, 4, 4))
    assert alive == [0] * 6


@pytest.mark.parametrize("name", ACTIVE)
def test_one_batch_at_a_time_is_held(name) -> None:
    model = _net()
    seen: list[weakref.ref[torch.Tensor]] = []

    def batches():
        for x, labels in _data(2, 2, 2, 2, 2, dtype=torch.float64):
            assert all(one() is None for one in seen[:-1])
            own = x.clone()
            seen.append(weakref.ref(own))
            yield own, labels
            del own

    score_network(model, name, _layers(model), batches())
    assert len(seen) == 5


# What is refused


@pytest.mark.parametrize("name", ACTIVE)
def test_data_is_asked_for(name) -> None:
    model = _net()
    with pytest.raises(EdgepruneError, match=f"conv1: criterion '{name}' needs data"):
        score_network(model, name, _layers(model))
    for none in ([], _data(0, dtype=torch.float64)):
        with pytest.raises(EdgepruneError, match=f"conv1: criterion '{name}' got batches without clips"):
            score_network(model, name, _layers(model), none)


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_no_numbers_are_refused(name, value) -> None:
    model, data = _net(), _data(3, dtype=torch.float64)
    model.conv2.bias.data[1] = value
    model.train()
    with pytest.raises(EdgepruneError, match="conv2: its feature maps hold NaN or infinite values"):
        score_network(model, name, _layers(model), data)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", CRITERIA)
def test_weights_that_are_no_numbers_are_refused(name) -> None:
    model = _net()
    model.conv2.weight.data[1, 2, 0, 0] = float("nan")
    with pytest.raises(EdgepruneError, match="conv2: its weights hold NaN or infinite values"):
        score_network(model, name, _layers(model), _data(3, dtype=torch.float64))


def test_a_layer_the_network_does_not_call_is_refused() -> None:
    model = _net()
    model.spare = nn.Conv2d(1, 1, 1)
    with pytest.raises(EdgepruneError, match="spare: the network does not call this layer"):
        score_network(model, "apoz", _layers(model), _data(3, dtype=torch.float64))


def test_labels_must_be_classes_for_gradients_only() -> None:
    model = _net()
    unknown = [(x, labels - 1) for x, labels in _data(9, dtype=torch.float64)]
    score_network(model, "energy", _layers(model), unknown)
    with pytest.raises(EdgepruneError, match="labels must be from 0 to 2"):
        score_network(model, "taylor", _layers(model), unknown)
    with pytest.raises(EdgepruneError, match=r"output is not \[clips, classes\]"):
        score_network(nn.Sequential(model.conv1), "taylor", {"conv1": model.conv1}, unknown)


def test_unknown_criterion() -> None:
    with pytest.raises(EdgepruneError, match="perhaps you meant 'taylor'"):
        score_network(_net(), "tailor", {})


@pytest.mark.parametrize("name", [name for name in CRITERIA if criterion(name).needs == "weight" and name != "random"])
def test_passive_scores_are_those_of_the_weights(name) -> None:
    model = _net()
    expected = {layer: score(module.weight, name) for layer, module in _layers(model).items()}
    _same(score_network(model, name, _layers(model)), expected)
