"""Int8 networks that the compiler to C takes: a small one made by hand, and a published one."""

import copy
from pathlib import Path
from typing import Any

import conv_tflite
import numpy as np
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import unpack_model


def small_network(path: Path, widths: tuple[int, int] = (8, 16)) -> Path:
    """`conv_tflite.conv_network` with its dense layer in the version that converters write."""
    model = unpack_model(conv_tflite.conv_network(path, widths))
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED:
            code.version = 4
    return tiny_tflite.write(model, path)


def published_baseline(shared_data: Path, path: Path) -> Path:
    """The baseline of DCASE 2022's task 1: its int8 network, without the float32 ends, with a reshape before its dense
    layers; `[1, 40, 51, 1]` to 10 scenes, 29,203,560 MACs."""
    model = unpack_model(shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite")
    graph = model.subgraphs[0]
    quantise, *steps, dequantise = graph.operators
    graph.inputs, graph.outputs, model.signatureDefs = list(quantise.outputs), list(dequantise.inputs), None
    place = next(place for place, step in enumerate(steps) if len(graph.tensors[step.outputs[0]].shape) == 2)
    steps.insert(place, _reshape(model, steps[place]))
    graph.operators = steps
    return tiny_tflite.write(model, path)


def _reshape(model: Any, dense: Any) -> Any:
    """A reshape to `[1, values]` of what a dense layer reads."""
    graph = model.subgraphs[0]
    source = graph.tensors[dense.inputs[0]]
    values = np.array([1, np.prod(source.shape)], np.int32)
    flat, shape = copy.deepcopy(source), schema.TensorT()
    flat.shape, flat.shapeSignature, flat.name = values.tolist(), None, b"flat"
    shape.name, shape.shape, shape.type, shape.buffer = b"shape", [2], schema.TensorType.INT32, len(model.buffers)
    model.buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), np.uint8)))
    graph.tensors += [flat, shape]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    model.operatorCodes.append(code)
    step = schema.OperatorT()
    step.opcodeIndex = len(model.operatorCodes) - 1
    step.inputs, step.outputs = [dense.inputs[0], len(graph.tensors) - 1], [len(graph.tensors) - 2]
    step.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    step.builtinOptions = schema.ReshapeOptionsT()
    step.builtinOptions.newShape = values.tolist()
    dense.inputs = [len(graph.tensors) - 2, *dense.inputs[1:]]
    return step
