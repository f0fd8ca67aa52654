"""A data set of clips made ready for a network: split, validation cut, features, normalisation and patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.audio.decode import probe_clip
from edgeprune.audio.layout import Layout
from edgeprune.data.cards import MIXTURES, SYNTHETIC, Card, load_card
from edgeprune.data.clip_warnings import label_warnings, sound_warnings
from edgeprune.data.feature_cache import Features, extract, read_headers
from edgeprune.data.labels import rarest
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import LogMelPatches, Patches
from edgeprune.data.run_data import FoundData, RunData
from edgeprune.data.splits import Split, load_split, split_validation
from edgeprune.errors import EdgepruneError
from edgeprune.files import default_cache, sha256_json
from edgeprune.recipe import Data, LogMel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FoundClips(FoundData):
    """Clips of a split that are there and whose headers were read.

    Attributes:
        sha256: hash of the clips, labels and groups on each side of the official split.
        layout: how the network takes a patch.
        root: folder of the clips.
        filenames: of the official split, in its order.
        samples: of each clip at the front-end's rate; None where features are in the cache.
    """

    frontend: LogMel
    layout: Layout
    root: Path
    filenames: tuple[str, ...]
    samples: tuple[int, ...] | None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return patch_shape(self.frontend, self.layout)

    def load(self, data: Data) -> SceneData:
        """The clips with their log-mel features, computed or from the cache."""
        content, cache = self.card.content(), data.cache
        features = extract(self.root, self.filenames, self.frontend, content, cache, data.workers, self.samples)
        return SceneData(
            card=self.card,
            classes=self.classes,
            task=self.task,
            train=self.train,
            validation=self.validation,
            test=self.test,
            frontend=self.frontend,
            sha256=self.sha256,
            warnings=(*self.warnings, *sound_warnings(features)),
            normalisation=Normalisation.of(features, list(self.train["filename"])),
            features=features,
            layout=self.layout,
        )


@dataclass(frozen=True)
class SceneData(RunData):
    """Clips of a split with their features.

    Attributes:
        sha256, layout: as in `FoundClips`.
    """

    frontend: LogMel
    features: Features
    layout: Layout = "mels_frames"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return patch_shape(self.frontend, self.layout)

    def hashes(self) -> dict[str, str]:
        return {**super().hashes(), "audio": self.features.audio_sha256}

    def patches(self, clips: pd.DataFrame) -> Patches:
        return LogMelPatches(
            self.features,
            dict(zip(clips["filename"], clips["label"], strict=True)),
            self.classes,
            self.frontend,
            self.normalisation,
            self.layout,
            self.task,
        )


def patch_shape(frontend: LogMel, layout: Layout) -> tuple[int, int, int]:
    """One channel, height and width of a patch as a network of this layout takes it."""
    mels, frames = frontend.mels, frontend.patch_frames
    return (1, frames, mels) if layout == "frames_mels" else (1, mels, frames)


def find_clips(data: Data, frontend: LogMel, layout: Layout = "mels_frames", seed: int = 0) -> FoundClips:
    """Read the split, cut the validation part, and see by their headers that the front-end takes the clips.

    Missing synthetic scenes are made first. Their clips are as long as one patch of the front-end, up to 10 s.
    """
    frontend.check()
    card = load_card(data.name)
    root = data_root(card, data, frontend)
    split = read_split(card, root, data, frontend)
    if len(split.classes) < 2 and split.task == "scenes":
        only = ", ".join(split.classes)
        raise EdgepruneError(f"{card.name}: all clips are labelled {only}; give two classes or more.")
    bare = split.train["filename"][split.train["label"] == ""]
    if len(bare):
        raise EdgepruneError(
            f"{card.name}: {bare.iloc[0]} has no label in the training part; label it or leave it out."
        )
    used, _ = stratified(split.train, data.train_share, seed)
    train, validation = split_validation(used, data.validation, seed) if data.validation else (used, None)
    filenames = (*split.train["filename"], *split.test["filename"])
    samples = read_headers(root, filenames, frontend, card.content(), data.cache, data.workers)
    return FoundClips(
        card=card,
        classes=split.classes,
        task=split.task,
        train=train,
        validation=validation,
        test=split.test,
        frontend=frontend,
        sha256=split_sha256(split),
        warnings=(*split.warnings, *label_warnings(split.classes, used, split.test)),
        layout=layout,
        root=root,
        filenames=filenames,
        samples=samples,
    )


def load_scenes(data: Data, frontend: LogMel, layout: Layout = "mels_frames", seed: int = 0) -> SceneData:
    """Find the clips, and compute their log-mel features or take them from the cache."""
    return find_clips(data, frontend, layout, seed).load(data)


def read_split(card: Card, root: Path, data: Data, frontend: LogMel) -> Split:
    """The recipe's split; where one sound is to be detected, its tables have the column `seconds` of every clip."""
    split = load_split(card, root, data.fold, data.subset)
    if not data.detect:
        return split
    split, rate = split.detecting(data.detect), frontend.sample_rate
    train, test = (
        part.assign(seconds=[probe_clip(root / name, rate) / rate for name in part["filename"]])
        for part in (split.train, split.test)
    )
    return replace(split, train=train, test=test)


def evenly(clips: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` of the clips, evenly spaced, in their order."""
    step = max(1.0, len(clips) / max(1, count))
    return clips.iloc[[int(place * step) for place in range(min(count, len(clips)))]]


def stratified(table: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A random share of a table's rows, nearly the same share of every label (of several, the rarest), and the others.

    The same for the same seed; both keep their order. The share is above 0; with 1 all rows are taken.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < share <= 1:
        raise EdgepruneError(f"a share of {share} of the training part: give one above 0 and at most 1.")
    if share == 1:
        return table, table.iloc[:0]
    try:
        labels = rarest(table["label"])
        parts = train_test_split(range(len(table)), train_size=share, random_state=seed, stratify=labels)
        taken, left = (table.iloc[sorted(part)].reset_index(drop=True) for part in parts)
        if labels.iloc[sorted(parts[0])].nunique() < labels.nunique():
            raise ValueError("a class is missing")
    except ValueError as error:
        raise EdgepruneError(
            f"a share of {share:g} of {len(table)} training rows leaves a class without any; take a larger one."
        ) from error
    return taken, left


def split_sha256(split: Split) -> str:
    """Hash of the clips, labels and groups on each side; it holds neither paths of the machine nor audio."""

    def rows(clips: pd.DataFrame) -> Sequence[Sequence[str]]:
        names = (Path(name).with_suffix("").as_posix() for name in clips["filename"])
        return sorted(zip(names, clips["label"], clips["group"], strict=True))

    return sha256_json({"train": rows(split.train), "test": rows(split.test), "classes": split.classes})


def data_root(card: Card, data: Data, frontend: LogMel) -> Path:
    """The folder of the clips; missing synthetic scenes are made there first."""
    if card.name not in SYNTHETIC:
        if data.root is None or not data.root.is_dir():  # a run's recipe stores the folder of its first machine
            absent = "" if data.root is None else f"the folder {data.root} does not exist; "
            raise EdgepruneError(f"{card.name}: {absent}say where the data set lies, as --data.root FOLDER.")
        return data.root
    from edgeprune.data import synthetic

    clip_s = min(10.0, max(1.0, round(frontend.patch_frames * frontend.hop_s, 1)))
    rate = max(16000, frontend.sample_rate)
    root = data.root or default_cache() / card.name / f"{data.clips_per_scene}x{clip_s:g}s-{rate}"
    synthetic.ensure(root, data.clips_per_scene, clip_s, rate, mixtures=card.name == MIXTURES)
    return root
