"""A hand-made result of DCASE21_Net (10 s) with half of each convolution's filters removed."""

import copy
from typing import Any

import pytest

SCENES = ("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian",
          "street_traffic", "tram")  # fmt: skip
DEVICES = ("a", "b", "c", "s1", "s2", "s3")
CLIPS_A_SCENE = 60


def scores(right: list[int], log_loss: float) -> dict[str, Any]:
    """Metrics of a system that gets `right[i]` of the 60 clips of scene i and takes the rest for the next scene."""
    confusion = [[0] * 10 for _ in SCENES]
    for scene, hits in enumerate(right):
        confusion[scene][scene] = hits
        confusion[scene][(scene + 1) % 10] = CLIPS_A_SCENE - hits
    accuracy = sum(right) / 600
    return {
        "accuracy": accuracy,
        "macro_accuracy": accuracy,
        "log_loss": log_loss,
        "per_class": {s: {"accuracy": r / 60, "clips": 60} for s, r in zip(SCENES, right, strict=True)},
        "per_device": {d: {"accuracy": accuracy + 0.05 - 0.02 * i, "clips": 100} for i, d in enumerate(DEVICES)},
        "confusion": confusion,
        "classes": list(SCENES),
        "clips": 600,
        "interval": [accuracy - 0.04, accuracy + 0.04],
    }


def artefact(name: str, size: int, accuracy: dict[str, Any], error: float, flips: int) -> dict[str, Any]:
    return {
        "path": name,
        "bytes": size,
        "sha256": f"{size:064x}",
        "accuracy": accuracy,
        "parity": {"max_abs_error": error, "label_flips": flips, "transposes": 0},
    }


def layer(name: str, kind: str, params: int, macs: int, filters: int | None) -> dict[str, Any]:
    return {"name": name, "kind": kind, "params": params, "macs": macs, "filters": filters, "output_shape": [1]}


def history(epochs: int, start: float, end: float) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(epochs):
        loss = end + (start - end) * 0.93**epoch
        accuracy = min(0.9, 1.2 / (loss + 1))
        rows.append({"epoch": epoch, "train_loss": loss, "val_log_loss": 1.1 * loss, "val_accuracy": accuracy})
    return rows


# 7x7 convolutions 16, 16, 32 (then 8, 8, 16), batch norm folded, dense 100 and 10, on 40 x 500. By hand:
# conv1 16*49 + 16 = 800 parameters, 784 * 20000 MACs; conv2 16*16*49 + 16, 12544 * 20000; conv3 (on the pooled 8 x 100)
# 16*32*49 + 32, 25088 * 800; dense1 64*100 + 100 (32 filters x 2 x 1 inputs); dense2 100*10 + 10.
DENSE_LAYERS = [
    layer("conv1", "conv", 800, 15_680_000, 16),
    layer("conv2", "conv", 12_560, 250_880_000, 16),
    layer("pool1", "pool", 0, 0, None),
    layer("conv3", "conv", 25_120, 20_070_400, 32),
    layer("dense1", "dense", 6_500, 6_400, 100),
    layer("dense2", "dense", 1_010, 1_000, 10),
]
PRUNED_LAYERS = [
    layer("conv1", "conv", 400, 7_840_000, 8),
    layer("conv2", "conv", 3_144, 62_720_000, 8),
    layer("pool1", "pool", 0, 0, None),
    layer("conv3", "conv", 6_288, 5_017_600, 16),
    layer("dense1", "dense", 3_300, 3_200, 100),
    layer("dense2", "dense", 1_010, 1_000, 10),
]

DENSE = scores([40, 30, 33, 36, 48, 20, 35, 22, 44, 25], 1.425)
PRUNED = scores([39, 30, 32, 35, 49, 19, 34, 21, 43, 24], 1.4512)
INT8 = scores([39, 29, 32, 35, 48, 19, 34, 20, 43, 24], 1.4633)

RESULT: dict[str, Any] = {
    "schema": 1,
    "seed": 3,
    "threads": [{"train": 1, "finetune": 1}, {"train": 2, "finetune": 1}],
    "recipe": {
        "name": "dcase21_tau2020",
        "data": {"name": "tau2020_mobile", "fold": 1, "root": "/data/tau"},
        "model": {"name": "dcase21", "width": 1.0},
        "prune": {"criterion": "operator_norm", "min_filters": 1},
        "budget": {"params": 15_000, "macs": 80_000_000, "peak_ram": None, "flash": None},
        "export": {"formats": ["float32", "float16", "dynamic", "int8", "int16x8"]},
        "seed": 3,
    },
    "versions": {"edgeprune": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "tensorflow": "2.21.0"},
    "data": {"name": "tau2020_mobile", "split": "fold1", "clips": {"train": 13962, "test": 2968}, "sha256": "ab" * 32},
    "dense": {
        "cost": {
            "params": 45_990,
            "params_with_statistics": 46_246,
            "macs": 286_637_800,
            "peak_ram_bytes": 640_000,
            "flash_bytes": 46_512,
            "by_layer": DENSE_LAYERS,
        },
        "accuracy": DENSE,
    },
    "pruned": {
        "cost": {
            "params": 14_142,
            "macs": 75_581_800,
            "peak_ram_bytes": 320_000,
            "flash_bytes": 14_568,
            "by_layer": PRUNED_LAYERS,
        },
        "accuracy": PRUNED,
    },
    "budget": {
        "asked": {"params": 15_000, "macs": 80_000_000, "peak_ram": 400_000, "flash": None},
        "reached": {"params": 14_142, "macs": 75_581_800, "peak_ram": 320_000, "flash": 14_568},
        "binding": "macs",
    },
    "artefacts": {
        "int8": artefact("model_int8.tflite", 21_904, INT8, 0.0314, 11),
        "dense_float32": artefact("dense_float32.tflite", 187_652, DENSE, 2.4e-6, 0),
        "float32": artefact("model_float32.tflite", 60_124, PRUNED, 1.9e-6, 0),
        "float16": artefact("model_float16.tflite", 32_500, PRUNED, 0.0007, 0),
        "dynamic": artefact("model_dynamic.tflite", 24_012, PRUNED, 0.0121, 4),
        "int16x8": artefact("model_int16x8.tflite", 22_840, PRUNED, 0.0009, 1),
        "dense_int8": artefact("dense_int8.tflite", 55_400, DENSE, 0.0297, 9),
    },
    "latency": [
        {"device": "mps2-an386", "kind": "emulated", "unit": "instructions", "median": 178_000_000, "p5": 178_000_000,
         "p95": 178_000_000, "runs": 1, "peak_ram_bytes": 334_208, "threads": 1, "model": "model_int8.tflite"},
        {"device": "host", "kind": "measured", "unit": "ms", "median": 14.53, "p5": 14.2, "p95": 15.91, "runs": 50,
         "peak_ram_bytes": None, "threads": 1, "model": "dense_float32.tflite"},
        {"device": "host", "kind": "measured", "unit": "ms", "median": 2.871, "p5": 2.8, "p95": 3.3, "runs": 50,
         "peak_ram_bytes": None, "threads": 2, "model": "model_int8.tflite"},
        {"device": "host", "kind": "measured", "unit": "ms", "median": 4.238, "p5": 4.1, "p95": 4.9, "runs": 50,
         "peak_ram_bytes": 1_230_000, "threads": 1, "model": "model_int8.tflite"},
        {"device": "ethos-u55-128", "kind": "estimated", "unit": "ms", "median": 0.873, "p5": None, "p95": None,
         "runs": 1, "peak_ram_bytes": 330_000, "threads": None, "model": "model_int8.tflite"},
    ],
    "widths": {
        "dense": {"conv1": 16, "conv2": 16, "conv3": 32},
        "pruned": {"conv1": 8, "conv2": 8, "conv3": 16},
    },
    "history": {"dense": history(80, 2.3, 0.6), "finetune": history(20, 1.1, 0.7)},
}  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """The same result for tests that only read it."""
    return copy.deepcopy(RESULT)


@pytest.fixture
def result() -> dict[str, Any]:
    """A rich result the test may change."""
    return copy.deepcopy(RESULT)


@pytest.fixture
def planned(result: dict[str, Any]) -> dict[str, Any]:
    """The same of a run with a limit on latency and what a plan tells of itself."""
    result["recipe"]["prune"] |= {"objective": "log_mass", "allocation": "solver", "steps": 1}
    result["dense"]["cost"]["arena_bytes"] = 648_000
    result["budget"]["asked"] |= {"latency_ms": "4.8@host"}
    result["budget"]["reached"] |= {"latency_ms": 4.7616, "peak_ram": 328_000}
    result["budget"] |= {
        "binding": "latency_ms",
        "slack": {"params": 858, "macs": 4_418_200, "peak_ram": 72_000, "latency_ms": 0.0384},
        "kept_scores": {"conv1": 0.7123, "conv2": 0.8, "conv3": 0.61},
        "value": -1.0567,
        "gap": 0.0,
        "proven": True,
        "read_from": "model_int8.tflite",
    }
    return result
