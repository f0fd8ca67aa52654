"""More files of a finished run's pruned network."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edgeprune import console
from edgeprune.convert.tflite_export import check_formats
from edgeprune.convert.waveform import write_waveform_model
from edgeprune.convert.waveform_parity import check_waveform
from edgeprune.data.cards import has_images
from edgeprune.devices.inputs import clips_of
from edgeprune.errors import EdgepruneError
from edgeprune.models import checkpoint
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.data import check_same_data, load_data_of
from edgeprune.running.export_files import export_network
from edgeprune.tflite.metadata import read_description
from edgeprune.tflite.sidecar import read_sidecar, write_sidecar

WAVEFORM_CLIPS = 20
"""Evaluation clips, evenly spaced, on which a waveform file is compared with the chain it replaces."""


def export_more(run_folder: Path | str, formats: Sequence[str], waveform: bool = False) -> dict[str, Path]:
    """Export the pruned network of a run folder (again); files that are whole are kept.

    With `waveform`, each format has a file `<format>_waveform` beside it that takes samples.
    """
    folder = RunFolder.existing(run_folder)
    formats = check_formats(formats)
    recipe = folder.recipe()
    if waveform and has_images(recipe.data):
        raise EdgepruneError(f"{folder.path}: its network takes images, which have no waveform; leave out --waveform.")
    with folder.locked():
        network = checkpoint.load(folder.checkpoint("pruned"))
        data = load_data_of(recipe, network)
        check_same_data(data, folder)
        paths = export_network(recipe, data, network, formats, "pruned", folder)
        if waveform:
            paths |= {f"{name}_waveform": _with_frontend(path) for name, path in paths.items()}
        return paths


def _with_frontend(path: Path) -> Path:
    """Write `<path>_waveform.tflite`, compare it with the chain it replaces, and describe it in a sidecar."""
    console.say(f"putting the front-end into {path.name}")
    out = write_waveform_model(path, path.with_name(f"{path.stem}_waveform.tflite"))
    description = read_description(out)
    clips = [clip for clip, _ in clips_of(path, description.logmel, WAVEFORM_CLIPS)]
    parity = check_waveform(out, path, clips)
    judged_by = read_sidecar(path)["extra"].get("evaluated_on")
    write_sidecar(out, description, {"parity": asdict(parity), "evaluated_on": judged_by})
    return out
