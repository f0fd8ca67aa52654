import copy

import pytest
import torch
from torch import nn

from edgeprune.convert.export_form import export_form
from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_export_form_computes_what_the_network_does(networks, name) -> None:
    network = networks[name]
    clips = torch.from_numpy(network.inputs)
    with torch.no_grad():
        logits = network.model(clips)
        assert len(set(logits.argmax(dim=1).tolist())) >= 3  # the comparison would be worth little otherwise
        scale = logits.abs().max()
        torch.testing.assert_close(export_form(network.model)(clips), logits.softmax(1), atol=1e-5, rtol=0)
        bare = export_form(network.model, output="logits")(clips)
        torch.testing.assert_close(bare / scale, logits / scale, atol=1e-5, rtol=0)


def test_export_form_holds_neither_batch_norm_nor_dropout(dcase21) -> None:
    kinds = [type(layer) for layer in export_form(dcase21.model).modules()]
    assert nn.BatchNorm2d in map(type, dcase21.model.modules())
    assert not {nn.BatchNorm2d, nn.Dropout} & set(kinds)
    assert kinds.count(nn.Conv2d) == 3
    assert kinds.count(nn.Linear) == 2


def test_folding_by_hand() -> None:
    # gamma 3, beta 1, mean 2, variance 4 (no epsilon): (5 x + 7 - 2) * 3 / 2 + 1 = 7.5 x + 8.5
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    for tensor, value in [
        (conv.weight, 5.0),
        (conv.bias, 7.0),
        (norm.weight, 3.0),
        (norm.bias, 1.0),
        (norm.running_mean, 2.0),
        (norm.running_var, 4.0),
    ]:
        nn.init.constant_(tensor, value)
    folded = export_form(nn.Sequential(conv, norm, Flatten(), nn.Linear(1, 2)))
    (layer,) = [layer for layer in folded.modules() if isinstance(layer, nn.Conv2d)]
    assert layer.weight.item() == pytest.approx(7.5, abs=1e-6)
    assert layer.bias.item() == pytest.approx(8.5, abs=1e-6)


def test_the_network_itself_is_left_alone(dcase21) -> None:
    model = copy.deepcopy(dcase21.model).train()
    before = copy.deepcopy(model.state_dict())
    form = export_form(model)
    assert model.training
    assert not any(layer.training for layer in form.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


class _LooksAtValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class _LooksAtSizes(nn.Module):
    """Its trace by stand-ins fails, though every operator is fixed by the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return x.mean((2, 3)) if x.shape[2] > 2 else x.flatten(1)


def test_a_forward_that_looks_at_values_is_refused() -> None:
    for example in (None, torch.zeros(1, 1, 4, 4)):
        with pytest.raises(EdgepruneError, match="_LooksAtValues: cannot be exported, its forward depends on tensor"):
            export_form(_LooksAtValues(), example=example)


def test_a_forward_that_looks_at_sizes_is_taken() -> None:
    model, x = _LooksAtSizes().eval(), torch.randn(2, 1, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(export_form(model, "logits", x[:1])(x), model(x))
