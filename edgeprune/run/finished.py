"""What can be done with a finished run: export more files of it, and evaluate any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgeprune import console
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.recipe import Data, LogMel
from edgeprune.recipe_files import RECIPE, load_recipe
from edgeprune.run.run import (
    PREFIXES,
    export_network,
    file_predictions,
    has_images,
    load_data,
    normalisation_of,
    refuse_unlabelled_test,
    run_folder,
    scores_of,
)

WAVEFORM_CLIPS = 20
"""Evaluation clips, evenly spaced, on which a waveform file is compared with the chain it replaces."""


def export(target: str, formats: Sequence[str], waveform: bool = False) -> dict[str, Path]:
    """Export the pruned network of a run folder (again) in some formats; files that are whole are kept.

    Args:
        target: run folder.
        formats: number formats.
        waveform: of each format also a file `<format>_waveform` that takes samples.

    Raises:
        EdgepruneError: not a run folder with a pruned network, its data are no longer there, or TFLite has no operator
            for its front-end.
        CheckFailedError: a file does not compute what the network does.
    """
    from edgeprune.convert.tflite_export import check_formats
    from edgeprune.models import checkpoint

    folder = _run_of(target)
    formats = check_formats(formats)
    recipe = load_recipe(str(folder))
    if waveform and has_images(recipe.data):
        raise EdgepruneError(f"{folder}: its network takes images, which have no waveform; leave out --waveform.")
    with run_folder(folder):
        network = checkpoint.load(folder / "pruned.ckpt")
        data = load_data(recipe.data, recipe.frontend, recipe.seed).with_normalisation(normalisation_of(network))
        paths = export_network(folder, network, data, formats, PREFIXES["pruned"], recipe)
        if waveform:
            paths |= {f"{name}_waveform": _with_frontend(path) for name, path in paths.items()}
        return paths


def _with_frontend(path: Path) -> Path:
    """Write `<path>_waveform.tflite`, compare it with the chain it replaces, and describe it in a sidecar."""
    from edgeprune.convert.waveform import write_waveform_model
    from edgeprune.convert.waveform_parity import check_waveform
    from edgeprune.devices.inputs import clips_of
    from edgeprune.tflite.metadata import read_description
    from edgeprune.tflite.sidecar import write_sidecar

    console.say(f"putting the front-end into {path.name}")
    out = write_waveform_model(path, path.with_name(f"{path.stem}_waveform.tflite"))
    description = read_description(out)
    clips = [clip for clip, _ in clips_of(path, description.logmel, WAVEFORM_CLIPS)]
    parity = check_waveform(out, path, clips)
    write_sidecar(out, description, extra={"parity": asdict(parity)})
    return out


def evaluate(target: str, data: Data | None = None, split: str = "test") -> dict[str, Any]:
    """Metrics of an exported file on a part of a data set: those of `evaluation.scene.evaluate`, and path and sha256.

    Args:
        target: a .tflite exported by edgeprune, or a run folder (its shipped file: int8, else the first format). A file
            that takes the waveform is run on the audio itself.
        data: the data set; None: the run folder's own.
        split: `test` or `train` of the official split.

    Raises:
        EdgepruneError: the file does not say which front-end it needs, or the data have other classes.
    """
    from edgeprune.tflite.description import WAVEFORM
    from edgeprune.tflite.metadata import read_metadata

    if split not in ("test", "train"):
        raise EdgepruneError(f"split '{split}': there are test and train.")
    path = Path(target)
    if path.suffix != ".tflite":
        folder = _run_of(target)
        recipe = load_recipe(str(folder))
        shipped = "int8" if "int8" in recipe.export.formats else recipe.export.formats[0]
        path, data = folder / f"model_{shipped}.tflite", data or recipe.data
    described = read_metadata(path)
    if data is None:
        raise EdgepruneError(f"{path}: say on which data to evaluate it, as --data.name NAME --data.root FOLDER.")
    if has_images(data) == bool(described["frontend"]):
        takes, has = ("clips", "images") if described["frontend"] else ("images", "clips")
        raise EdgepruneError(f"{path}: takes {takes}, but {data.name} holds {has}; give the data it was made for.")
    judge = _judge_audio if described.get("input") == WAVEFORM else _judge_features
    return {"path": str(path), "sha256": sha256_file(path), **judge(path, described, data, split)}


def _judge_features(path: Path, described: Mapping[str, Any], data: Data, split: str) -> dict[str, Any]:
    from edgeprune.data.normalisation import Normalisation

    found = load_data(replace(data, validation=0.0, train_share=1.0), LogMel(**described["frontend"]))
    _check_classes(path, described, found.card.name, found.classes)
    refuse_unlabelled_test(found.card.name, found.test)
    found = found.with_normalisation(Normalisation.from_dict(described["normalisation"]))
    clips = found.test if split == "test" else found.train
    return scores_of(file_predictions(path, found, clips), clips, found.classes)


def _judge_audio(path: Path, described: Mapping[str, Any], data: Data, split: str) -> dict[str, Any]:
    """The same from the clips' samples; no features are computed."""
    from edgeprune.data.cards import load_card
    from edgeprune.data.scene_data import data_root
    from edgeprune.data.splits import load_split
    from edgeprune.evaluation.audio_files import audio_probabilities

    card = load_card(data.name)
    root = data_root(card, data, LogMel(**described["frontend"]))
    found = load_split(card, root, data.fold, data.subset)
    _check_classes(path, described, card.name, found.classes)
    refuse_unlabelled_test(card.name, found.test)
    clips = found.test if split == "test" else found.train
    files = [root / name for name in clips["filename"]]
    return scores_of(audio_probabilities(path, files, f"evaluating {path.name}"), clips, found.classes)


def _check_classes(path: Path, described: Mapping[str, Any], name: str, classes: Sequence[str]) -> None:
    if list(classes) != described["labels"]:
        raise EdgepruneError(
            f"{path}: tells {', '.join(described['labels'])} apart, but {name} holds {', '.join(classes)}; give the "
            "data it was made for."
        )


def _run_of(target: str) -> Path:
    folder = Path(target)
    if not (folder / RECIPE).is_file():
        raise EdgepruneError(
            f"{target}: is neither a run folder (there is no {RECIPE}) nor a .tflite file; check the path."
        )
    return folder
