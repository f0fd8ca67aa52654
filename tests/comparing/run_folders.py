"""Run folders written by hand, with known figures."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeprune.evaluation.predictions import write_predictions
from edgeprune.files import write_json
from edgeprune.recipe import Budget, Data, Export, Prune, Recipe, Train

CLASSES = ["bus", "park"]
SPLIT = "a" * 64
RECIPE = Recipe(
    name="small",
    data=Data(name="tut2017", fold=1),
    finetune=Train(epochs=20),
    export=Export(formats=("int8",), dense_formats=("int8",)),
)


def pruned(seed: int = 0, fold: int = 1, params: int | None = 20_000, **prune: Any) -> Recipe:
    """A recipe with a limit on parameters."""
    budget, data = Budget(params=params), replace(RECIPE.data, fold=fold)
    return replace(RECIPE, data=data, seed=seed, budget=budget, prune=Prune(**prune))


def dense(seed: int = 0, fold: int = 1) -> Recipe:
    """A recipe that prunes and fine-tunes nothing."""
    return replace(pruned(seed, fold, params=None), finetune=replace(RECIPE.finetune, epochs=0))


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def scores(accuracy: float, log_loss: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "log_loss": log_loss, "per_class": {}, "confusion": [[1, 0], [0, 1]], "clips": 100}


def cost(params: int) -> dict[str, Any]:
    """Figures that follow from the parameters, so that tests know them."""
    return {"params": params, "macs": 100 * params, "flash_bytes": params + 32, "arena_bytes": 2 * params}


def timing(file: str, median: float, **more: Any) -> dict[str, Any]:
    cpu = more.pop("cpu", "AMD EPYC")
    row = {"device": "host", "kind": "measured", "unit": "ms", "median": median, "threads": 1, "model": file, **more}
    return {**row, "detail": {"cpu": cpu} if cpu else {}}


def result_of(
    recipe: Recipe,
    accuracy: float = 0.7,
    dense_accuracy: float | None = 0.75,
    log_loss: float = 1.0,
    dense_log_loss: float = 0.9,
    params: int = 15_000,
    formats: tuple[str, ...] = ("int8",),
    dense_formats: tuple[str, ...] = ("int8",),
    dense_name: str = "",
    latency: list[dict[str, Any]] | None = None,
    split: str = SPLIT,
    file_bytes: int = 25_000,
    clips: dict[str, int] | None = None,
) -> dict[str, Any]:
    """The content of `result.json`; every file of a network has the same accuracy."""
    name = dense_name or f"dense of seed {recipe.seed}, fold {recipe.data.fold}"
    files = {
        form: {
            "path": f"model_{form}.tflite",
            "bytes": file_bytes,
            "sha256": sha(f"{recipe} {form}"),
            "cost": cost(params),
            "accuracy": scores(accuracy, log_loss),
            "parity": {"label_flips": 0},
        }
        for form in formats
    }
    own = accuracy if dense_accuracy is None else dense_accuracy
    dense_files = {
        f"dense_{form}": {
            "path": f"dense_{form}.tflite",
            "bytes": 58_000,
            "sha256": sha(f"{name} {form}"),
            "cost": cost(46_000),
            "accuracy": scores(own, dense_log_loss),
        }
        for form in dense_formats
    }
    return {
        "schema": 1,
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "versions": {"edgeprune": "0.1.0"},
        "data": {
            "name": recipe.data.name,
            "split": f"fold{recipe.data.fold}",
            "clips": clips or {"train": 300, "validation": 0, "test": 100},
            "sha256": f"{split} {recipe.data.fold}",
        },
        "dense": {"cost": {**cost(46_000), "by_layer": []}, "accuracy": scores(own, dense_log_loss)},
        "pruned": {"cost": {**cost(params), "by_layer": []}, "accuracy": scores(accuracy, log_loss)},
        "budget": {"asked": {}},
        "artefacts": {**dense_files, **files},
        "latency": latency or [],
        "widths": {"dense": {"conv1": 16}, "pruned": {"conv1": 8}},
        "history": {"dense": [{"epoch": 0}], "finetune": []},
    }


def write_run(folder: Path, recipe: Recipe, **figures: Any) -> Path:
    """A finished run; figures as in `result_of`."""
    write_json(folder / "recipe.json", recipe.to_dict())
    write_json(folder / "result.json", result_of(recipe, **figures))
    return folder


def write_decisions(folder: Path, right: list[bool], format: str = "int8", names: str = "clip") -> None:
    """Predictions of clips that are all buses."""
    rows = [[0.9, 0.1] if hit else [0.1, 0.9] for hit in right]
    files = [f"{names}{number}.wav" for number in range(len(right))]
    write_predictions(folder / f"predictions_{format}.csv", files, ["bus"] * len(right), rows, CLASSES)


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file, by dotted name with `__` for the dot; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, value in fields.items():
        *parents, leaf = name.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(leaf, None)
        else:
            place[leaf] = value
    write_json(path, content)
