"""A pruned network that is fitted to the dense one: exact where it can be, closer everywhere."""

import pytest
import torch
from torch import Tensor, nn

import edgeprune
from edgeprune import Prune
from edgeprune.errors import EdgepruneError
from edgeprune.graph.surgery import remove
from edgeprune.graph.trace import trace
from edgeprune.pruning.reconstruction import Reconstruction, reconstruct


class Chain(nn.Module):
    """Two convolutions with batch norm and a dense layer after a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.norm2 = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.pool, self.dense = nn.MaxPool2d(3), nn.Linear(6 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.first(x)))
        y = self.pool(torch.relu(self.norm2(self.second(y))))
        return self.dense(y.flatten(1))


def trained(model: nn.Module) -> nn.Module:
    """With statistics of batch norm that are not those of a fresh network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def repaired(
    model: nn.Module, kept: dict[str, list[int]], clips: Tensor
) -> tuple[nn.Module, nn.Module, Reconstruction]:
    """The network that is only cut, the one that is fitted, and the report."""
    graph = trace(model, clips[:1])
    cut, fitted = (remove(model, clips[:1], graph, kept) for _ in range(2))
    return cut, fitted, reconstruct(model, fitted, kept, graph, clips.split(10))


def test_filters_that_others_can_stand_in_for_are_restored_exactly() -> None:
    """Filters 4 to 7 repeat filters 0 to 3 at another scale, which the next layer can make good."""
    torch.manual_seed(0)
    model = trained(Chain())
    with torch.no_grad():
        for name in ("first.weight", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"):
            tensor = model.state_dict()[name]
            tensor[4:] = tensor[:4]
        for name in ("norm1.weight", "norm1.bias"):
            model.state_dict()[name][4:] *= torch.tensor([0.5, 2, 3, 4])
    clips = torch.randn(100, 1, 12, 12)
    cut, fitted, report = repaired(model, {"first": [0, 1, 2, 3]}, clips)
    with torch.no_grad():
        wanted = model(clips)
        assert (cut(clips) - wanted).abs().max() > 0.1
        assert (fitted(clips) - wanted).abs().max() < 0.01 * wanted.std()
    assert report.kept
    assert report.output_error_after < 1e-4 < report.output_error_before


def test_the_report_names_every_layer_and_what_became_of_it() -> None:
    torch.manual_seed(0)
    model, clips = trained(Chain()), torch.randn(100, 1, 12, 12)
    cut, fitted, report = repaired(model, {"first": [0, 2, 3, 6], "second": [0, 1, 4]}, clips)
    first, second, dense = report.layers
    assert [layer.path for layer in report.layers] == ["first", "second", "dense"]
    assert first.left == "its inputs did not change"
    for layer in (second, dense):
        assert layer.error_after < layer.error_before
    with torch.no_grad():
        wanted = model(clips)
        spread = (wanted - wanted.mean(0)).square().sum()
        for network, error in ((cut, report.output_error_before), (fitted, report.output_error_after)):
            assert float((network(clips) - wanted).square().sum() / spread) == pytest.approx(error, rel=1e-4)
    assert report.inputs == 100
    assert report.output_error_after < 0.5 * report.output_error_before


def test_from_python_for_any_module_with_clips_alone() -> None:
    torch.manual_seed(0)
    model, clips = trained(Chain()), torch.randn(60, 1, 12, 12)
    settings = Prune(keep=0.5, reconstruct=True)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain, _ = edgeprune.prune(model, clips[:1], settings=Prune(keep=0.5))
    fitted, allocation = edgeprune.prune(model, clips[:1], settings=settings, batches=clips.split(20))
    labelled = [(x, torch.zeros(len(x), dtype=torch.int64)) for x in clips.split(20)]
    same, _ = edgeprune.prune(model, clips[:1], settings=settings, batches=labelled)
    assert allocation.widths == {"first": 4, "second": 3}
    with torch.no_grad():
        wanted = model(clips)
        assert (fitted(clips) - wanted).norm() < 0.7 * (plain(clips) - wanted).norm()
        torch.testing.assert_close(same(clips), fitted(clips))
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())


def test_what_cannot_be_done_is_refused() -> None:
    model, example = trained(Chain()), torch.zeros(1, 1, 12, 12)
    with pytest.raises(EdgepruneError, match="give batches= of network inputs"):
        edgeprune.prune(model, example, settings=Prune(keep=0.5, reconstruct=True))
    with pytest.raises(EdgepruneError, match="without clips"):
        edgeprune.prune(model, example, settings=Prune(keep=0.5, reconstruct=True), batches=[])
    with pytest.raises(EdgepruneError, match="nothing to repair"):
        Prune(reconstruct=True, restart=True).check()
    with pytest.raises(EdgepruneError, match="taylor looks at clips with labels"):
        edgeprune.prune(model, example, settings=Prune(keep=0.5, criterion="taylor"), batches=[example])
