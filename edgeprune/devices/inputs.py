"""Real clips as network inputs, so that a device is checked on what it will hear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.deploy.interpreter import TFLiteModel
from edgeprune.deploy.sidecar import read_metadata
from edgeprune.devices.job import CLIPS, Inputs
from edgeprune.errors import EdgepruneError


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
        described = read_metadata(path)
    except EdgepruneError:
        described = {}
    if not described.get("frontend"):
        if clips:
            raise EdgepruneError(f"{path}: tells no front-end, so audio cannot be fed to it; leave --clips out.")
        return _of_images(path, count) if (path.parent / "recipe.json").is_file() else _noise(path, count)
    if clips:
        return _of_audio(described, clips[:count], f"{len(clips[:count])} clips given")
    if (path.parent / "recipe.json").is_file():
        return _of_run(path, described, count)
    return _synthetic(described, count)


def _of_audio(described: dict[str, Any], files: Sequence[Path], source: str) -> Inputs:
    """The first patch of each file, as `[n, height, width, 1]`."""
    import torch

    from edgeprune.audio.decode import load_clip
    from edgeprune.audio.logmel import Frontend
    from edgeprune.audio.patches import Normalisation
    from edgeprune.recipe import LogMel

    spec = LogMel(**described["frontend"])
    frontend, normalisation = Frontend(spec), Normalisation.from_dict(described["normalisation"])
    patches = []
    for file in files:
        frames = frontend(torch.from_numpy(load_clip(file, spec.sample_rate))).numpy()
        patches.append((frames[: spec.patch_frames] - normalisation.mean) / normalisation.std)
    values = np.stack(patches)[..., np.newaxis]  # [n, frames, mels, 1]
    if not takes_time_first(described):
        values = values.transpose(0, 2, 1, 3)
    return Inputs(np.ascontiguousarray(values, dtype=np.float32), source)


def takes_time_first(described: dict[str, Any]) -> bool:
    """Whether a file's network takes `[frames, mels]` rather than `[mels, frames]`."""
    from edgeprune.models.registry import entry

    return entry(described["model"]["name"]).time_first


def _of_run(path: Path, described: dict[str, Any], count: int) -> Inputs:
    """Evaluation clips of the run the file lies in; only these are decoded."""
    from edgeprune.audio.cards import load_card
    from edgeprune.audio.clips import load_split
    from edgeprune.audio.scene_data import evenly
    from edgeprune.recipe_files import load_recipe

    data = load_recipe(str(path.parent)).data
    if data.root is None:
        return _synthetic(described, count)
    test = evenly(load_split(load_card(data.name), data.root, data.fold, data.subset).test, count)
    files = [data.root / name for name in test["filename"]]
    return _of_audio(described, files, f"{len(files)} test clips of {data.name}, fold {data.fold}")


def _of_images(path: Path, count: int) -> Inputs:
    from edgeprune.images.image_data import load_images
    from edgeprune.recipe_files import load_recipe

    recipe = load_recipe(str(path.parent))
    data = load_images(recipe.data, recipe.seed)
    patches = data.patches(data.test)
    rows = np.unique(np.linspace(0, len(patches) - 1, count).round().astype(int))
    values = np.ascontiguousarray(patches.inputs(rows).numpy().transpose(0, 2, 3, 1))
    return Inputs(values, f"{len(rows)} test images of {recipe.data.name}")


def _synthetic(described: dict[str, Any], count: int) -> Inputs:
    from edgeprune.audio.patches import Normalisation
    from edgeprune.audio.scene_data import evenly, load_data
    from edgeprune.evaluation.predict import evenly_spaced_inputs
    from edgeprune.recipe import Data, LogMel

    data = load_data(Data(clips_per_scene=10), LogMel(**described["frontend"]))
    data = data.with_normalisation(Normalisation.from_dict(described["normalisation"]))
    patches = data.patches(evenly(data.test, count))
    values = evenly_spaced_inputs(patches, count, takes_time_first(described)).transpose(0, 2, 3, 1)
    return Inputs(np.ascontiguousarray(values), f"{len(values)} clips of the synthetic scenes")


def _noise(path: Path, count: int) -> Inputs:
    """For files of others, whose front-end is not known."""
    model = TFLiteModel(path)
    values = np.random.default_rng(0).standard_normal((count, *model.input_shape[1:])).astype(np.float32)
    if model.input_dtype != np.float32:  # over the whole range of the input
        limits, (scale, zero) = np.iinfo(model.input_dtype), model.input_quantisation
        values = scale * (np.clip(values * 64, limits.min, limits.max).astype(np.float32) - zero)
    return Inputs(values.astype(np.float32), f"{count} draws of noise (the file tells no front-end)")
