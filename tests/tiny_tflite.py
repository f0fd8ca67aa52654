"""TFLite files of one operator, made by hand through TFLite's schema: no converter has a say in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.metadata import set_metadata

_TYPES = {"float32": "FLOAT32", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64"}


def dense_model(
    weights: np.ndarray,
    bias: np.ndarray,
    batch: int = 1,
    ends: str = "float32",
    input_scale: tuple[float, int] | None = None,
    weight_scale: float | None = None,
    output_scale: tuple[float, int] | None = None,
) -> Any:
    """A `ModelT` computing `input @ weights.T + bias`.

    Args:
        weights: `[outputs, inputs]`, in the type they are stored in.
        bias: `[outputs]`, likewise.
        batch: rows of the input.
        ends: type of input and output.
        input_scale, weight_scale, output_scale: scale and zero point; None where nothing is quantised.
    """
    outputs, inputs = weights.shape
    weights_quantised = None if weight_scale is None else (weight_scale, 0)
    bias_quantised = None if weight_scale is None or input_scale is None else (weight_scale * input_scale[0], 0)
    tensors = [
        _tensor("input", (batch, inputs), ends, 0, input_scale),
        _tensor("weights", weights.shape, weights.dtype.name, 1, weights_quantised),
        _tensor("bias", bias.shape, bias.dtype.name, 2, bias_quantised),
        _tensor("output", (batch, outputs), ends, 0, output_scale),
    ]
    step = schema.OperatorT()
    step.inputs, step.outputs = [0, 1, 2], [3]
    step.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    step.builtinOptions = schema.FullyConnectedOptionsT()
    return _model(tensors, step, schema.BuiltinOperator.FULLY_CONNECTED, 4, [_buffer(weights), _buffer(bias)])


def quantise_model(values: int, ends: str, scale: tuple[float, int]) -> Any:
    """TFLite's own QUANTIZE: float32 `[1, values]` to the type `ends`."""
    tensors = [
        _tensor("input", (1, values), "float32", 0, None),
        _tensor("output", (1, values), ends, 0, scale),
    ]
    step = schema.OperatorT()
    step.inputs, step.outputs = [0], [1]
    step.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    step.builtinOptions = schema.QuantizeOptionsT()
    return _model(tensors, step, schema.BuiltinOperator.QUANTIZE, 2, [])


def float_model(inputs: int = 3, outputs: int = 2, batch: int = 1) -> Any:
    """Weights 0, 1, 2 ... row by row; bias 0, 1, 2 ..."""
    weights = np.arange(inputs * outputs, dtype=np.float32).reshape(outputs, inputs)
    return dense_model(weights, np.arange(outputs, dtype=np.float32), batch)


def write(model: Any, path: Path) -> Path:
    path.write_bytes(pack_model(model))
    return path


def embed_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Replace the metadata of a file."""
    model = unpack_model(path)
    set_metadata(model, metadata)
    path.write_bytes(pack_model(model))


def _model(tensors: list[Any], step: Any, operator: int, version: int, buffers: list[Any]) -> Any:
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [step]
    graph.inputs, graph.outputs = [0], [len(tensors) - 1]
    step.opcodeIndex = 0
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    model = schema.ModelT()
    model.version, model.description = 3, "made by hand"
    model.subgraphs, model.operatorCodes = [graph], [code]
    model.buffers = [schema.BufferT(), *buffers]  # the first is empty: tensors without content point at it
    return model


def _buffer(values: np.ndarray) -> Any:
    return schema.BufferT(np.frombuffer(values.tobytes(), dtype=np.uint8))


def _tensor(name: str, shape: tuple[int, ...], dtype: str, buffer: int, quantised: tuple[float, int] | None) -> Any:
    tensor = schema.TensorT()
    tensor.name = name
    tensor.shape = list(shape)
    tensor.type = getattr(schema.TensorType, _TYPES[dtype])
    tensor.buffer = buffer
    if quantised is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [quantised[0]]
        tensor.quantization.zeroPoint = [quantised[1]]
    return tensor
