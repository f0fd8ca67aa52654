"""Stage: the exported files on every device of the recipe."""

from collections.abc import Mapping
from typing import Any

from edgeprune.data.load import RunData
from edgeprune.data.scene_data import evenly
from edgeprune.devices import bench as benching
from edgeprune.devices.request import CLIPS, Inputs
from edgeprune.evaluation.predict import evenly_spaced_inputs
from edgeprune.files import read_json, write_json
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
    kept: list[dict[str, Any]] = read_json(folder.latency_file) if folder.latency_file.is_file() else []
    rows: list[dict[str, Any]] = []
    for device in bench.devices:
        files = [file for key, file in artefacts.items() if device == "host" or key in ("dense_int8", "int8")]
        paths, hashes = [folder.path / file["path"] for file in files], {file["sha256"] for file in files}
        of_device = [row for row in kept if row["device"] == device and row["sha256"] in hashes]
        if {row["sha256"] for row in of_device} != hashes:
            threads = tuple(thread_counts(recipe)) if device == "host" else (1,)
            measured = benching.bench(
                paths,
                device,
                runs=bench.runs,
                threads=threads,
                clips=_inputs(recipe, data),
                timeout_s=bench.timeout_s,
            )
            of_device = measured.to_json()
        rows += of_device
        write_json(folder.latency_file, rows)
    return rows


def _inputs(recipe: Recipe, data: RunData) -> Inputs:
    """Evaluation clips, evenly spaced, in TFLite's layout `[n, height, width, channels]`."""
    patches = data.patches(evenly(data.test, CLIPS))
    values = evenly_spaced_inputs(patches, CLIPS).transpose(0, 2, 3, 1)
    return Inputs(values.copy(), f"{len(values)} test inputs of {data.card.name}, fold {recipe.data.fold}")
