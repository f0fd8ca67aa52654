"""Folders of finished runs made by hand: a tiny int8 network, predictions and a result; nothing is trained."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tiny_tflite
from tiny_tflite import embed_metadata

from edgeprune.evaluation.predictions import write_predictions
from edgeprune.evaluation.scene import evaluate
from edgeprune.models.registry import make_spec
from edgeprune.recipe import Data, LogMel, Recipe

# in another order than the challenge's columns
LABELS = [
    "tram", "airport", "shopping_mall", "metro_station", "street_pedestrian", "public_square", "street_traffic", "bus",
    "metro", "park",
]  # fmt: skip
DEVICES = ["a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
SPEC = LogMel(sample_rate=8000, mels=6, patch_frames=51, patch_hop_frames=51)
SCALES = {"input_scale": (0.1, 3), "weight_scale": 0.02, "output_scale": (0.5, -5)}
NORMALISATION = {"mean": [float(-band) for band in range(6)], "std": [1.5] * 6}

INFO = """
[submission]
label = "Surname_INST_task1_2"
name = "Pruned by operator norm"
abbreviation = "Pruned"
[[submission.authors]]
lastname = "S\u00fcrname"
firstname = "First"
email = "first@example.org"
affiliation = { institute = "Institute of Examples", department = "Sound", location = "City, Country" }
[[submission.authors]]
lastname = "Second"
firstname = "Yes"
email = "second@example.org"
affiliation = { abbreviation = "NO", institute = "Other: Institute #1" }
[system]
source_code = "https://example.org/code"
[system.description]
system_adaptations = "none"
"""
"""What authors say; the last line is a field of 2024."""


def network(inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases, some of them zero."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(-60, 60, (len(LABELS), inputs)).astype(np.int8)
    weights[:, ::7] = 0
    return weights, generator.integers(-900, 900, len(LABELS)).astype(np.int32)


def make_run(folder: Path, subset: str = "", data: str = "tau2022_mobile", mels: int = 6, **frontend: Any) -> Path:
    """A finished run on 180 clips, of every class with every device twice."""
    folder.mkdir(parents=True)
    spec = LogMel(**{**asdict(SPEC), "mels": mels, **frontend})
    recipe = Recipe("made_run", Data(data, subset=subset), spec, out=folder)
    (folder / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    path = write_network(folder / "model_int8.tflite", spec)
    generator = np.random.default_rng(int(subset or 100))
    clips = [(label, device, take) for label in LABELS for device in DEVICES for take in (0, 1)]
    names = [f"audio/{label}-lisbon-{take}-{take}-0-{device}.wav" for label, device, take in clips]
    labels = [label for label, _, _ in clips]
    rows = generator.dirichlet(np.ones(10), len(clips))
    write_predictions(folder / "predictions_int8.csv", names, labels, rows, LABELS)
    scores = evaluate(labels, rows, LABELS, [device for _, device, _ in clips], None)
    (folder / "result.json").write_text(json.dumps(result(recipe, path, scores)))
    return folder


def write_network(path: Path, spec: LogMel) -> Path:
    weights, bias = network(spec.mels * spec.patch_frames)
    model = tiny_tflite.dense_model(weights, bias, ends="int8", **SCALES)
    model.subgraphs[0].tensors[0].shape = [1, spec.mels, spec.patch_frames, 1]
    tiny_tflite.write(model, path)
    model_spec = make_spec("dcase21", len(LABELS)).to_dict()
    fields = {"labels": LABELS, "frontend": asdict(spec), "normalisation": NORMALISATION, "model": model_spec}
    embed_metadata(path, fields)
    return path


def result(recipe: Recipe, path: Path, scores: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    latency = {"device": "cortex-m4", "kind": "emulated", "unit": "instructions", "median": 1234567.0, "runs": 1}
    artefact = {
        "path": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "accuracy": scores,
        "parity": {"max_abs_error": 0.0125, "label_flips": 3, "transposes": 0, "clips": 200},
    }
    return {
        "schema": 1,
        "recipe": recipe.to_dict(),
        "seed": 0,
        "versions": {"edgeprune": "0.1.0"},
        "data": {"name": recipe.data.name, "split": "fold1", "clips": {"train": 9, "validation": 1, "test": 180}},
        "dense": {"cost": {"params": 9999, "macs": 99999}, "accuracy": scores},
        "pruned": {"cost": {"params": 3070, "macs": 3060}, "accuracy": scores},
        "artefacts": {"int8": artefact},
        "latency": [{**latency, "model": path.name}],
        "widths": {"dense": {"conv1": 16}, "pruned": {"conv1": 8}},
    }
