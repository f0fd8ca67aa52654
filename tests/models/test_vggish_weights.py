"""AudioSet weights of the common PyTorch port of VGGish, whose flatten is channel-last."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import channels_first_columns, channels_last_columns
from edgeprune.models.registry import build, make_spec
from edgeprune.models.vggish import load_audioset_weights

SPEC = make_spec("vggish", 5, (1, 96, 64), 0.05)
LAYERS = [*(f"features.conv{number}" for number in range(1, 7)), "classifier.fc1"]


class Port(nn.Module):
    """The port's layout, at our widths: `features.{0,3,6,8,11,13}`, `embeddings.{0,2,4}`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for item in ("conv1", "M", "conv2", "M", "conv3", "conv4", "M", "conv5", "conv6", "M"):
            if item == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(channels, SPEC.widths[item], 3, padding=1), nn.ReLU(inplace=True)]
                channels = SPEC.widths[item]
        self.features = nn.Sequential(*layers)
        wide = SPEC.widths["fc1"]
        self.embeddings = nn.Sequential(
            nn.Linear(channels * 6 * 4, wide),
            nn.ReLU(True),
            nn.Linear(wide, wide),
            nn.ReLU(True),
            nn.Linear(wide, 128),
            nn.ReLU(True),
        )

    def first_dense(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = torch.transpose(x, 1, 3)
        x = torch.transpose(x, 1, 2).contiguous()
        return self.embeddings[0](x.view(x.size(0), -1))


@pytest.fixture
def port():
    torch.manual_seed(3)
    model = Port().eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)  # keeps the size of activations from layer to layer
    return model


def _first_dense(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seen = []
    handle = model.classifier.fc1.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(x)
    handle.remove()
    return seen[0]


@torch.no_grad()
def test_first_dense_layer_gives_what_the_port_gives(port, tmp_path) -> None:
    torch.save(port.state_dict(), tmp_path / "vggish.pth")
    model = build(SPEC).eval()
    rest = {name: value.clone() for name, value in model.state_dict().items() if "fc2" in name or "output" in name}
    assert load_audioset_weights(model, tmp_path / "vggish.pth") == LAYERS
    x = torch.randn(4, 1, 96, 64)
    expected = port.first_dense(x)
    scale = expected.std(dim=0).max()
    assert torch.allclose(_first_dense(model, x), expected, rtol=0, atol=1e-5 * float(scale))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in rest.items())

    model.classifier.fc1.weight.copy_(port.embeddings[0].weight)
    assert (_first_dense(model, x) - expected).abs().max() > 0.1 * scale, "the order of the columns must matter"


@pytest.mark.parametrize("key", ["features.0.weight", "features.13.bias", "embeddings.0.weight"])
def test_a_missing_layer_is_named(port, tmp_path, key) -> None:
    state = OrderedDict(port.state_dict())
    del state[key]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(EdgepruneError, match=f"has no '{key}'"):
        load_audioset_weights(build(SPEC), tmp_path / "part.pth")


@pytest.mark.parametrize("key", ["features.3.weight", "features.11.bias", "embeddings.0.weight", "embeddings.0.bias"])
def test_another_shape_is_refused_and_nothing_is_loaded(port, tmp_path, key) -> None:
    state = port.state_dict()
    state[key] = state[key][:-1]
    torch.save(state, tmp_path / "other.pth")
    model = build(SPEC)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(EdgepruneError, match=rf"'{key}' is \[.*the network wants \[.*width 1 and a 96 x 64 input"):
        load_audioset_weights(model, tmp_path / "other.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("kind", ["missing", "text", "list", "module"])
def test_what_is_no_state_dict_is_refused_in_one_line(port, tmp_path, kind) -> None:
    path = tmp_path / "file.pth"
    if kind == "text":
        path.write_text("no weights")
    elif kind == "list":
        torch.save([1, 2, 3], path)
    elif kind == "module":
        torch.save(port, path)
    with pytest.raises(EdgepruneError, match="cannot be read as a VGGish state dict") as caught:
        load_audioset_weights(build(SPEC), path)
    assert "\n" not in str(caught.value)


def test_orders_of_columns_undo_each_other() -> None:
    """Weight `[1, channels 2 * positions 3]`: channel-first c0p0 c0p1 c0p2 c1p0 .. against channel-last c0p0 c1p0 .."""
    first = torch.tensor([[0.0, 1, 2, 10, 11, 12]])
    last = torch.tensor([[0.0, 10, 1, 11, 2, 12]])
    assert torch.equal(channels_last_columns(first, 2), last)
    assert torch.equal(channels_first_columns(last, 2), first)
