"""An exported file on a data set of its classes, and every file of a run on its evaluation part."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from edgeprune import console
from edgeprune.cores import cores
from edgeprune.data.cards import has_images, load_card
from edgeprune.data.labels import Task
from edgeprune.data.load import RunData, load_data, refuse_unlabelled_test
from edgeprune.data.scene_data import data_root, read_split, split_sha256
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.audio_files import audio_probabilities
from edgeprune.evaluation.clips import evaluate_clips
from edgeprune.evaluation.predict import file_probabilities
from edgeprune.evaluation.predictions import read_predictions, write_predictions
from edgeprune.files import sha256_file
from edgeprune.recipe import Data, LogMel, Recipe
from edgeprune.results.figures import Scores
from edgeprune.results.result import artefact_key
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.export_files import formats_of
from edgeprune.tabular import Tabular
from edgeprune.tflite import cost as tflite_cost
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description
from edgeprune.tflite.sidecar import check_unchanged, read_sidecar, sidecar_path

_Judged = tuple[pd.DataFrame, np.ndarray, str]
_TOLD: dict[Task, str] = {
    "scenes": "one class a clip",
    "tags": "several classes a clip",
    "detection": "one sound to detect",
}


@dataclass(frozen=True)
class Evaluation(Tabular):
    """Metrics of an exported file on a part of a data set.

    Attributes:
        raw: the metrics as `evaluation.clips.evaluate_clips` gives them.
    """

    path: Path
    sha256: str
    scores: Scores
    raw: dict[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """`{path, sha256, accuracy, macro_accuracy, log_loss, interval, per_class, per_device, per_city, ...}`."""
        return {"path": str(self.path), "sha256": self.sha256, **self.raw}

    def table(self) -> pd.DataFrame:
        """Accuracy, log loss and number of clips: of all clips, then of each class, device and city."""
        return self.scores.table()


def evaluate(target: os.PathLike[str] | str, data: Data | None = None, split: str = "test") -> Evaluation:
    """Metrics of an exported file on a part of a data set.

        edgeprune.evaluate("runs/quickstart-fold1-seed0").scores.accuracy

    Args:
        target: a .tflite exported by edgeprune, or a run folder (its shipped file: int8, else the first format). A file
            that takes the waveform is run on the audio itself.
        data: the data set; None: the run folder's own.
        split: `test` or `train` of the official split.

    Raises:
        EdgepruneError: there is no such file or part, the file carries no description, or the data have other classes.
        CheckFailedError: the file is not the one its sidecar, or the result of its run, was written for.
    """
    if split not in ("test", "train"):
        raise EdgepruneError(f"split '{split}': there are test and train.")
    path = Path(target)
    if path.suffix != ".tflite":
        folder = RunFolder.existing(path)
        recipe = folder.recipe()
        shipped = "int8" if "int8" in recipe.export.formats else recipe.export.formats[0]
        path, data = folder.tflite("pruned", shipped), data or recipe.data
    check_unchanged(path)
    description = read_description(path)
    description.check_probabilities(path)
    if data is None:
        raise EdgepruneError(f"{path}: say on which data to evaluate it, as --data.name NAME --data.root FOLDER.")
    if has_images(data) == (description.frontend is not None):
        takes, has = ("images", "clips") if description.frontend is None else ("clips", "images")
        raise EdgepruneError(f"{path}: takes {takes}, but {data.name} holds {has}; give the data it was made for.")
    if description.task == "detection":
        data = replace(data, detect=description.labels[0])
    probabilities_of = _from_audio if description.takes_waveform else _from_features
    clips, probabilities, split_hash = probabilities_of(path, description, data, split)
    _remark_on_other_clips(path, split_hash)
    metrics = evaluate_clips(clips, probabilities, description.labels, description.threshold)
    return Evaluation(path, sha256_file(path), Scores.from_json(metrics), metrics)


def evaluate_files(recipe: Recipe, data: RunData, folder: RunFolder) -> dict[str, dict[str, Any]]:
    """The entries of `result.json`'s `artefacts`, by key; predictions are kept as CSV, and metrics come from those."""
    artefacts = {}
    names, labels = list(data.test["filename"]), list(data.test["label"])
    files = [(network, format) for network, formats in formats_of(recipe).items() for format in formats]
    for network, format in files:
        path, table = folder.tflite(network, format), folder.predictions(network, format)
        sidecar = read_sidecar(path)
        threshold = sidecar.get("threshold")
        if not table.is_file():
            rows = _file_predictions(path, data, data.test)
            write_predictions(table, names, labels, rows, data.classes, threshold)
        predictions = read_predictions(table, data.classes)
        if predictions.filenames != names or predictions.labels != labels:
            raise EdgepruneError(f"{table}: holds other clips than the split; delete it and run again.")
        scores = evaluate_clips(data.test, predictions.probabilities, data.classes, threshold)
        shown = ("mean_average_precision", "accuracy", "log_loss")
        figures = [f"{name.replace('_', ' ')} {scores[name]:.4f}" for name in shown if scores.get(name) is not None]
        console.say(f"{path.name}: {', '.join(figures)}")
        artefacts[artefact_key(network, format)] = {
            "path": path.name,
            "bytes": sidecar["bytes"],
            "sha256": sidecar["sha256"],
            "cost": tflite_cost.costs_of(tflite_cost.cost_of_tflite(path)),
            "accuracy": scores,
            "parity": sidecar["extra"]["parity"],
        }
    return artefacts


def _file_predictions(path: Path, data: RunData, clips: pd.DataFrame) -> np.ndarray:
    """Class probabilities `[clips, classes]` that a .tflite gives a table of clips."""
    model = TFLiteModel(path, threads=cores())
    return file_probabilities(model, data.patches(clips), title=f"evaluating {path.name}")


def _remark_on_other_clips(path: Path, split_hash: str) -> None:
    """Say that a file is evaluated on another split than in its run, if its sidecar tells of one."""
    if not sidecar_path(path).is_file():
        return
    its_own = read_sidecar(path)["extra"].get("evaluated_on")
    if its_own and its_own["split_sha256"] != split_hash:
        console.say(
            f"warning: {path}: its run evaluated it on {its_own['clips']:,} other clips, of {its_own['data']}; figures "
            "differ, and clips it was trained on may be among these"
        )


def _from_features(path: Path, description: Description, data: Data, split: str) -> _Judged:
    """The clips of a part, their probabilities `[clips, classes]`, and the hash of the split."""
    whole = replace(data, validation=0.0, train_share=1.0)
    loaded = load_data(whole, description.frontend or LogMel(), description.layout)
    _check_classes(path, description, loaded.card.name, loaded.classes, loaded.task)
    refuse_unlabelled_test(loaded.card.name, loaded.test)
    clips = loaded.test if split == "test" else loaded.train
    probabilities = _file_predictions(path, loaded.with_normalisation(description.normalisation), clips)
    return clips, probabilities, loaded.sha256


def _from_audio(path: Path, description: Description, data: Data, split: str) -> _Judged:
    """The same from the clips' samples; no features are computed."""
    card = load_card(data.name)
    root = data_root(card, data, description.logmel)
    parts = read_split(card, root, data, description.logmel)
    _check_classes(path, description, card.name, parts.classes, parts.task)
    refuse_unlabelled_test(card.name, parts.test)
    clips = parts.test if split == "test" else parts.train
    files = [root / name for name in clips["filename"]]
    return clips, audio_probabilities(path, files, f"evaluating {path.name}"), split_sha256(parts)


def _check_classes(path: Path, description: Description, name: str, classes: Sequence[str], task: Task) -> None:
    if task != description.task:
        tells, holds = (_TOLD[kind] for kind in (description.task, task))
        raise EdgepruneError(f"{path}: tells {tells}, but {name} holds {holds}; give the data it was made for.")
    if tuple(classes) != description.labels:
        raise EdgepruneError(
            f"{path}: tells {', '.join(description.labels)} apart, but {name} holds {', '.join(classes)}; give the "
            "data it was made for."
        )
