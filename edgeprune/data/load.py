"""Data sets of clips and of images by one call, ready for a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeprune import console
from edgeprune.audio.layout import Layout
from edgeprune.data.cards import has_images
from edgeprune.data.image_data import load_images
from edgeprune.data.run_data import FoundData as FoundData
from edgeprune.data.run_data import RunData as RunData
from edgeprune.data.scene_data import evenly, find_clips, load_scenes
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data, LogMel

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

_BATCH = 20


def find_data(data: Data, frontend: LogMel, layout: Layout = "mels_frames", seed: int = 0) -> FoundData:
    """What `load_data` will load, without computing features: what is wrong with lists and headers is told here."""
    if has_images(data):
        return load_images(data, seed)
    return find_clips(data, frontend, layout, seed)


def load_data(data: Data, frontend: LogMel, layout: Layout = "mels_frames", seed: int = 0) -> RunData:
    """Clips with their log-mel features, or images; front-end and layout play no part for images."""
    if has_images(data):
        return load_images(data, seed)
    return load_scenes(data, frontend, layout, seed)


def refuse_unlabelled_test(name: str, test: pd.DataFrame) -> None:
    """Raise EdgepruneError if clips of the evaluation part have no label, as in a publisher's test list."""
    bare = test["filename"][test["label"] == ""]
    if len(bare):
        raise EdgepruneError(
            f"{name}: {len(bare)} clips of the evaluation part have no label, {bare.iloc[0]} first; "
            "use the publisher's list that has them (fold1_evaluate)."
        )


def score_batches(data: RunData, clips: int, criterion: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Network inputs and labels of at most `clips` training clips, for criteria that look at data."""
    return labelled_batches(data, data.train, clips, f"scoring by {criterion}")


def sensitivity_batches(data: RunData, clips: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Network inputs and labels of validation clips, or of training clips where no validation part was cut."""
    return labelled_batches(data, data.train if data.validation is None else data.validation, clips, "reading clips")


def labelled_batches(data: RunData, table: pd.DataFrame, clips: int, title: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Network inputs `[n, channels, height, width]` and labels (see `Patches`) of evenly spaced clips of a table."""
    patches = data.patches(evenly(table, clips))
    starts = range(0, len(patches), _BATCH)
    for start in console.track(starts, title, len(starts)):
        rows = range(start, min(start + _BATCH, len(patches)))
        yield patches.network_inputs(rows), patches.labels[patches.clip[rows.start : rows.stop]]
