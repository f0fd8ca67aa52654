"""Real clips as network inputs, so that a device is checked on what it will hear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeprune.devices.request import CLIPS, Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata

if TYPE_CHECKING:
    from edgeprune.recipe import Data, LogMel


def inputs_for(path: Path, clips: Sequence[Path] = (), count: int = CLIPS) -> Inputs:
    """Inputs for a file: of audio files given, else of its run's evaluation clips, else synthetic scenes, else noise.

    Args:
        path: the .tflite file; one exported by edgeprune tells the front-end it needs.
        clips: audio files, the first patch of each; none: the clips are found as said above.
        count: at most so many.

    Raises:
        EdgepruneError: a clip cannot be read, or audio is given for a file that tells no front-end.
    """
    try:
        description = Description.from_dict(read_metadata(path))
    except EdgepruneError:
        description = None
    if description is None or description.frontend is None:
        if clips:
            raise EdgepruneError(f"{path}: tells no front-end, so audio cannot be fed to it; leave --clips out.")
        return _of_images(path, count) if (path.parent / "recipe.json").is_file() else _noise(path, count)
    if clips:
        return _of_audio(description, clips[:count], f"{len(clips[:count])} clips given")
    files = [file for file, _ in clips_of(path, description.frontend, count)]
    data = _data_of(path)
    return _of_audio(description, files, f"{len(files)} test clips of {data.name}, fold {data.fold}")


def _of_audio(description: Description, files: Sequence[Path], source: str) -> Inputs:
    """The first patch of each file, as the network takes it."""
    from edgeprune.audio.decode import load_clip

    spec = description.logmel
    # the first patch depends on no sample after `patch_samples`
    clips = (load_clip(file, spec.sample_rate)[: spec.patch_samples] for file in files)
    return Inputs(np.stack([description.patches(clip)[0] for clip in clips]), source)


def clips_of(path: Path, frontend: LogMel, count: int) -> list[tuple[Path, str]]:
    """Audio files and their labels, evenly spaced over the evaluation part of the run a file lies in.

    Outside a run, and in a run on the synthetic scenes, they are clips of the synthetic scenes; only these are decoded.

    Raises:
        EdgepruneError: the run's data are no longer there.
    """
    from edgeprune.data.cards import load_card
    from edgeprune.data.scene_data import data_root, evenly
    from edgeprune.data.splits import load_split

    data = _data_of(path)
    card = load_card(data.name)
    root = data_root(card, data, frontend)
    test = evenly(load_split(card, root, data.fold, data.subset).test, count)
    return [(root / name, label) for name, label in zip(test["filename"], test["label"], strict=True)]


def _data_of(path: Path) -> Data:
    from edgeprune.recipe import Data
    from edgeprune.recipe_files import load_recipe

    if (path.parent / "recipe.json").is_file():
        return load_recipe(str(path.parent)).data
    return Data(clips_per_scene=10)


def _of_images(path: Path, count: int) -> Inputs:
    from edgeprune.data.image_data import load_images
    from edgeprune.recipe_files import load_recipe

    recipe = load_recipe(str(path.parent))
    data = load_images(recipe.data, recipe.seed)
    patches = data.patches(data.test)
    rows = np.unique(np.linspace(0, len(patches) - 1, count).round().astype(int))
    values = np.ascontiguousarray(patches.inputs(rows).numpy().transpose(0, 2, 3, 1))
    return Inputs(values, f"{len(rows)} test images of {recipe.data.name}")


def _noise(path: Path, count: int) -> Inputs:
    """For files of others, whose front-end is not known."""
    model = TFLiteModel(path)
    values = np.random.default_rng(0).standard_normal((count, *model.input_shape[1:])).astype(np.float32)
    if model.input_dtype != np.float32:  # over the whole range of the input
        limits, (scale, zero) = np.iinfo(model.input_dtype), model.input_quantisation
        values = scale * (np.clip(values * 64, limits.min, limits.max).astype(np.float32) - zero)
    return Inputs(values.astype(np.float32), f"{count} draws of noise (the file tells no front-end)")
