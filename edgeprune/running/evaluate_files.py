"""Stage: every exported file on the evaluation part."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from edgeprune import console
from edgeprune.data.load import RunData
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predict import file_probabilities
from edgeprune.evaluation.predictions import read_predictions, write_predictions
from edgeprune.evaluation.scene import evaluate_clips
from edgeprune.recipe import Recipe
from edgeprune.results.result import artefact_key
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.export_files import formats_of
from edgeprune.tflite import cost as tflite_cost
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.sidecar import read_sidecar


def evaluate_files(recipe: Recipe, data: RunData, folder: RunFolder) -> dict[str, dict[str, Any]]:
    """The entries of `result.json`'s `artefacts`, by key; predictions are kept as CSV, and metrics come from those."""
    artefacts = {}
    for network, formats in formats_of(recipe).items():
        for format in formats:
            path, table = folder.tflite(network, format), folder.predictions(network, format)
            artefacts[artefact_key(network, format)] = _evaluate(path, table, data)
    return artefacts


def file_predictions(path: Path, data: RunData, clips: pd.DataFrame) -> np.ndarray:
    """Class probabilities `[clips, classes]` that a .tflite gives a table of clips."""
    model = TFLiteModel(path, threads=os.cpu_count() or 1)
    return file_probabilities(model, data.patches(clips), title=f"evaluating {path.name}")


def _evaluate(path: Path, table: Path, data: RunData) -> dict[str, Any]:
    sidecar = read_sidecar(path)
    names, labels = list(data.test["filename"]), list(data.test["label"])
    if not table.is_file():
        write_predictions(table, names, labels, file_predictions(path, data, data.test), data.classes)
    predictions = read_predictions(table, data.classes)
    if predictions.filenames != names or predictions.labels != labels:
        raise EdgepruneError(f"{table}: holds other clips than the split; delete it and run again.")
    scores = evaluate_clips(data.test, predictions.probabilities, data.classes)
    console.say(f"{path.name}: accuracy {scores['accuracy']:.4f}, log loss {scores['log_loss']:.4f}")
    return {
        "path": path.name,
        "bytes": sidecar["bytes"],
        "sha256": sidecar["sha256"],
        "cost": tflite_cost.costs_of(tflite_cost.cost_of_tflite(path)),
        "accuracy": scores,
        "parity": sidecar["extra"]["parity"],
    }
