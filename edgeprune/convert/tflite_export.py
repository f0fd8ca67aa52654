"""From an ONNX file to TFLite files, one for each number format.

onnx2tf rebuilds the graph channel-last and TensorFlow's converter writes and quantises it, both in one child process:
TensorFlow's memory, messages and crashes stay out of ours. The files are then finished here: what TensorFlow leaves
out is filled in, metadata is embedded, and a file with a TRANSPOSE left in it is refused.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.convert.onnx_export import input_shape_of, load_onnx
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import cannot_write, write_bytes
from edgeprune.tflite.flatbuffer import operators, pack_model, unpack_model
from edgeprune.tflite.metadata import set_metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")
"""The number formats of an exported file.

- `float32`: as trained.
- `float16`: weights and biases stored as float16, computed as float32; half the size.
- `dynamic`: int8 weights, activations quantised as they come; tensors under 1,024 values stay float32.
- `int8`: integers only; int8 input, activations, weights (a scale for each filter) and output, int32 biases.
- `int16x8`: integers only; int16 input, activations and output, int8 weights, int64 biases.

The quantisation scheme is TFLite's 8-bit specification (ai.google.dev/edge/litert/models/quantization_spec).
"""
CALIBRATED_FORMATS = ("int8", "int16x8")
MAX_CALIBRATION_PATCHES = 200


def convert(
    onnx_path: Path | str,
    out_dir: Path | str,
    formats: Sequence[str],
    calibration: "NDArray[np.float32] | None" = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    prefix: str = "model",
) -> dict[str, Path]:
    """Write `<prefix>_<format>.tflite` for each of `formats`, input `[1, height, width, channels]`.

    Args:
        onnx_path: a network with one input `[1, channels, height, width]`, from `export_onnx`.
        out_dir: the folder of the files; made if it is not there.
        formats: any of `FORMATS`, each converted once.
        calibration: patches of the *training* split, float32 `[n, channels, height, width]`, normalised as the network
            expects them: the ranges of int8 and int16x8 activations are theirs. Of more than
            `MAX_CALIBRATION_PATCHES`, that many are taken, evenly spaced.
        metadata: embedded in each file as `edgeprune.json`, with its `format`: labels, front-end, normalisation.
        prefix: how the files' names begin: `dense` for the network before pruning, beside `model`.

    Returns:
        the files by format.

    Raises:
        EdgepruneError: a format is unknown, the ONNX file is not whole, calibration is missing, empty, of another
            shape or not finite, or the conversion fails (its log is kept).
        CheckFailedError: a converted file still transposes, or computes something else than the ONNX file.
    """
    formats = check_formats(formats)
    onnx_path, out_dir = Path(onnx_path), Path(out_dir)
    shape = input_shape_of(load_onnx(onnx_path))
    patches = _calibration_patches(calibration, shape) if set(formats) & set(CALIBRATED_FORMATS) else None
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
    """The formats asked for, each once, in the order of `FORMATS`.

    Raises:
        EdgepruneError: there are none, or one is unknown.
    """
    asked = list(formats)
    for name in asked:
        if name not in FORMATS:
            raise EdgepruneError(f"export format '{name}' is unknown; choose from {', '.join(FORMATS)}.")
    if not asked:
        raise EdgepruneError(f"no export format was asked for; choose from {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in asked)


def _calibration_patches(calibration: "NDArray[np.float32] | None", shape: tuple[int, ...]) -> "NDArray[np.float32]":
    """The representative set in TFLite's layout, float32 `[n, height, width, channels]`."""
    import numpy as np

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
    onnx_path: Path, folder: Path, formats: Sequence[str], patches: "NDArray[np.float32] | None", log: Path
) -> None:
    """Convert in a child process to `folder/<format>.tflite`; on failure keep what it said as `log`."""
    import numpy as np

    if patches is not None:
        np.save(folder / "calibration.npy", patches)
    job = {"onnx": str(onnx_path.resolve()), "formats": list(formats)}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "1"}
    with open(folder / "log.txt", "wb") as stream:
        code = subprocess.run(
            [sys.executable, "-m", "edgeprune.convert.tflite_export", str(folder.resolve())],
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
        raise EdgepruneError(
            f"{onnx_path}: its conversion to TFLite was ended by signal {-code}; free memory, see {log}."
        )
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1].rstrip(".")
    raise EdgepruneError(f"{onnx_path}: cannot be converted to TFLite ({last}); the log is {log}.")


def _finish(raw: Path, path: Path, format: str, metadata: Mapping[str, Any] | None) -> Path:
    """Refuse a file that transposes; fill in what TensorFlow left out, embed the metadata, write it to `path`."""
    transposes = operators(raw).count("TRANSPOSE")
    if transposes:
        raise CheckFailedError(
            f"{path.name}: {transposes} TRANSPOSE left in the graph; flatten with edgeprune.models.layers.Flatten."
        )
    model = unpack_model(raw)
    fill_reshape_options(model)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = "input"
    graph.tensors[graph.outputs[0]].name = "output"
    if metadata is not None:
        set_metadata(model, {**metadata, "format": format})
    write_bytes(path, pack_model(model))
    return path


def fill_reshape_options(model: Any) -> int:
    """Give each RESHAPE of a `ModelT` without options its `ReshapeOptions.new_shape`; returns how many it gave.

    TensorFlow 2.21 writes the new shape only as a second input, and strict readers refuse the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    filled = 0
    for graph in model.subgraphs:
        for step in graph.operators:
            code = model.operatorCodes[step.opcodeIndex]
            is_reshape = max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.RESHAPE
            if is_reshape and step.builtinOptions is None:
                step.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
                step.builtinOptions = schema.ReshapeOptionsT()
                step.builtinOptions.newShape = [int(size) for size in graph.tensors[step.outputs[0]].shape]
                filled += 1
    return filled


# From here on: what runs in the child process.


def _child(folder: Path) -> int:
    import numpy as np
    import tensorflow as tf

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    network = _rebuild(job["onnx"], folder)
    if difference := _difference(network, job["onnx"]):
        (folder / "difference.txt").write_text(f"{difference:.3g}", encoding="utf-8")
        return 1
    signature = tf.TensorSpec(network.inputs[0].shape, tf.float32, name="input")
    # A bare module around the function: given the Keras model, the converter would spell its weights out as JSON.
    module = tf.Module()
    module.function = tf.function(lambda x: {"output": network(x)}, input_signature=[signature])
    stored = folder / "calibration.npy"
    patches: list[Any] = list(np.load(stored)) if stored.is_file() else []

    def representative() -> Iterator[list[Any]]:
        for patch in patches:
            yield [patch[np.newaxis]]

    for format in job["formats"]:
        content = _converter(format, module, representative).convert()
        (folder / f"{format}.tflite").write_bytes(content)
    return 0


def _rebuild(onnx_path: str, folder: Path) -> Any:
    """The network as a tf_keras model, channel-last."""
    import numpy as np
    import onnx2tf

    # For inputs of 3 channels onnx2tf would fetch photographs to probe the graph with; noise probes as well.
    probes = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    sys.modules["onnx2tf.onnx2tf"].download_test_image_data = lambda: probes  # type: ignore[attr-defined]
    return onnx2tf.convert(
        input_onnx_file_path=onnx_path,
        output_folder_path=str(folder),
        not_use_onnxsim=True,  # rewrites the user's file
        not_use_opname_auto_generate=True,  # as well
        disable_model_save=True,
        verbosity="error",
    )


def _difference(network: Any, onnx_path: str) -> float:
    """Largest difference from onnxruntime over four random inputs; 0 within float32's rounding.

    onnx2tf infers which axis is which from their sizes, so a network whose sizes coincide could come out wrong.
    """
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    entrance = session.get_inputs()[0]
    generator = np.random.default_rng(0)
    worst = 0.0
    for _ in range(4):
        x = generator.standard_normal(entrance.shape).astype(np.float32)
        expected = session.run(None, {entrance.name: x})[0]
        got = np.asarray(network(x.transpose(0, 2, 3, 1))).reshape(expected.shape)
        if not np.allclose(got, expected, rtol=1e-3, atol=1e-4):
            worst = max(worst, float(np.abs(got - expected).max()))
    return worst


def _converter(format: str, module: Any, representative: Callable[[], Iterator[list[Any]]]) -> Any:
    import tensorflow as tf

    function = module.function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if format == "float32":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif format == "int8":
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    elif format == "int16x8":
        converter.representative_dataset = representative
        int16x8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [int16x8]
        converter.inference_input_type = converter.inference_output_type = tf.int16
    return converter


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1])))
