"""Depthwise convolutions that TensorFlow writes as grouped ones.

TensorFlow has no depthwise convolution with unequal strides: that of `[1, 2]` becomes a CONV_2D with a group for each
channel. TFLite's DEPTHWISE_CONV_2D takes any strides; it is faster, and compilers for microcontrollers know it.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import TYPE_NAMES, operator_names

_VERSIONS = {"float32": 2, "int8": 3, "int16": 5}
"""By type of the input, the version of DEPTHWISE_CONV_2D that takes it, dilated or not."""
_HYBRID = 6
"""Of a float32 input and int8 weights with a scale for each channel."""


def plain_depthwise(model: Any) -> int:
    """Rewrite the convolutions of a `ModelT` that filter each channel on its own, in place; return how many.

    Their filters `[channels, height, width, 1]` become `[1, height, width, channels]`.
    """
    names, changed = iter(operator_names(model)), 0
    for graph in model.subgraphs:
        made_by = {place: operator for operator in graph.operators for place in operator.outputs}
        for operator in graph.operators:
            if next(names) != "CONV_2D":
                continue
            x, weights = (graph.tensors[place] for place in operator.inputs[:2])
            channels = int(x.shape[-1])
            if channels == 1 or int(weights.shape[0]) != channels or int(weights.shape[-1]) != 1:
                continue
            source = made_by.get(operator.inputs[1])  # weights stored as float16 are widened by a DEQUANTIZE
            stored = weights if source is None else graph.tensors[source.inputs[0]]
            _turn(model, stored)
            weights.shape = stored.shape
            _rename(model, operator, TYPE_NAMES[x.type], TYPE_NAMES[weights.type])
            changed += 1
    return changed


def _turn(model: Any, weights: Any) -> None:
    """Put the channels of stored weights last."""
    filters, height, width, one = (int(size) for size in weights.shape)
    values = np.asarray(model.buffers[weights.buffer].data, np.uint8).reshape(filters, height * width, -1)
    model.buffers[weights.buffer].data = np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(-1)
    weights.shape = [one, height, width, filters]
    weights.shapeSignature = None
    if weights.quantization is not None and weights.quantization.scale is not None:
        weights.quantization.quantizedDimension = 3


def _rename(model: Any, operator: Any, input_type: str, weight_type: str) -> None:
    before = operator.builtinOptions
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    for name in ("padding", "strideW", "strideH", "dilationWFactor", "dilationHFactor", "fusedActivationFunction"):
        setattr(options, name, getattr(before, name))
    operator.builtinOptions = options
    operator.builtinOptionsType = schema.BuiltinOptions.DepthwiseConv2DOptions
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEPTHWISE_CONV_2D
    hybrid = input_type == "float32" and weight_type == "int8"
    code.version = _HYBRID if hybrid else _VERSIONS[input_type]
    alike = [
        place
        for place, known in enumerate(model.operatorCodes)
        if known.builtinCode == code.builtinCode and known.version == code.version
    ]
    operator.opcodeIndex = alike[0] if alike else len(model.operatorCodes)
    if not alike:
        model.operatorCodes.append(code)
