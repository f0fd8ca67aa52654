"""Real clips as network inputs, so that a device is checked on what it will hear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeprune.data.cards import load_card
from edgeprune.devices.request import CLIPS, Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data, LogMel
from edgeprune.recipe_files import load_recipe
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description


def inputs_for(path: Path, clips: Sequence[Path] = (), count: int = CLIPS) -> Inputs:
    """At most `count` inputs: of the given audio, else evaluation clips of the run, else synthetic scenes, else noise.

    Of audio files the first patch is used.
    """
    try:
        description = read_description(path)
    except EdgepruneError:
        description = None
    if description is None or description.frontend is None:
        if clips:
            raise EdgepruneError(f"{path}: describes no front-end, so audio cannot be fed to it; leave --clips out.")
        return _images(path, count) if _is_in_run(path) else _noise(path, count)
    if clips:
        return _of_audio(description, clips[:count], f"{len(clips[:count])} clips given")
    files = [file for file, _ in clips_of(path, description.frontend, count)]
    data = _data_of(path)
    return _of_audio(description, files, f"{len(files)} test clips of {data.name}, fold {data.fold}")


def clips_of(path: Path, frontend: LogMel, count: int) -> list[tuple[Path, str]]:
    """Audio files and their labels, evenly spaced over the evaluation part of the run a file lies in.

    Outside a run they are clips of the synthetic scenes.
    """
    from edgeprune.data.scene_data import data_root, evenly, read_split  # torch takes seconds to import

    data = _data_of(path)
    card = load_card(data.name)
    root = data_root(card, data, frontend)
    test = evenly(read_split(card, root, data, frontend).test, count)
    return [(root / name, label) for name, label in zip(test["filename"], test["label"], strict=True)]


def _is_in_run(path: Path) -> bool:
    return (path.parent / "recipe.json").is_file()


def _data_of(path: Path) -> Data:
    return load_recipe(str(path.parent)).data if _is_in_run(path) else Data(clips_per_scene=10)


def _of_audio(description: Description, files: Sequence[Path], source: str) -> Inputs:
    """The first patch of each file, as the network takes it."""
    from edgeprune.audio.decode import load_clip

    spec = description.logmel
    # the first patch depends on no sample after `patch_samples`
    clips = (load_clip(file, spec.sample_rate)[: spec.patch_samples] for file in files)
    return Inputs(np.stack([description.patches(clip)[0] for clip in clips]), source)


def _images(path: Path, count: int) -> Inputs:
    from edgeprune.data.image_data import load_images

    recipe = load_recipe(str(path.parent))
    data = load_images(recipe.data, recipe.seed)
    patches = data.patches(data.test)
    rows = np.unique(np.linspace(0, len(patches) - 1, count).round().astype(int))
    values = np.ascontiguousarray(patches.inputs(rows).numpy().transpose(0, 2, 3, 1))
    return Inputs(values, f"{len(rows)} test images of {recipe.data.name}")


def _noise(path: Path, count: int) -> Inputs:
    """Noise, over the whole range of an integer input."""
    model = TFLiteModel(path)
    values = np.random.default_rng(0).standard_normal((count, *model.input_shape[1:])).astype(np.float32)
    if model.input_dtype != np.float32:
        limits, (scale, zero) = np.iinfo(model.input_dtype), model.input_quantisation
        values = scale * (np.clip(values * 64, limits.min, limits.max).astype(np.float32) - zero)
    return Inputs(values.astype(np.float32), f"{count} draws of noise (the file describes no front-end)")
