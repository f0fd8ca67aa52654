"""Patches: the fixed-size pieces of log-mel that a network sees, gathered from the features by the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edgeprune.audio.logmel import patch_starts
from edgeprune.data.feature_cache import Features
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each mel band over the training clips; `(x - mean) / std` enters the network."""

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def of(features: Features, filenames: Sequence[str]) -> "Normalisation":
        """Over all frames of the named clips; a band that never changes keeps a standard deviation of 1."""
        count, total, squares = 0, 0.0, 0.0
        for filename in filenames:
            frames = features.clip(filename).astype(np.float64)
            count += len(frames)
            total = total + frames.sum(axis=0)
            squares = squares + np.square(frames).sum(axis=0)
        mean = np.asarray(total / count)
        std = np.sqrt(np.maximum(np.asarray(squares / count) - mean**2, 0.0))
        return Normalisation(mean.astype(np.float32), np.where(std < 1e-4, 1.0, std).astype(np.float32))

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @staticmethod
    def from_dict(value: dict[str, list[float]]) -> "Normalisation":
        return Normalisation(np.asarray(value["mean"], np.float32), np.asarray(value["std"], np.float32))


class Patches(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """All patches of some clips, as batches `(x [n, 1, mels, frames], label [n], clip [n])`.

    Labels are indices into `classes`, -1 where unknown; `clip` counts the clips in the order given.

    Raises:
        EdgepruneError: a label is not among the classes.
    """

    def __init__(
        self,
        features: Features,
        filenames: Sequence[str],
        labels: Sequence[str],
        classes: Sequence[str],
        spec: LogMel,
        normalisation: Normalisation,
    ) -> None:
        number = {name: index for index, name in enumerate(classes)}
        for filename, label in zip(filenames, labels, strict=True):
            if label and label not in number:
                raise EdgepruneError(f"{filename}: label '{label}' is not one of the card's classes.")
        self.labels = torch.tensor([number.get(label, -1) for label in labels])
        self.clips = len(filenames)
        starts, clip = [], []
        for row, filename in enumerate(filenames):
            begin, end = features.offsets[features.rows[filename] :][:2]
            own = patch_starts(int(end - begin), spec.patch_frames, spec.patch_hop_frames)
            starts += [int(begin) + start for start in own]
            clip += [row] * len(own)
        self.clip = torch.tensor(clip)
        self.patch_frames = spec.patch_frames
        self._starts = np.asarray(starts)
        self._frames = features.frames
        self._mean, self._std = normalisation.mean, normalisation.std

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """A whole batch in one gather (PyTorch's DataLoader calls this instead of one call an item)."""
        chosen = torch.as_tensor(indices)
        clip = self.clip[chosen]
        return self.inputs(indices), self.labels[clip], clip

    def inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Network inputs `[n, 1, mels, frames]`, normalised."""
        rows = self._starts[np.asarray(indices)][:, None] + np.arange(self.patch_frames)
        x = (self._frames[rows] - self._mean) / self._std
        return torch.from_numpy(x.transpose(0, 2, 1)[:, None])
