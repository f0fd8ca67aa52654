"""Files that take the waveform, for phones and Linux: the front-end in front of the network as it was exported."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.audio.layout import Layout
from edgeprune.convert.float_ends import add_float_ends, set_signature
from edgeprune.convert.waveform_graph import GraphBuilder, add_frontend, check_fft
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import WAVEFORM, Description
from edgeprune.tflite.flatbuffer import describe_tensors, operator_names, pack_model, unpack_model
from edgeprune.tflite.metadata import read_description, read_metadata, set_metadata
from edgeprune.tflite.standard_metadata import drop_standard_metadata


def write_waveform_model(path: Path | str, out: Path | str) -> Path:
    """Write an exported audio network of any format with its front-end in front: from samples to probabilities.

    Input `waveform`: float32 `[1, samples]` at the front-end's rate, full scale 1; output `probabilities` (`logits` of
    a network without softmax): float32 `[1, classes]`, dequantised where the network's are integers. The network's
    operators, weights and scales stay byte for byte as they are.

    The graph pads nothing: `samples` are all that a patch's frames see, so that a patch in the middle of a clip sees
    its real neighbours; the caller puts zeros before and after a clip (`audio.logmel.waveform_patches`). The metadata
    holds `"input": "waveform"` and, under `waveform`, `sample_rate`, `samples`, `before` (samples that precede the one
    the patch's first frame stands for) and `hop` (samples between patches).
    """
    description = read_log_mel_description(path)
    model = unpack_model(path)
    check_input(path, description, describe_tensors(model)[0][0]["shape"])
    ends_in_probabilities = operator_names(model)[-1] in ("SOFTMAX", "LOGISTIC")
    add_float_ends(model, path)
    builder, graph = GraphBuilder(model), model.subgraphs[0]
    features, probabilities = graph.inputs[0], graph.outputs[0]
    waveform = add_frontend(builder, description.logmel, description.normalisation, description.layout, features)
    graph.tensors[probabilities].name = "probabilities" if ends_in_probabilities else "logits"
    graph.operators = [*builder.operators, *graph.operators]
    graph.inputs = [waveform]
    set_signature(model)
    _raise_runtime(model)
    drop_standard_metadata(model)  # it tells of features
    set_metadata(model, {**read_metadata(path), **_waveform_metadata(description.logmel)})
    write_bytes(out, pack_model(model))
    return Path(out)


def read_log_mel_description(path: Path | str) -> Description:
    """The description of a file that takes log-mel and whose front-end TFLite can compute."""
    description = read_description(path)
    if description.takes_waveform:
        raise EdgepruneError(f"{path}: takes the waveform already; give the file it was made from.")
    if description.frontend is None:
        raise EdgepruneError(f"{path}: takes images, not audio; there is no front-end to put in front of it.")
    check_fft(description.frontend)
    return description


def check_input(path: Path | str, description: Description, shape: tuple[int, ...] | list[int]) -> None:
    """Refuse a network whose input is no patch of its front-end."""
    patch = patch_shape(description.logmel, description.layout)
    if tuple(shape) != patch:
        raise EdgepruneError(f"{path}: takes {list(shape)} where its front-end gives {list(patch)}; export it again.")


def patch_shape(spec: LogMel, layout: Layout) -> tuple[int, int, int, int]:
    """`(1, height, width, 1)` of a patch."""
    return (1, spec.patch_frames, spec.mels, 1) if layout == "frames_mels" else (1, spec.mels, spec.patch_frames, 1)


def _waveform_metadata(spec: LogMel) -> dict[str, Any]:
    """What a program must know to feed the file."""
    before, _ = spec.samples_around
    return {
        "input": WAVEFORM,
        "waveform": {
            "sample_rate": spec.sample_rate,
            "samples": spec.patch_samples,
            "before": before,
            "hop": spec.patch_hop_frames * spec.hop_samples,
        },
    }


def _raise_runtime(model: Any) -> None:
    """Raise the file's own `min_runtime_version` where the front-end needs a newer TensorFlow Lite than the network."""
    for item in model.metadata or []:
        if item.name == b"min_runtime_version":
            version = bytes(model.buffers[item.buffer].data).rstrip(b"\0")
            # 2.5.0 is the first with RFFT2D and COMPLEX_ABS
            if tuple(int(part) for part in version.split(b".") if part.isdigit()) < (2, 5, 0):
                model.buffers[item.buffer].data = np.frombuffer(b"2.5.0".ljust(16, b"\0"), dtype=np.uint8)
