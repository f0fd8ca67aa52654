"""What data sets of clips and of images have in common once they are ready for a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from edgeprune.data.cards import Card
from edgeprune.data.labels import Task
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import Patches
from edgeprune.files import sha256_json
from edgeprune.recipe import Data, LogMel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FoundData(ABC):
    """Clips or images of a split, found and cut into parts; no feature is computed yet.

    Attributes:
        train, validation, test: tables of clips (see `splits.Split`); `validation` is None where none was cut.
        task: `scenes` (and images), `tags` or `detection` (see `labels.Task`).
        frontend: None for images.
        warnings: what is odd about the data, a sentence each without its full stop.
    """

    card: Card
    classes: tuple[str, ...]
    task: Task
    train: pd.DataFrame
    validation: pd.DataFrame | None
    test: pd.DataFrame
    frontend: LogMel | None
    sha256: str
    warnings: tuple[str, ...]

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a network input."""

    @abstractmethod
    def load(self, data: Data) -> RunData:
        """These clips or images ready for a network; `data` says where features are kept."""


@dataclass(frozen=True)
class RunData(FoundData):
    """Clips or images of a split, ready for a network.

    Attributes:
        normalisation: of the training part without validation, unless replaced by `with_normalisation`.
    """

    normalisation: Normalisation

    def load(self, data: Data) -> RunData:
        return self

    @abstractmethod
    def patches(self, clips: pd.DataFrame) -> Patches:
        """Some of the clips or images as network inputs."""

    def describe(self) -> dict[str, Any]:
        """Labels, task, front-end and normalisation as plain values, which travel with a trained network."""
        frontend = {} if self.frontend is None else asdict(self.frontend)
        task = {} if self.task == "scenes" else {"task": self.task}
        return {
            "labels": list(self.classes),
            **task,
            "frontend": frontend,
            "normalisation": self.normalisation.to_dict(),
        }

    def hashes(self) -> dict[str, str]:
        """A hash of each thing that must not change while a run is made; the last is of the whole split."""
        found = {"classes": sha256_json(self.classes)}
        train = [self.train] if self.validation is None else [self.train, self.validation]
        for part, tables in (("training", train), ("evaluation", [self.test])):
            rows = [row for table in tables for row in zip(table["filename"], table["label"], strict=True)]
            labels = sorted((PurePosixPath(str(name)).with_suffix("").as_posix(), str(label)) for name, label in rows)
            found[f"{part} clips"] = sha256_json([name for name, _ in labels])
            found[f"{part} labels"] = sha256_json(labels)
        return {**found, "split": self.sha256}

    def with_normalisation(self, normalisation: Normalisation) -> Self:
        """The same data, normalised with the statistics of another training set."""
        return replace(self, normalisation=normalisation)
