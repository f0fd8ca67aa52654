"""The content of a `result.json`, as the first version that wrote one did."""

from typing import Any


def scores(accuracy: float) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "macro_accuracy": accuracy,
        "log_loss": 1.25,
        "interval": [accuracy - 0.1, accuracy + 0.1],
        "per_class": {
            "bus": {"accuracy": 0.5, "log_loss": 1.5, "clips": 2},
            "tram": {"accuracy": None, "log_loss": None, "clips": 0},
        },
        "per_device": {"a": {"accuracy": accuracy, "log_loss": 1.25, "clips": 4}},
        "per_city": {},
        "confusion": [[1, 1], [0, 2]],
        "classes": ["bus", "tram"],
        "clips": 4,
    }


def cost(params: int) -> dict[str, Any]:
    return {
        "params": params,
        "params_trainable": params + 64,
        "params_with_statistics": params + 128,
        "macs": 100 * params,
        "peak_ram_bytes": 30_000,
        "flash_bytes": params + 400,
        "by_layer": [{"name": "conv1", "kind": "conv", "filters": 8, "params": 400, "macs": 799_680}],
        "arena_bytes": 32_640,
    }


def artefact(name: str, params: int, accuracy: float) -> dict[str, Any]:
    return {
        "path": name,
        "bytes": 24_576,
        "sha256": "3faf",
        "cost": cost(params),
        "accuracy": scores(accuracy),
        "parity": {"max_abs_error": 0.02, "label_flips": 1, "transposes": 0, "clips": 200},
    }


def timing(model: str, median: float, device: str = "host", unit: str = "ms", threads: int = 1) -> dict[str, Any]:
    return {
        "device": device,
        "kind": "measured",
        "unit": unit,
        "median": median,
        "p5": median,
        "p95": 2 * median,
        "runs": 50,
        "peak_ram_bytes": 57_114_624,
        "threads": threads,
        "model": model,
        "sha256": "3faf",
        "detail": {"cpu": "some"},
    }


def stored_result() -> dict[str, Any]:
    """A run of two networks and three files."""
    return {
        "schema": 1,
        "recipe": {"name": "quickstart", "seed": 3, "export": {"formats": ["float32", "int8"]}},
        "seed": 3,
        "versions": {"edgeprune": "0.1.0"},
        "data": {
            "name": "synthetic",
            "split": "fold1",
            "clips": {"train": 612, "validation": 108, "test": 360},
            "sha256": "43d1",
        },
        "dense": {"cost": cost(46_000), "accuracy": scores(0.8)},
        "pruned": {
            "cost": cost(14_000),
            "accuracy": scores(0.75),
            "before_finetuning": scores(0.3),
            "onnx": {"path": "model.onnx", "sha256": "00"},
        },
        "budget": {
            "asked": {"params": 15_000, "macs": None},
            "reached": {"params": 14_000, "macs": 1_400_000},
            "slack": {"params": 1_000},
            "binding": "params",
            "kept_scores": {"conv1": 0.9},
            "value": -0.3,
            "gap": 0.0,
            "proven": True,
            "frontend": None,
            "read_from": "model_int8.tflite",
        },
        "artefacts": {
            "int8": artefact("model_int8.tflite", 14_000, 0.74),
            "float32": artefact("model_float32.tflite", 14_000, 0.75),
            "dense_int8": artefact("dense_int8.tflite", 46_000, 0.79),
        },
        "latency": [
            timing("model_int8.tflite", 0.5),
            timing("model_int8.tflite", 0.4, threads=2),
            timing("dense_int8.tflite", 900.0, unit="us"),
            timing("model_int8.tflite", 25.9, device="cortex-m4", unit="Minstructions"),
        ],
        "frontend": {
            "ram_bytes": 8_724,
            "flash_bytes": 9_136,
            "hop_s": 0.02,
            "emulated": [{"board": "cortex-m4", "instructions_per_hop": 48_100.0}],
        },
        "widths": {"dense": {"conv1": 16}, "pruned": {"conv1": 8}},
        "history": {"dense": [{"epoch": 0, "train_loss": 2.4}], "finetune": []},
    }
