"""Normalisation of features by the statistics of the training clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeprune.data.feature_cache import Features


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each mel band over the training clips; the network takes `(x - mean) / std`."""

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def of(features: "Features", filenames: Sequence[str]) -> "Normalisation":
        """Over all frames of the named clips."""
        count, total, squares = 0, 0.0, 0.0
        for filename in filenames:
            frames = features.clip(filename).astype(np.float64)
            count += len(frames)
            total = total + frames.sum(axis=0)
            squares = squares + np.square(frames).sum(axis=0)
        mean = np.asarray(total / count)
        return Normalisation.of_moments(mean, np.sqrt(np.maximum(np.asarray(squares / count) - mean**2, 0.0)))

    @staticmethod
    def of_moments(mean: np.ndarray, std: np.ndarray) -> "Normalisation":
        """From float64 `[bands]`; a band that never changes gets a standard deviation of 1."""
        return Normalisation(mean.astype(np.float32), np.where(std < 1e-4, 1.0, std).astype(np.float32))

    @staticmethod
    def none(bands: int) -> "Normalisation":
        """The one that changes nothing."""
        return Normalisation(np.zeros(bands, np.float32), np.ones(bands, np.float32))

    def apply(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel `[..., mels]` as it enters the network."""
        normalised: np.ndarray = (log_mel - self.mean) / self.std
        return normalised

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @staticmethod
    def from_dict(value: dict[str, list[float]]) -> "Normalisation":
        """From what a file holds; TypeError, KeyError and ValueError where it does not fit."""
        with np.errstate(over="ignore"):  # what single precision cannot hold is refused as infinite
            mean, std = np.asarray(value["mean"], np.float32), np.asarray(value["std"], np.float32)
        if mean.ndim != 1 or mean.shape != std.shape or not np.isfinite([mean, std]).all() or not (std > 0).all():
            raise ValueError("normalisation: not a mean and a standard deviation above 0 for each band")
        return Normalisation(mean, std)
