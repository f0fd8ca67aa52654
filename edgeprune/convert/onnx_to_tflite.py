"""The child process of a conversion: onnx2tf rebuilds the network channel-last, TensorFlow writes and quantises it."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def main(folder: Path) -> int:
    """Write `<format>.tflite` for each format of `job.json`, or `difference.txt` where onnx2tf changed the network."""
    import tensorflow as tf

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    network = _channel_last(job["onnx"], folder)
    if change := difference(network, job["onnx"]):
        (folder / "difference.txt").write_text(f"{change:.3g}", encoding="utf-8")
        return 1
    signature = tf.TensorSpec(network.inputs[0].shape, tf.float32, name="input")
    # A bare module around the function: of a Keras model the converter would write the weights out as JSON.
    module = tf.Module()
    module.function = tf.function(lambda x: {"output": network(x)}, input_signature=[signature])
    stored = folder / "calibration.npy"
    patches = np.load(stored) if stored.is_file() else ()

    def representative() -> Iterator[list[Any]]:
        return ([patch[np.newaxis]] for patch in patches)

    for format in job["formats"]:
        content = _converter(format, module, representative).convert()
        (folder / f"{format}.tflite").write_bytes(content)
    return 0


def _channel_last(onnx_path: str, folder: Path) -> Any:
    """The network as a tf_keras model."""
    import onnx2tf

    # For inputs of 3 channels onnx2tf downloads photographs to probe the graph with; noise does as well.
    probes = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    sys.modules["onnx2tf.onnx2tf"].download_test_image_data = lambda: probes  # type: ignore[attr-defined]
    return onnx2tf.convert(
        input_onnx_file_path=onnx_path,
        output_folder_path=str(folder),
        not_use_onnxsim=True,  # rewrites the user's file
        not_use_opname_auto_generate=True,  # rewrites it as well
        disable_model_save=True,
        verbosity="error",
    )


def difference(network: Callable[[NDArray[np.float32]], Any], onnx_path: str) -> float:
    """Largest difference from onnxruntime over four random inputs; 0 within float32's rounding.

    onnx2tf infers the axes from their sizes, so a network whose sizes coincide can come out wrong. The network here
    takes `[1, height, width, channels]`.
    """
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    x_info = session.get_inputs()[0]
    generator = np.random.default_rng(0)
    largest = 0.0
    for _ in range(4):
        x = generator.standard_normal(x_info.shape).astype(np.float32)
        expected = session.run(None, {x_info.name: x})[0]
        outputs = np.asarray(network(x.transpose(0, 2, 3, 1))).reshape(expected.shape)
        if not np.allclose(outputs, expected, rtol=1e-3, atol=1e-4):
            largest = max(largest, float(np.abs(outputs - expected).max()))
    return largest


def _converter(format: str, module: Any, representative: Callable[[], Iterator[list[Any]]]) -> Any:
    import tensorflow as tf

    function = module.function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if format == "float32":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif format in ("int8", "int16x8"):
        int16x8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if format == "int8" else int16x8]
        converter.inference_input_type = converter.inference_output_type = tf.int8 if format == "int8" else tf.int16
    return converter


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
