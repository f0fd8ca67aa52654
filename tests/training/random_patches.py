"""Training on a handful of random patches."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeprune.data.feature_cache import Features
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import LogMelPatches
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import LogMel, Train
from edgeprune.training.fit import fit

CLASSES = 3


SPEC = make_spec("dcase21", CLASSES, (1, 20, 10), 0.25)


# augmentation and dropout on: whatever is random must be repeated by a resumed run
RECIPE = Train(epochs=3, batch_size=5, lr=0.01, freq_mask=4, time_mask=3, mixstyle=0.5, threads=1)


def make_patches(clips: int, seed: int, labels: list[str] | None = None) -> LogMelPatches:
    """One or two patches a clip, whose level tells the class."""
    generator = np.random.default_rng(seed)
    lengths = [10 + 10 * (row % 2) for row in range(clips)]
    labels = labels or [str(row % CLASSES) for row in range(clips)]
    levels = np.repeat([2.0 * float(label or 1) for label in labels], lengths)
    frames = (generator.standard_normal((sum(lengths), 20)) + levels[:, None]).astype(np.float32)
    names = [f"clip{row}" for row in range(clips)]
    features = Features(frames, np.cumsum([0, *lengths]), {name: row for row, name in enumerate(names)}, "")
    spec = LogMel(mels=20, patch_frames=10, patch_hop_frames=10)
    normalisation = Normalisation(np.full(20, 2, np.float32), np.ones(20, np.float32))
    cells = dict(zip(names, labels, strict=True))
    return LogMelPatches(features, cells, [str(number) for number in range(CLASSES)], spec, normalisation)


def run(folder: Path, recipe: Train = RECIPE, seed: int = 0, start: int = 0, validate: bool = True, **more):
    """Train a fresh network; its weights and the history."""
    torch.manual_seed(start)
    model = build(SPEC)
    validation = make_patches(6, 2) if validate else None
    history = fit(model, (make_patches(12, 1), validation), recipe, seed, folder, **more)
    return model, history


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[name], other[name]) for name in mine)
