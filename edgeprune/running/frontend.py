"""Stage: the cost of the log-mel front-end in C, beside the network's."""

from dataclasses import asdict
from typing import Any

from edgeprune import console
from edgeprune.data.cards import has_images
from edgeprune.devices.find import find_device
from edgeprune.devices.frontend_cost import instructions_per_hop
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder


def frontend_figures(recipe: Recipe, folder: RunFolder) -> dict[str, Any] | None:
    """RAM, flash and, for each emulated Cortex-M of the recipe, instructions a hop.

    None for images and for settings the C code does not support. Counting is slow (QEMU): the figures of each board are
    kept in the run folder.
    """
    if has_images(recipe.data):
        return None
    spec = recipe.frontend
    try:
        cost = frontend_cost(spec, quantised="int8" in recipe.export.formats)
    except EdgepruneError as error:
        console.say(f"no front-end in C: {error}")
        return None
    path = folder.frontend_file
    emulated: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    for board in (name for name in recipe.bench.devices if find_device(name).module == "cortex_m"):
        if board not in {row["board"] for row in emulated}:
            emulated.append(asdict(instructions_per_hop(spec, board, recipe.bench.timeout_s)))
            write_json(path, emulated)
    return {
        "ram_bytes": cost.ram_bytes,
        "flash_bytes": cost.flash_bytes,
        "hop_s": spec.hop_samples / spec.sample_rate,
        "emulated": emulated,
    }
