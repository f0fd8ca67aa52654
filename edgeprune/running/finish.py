"""Last stage: `report.html` and `result.json`."""

import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from typing import Any

from edgeprune import console
from edgeprune.data.cards import has_images
from edgeprune.data.load import RunData
from edgeprune.errors import CheckFailedError
from edgeprune.evaluation.clips import evaluate_clips
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.files import sha256_file, write_json
from edgeprune.firmware.frontend_budget import frontend_bytes
from edgeprune.graph.cost import cost
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.pruning.allocation.limits import COSTS
from edgeprune.recipe import Recipe
from edgeprune.reporting.report import write_report
from edgeprune.results.result import NETWORKS, SCHEMA, NetworkName, Result
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.program import program_figures
from edgeprune.running.threads import threads_of
from edgeprune.version import __version__

_PACKAGES = (
    "torch", "lightning", "librosa", "numpy", "scipy", "pandas", "soundfile", "soxr", "onnx",
    "onnxruntime", "tensorflow", "ai-edge-litert",
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
    pruned, subset = networks["pruned"], recipe.data.subset
    figures: dict[str, Any] = {name: _network_figures(name, networks[name], data, folder) for name in NETWORKS}
    figures["pruned"]["before_finetuning"] = pruned.extra["before_finetuning"]
    if "reconstruction" in pruned.extra:
        figures["pruned"]["reconstruction"] = pruned.extra["reconstruction"]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "versions": _versions(),
        "threads": [asdict(threads) for threads in threads_of(folder)],
        **({} if data.task == "scenes" else {"task": data.task}),
        "data": {
            "name": data.card.name,
            "split": f"fold{recipe.data.fold}" + (f"-{subset}" if subset else ""),
            "clips": {
                "train": len(data.train),
                "validation": 0 if data.validation is None else len(data.validation),
                "test": len(data.test),
            },
            "sha256": data.sha256,
            "audio_sha256": data.hashes().get("audio"),
            "warnings": list(data.warnings),
        },
        **figures,
        "budget": _budget_outcome(recipe, pruned, artefacts, program_figures(recipe, pruned, folder)),
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


def _versions() -> dict[str, str]:
    versions = {"edgeprune": __version__, "python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _network_figures(name: NetworkName, network: Checkpoint, data: RunData, folder: RunFolder) -> dict[str, Any]:
    """Cost and metrics of the float network itself, and its ONNX file."""
    probabilities = torch_probabilities(network.model, data.patches(data.test))
    figures = {
        "cost": cost(network.spec).to_dict(),
        "accuracy": evaluate_clips(data.test, probabilities, data.classes, network.threshold),
    }
    if "threshold_on_validation" in network.extra:
        figures["threshold_on_validation"] = network.extra["threshold_on_validation"]
    onnx = folder.onnx(name)
    if onnx.is_file():
        figures["onnx"] = {"path": onnx.name, "sha256": sha256_file(onnx)}
    return figures


def _budget_outcome(
    recipe: Recipe, pruned: Checkpoint, artefacts: Mapping[str, Any], program: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The entry `budget` of `result.json`; what was reached is read from the shipped file, if one was exported.

    Where the budget limits a program, RAM and flash are the program's.
    """
    planned = pruned.extra["budget"]
    shipped = next((artefacts[name] for name in ("int8", *recipe.export.formats) if name in artefacts), None)
    figures = cost(pruned.spec).to_dict() if shipped is None else shipped["cost"]
    read_from = "the network" if shipped is None else shipped["path"]
    reached = {name: figures[field] for name, field in COSTS.items()}
    if "latency_ms" in planned.get("reached", {}):  # absent in checkpoints of earlier versions
        reached["latency_ms"] = planned["reached"]["latency_ms"]
    counts_frontend = recipe.budget.include_frontend and not has_images(recipe.data)
    frontend = frontend_bytes(recipe.frontend, recipe.budget.runtime) if counts_frontend else {}
    if program is None:
        reached |= {name: reached[name] + taken for name, taken in frontend.items()}
    else:
        reached = {name: value for name, value in reached.items() if name not in ("peak_ram", "flash")}
        reached |= {name: program[name] for name in ("peak_ram", "flash") if name in program}
    limits = recipe.budget.sizes()
    for name, limit in limits.items():
        if reached[name] > limit:
            raise CheckFailedError(f"{read_from}: takes {name} {reached[name]:,} of {limit:,} that the budget allows.")
    slack = {name: limit - reached[name] for name, limit in limits.items()}
    return {
        **planned,
        "asked": asdict(recipe.budget),
        "reached": reached,
        "slack": {**planned.get("slack", {}), **slack},
        "frontend": frontend or None,
        "program": None if program is None else dict(program),
        "program_kind": None if program is None else program["kind"],
        "read_from": read_from,
    }
