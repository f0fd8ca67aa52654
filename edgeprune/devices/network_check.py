"""The check of a run's file against the run's network, so that a file is not the only witness of what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeprune.devices.request import Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description, read_metadata
from edgeprune.tflite.sidecar import check_unchanged

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHECKPOINTS = {"dense": "dense.ckpt", "model": "pruned.ckpt"}
"""In a run folder, the network of `dense_int8.tflite` and that of `model_int8.tflite`."""


def check_network(path: Path, inputs: Inputs) -> None:
    """Refuse a file of a run that does not compute what the run's network does, within its format's bound.

    The network is the checkpoint beside the file, else its float32 file. Nothing is compared where neither is there,
    and of a file that takes the waveform, which no network of the run does.

    Args:
        inputs: as the file takes them, channels last.

    Raises:
        CheckFailedError: it differs by more than a right file of its format does.
    """
    try:
        description, format = read_description(path), read_metadata(path)["format"]
    except (EdgepruneError, KeyError):
        return  # a file by others
    if description.takes_waveform or inputs.values.ndim != 4:
        return
    values = np.ascontiguousarray(inputs.values.transpose(0, 3, 1, 2))
    name = path.name.removesuffix(f"_{format}.tflite")
    reference = _of_checkpoint(path, _CHECKPOINTS.get(name, ""), description, values)
    if reference is None:
        reference = _of_float32(path, f"{name}_float32.tflite", description, inputs.values)
    if reference is not None:
        from edgeprune.convert.parity import check_tflite  # ONNX Runtime takes a while to import

        check_tflite(reference, path, values, format, output=description.output)


def _of_checkpoint(
    path: Path, name: str, description: Description, values: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Outputs `[n, classes]` of the network in a checkpoint beside the file; None where it is not the file's."""
    if not name or not path.with_name(name).is_file():
        return None
    from edgeprune.convert.parity import reference_outputs
    from edgeprune.models import checkpoint

    network = checkpoint.load(path.with_name(name))
    return reference_outputs(network.model, values, description.output) if network.spec == description.spec else None


def _of_float32(
    path: Path, name: str, description: Description, values: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Outputs `[n, classes]` of the float32 file beside it; None where that is not of the same network."""
    whole = path.with_name(name)
    if whole == path or not whole.is_file():
        return None
    check_unchanged(whole)
    try:
        same = read_description(whole).to_dict() == description.to_dict()
    except EdgepruneError:
        return None
    model = TFLiteModel(whole)
    return model.predict(values) if same and model.outputs == 1 else None
