"""The child process of a conversion: the network is rebuilt channels last, TensorFlow writes and quantises it."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgeprune.convert.onnx_to_tf import FileAxes, in_file, tf_network
from edgeprune.convert.tf_builder import UnsupportedOperatorError, plain_name
from edgeprune.tflite.interpreter import load_interpreter


def main(folder: Path) -> int:
    """Write `<format>.tflite` for each format of `job.json`, and `network.json` with the axes of input and outputs.

    Where that fails `refusal.json` names the operator, the module and the reason.
    """
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    try:
        answer = _convert(job, folder)
    except UnsupportedOperatorError as error:
        _write(folder / "refusal.json", {"operator": error.operator, "module": error.module, "why": str(error)})
        return 1
    _write(folder / "network.json", answer)
    return 0


def _convert(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    import tensorflow as tf

    network = tf_network(onnx.load(job["onnx"]))
    stored = folder / "calibration.npy"
    patches = list(in_file(np.load(stored), network.input_axes)) if stored.is_file() else []
    module = tf.Module()
    module.function = network.function
    for format in dict.fromkeys(["float32", *job["formats"]]):
        converter = _converter(format, module, patches)
        try:
            content = converter.convert()
        except Exception as error:
            raise _refusal(error) from error
        (folder / f"{format}.tflite").write_bytes(content)
    change = difference(folder / "float32.tflite", job["onnx"], network.input_axes, network.output_axes)
    return {
        "difference": change,
        "input_axes": network.input_axes,
        "output_axes": network.output_axes,
        "transposes": network.transposes,
    }


def _refusal(error: Exception) -> UnsupportedOperatorError:
    """What TensorFlow's converter could not take: its operator, and the module, whose path is in its name."""
    text = str(error)
    operator = re.search(r"'(?:tf|tfl)\.(\w+)' op", text)
    place = re.search(r"loc\((?:fused\[[^\]]*?)?\"([\w./]+)", text)
    module = ".".join(plain_name(place[1]).split("/")[:-1]) if place else ""
    line = next((line for line in text.splitlines() if "error:" in line), text.strip().splitlines()[0])
    why = "TFLite has no such operator" if "neither a custom op" in text else line.split("error:")[-1].strip()[:200]
    return UnsupportedOperatorError(operator[1] if operator else "the network", module, why)


def difference(
    path: Path | str, onnx_path: str, input_axes: FileAxes, output_axes: Sequence[FileAxes]
) -> dict[str, float] | None:
    """The largest difference of a float32 file from onnxruntime over four random inputs, and the outputs' range.

    None within float32's rounding.
    """
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    x_info = session.get_inputs()[0]
    generator = np.random.default_rng(0)
    interpreter = load_interpreter(path)
    largest, scale = 0.0, 0.0
    for _ in range(4):
        x = generator.standard_normal(x_info.shape).astype(np.float32)
        expected = session.run(None, {x_info.name: x})
        for values, wanted, axes in zip(
            outputs_of(interpreter, in_file(x, input_axes)), expected, output_axes, strict=True
        ):
            wanted = in_file(wanted, axes)
            tolerance = 1e-4 * max(1.0, float(np.abs(wanted).max()))
            if not np.allclose(values, wanted, rtol=1e-3, atol=tolerance, equal_nan=True):
                largest = max(largest, float(np.nan_to_num(np.abs(values - wanted), nan=np.inf).max()))
                scale = max(scale, float(np.abs(wanted).max()))
    return {"largest": largest, "of": scale} if largest else None


def outputs_of(interpreter: Any, x: NDArray[np.float32]) -> list[NDArray[Any]]:
    """The outputs of a file just converted, in the order of the network's."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    signature = interpreter.get_signature_runner()
    details = signature.get_output_details()
    return [interpreter.get_tensor(details[name]["index"]) for name in sorted(details)]


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _converter(format: str, module: Any, patches: Sequence[Any]) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.function], module)
    if format == "float32":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif format in ("int8", "int16x8"):

        def representative() -> Iterator[list[Any]]:
            return ([patch[np.newaxis]] for patch in patches)

        int16x8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if format == "int8" else int16x8]
        converter.inference_input_type = converter.inference_output_type = tf.int8 if format == "int8" else tf.int16
    return converter


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
