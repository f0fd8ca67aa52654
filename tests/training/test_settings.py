"""Each setting of training does what it says: schedules, weight decay, smoothed labels, and what augments when."""

from dataclasses import replace
from math import cos, pi, sqrt
from pathlib import Path

import pytest
import torch
from random_patches import CLASSES, RECIPE, SPEC, make_patches, run
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.models.registry import build
from edgeprune.recipe import Train
from edgeprune.training.fit import fit
from edgeprune.training.module import SceneModule

PLAIN = Train(epochs=3, batch_size=5, lr=0.01, mixup=0.0, time_roll=False, threads=1)
STEPS = 3 * 4
"""Three epochs of 18 patches, 5 a batch."""


def augmented(recipe: Train, x: Tensor) -> Tensor:
    module = SceneModule(nn.Identity(), recipe, CLASSES, "mels_frames", 0)
    return module._augment(x, torch.zeros(len(x), CLASSES))[0]


def learning_rates(folder: Path, monkeypatch: pytest.MonkeyPatch, schedule: str) -> list[float]:
    """The learning rate of every step."""
    rates: list[float] = []
    step = SceneModule.training_step

    def watched(self: SceneModule, batch: tuple[Tensor, Tensor, Tensor], number: int) -> Tensor:
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, batch, number)

    monkeypatch.setattr(SceneModule, "training_step", watched)
    run(folder, replace(PLAIN, schedule=schedule))
    return rates


def test_the_cosine_ends_with_the_training(tmp_path, monkeypatch) -> None:
    """By its formula: from the peak down to nothing, half a wave over all steps of all epochs."""
    wanted = [0.01 * (1 + cos(pi * step / STEPS)) / 2 for step in range(STEPS)]
    assert learning_rates(tmp_path, monkeypatch, "cosine") == pytest.approx(wanted)


def test_onecycle_rises_to_the_learning_rate_and_ends_with_the_training(tmp_path, monkeypatch) -> None:
    """As PyTorch's own schedule: a 25th of the peak at first, the peak after 30 % of the steps."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=STEPS)
    wanted = []
    for _ in range(STEPS):
        wanted.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    found = learning_rates(tmp_path, monkeypatch, "onecycle")
    assert found == pytest.approx(wanted)
    assert found[0] == pytest.approx(0.01 / 25)
    assert max(found) > 0.0095
    assert found[-1] < 1e-6


def test_a_constant_learning_rate_stays(tmp_path, monkeypatch) -> None:
    assert learning_rates(tmp_path, monkeypatch, "constant") == [0.01] * STEPS


class Idle(nn.Module):
    """A network with a weight that its outputs do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build(SPEC)
        self.idle = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) + 0.0 * self.idle


@pytest.mark.parametrize(("decay", "left"), [(0.0, 1.0), (0.1, 0.88)])
def test_weight_decay_shrinks_a_weight_that_does_nothing(tmp_path, decay, left) -> None:
    """Its gradient is the decay alone, and Adam's step is the learning rate: 1 - 12 x 0.01."""
    model = Idle()
    fit(model, (make_patches(12, 1), None), replace(PLAIN, schedule="constant", weight_decay=decay), 0, tmp_path)
    assert model.idle.item() == pytest.approx(left, abs=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothed_labels_are_those_of_pytorch(smoothing) -> None:
    torch.manual_seed(0)
    model, labels = build(SPEC).eval(), torch.tensor([0, 1, 2, 0])
    x = torch.randn(4, 1, 20, 10)
    recipe = replace(PLAIN, label_smoothing=smoothing)
    loss = SceneModule(model, recipe, CLASSES, "mels_frames", 0).training_step((x, labels, labels), 0)
    assert loss.item() == pytest.approx(
        functional.cross_entropy(model(x), labels, label_smoothing=smoothing).item(), rel=1e-6
    )


@pytest.mark.parametrize(("name", "axis"), [("freq_mask", 2), ("time_mask", 3)])
def test_masks_hide_whole_bands_or_whole_frames(name, axis) -> None:
    torch.manual_seed(0)
    hidden = augmented(replace(PLAIN, **{name: 4}), torch.ones(200, 1, 12, 30)) == 0
    other = 5 - axis
    assert torch.equal(hidden.all(dim=other), hidden.any(dim=other))
    assert hidden.all(dim=other).sum(dim=2).flatten().unique().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_mixstyle_changes_its_share_of_the_batches(probability) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 1, 3, 6)
    recipe = replace(PLAIN, mixstyle=probability)
    changed = sum(not torch.equal(augmented(recipe, x), x) for _ in range(500))
    spread = sqrt(500 * probability * (1 - probability))
    assert abs(changed - 500 * probability) <= 4 * spread


def test_mixstyle_mixes_as_evenly_as_alpha_says() -> None:
    """Patches of mean 0 or 2: with a large alpha, all pairs that differ meet in the middle."""
    torch.manual_seed(0)
    x = torch.randn(40, 1, 3, 400) / 100 + 2.0 * (torch.arange(40) % 2)[:, None, None, None]
    means = augmented(replace(PLAIN, mixstyle=1.0, mixstyle_alpha=1e5), x).mean(dim=(1, 2, 3))
    moved = means[(means - x.mean(dim=(1, 2, 3))).abs() > 0.1]
    assert len(moved) > 10
    torch.testing.assert_close(moved, torch.ones(len(moved)), atol=0.05, rtol=0)


def test_every_epoch_and_every_seed_augments_otherwise(tmp_path, monkeypatch) -> None:
    begins = set()
    start = SceneModule.on_train_epoch_start

    def watched(self: SceneModule) -> None:
        start(self)
        begins.add(torch.initial_seed())

    monkeypatch.setattr(SceneModule, "on_train_epoch_start", watched)
    for seed in (0, 1):
        run(tmp_path / str(seed), RECIPE, seed=seed)
    assert len(begins) == 2 * 3


def test_the_teacher_neither_drops_out_nor_follows_its_batch() -> None:
    torch.manual_seed(0)
    teacher = build(SPEC).train()
    SceneModule(build(SPEC), replace(PLAIN, distillation=0.5), CLASSES, "mels_frames", 0, teacher)
    assert not any(module.training for module in teacher.modules())
