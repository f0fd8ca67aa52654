"""Last stage: `report.html` and `result.json`."""

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from edgeprune import console
from edgeprune.data.load import RunData
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.evaluation.scene import evaluate_clips
from edgeprune.files import sha256_file, write_json
from edgeprune.graph.cost import cost
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Recipe
from edgeprune.reporting.report import write_report
from edgeprune.results.result import NETWORKS, SCHEMA, NetworkName, Result
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.budget_outcome import budget_outcome
from edgeprune.version import __version__

_PACKAGES = (
    "torch", "lightning", "torch-pruning", "librosa", "numpy", "scipy", "pandas", "soundfile", "soxr", "onnx",
    "onnxruntime", "onnx2tf", "tensorflow", "ai-edge-litert",
)  # fmt: skip


def finish(
    recipe: Recipe,
    data: RunData,
    networks: Mapping[NetworkName, Checkpoint],
    artefacts: Mapping[str, Any],
    latency: Sequence[Mapping[str, Any]],
    frontend: Mapping[str, Any] | None,
    folder: RunFolder,
) -> Result:
    """Write the report, then `result.json`: where it is, the run is done."""
    pruned = networks["pruned"]
    figures: dict[str, Any] = {name: _network_figures(name, networks[name], data, folder) for name in NETWORKS}
    figures["pruned"]["before_finetuning"] = pruned.extra["before_finetuning"]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "versions": package_versions(),
        "data": _data_facts(recipe, data),
        **figures,
        "budget": budget_outcome(recipe, pruned, artefacts),
        "artefacts": dict(artefacts),
        "latency": list(latency),
        "frontend": frontend,
        "widths": {name: dict(networks[name].spec.widths) for name in NETWORKS},
        "history": {"dense": networks["dense"].extra["history"], "finetune": pruned.extra["history"]},
    }
    write_report(Result.from_json(content), folder.report_file)
    write_json(folder.result_file, content)
    console.say(f"done: {folder.result_file} and {folder.report_file}")
    return folder.result()


def package_versions() -> dict[str, str]:
    """Versions of what computed a result."""
    versions = {"edgeprune": __version__, "python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _network_figures(name: NetworkName, network: Checkpoint, data: RunData, folder: RunFolder) -> dict[str, Any]:
    """Cost and metrics of the float network itself, and its ONNX file."""
    probabilities = torch_probabilities(network.model, data.patches(data.test))
    figures = {
        "cost": cost(network.spec).to_dict(),
        "accuracy": evaluate_clips(data.test, probabilities, data.classes),
    }
    onnx = folder.onnx(name)
    if onnx.is_file():
        figures["onnx"] = {"path": onnx.name, "sha256": sha256_file(onnx)}
    return figures


def _data_facts(recipe: Recipe, data: RunData) -> dict[str, Any]:
    subset = recipe.data.subset
    validation = 0 if data.validation is None else len(data.validation)
    return {
        "name": data.card.name,
        "split": f"fold{recipe.data.fold}" + (f"-{subset}" if subset else ""),
        "clips": {"train": len(data.train), "validation": validation, "test": len(data.test)},
        "sha256": data.sha256,
    }
