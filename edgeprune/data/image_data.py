"""A data set of images made ready for a network, held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edgeprune.data.cards import Card, load_card
from edgeprune.data.clip_warnings import label_warnings
from edgeprune.data.image_files import read_part
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import Patches
from edgeprune.data.run_data import RunData
from edgeprune.data.scene_data import stratified
from edgeprune.data.splits import COLUMNS
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_json
from edgeprune.recipe import Data

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ImageData(RunData):
    """Images of a split, in memory as bytes.

    In the tables `filename` is the part and the place in it (`train/00017`), every image is its own group, and city and
    device are "". The normalisation is of each channel, in pixel values from 0 to 255.

    Attributes:
        sha256: hash of classes, images and labels of both parts as published.
        pixels: uint8 `[images of both parts, channels, height, width]`.
        rows: place in `pixels` by file name.
    """

    frontend: None
    pixels: np.ndarray
    rows: Mapping[str, int]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def patches(self, images: pd.DataFrame) -> ImagePatches:
        return ImagePatches(self, images)


class ImagePatches(Patches):
    """Images, one patch each, as batches `(x [n, channels, height, width], label [n], image [n])`."""

    def __init__(self, data: ImageData, images: pd.DataFrame) -> None:
        clip = torch.arange(len(images))
        labels = dict(zip(images["filename"], images["label"], strict=True))
        super().__init__(labels, data.classes, clip, "mels_frames")
        self._pixels = data.pixels
        self._rows = np.array([data.rows[name] for name in images["filename"]], dtype=np.int64)
        self._mean, self._std = (value[:, None, None] for value in (data.normalisation.mean, data.normalisation.std))

    def inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        pixels = self._pixels[self._rows[np.asarray(indices)]]
        return torch.from_numpy((pixels.astype(np.float32) - self._mean) / self._std)


def load_images(data: Data, seed: int = 0) -> ImageData:
    """Read both parts of a card of kind `images`, take the share to train on and cut the validation part out of it.

    The cut is random, stratified by class and the same for the same seed.
    """
    card = load_card(data.name)
    if data.root is None:
        raise EdgepruneError(f"{card.name}: say where the data set lies, as --data.root FOLDER.")
    if data.fold != 1:
        raise EdgepruneError(f"{card.name}: has one split, so there is no fold {data.fold}; leave --data.fold at 1.")
    if data.subset:
        raise EdgepruneError(f"{card.name}: has no subset '{data.subset}'; take a share with --data.train-share.")
    parts = {part: read_part(card, data.root, part) for part in ("train", "test")}
    (train_pixels, train_labels), (test_pixels, test_labels) = parts.values()
    if train_pixels.shape[1:] != test_pixels.shape[1:]:
        sizes = (" x ".join(map(str, pixels.shape[1:])) for pixels in (train_pixels, test_pixels))
        raise EdgepruneError(f"{card.name}: images to train and to test differ in size ({' and '.join(sizes)}).")
    published, test = (_table(card, part, labels) for part, (_, labels) in parts.items())
    train, _ = stratified(published, data.train_share, seed)
    validation = None
    if data.validation:
        if not 0 < data.validation <= 0.5:
            raise EdgepruneError(f"validation fraction {data.validation}: must be above 0 and at most 0.5.")
        validation, train = stratified(train, data.validation, seed)
    pixels = np.concatenate([train_pixels, test_pixels])
    rows = {name: row for row, name in enumerate([*published["filename"], *test["filename"]])}
    normalisation = _normalisation(pixels[[rows[name] for name in train["filename"]]])
    digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in (pixels, train_labels, test_labels)]
    sha256 = sha256_json({"classes": card.classes, "shape": pixels.shape, "content": digests})
    classes = card.classes
    warnings = tuple(label_warnings(classes, published, test))
    parts_of = (train, validation, test)
    return ImageData(card, classes, "scenes", *parts_of, None, sha256, warnings, normalisation, pixels, rows)


def _table(card: Card, part: str, labels: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    names = [f"{part}/{row:05d}" for row in range(len(labels))]
    columns = {"filename": names, "label": np.array(card.classes)[labels], "group": names, "city": "", "device": ""}
    return pd.DataFrame(columns, columns=COLUMNS, dtype=str)


def _normalisation(pixels: np.ndarray) -> Normalisation:
    """Exact mean and deviation of each channel, from the counts of the 256 values."""
    values = np.arange(256)
    counts = np.stack([np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(pixels.shape[1])])
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return Normalisation.of_moments(mean, std)
