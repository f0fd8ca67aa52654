"""The .tflite as an object that can be edited, and back to bytes.

A .tflite is a FlatBuffer (schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, identifier `TFL3`).
"""

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import EdgepruneError
from edgeprune.tflite.consistency import fill_vectors, inconsistency
from edgeprune.tflite.integrity import check_file

ALIGNMENT = 16
"""The schema demands it of every buffer, in bytes; kernels with vector instructions rely on it."""


def _names(kind: type) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if isinstance(number, int)}


OPERATOR_NAMES = _names(schema.BuiltinOperator)
"""Names of the builtin operators by their code: `CONV_2D`, `SOFTMAX` ..."""
TYPE_NAMES = {number: name.lower() for number, name in _names(schema.TensorType).items()}
"""Names of the tensors' types by their number: `float32`, `int8` ..."""


def unpack_model(path: Path | str) -> Any:
    """The object form of a .tflite, `ModelT` of TFLite's schema."""
    check_file(path)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Path(path).read_bytes(), 0))
    except (struct.error, ValueError, IndexError, TypeError) as error:  # options of operators are not checked above
        raise EdgepruneError(f"{path}: is damaged ({error}); copy or export it again.") from error
    if not model.subgraphs or not model.buffers:
        raise EdgepruneError(f"{path}: is a TFLite file without a graph; export the model again.")
    fill_vectors(model)
    if fault := inconsistency(model):
        raise EdgepruneError(f"{path}: is damaged ({fault}); copy or export it again.")
    return model


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The schema's `BufferT` with the alignment that the generated Python code leaves out."""

    def Pack(self, builder: Any) -> int:  # noqa: N802 (the schema's name)
        offset = None
        if self.data is not None and len(self.data):
            content = np.asarray(self.data, dtype=np.uint8).tobytes()
            builder.StartVector(1, len(content), ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        end: int = schema.BufferEnd(builder)
        return end


def pack_model(model: Any) -> bytes:
    """The bytes of a `ModelT`, every buffer aligned to 16 bytes; the same model gives the same bytes."""
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + size // 16 + 65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operators(path: Path | str) -> list[str]:
    """See `operator_names`."""
    return operator_names(unpack_model(path))


def operator_names(model: Any) -> list[str]:
    """Names of the operators of a `ModelT` in the order they run, subgraph after subgraph: `CONV_2D`, `SOFTMAX` ...

    A custom operator has its own name. A network whose list ends in `SOFTMAX` gives probabilities, another one logits.
    """
    codes = []
    for entry in model.operatorCodes or ():
        # Codes above 127 do not fit the older of the two fields, which then holds a placeholder.
        code, custom = max(entry.builtinCode, entry.deprecatedBuiltinCode), entry.customCode
        name = OPERATOR_NAMES.get(code, f"BUILTIN_{code}")
        if code == schema.BuiltinOperator.CUSTOM and custom:
            name = custom if isinstance(custom, str) else custom.decode("utf-8", "replace")
        codes.append(name)
    return [codes[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators or ()]


def output_step(model: Any) -> float:
    """The distance of two values that the first output of a `ModelT` can have; 0 where it is not of integers.

    It is the scale of the output, or of the integers that a DEQUANTIZE makes it of.
    """
    graph, (_, outputs) = model.subgraphs[0], describe_tensors(model)
    for name, operator in zip(operator_names(model), graph.operators, strict=False):
        if name == "DEQUANTIZE" and graph.outputs[0] in operator.outputs:
            return _describe(graph.tensors[operator.inputs[0]])["scale"] or 0.0
    return outputs[0]["scale"] or 0.0


def describe_tensors(model: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs of a `ModelT`: name, shape, dtype, and scale and zero point (None when not quantised).

    A stored integer q stands for the value `scale * (q - zero_point)`.
    """
    graph = model.subgraphs[0]
    inputs, outputs = ([_describe(graph.tensors[number]) for number in end] for end in (graph.inputs, graph.outputs))
    return inputs, outputs


def _describe(tensor: Any) -> dict[str, Any]:
    quantisation = tensor.quantization
    quantised = quantisation is not None and quantisation.scale is not None and len(quantisation.scale) == 1
    return {
        "name": tensor.name.decode("utf-8", "replace") if isinstance(tensor.name, bytes) else tensor.name,
        "shape": [int(size) for size in tensor.shape],
        "dtype": TYPE_NAMES[tensor.type],
        "scale": float(quantisation.scale[0]) if quantised else None,
        "zero_point": int(quantisation.zeroPoint[0]) if quantised else None,
    }
