"""From an ONNX file to TFLite files, one for each number format.

A child process converts (`edgeprune.convert.onnx_to_tflite`), so that TensorFlow's memory, messages and crashes stay
out of this one. The files are then finished here: options that TensorFlow leaves out are filled in, metadata is
embedded, and a file with a TRANSPOSE is refused.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.convert.depthwise import plain_depthwise
from edgeprune.convert.onnx_file import input_shape_of, load_onnx
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import cannot_write, write_bytes
from edgeprune.tflite.flatbuffer import operator_names, pack_model, unpack_model
from edgeprune.tflite.metadata import set_metadata

FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")
"""The number formats of an exported file.

- `float32`: as trained.
- `float16`: weights and biases stored as float16, computed as float32; half the size.
- `dynamic`: int8 weights, activations quantised at run time; tensors under 1,024 values stay float32.
- `int8`: integers only; int8 input, activations, weights (a scale for each filter) and output, int32 biases.
- `int16x8`: integers only; int16 input, activations and output, int8 weights, int64 biases.

The quantisation scheme is TFLite's 8-bit specification (ai.google.dev/edge/litert/models/quantization_spec).
"""
MAX_CALIBRATION_PATCHES = 200


def convert(
    onnx_path: Path | str,
    out_dir: Path | str,
    formats: Sequence[str],
    calibration: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    prefix: str = "model",
) -> dict[str, Path]:
    """Write `<prefix>_<format>.tflite` for each of `formats`, input `[1, height, width, channels]`.

    Args:
        onnx_path: a network with one input `[1, channels, height, width]`, from `export_onnx`.
        out_dir: created if missing.
        formats: any of `FORMATS`, each converted once.
        calibration: patches of the *training* split, float32 `[n, channels, height, width]`, normalised; they set the
            ranges of int8 and int16x8 activations. At most `MAX_CALIBRATION_PATCHES` are used, evenly spaced.
        metadata: embedded in each file as `edgeprune.json`, with its `format`: labels, front-end, normalisation.
        prefix: of the files' names: `dense` for the network before pruning, beside `model`.
    """
    formats = check_formats(formats)
    onnx_path, out_dir = Path(onnx_path), Path(out_dir)
    shape = input_shape_of(load_onnx(onnx_path))
    patches = _calibration_patches(calibration, shape) if {"int8", "int16x8"} & set(formats) else None
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".convert.", dir=out_dir)
    except OSError as error:
        raise cannot_write(out_dir, error) from error
    with scratch as name:
        folder = Path(name)
        _run_child(onnx_path, folder, formats, patches, log=out_dir / "convert.log")
        return {
            format: _finish(folder / f"{format}.tflite", out_dir / f"{prefix}_{format}.tflite", format, metadata)
            for format in formats
        }


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The given formats, each once, in the order of `FORMATS`."""
    names = list(formats)
    if unknown := [name for name in names if name not in FORMATS]:
        raise EdgepruneError(f"export format '{unknown[0]}' is unknown; choose from {', '.join(FORMATS)}.")
    if not names:
        raise EdgepruneError(f"no export format was asked for; choose from {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in names)


def _calibration_patches(calibration: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The representative set in TFLite's layout, float32 `[n, height, width, channels]`."""
    if calibration is None or len(calibration) == 0:
        raise EdgepruneError("int8 and int16x8 need calibration patches; give some clips of the training split.")
    patches = np.asarray(calibration, dtype=np.float32)
    if patches.shape[1:] != shape[1:]:
        raise EdgepruneError(
            f"calibration patches are {list(patches.shape[1:])}, the network takes {list(shape[1:])}; "
            "compute them with the network's front-end."
        )
    if len(patches) > MAX_CALIBRATION_PATCHES:
        patches = patches[np.linspace(0, len(patches) - 1, MAX_CALIBRATION_PATCHES).round().astype(int)]
    if not np.isfinite(patches).all():
        raise EdgepruneError("calibration patches hold NaN or infinity; check the front-end and its normalisation.")
    return np.ascontiguousarray(patches.transpose(0, 2, 3, 1))


def _run_child(
    onnx_path: Path, folder: Path, formats: Sequence[str], patches: NDArray[np.float32] | None, log: Path
) -> None:
    """Convert in a child process to `folder/<format>.tflite`; on failure keep its output as `log`."""
    if patches is not None:
        np.save(folder / "calibration.npy", patches)
    job = {"onnx": str(onnx_path.resolve()), "formats": list(formats)}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "1"}
    with open(folder / "log.txt", "wb") as stream:
        code = subprocess.run(
            [sys.executable, "-m", "edgeprune.convert.onnx_to_tflite", str(folder.resolve())],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code == 0 and all((folder / f"{format}.tflite").is_file() for format in formats):
        return
    difference = folder / "difference.txt"
    if difference.is_file():
        raise CheckFailedError(
            f"{onnx_path}: onnx2tf changed its output by {difference.read_text()}; "
            "change a layer's width or the input size, so that the axes of its tensors differ in size."
        )
    write_bytes(log, (folder / "log.txt").read_bytes())
    if code < 0:
        raise EdgepruneError(f"{onnx_path}: signal {-code} ended its conversion to TFLite; free memory, see {log}.")
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1].rstrip(".")
    raise EdgepruneError(f"{onnx_path}: cannot be converted to TFLite ({last}); the log is {log}.")


def _finish(raw: Path, path: Path, format: str, metadata: Mapping[str, Any] | None) -> Path:
    """Refuse a file with a TRANSPOSE, fill in missing options, embed the metadata, write it to `path`."""
    model = unpack_model(raw)
    transposes = operator_names(model).count("TRANSPOSE")
    if transposes:
        raise CheckFailedError(
            f"{path.name}: {transposes} TRANSPOSE left in the graph; flatten with edgeprune.models.layers.Flatten."
        )
    fill_reshape_options(model)
    plain_depthwise(model)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = "input"
    graph.tensors[graph.outputs[0]].name = "output"
    if metadata is not None:
        set_metadata(model, {**metadata, "format": format})
    write_bytes(path, pack_model(model))
    return path


def fill_reshape_options(model: Any) -> int:
    """Give each RESHAPE of a `ModelT` that has no options its `ReshapeOptions.new_shape`; return how many.

    TensorFlow 2.21 writes the new shape only as a second input, and strict readers refuse the file.
    """
    operators = [(graph, operator) for graph in model.subgraphs for operator in graph.operators]
    filled = 0
    for name, (graph, operator) in zip(operator_names(model), operators, strict=True):
        if name == "RESHAPE" and operator.builtinOptions is None:
            operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            operator.builtinOptions = schema.ReshapeOptionsT()
            operator.builtinOptions.newShape = [int(size) for size in graph.tensors[operator.outputs[0]].shape]
            filled += 1
    return filled
