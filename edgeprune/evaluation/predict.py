"""Class probabilities of clips, from a torch network or from an exported file."""

import numpy as np
import torch
from torch import nn

from edgeprune import console
from edgeprune.data.patches import Patches
from edgeprune.evaluation.scene import mean_patch_probabilities
from edgeprune.tflite.interpreter import TFLiteModel


def evenly_spaced_inputs(patches: Patches, count: int) -> np.ndarray:
    """At most `count` patches, evenly spaced, as the network takes them: float32 `[n, channels, height, width]`."""
    rows = np.unique(np.linspace(0, len(patches) - 1, min(count, len(patches))).round().astype(int))
    return np.ascontiguousarray(patches.network_inputs(rows).numpy())


def clip_means(probabilities: np.ndarray, patches: Patches) -> np.ndarray:
    """Mean of each clip's patch probabilities, `[clips, classes]`."""
    return mean_patch_probabilities(probabilities, patches.clip.numpy(), patches.clips)


def torch_probabilities(model: nn.Module, patches: Patches, batch: int = 64) -> np.ndarray:
    """`[clips, classes]` from a torch network, which is set to evaluation mode."""
    parts = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(patches), batch):
            x = patches.network_inputs(np.arange(start, min(start + batch, len(patches))))
            logits = model(x).float()
            parts.append((logits.sigmoid() if patches.independent else logits.softmax(1)).numpy())
    return clip_means(np.concatenate(parts), patches)


def file_probabilities(file: TFLiteModel, patches: Patches, title: str = "evaluating", batch: int = 16) -> np.ndarray:
    """`[clips, classes]` from an exported file; see `TFLiteModel.probabilities`."""
    parts = []
    with console.progress(title, len(patches)) as bar:
        for start in range(0, len(patches), batch):
            rows = np.arange(start, min(start + batch, len(patches)))
            x = patches.network_inputs(rows).permute(0, 2, 3, 1)
            parts.append(file.probabilities(np.ascontiguousarray(x.numpy())))
            bar.advance(bar.task_ids[0], len(rows))
    return clip_means(np.concatenate(parts), patches)
