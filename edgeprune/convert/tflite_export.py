"""From an ONNX file to TFLite files, one for each number format.

A child process converts (`edgeprune.convert.onnx_to_tflite`), so that TensorFlow's memory, messages and crashes stay
out of this one. The files are then finished here: options that TensorFlow leaves out are filled in, and metadata is
embedded.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.convert.onnx_file import check_folder, input_shape_of, load_onnx
from edgeprune.convert.onnx_to_tf import FileAxes
from edgeprune.convert.tf_builder import plain_name
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import cannot_write, write_bytes
from edgeprune.scratch import scratch_folder
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


@dataclass(frozen=True)
class Conversion:
    """The files of a network, by format.

    Attributes:
        input_axes, output_axes: for each axis of the files' tensors the network's; None: of size 1 and the file's own.
        transposes: modules for which the files move values in memory, since no order suits all operators.
    """

    files: dict[str, Path]
    input_axes: FileAxes
    output_axes: tuple[FileAxes, ...]
    transposes: tuple[str, ...]


def convert(
    onnx_path: Path | str,
    out_dir: Path | str,
    formats: Sequence[str],
    calibration: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    prefix: str = "model",
) -> dict[str, Path]:
    """The files of `convert_network`, without a TRANSPOSE: a network that needs one is refused."""
    return convert_network(onnx_path, out_dir, formats, calibration, metadata, prefix=prefix, transposes=False).files


def convert_network(
    onnx_path: Path | str,
    out_dir: Path | str,
    formats: Sequence[str],
    calibration: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    prefix: str = "model",
    transposes: bool = True,
) -> Conversion:
    """Write `<prefix>_<format>.tflite` for each of `formats`; of an image `[1, height, width, channels]` enters it.

    Args:
        onnx_path: a network with one input of fixed shape, from `export_onnx`.
        out_dir: created if missing.
        formats: any of `FORMATS`, each converted once.
        calibration: inputs from the *training* split, float32 `[n, ...]` as the network takes them, normalised; they
            set the ranges of int8 and int16x8 activations. At most `MAX_CALIBRATION_PATCHES` are used, evenly spaced.
        metadata: embedded in each file as `edgeprune.json`, with its `format`: labels, front-end, normalisation.
        prefix: of the files' names: `dense` for the network before pruning, beside `model`.
        transposes: whether values may be moved in memory where no order suits all operators.
    """
    formats = check_formats(formats)
    onnx_path, out_dir = Path(onnx_path), Path(out_dir)
    check_folder(onnx_path.parent)
    check_folder(out_dir)
    shape = input_shape_of(load_onnx(onnx_path))
    patches = _calibration_patches(calibration, shape) if {"int8", "int16x8"} & set(formats) else None
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        scratch = ExitStack()
        folder = scratch.enter_context(scratch_folder(out_dir, ".convert."))
    except OSError as error:
        raise cannot_write(out_dir, error) from error
    with scratch:
        answer = _run_child(onnx_path, folder, formats, patches, log=out_dir / "convert.log")
        if answer["transposes"] and not transposes:
            places = ", ".join(place or "its forward" for place in dict.fromkeys(answer["transposes"]))
            raise CheckFailedError(
                f"{onnx_path}: needs a TRANSPOSE in {places}; keep the channel axis in its place there."
            )
        extra = {} if metadata is None else {"input_axes": answer["input_axes"], "output_axes": answer["output_axes"]}
        files = {
            format: _finish(
                folder / f"{format}.tflite",
                out_dir / f"{prefix}_{format}.tflite",
                None if metadata is None else {**metadata, **extra, "format": format},
            )
            for format in formats
        }
    input_axes, output_axes = tuple(answer["input_axes"]), tuple(tuple(axes) for axes in answer["output_axes"])
    return Conversion(files, input_axes, output_axes, tuple(answer["transposes"]))


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The given formats, each once, in the order of `FORMATS`."""
    names = list(formats)
    if unknown := [name for name in names if name not in FORMATS]:
        raise EdgepruneError(f"export format '{unknown[0]}' is unknown; choose from {', '.join(FORMATS)}.")
    if not names:
        raise EdgepruneError(f"no export format was asked for; choose from {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in names)


def _calibration_patches(calibration: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The representative set, float32 `[n, ...]` as the network takes it."""
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
    return patches


def _run_child(
    onnx_path: Path, folder: Path, formats: Sequence[str], patches: NDArray[np.float32] | None, log: Path
) -> dict[str, Any]:
    """Convert in a child process to `folder/<format>.tflite`; returns what it wrote as `network.json`.

    On failure its output is kept as `log`.
    """
    if patches is not None:
        np.save(folder / "calibration.npy", patches)
    job = {"onnx": str(onnx_path.resolve()), "formats": list(formats)}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "1"}
    environment["TMPDIR"] = str(folder.resolve())  # what a killed TensorFlow leaves goes with the folder
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
    refusal = folder / "refusal.json"
    if refusal.is_file():
        reason = json.loads(refusal.read_text(encoding="utf-8"))
        raise EdgepruneError(
            f"{onnx_path}: {reason['operator']} in {reason['module'] or 'its forward'} cannot be converted to TFLite "
            f"({reason['why']}); replace it."
        )
    if code == 0 and all((folder / f"{format}.tflite").is_file() for format in formats):
        answer: dict[str, Any] = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        if change := answer["difference"]:
            raise CheckFailedError(
                f"{onnx_path}: its conversion changed an output by {change['largest']:.3g} of {change['of']:.3g}; "
                "please report this network."
            )
        return answer
    write_bytes(log, (folder / "log.txt").read_bytes())
    if code < 0:
        raise EdgepruneError(f"{onnx_path}: signal {-code} ended its conversion to TFLite; free memory, see {log}.")
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1].rstrip(".")
    raise EdgepruneError(f"{onnx_path}: cannot be converted to TFLite ({last[:300]}); the log is {log}.")


def _finish(raw: Path, path: Path, metadata: Mapping[str, Any] | None) -> Path:
    """Fill in missing options, name the ends, embed the metadata, write the file to `path`."""
    model = unpack_model(raw)
    fill_reshape_options(model)
    _name_ends(model)
    if metadata is not None:
        set_metadata(model, metadata)
    write_bytes(path, pack_model(model))
    return path


def _name_ends(model: Any) -> None:
    """Call the input `input` and the outputs, in the network's order, `output`, `output_1` ..."""
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        tensor.name = plain_name(tensor.name.decode("utf-8", "replace"))
    entries = sorted(model.signatureDefs[0].outputs, key=lambda entry: entry.name)
    graph.outputs = [entry.tensorIndex for entry in entries]
    graph.tensors[graph.inputs[0]].name = "input"
    for place, entry in enumerate(entries):
        entry.name = f"output_{place}" if place else "output"
        graph.tensors[entry.tensorIndex].name = entry.name


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
