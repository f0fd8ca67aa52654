"""What the pruned network's program takes on a device, where the budget limits a program (the runtime `stream`)."""

from typing import Any

import torch

from edgeprune import console
from edgeprune.data.cards import has_images
from edgeprune.devices.fit_program import MOST_FLASH
from edgeprune.devices.linked_program import can_link, link_program
from edgeprune.errors import InfeasibleBudgetError
from edgeprune.files import read_object, sha256_file, write_json
from edgeprune.firmware.stream_costs import StreamCosts, stream_costs
from edgeprune.graph.cost import graph_of
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build, entry
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder


def program_costs(recipe: Recipe, spec: ModelSpec) -> StreamCosts | None:
    """The program's RAM and flash by widths; None where the budget limits no program."""
    if not recipe.budget.limits_program:
        return None
    with torch.device("meta"):
        model = build(spec)
    layout = None if has_images(recipe.data) else entry(spec.name).layout
    frontend = recipe.frontend if layout is not None and recipe.budget.include_frontend else None
    return stream_costs(model, graph_of(spec), spec.input_shape, layout, frontend)


def program_figures(recipe: Recipe, pruned: Checkpoint, folder: RunFolder) -> dict[str, Any] | None:
    """RAM and flash of the program, read back from one that is linked with the int8 file; kept in the run folder.

    Where there is no toolchain or no int8 file, the figures are those of the plan, and their kind is `estimated`. None
    where the budget limits no program.

    Raises:
        InfeasibleBudgetError: the linked program exceeds a limit.
    """
    costs = program_costs(recipe, pruned.spec)
    if costs is None:
        return None
    path = folder.tflite("pruned", "int8")
    planned = pruned.extra["budget"].get("reached", {})
    if not path.is_file() or not can_link() or costs.of({})["flash"] > MOST_FLASH:
        return {name: value for name, value in planned.items() if name in ("peak_ram", "flash")} | {"kind": "estimated"}
    file, sha256 = folder.program_file, sha256_file(path)
    figures = read_object(file) if file.is_file() else {}
    if figures.get("sha256") != sha256 or not all(isinstance(figures.get(name), int) for name in ("peak_ram", "flash")):
        linked = link_program(path, costs.frontend, costs.layout or "frames_mels")
        figures = {"peak_ram": linked.ram_bytes, "flash": linked.flash_bytes, "stack": linked.stack_bytes}
        figures |= {"board": linked.board, "kind": "emulated", "sha256": sha256}
        write_json(file, figures)
        console.say(f"{path.name}: its program for {linked.board} takes {linked.ram_bytes:,} B of RAM, stack included")
    for name, limit in recipe.budget.sizes().items():
        if recipe.budget.names_program(name) and figures[name] > limit:
            part, size = costs.largest(name, {})
            raise InfeasibleBudgetError(
                f"{path}: its linked program takes {name.replace('_', ' ')} {figures[name]:,} of {limit:,}, most of it "
                f"in '{part}' ({size:,}), where {planned.get(name, 0):,} were planned; lower budget.{name} by the "
                "difference."
            )
    return figures
