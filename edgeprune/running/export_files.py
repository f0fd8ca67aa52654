"""Stage: each network as ONNX and TFLite files, held to what the network computes and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune import console
from edgeprune.convert import tflite_export
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.parity import check_onnx, check_tflite, reference_outputs
from edgeprune.data.load import FoundData, RunData
from edgeprune.data.scene_data import evenly
from edgeprune.evaluation.predict import evenly_spaced_inputs
from edgeprune.graph.cost import cost
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Recipe
from edgeprune.results.result import NETWORKS, NetworkName
from edgeprune.results.run_folder import RunFolder
from edgeprune.tflite.cost import check_cost
from edgeprune.tflite.description import Description
from edgeprune.tflite.sidecar import read_sidecar, sidecar_path, write_sidecar
from edgeprune.version import __version__

PARITY_PATCHES = 200
"""Patches of the evaluation part, evenly spaced, on which an exported file is compared with its network."""


def formats_of(recipe: Recipe) -> dict[NetworkName, tuple[str, ...]]:
    """The number formats each network is exported in."""
    return {"dense": recipe.export.dense_formats, "pruned": recipe.export.formats}


def evaluated_on(data: FoundData) -> dict[str, Any]:
    """Which clips judge a run's files; a sidecar keeps it, so that other clips are noticed elsewhere."""
    return {"data": data.card.name, "clips": len(data.test), "split_sha256": data.sha256}


def export_files(recipe: Recipe, data: RunData, networks: Mapping[NetworkName, Checkpoint], folder: RunFolder) -> None:
    """Write the files of both networks that are not there yet (see `export_network`)."""
    formats = formats_of(recipe)
    for name in NETWORKS:
        if formats[name]:
            export_network(recipe, data, networks[name], formats[name], name, folder)


def export_network(
    recipe: Recipe, data: RunData, network: Checkpoint, formats: Sequence[str], name: NetworkName, folder: RunFolder
) -> dict[str, Path]:
    """The files of a network by format; those not there yet are written, with the ONNX file and sidecars.

    A sidecar is written once its file has passed the checks.
    """
    paths = {format: folder.tflite(name, format) for format in formats}
    missing = []
    for format, path in paths.items():
        if path.is_file() and sidecar_path(path).is_file():
            read_sidecar(path)  # refuses a file of another checksum
        else:
            missing.append(format)
    if not missing:
        return paths
    onnx = folder.onnx(name)
    console.say(f"exporting {onnx.stem}: {', '.join(missing)}")
    facts = {**data.describe(), "model": network.spec.to_dict(), "threshold": network.threshold}
    description = Description.from_dict(facts)
    export_onnx(network.model, network.spec.input_shape, onnx, description.output)
    inputs = evenly_spaced_inputs(data.patches(data.test), PARITY_PATCHES)
    parity_onnx = asdict(check_onnx(network.model, onnx, inputs))
    calibration_clips = evenly(data.train, recipe.export.calibration_clips)
    calibration = evenly_spaced_inputs(data.patches(calibration_clips), PARITY_PATCHES)
    metadata = {**description.to_dict(), "edgeprune": __version__}
    tflite_export.convert(onnx, folder.path, missing, calibration, metadata, prefix=onnx.stem)
    reference = reference_outputs(network.model, inputs, description.output)
    planned = cost(network.spec)
    for format in missing:
        check_cost(planned, paths[format])
        parity = check_tflite(reference, paths[format], inputs, format)
        extra = {"parity": asdict(parity), "parity_onnx": parity_onnx, "evaluated_on": evaluated_on(data)}
        write_sidecar(paths[format], description, extra)
    return paths
