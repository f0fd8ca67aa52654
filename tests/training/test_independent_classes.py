"""Training of independent classes: binary losses by hand, mixed targets, and a network that learns them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.data.feature_cache import Features
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import LogMelPatches
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import LogMel, Train
from edgeprune.training import augment
from edgeprune.training.fit import fit
from edgeprune.training.module import SceneModule

CLASSES = ("low", "high")
PLAIN = Train(mixup=0.0, time_roll=False)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def step(recipe: Train, targets: torch.Tensor, teacher: nn.Module | None = None) -> tuple[float, np.ndarray]:
    """Loss of one step, and the student's probabilities."""
    torch.manual_seed(0)
    student = build(make_spec("dcase21", targets.shape[1], (1, 20, 10), 0.25)).eval()
    x = torch.randn(len(targets), 1, 20, 10)
    module = SceneModule(student, recipe, targets.shape[1], "mels_frames", 0, teacher, independent=True)
    return module.training_step((x, targets, torch.arange(len(targets))), 0).item(), sigmoid(
        student(x).detach().double().numpy()
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [1, 3])
def test_loss_by_hand(smoothing: float, classes: int) -> None:
    targets = (torch.arange(6 * classes).view(6, classes) % 3 == 0).float()
    loss, p = step(Train(mixup=0.0, time_roll=False, label_smoothing=smoothing), targets)
    wanted = targets.numpy() * (1 - smoothing) + smoothing / 2  # half of it to holding the class, half to not
    by_hand = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean()
    assert loss == pytest.approx(by_hand, rel=1e-5)


def test_distillation_by_hand() -> None:
    """The divergence of two coins for each class, both softened by T, times T^2."""
    torch.manual_seed(1)
    teacher = build(make_spec("dcase21", 3, (1, 20, 10), 0.25)).eval()
    targets = torch.eye(3).repeat(2, 1)
    recipe = Train(mixup=0.0, time_roll=False, distillation=0.3, temperature=4.0)
    loss, ours = step(recipe, targets, teacher)
    torch.manual_seed(0)
    build(make_spec("dcase21", 3, (1, 20, 10), 0.25))
    theirs = teacher(torch.randn(6, 1, 20, 10)).detach().double().numpy()
    q, p = sigmoid(np.log(ours / (1 - ours)) / 4), sigmoid(theirs / 4)
    hard = -(targets.numpy() * np.log(ours) + (1 - targets.numpy()) * np.log(1 - ours)).mean()
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    assert loss == pytest.approx(0.7 * hard + 0.3 * 16 * divergence, rel=1e-4)


def test_mixup_mixes_the_targets_of_each_class() -> None:
    torch.manual_seed(3)
    x = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    targets = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [3.0, 1.0]])  # the first column is the input's value
    mixed_x, mixed = augment.mixup(x, targets, 0.4)
    assert torch.allclose(mixed[:, 0], mixed_x[:, 0, 0, 0])
    assert ((mixed[:, 1] >= 0) & (mixed[:, 1] <= 1)).all()


def test_validation_by_clip_by_hand() -> None:
    """Two patches of clip 4 and one of clip 9, in two batches."""
    module = SceneModule(nn.Identity(), PLAIN, 2, "mels_frames", 0, independent=True)
    module._validation = [
        (torch.tensor([[0.6, 0.3], [0.1, 0.8]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([4, 9])),
        (torch.tensor([[0.2, 0.9]]), torch.tensor([[1.0, 1.0]]), torch.tensor([4])),
    ]
    loss, accuracy = module._clip_metrics()
    assert float(loss) == pytest.approx(-np.log([0.4, 0.6, 0.9, 0.8]).mean(), rel=1e-6)
    assert float(accuracy) == 0.5, "0.4 misses a class of clip 4"


def noise_bands(clips: int, seed: int) -> LogMelPatches:
    """Clips whose lower bands are loud, whose upper ones are, both, or none."""
    generator = np.random.default_rng(seed)
    holds = np.array([[row % 2, row // 2 % 2] for row in range(clips)])
    bands = np.repeat(holds, 10, axis=1).repeat(10, axis=0)  # [frames of all clips, mels]
    frames = (generator.standard_normal(bands.shape) + 2.0 * bands).astype(np.float32)
    names = [f"clip{row}" for row in range(clips)]
    features = Features(frames, 10 * np.arange(clips + 1), {name: row for row, name in enumerate(names)}, "")
    cells = [";".join(name for name, held in zip(CLASSES, row, strict=True) if held) or "none" for row in holds]
    labels = dict(zip(names, cells, strict=True))
    scale = Normalisation(np.ones(20, np.float32), np.ones(20, np.float32))
    return LogMelPatches(features, labels, CLASSES, LogMel(mels=20, patch_frames=10), scale, task="tags")


def test_it_learns_classes_that_come_together(tmp_path: Path) -> None:
    patches = noise_bands(16, 0)
    assert patches.labels[:4].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    torch.manual_seed(0)
    model = build(make_spec("dcase21", 2, (1, 20, 10), 0.25))
    recipe = Train(epochs=30, batch_size=8, lr=0.02, mixup=0.2, threads=1)
    history = fit(model, (patches, noise_bands(8, 1)), recipe, 0, tmp_path)
    assert min(row["val_log_loss"] for row in history) < 0.3, "chance is log 2 = 0.69"
    test = noise_bands(40, 2)
    right = (torch_probabilities(model, test) >= 0.5) == test.labels.numpy().astype(bool)
    assert right.mean() > 0.9
