"""Stage: the exported files, and the front-end in C, on every device of the recipe."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune import console
from edgeprune.data.cards import has_images
from edgeprune.data.load import RunData
from edgeprune.data.scene_data import evenly
from edgeprune.devices import bench as benching
from edgeprune.devices.find import find_device
from edgeprune.devices.frontend_cost import instructions_per_hop
from edgeprune.devices.request import CLIPS, Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predict import evenly_spaced_inputs
from edgeprune.files import read_json, write_json
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.check import thread_counts


def measure_files(
    recipe: Recipe, data: RunData, artefacts: Mapping[str, Mapping[str, Any]], folder: RunFolder
) -> list[dict[str, Any]]:
    """Latency records in the order of the recipe's devices.

    A record is kept with its file's hash and taken once. Those of one device are kept before the next is measured.
    """
    bench = recipe.bench
    kept = _kept_rows(folder.latency_file, "device", "sha256")
    rows: list[dict[str, Any]] = []
    for device in bench.devices:
        files = [file for key, file in artefacts.items() if device == "host" or key in ("dense_int8", "int8")]
        paths, hashes = [folder.path / file["path"] for file in files], {file["sha256"] for file in files}
        of_device = [row for row in kept if row["device"] == device and row["sha256"] in hashes]
        if {row["sha256"] for row in of_device} != hashes:
            threads = tuple(thread_counts(recipe)) if device == "host" else (1,)
            patches = evenly_spaced_inputs(data.patches(evenly(data.test, CLIPS)), CLIPS)
            values = patches.transpose(0, 2, 3, 1).copy()  # as TFLite takes them
            clips = Inputs(values, f"{len(values)} test inputs of {data.card.name}, fold {recipe.data.fold}")
            measured = benching.bench(
                paths, device, runs=bench.runs, threads=threads, clips=clips, timeout_s=bench.timeout_s
            )
            of_device = measured.to_json()
        rows += of_device
        write_json(folder.latency_file, rows)
    return rows


def frontend_figures(recipe: Recipe, folder: RunFolder) -> dict[str, Any] | None:
    """RAM, flash and, for each emulated board of the recipe, instructions a hop.

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
    emulated = _kept_rows(path, "board")
    for board in (name for name in recipe.bench.devices if find_device(name).kind == "emulated"):
        if board not in {row["board"] for row in emulated}:
            emulated.append(asdict(instructions_per_hop(spec, board, recipe.bench.timeout_s)))
            write_json(path, emulated)
    return {
        "ram_bytes": cost.ram_bytes,
        "flash_bytes": cost.flash_bytes,
        "hop_s": spec.hop_samples / spec.sample_rate,
        "emulated": emulated,
    }


def _kept_rows(path: Path, *fields: str) -> list[dict[str, Any]]:
    """The rows in a run's file, each with these texts; none where the file is absent."""
    rows = read_json(path) if path.is_file() else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise EdgepruneError(f"{path}: is no list of measurements; delete it, and they are taken again.")
    return [row for row in rows if all(isinstance(row.get(field), str) for field in fields)]
