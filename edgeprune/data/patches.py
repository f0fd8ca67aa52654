"""Patches: the fixed-size pieces of log-mel that a network sees, gathered from the features by the batch."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edgeprune.audio.layout import Layout, arrange
from edgeprune.audio.logmel import cut_patches, patch_starts
from edgeprune.data.feature_cache import Features
from edgeprune.data.labels import Task, targets
from edgeprune.data.normalisation import Normalisation
from edgeprune.recipe import LogMel


class Patches(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Network inputs as batches `(x [n, channels, height, width], label [n], clip [n])`, one or several for each clip.

    Attributes:
        classes: labels in the order of the network's outputs.
        labels: int64 `[clips]`, places in `classes`; of independent classes float32 `[clips, classes]` (see `targets`).
        clips: number of clips.
        clip: int64 `[patches]`, the clip each patch comes from, in the order given.
        layout: the layout of the network the patches are for, used by `network_inputs`.
    """

    def __init__(
        self, labels: Mapping[str, str], classes: Sequence[str], clip: Tensor, layout: Layout, task: Task = "scenes"
    ) -> None:
        """Check the labels, which are by file name; "" stands for unknown."""
        self.classes, self.layout, self.clip = tuple(classes), layout, clip
        self.labels = targets(labels, classes, task)
        self.clips = len(labels)

    @property
    def independent(self) -> bool:
        """Whether each class has a probability of its own (sigmoid) rather than a share of one (softmax)."""
        return self.labels.is_floating_point()

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """A whole batch in one gather (PyTorch's DataLoader calls this instead of one call an item)."""
        clip = self.clip[torch.as_tensor(indices)]
        return self.inputs(indices), self.labels[clip], clip

    def network_inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Some of the patches as the network takes them, `[n, channels, height, width]`, normalised."""
        return arrange(self.inputs(indices), self.layout)

    @abstractmethod
    def inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Some of the patches as augmentation takes them, float32 `[n, channels, height, width]`, normalised."""


class LogMelPatches(Patches):
    """All patches of some clips; `inputs` gives `[n, 1, mels, frames]`."""

    def __init__(
        self,
        features: Features,
        labels: Mapping[str, str],
        classes: Sequence[str],
        spec: LogMel,
        normalisation: Normalisation,
        layout: Layout = "mels_frames",
        task: Task = "scenes",
    ) -> None:
        starts, clip = [], []
        for row, filename in enumerate(labels):
            begin, end = features.offsets[features.rows[filename] :][:2]
            own = patch_starts(int(end - begin), spec.patch_frames, spec.patch_hop_frames)
            starts += [int(begin) + start for start in own]
            clip += [row] * len(own)
        super().__init__(labels, classes, torch.tensor(clip), layout, task)
        self.patch_frames = spec.patch_frames
        self._starts = np.asarray(starts)
        self._frames = features.frames
        self._normalisation = normalisation

    def inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        patches = cut_patches(self._frames, self._starts[np.asarray(indices)], self.patch_frames)
        return torch.from_numpy(self._normalisation.apply(patches).transpose(0, 2, 1)[:, None])
