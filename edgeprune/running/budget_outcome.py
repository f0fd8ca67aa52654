"""The limits of the budget beside what the shipped file takes."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgeprune.data.cards import has_images
from edgeprune.errors import CheckFailedError
from edgeprune.firmware.frontend_budget import frontend_bytes
from edgeprune.graph.cost import cost
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.pruning.allocation.limits import COSTS
from edgeprune.recipe import Recipe


def budget_outcome(recipe: Recipe, pruned: Checkpoint, artefacts: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `budget` of `result.json`; what was reached is read from the shipped file, if one was exported."""
    planned = pruned.extra["budget"]
    shipped = next((artefacts[name] for name in ("int8", *recipe.export.formats) if name in artefacts), None)
    figures = cost(pruned.spec).to_dict() if shipped is None else shipped["cost"]
    read_from = "the network" if shipped is None else shipped["path"]
    reached = {name: figures[field] for name, field in COSTS.items()}
    if "latency_ms" in planned.get("reached", {}):  # absent in checkpoints of earlier versions
        reached["latency_ms"] = planned["reached"]["latency_ms"]
    counts_frontend = recipe.budget.include_frontend and not has_images(recipe.data)
    frontend = frontend_bytes(recipe.frontend) if counts_frontend else {}
    for name, taken in frontend.items():
        reached[name] += taken
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
        "read_from": read_from,
    }
