"""Class probabilities of clips, from a torch network or from an exported file."""

from typing import Protocol

import numpy as np
import torch
from torch import nn

from edgeprune import console
from edgeprune.data.patches import Patches
from edgeprune.evaluation.scene import mean_patch_probabilities


class Predictor(Protocol):
    """An exported network: float32 `[n, height, width, 1]` in, probabilities `[n, classes]` out."""

    def predict(self, x: np.ndarray) -> np.ndarray: ...


def to_network(x: torch.Tensor, time_first: bool) -> torch.Tensor:
    """Patches `[n, 1, mels, frames]` as the network takes them."""
    return x.transpose(2, 3) if time_first else x


def evenly_spaced_inputs(patches: Patches, count: int, time_first: bool) -> np.ndarray:
    """At most `count` patches, evenly spaced, as the network takes them: float32 `[n, 1, height, width]`."""
    rows = np.unique(np.linspace(0, len(patches) - 1, min(count, len(patches))).round().astype(int))
    return np.ascontiguousarray(to_network(patches.inputs(rows), time_first).numpy())


def clip_means(probabilities: np.ndarray, patches: Patches) -> np.ndarray:
    """Mean of each clip's patch probabilities, `[clips, classes]`."""
    return mean_patch_probabilities(probabilities, patches.clip.numpy(), patches.clips)


def torch_probabilities(model: nn.Module, patches: Patches, time_first: bool, batch: int = 64) -> np.ndarray:
    """`[clips, classes]` from a torch network in evaluation mode."""
    parts = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(patches), batch):
            x = patches.inputs(np.arange(start, min(start + batch, len(patches))))
            parts.append(model(to_network(x, time_first)).float().softmax(1).numpy())
    return clip_means(np.concatenate(parts), patches)


def file_probabilities(
    predictor: Predictor, patches: Patches, time_first: bool, title: str = "evaluating", batch: int = 16
) -> np.ndarray:
    """`[clips, classes]` from an exported file."""
    parts = []
    with console.progress(title, len(patches)) as bar:
        for start in range(0, len(patches), batch):
            rows = np.arange(start, min(start + batch, len(patches)))
            x = to_network(patches.inputs(rows), time_first).permute(0, 2, 3, 1)
            parts.append(predictor.predict(np.ascontiguousarray(x.numpy())))
            bar.advance(bar.task_ids[0], len(rows))
    return clip_means(np.concatenate(parts), patches)
