"""Whether the parts of a `ModelT` belong to each other: numbers of tensors and buffers, stored sizes, quantisations."""

from collections.abc import Iterable
from math import prod
from typing import Any

from ai_edge_litert import schema_py_generated as schema

_BITS = {
    **dict.fromkeys(("FLOAT32", "INT32", "UINT32"), 32),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("FLOAT64", "INT64", "UINT64", "COMPLEX64"), 64),
    **{"COMPLEX128": 128, "INT4": 4, "INT2": 2},
}
"""A value's size by its type; types of no fixed size are left out."""
_TYPES = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}


def fill_vectors(model: Any) -> None:
    """Put empty lists where a file leaves out the vectors of its graphs and operators."""
    for graph in model.subgraphs:
        _fill(graph, ("tensors", "operators", "inputs", "outputs"))
        for operator in graph.operators:
            _fill(operator, ("inputs", "outputs"))
        for tensor in graph.tensors:
            _fill(tensor, ("shape",))


def inconsistency(model: Any) -> str:
    """What does not belong together in a `ModelT`, or nothing."""
    codes = len(model.operatorCodes or ())
    for graph in model.subgraphs:
        count = len(graph.tensors)
        for number, tensor in enumerate(graph.tensors):
            if fault := _fault_of(tensor, model.buffers):
                return f"tensor {number} {fault}"
        if not _within((*graph.inputs, *graph.outputs), 0, count):
            return "its graph begins or ends in a tensor that is not there"
        for number, operator in enumerate(graph.operators):
            if operator.opcodeIndex >= codes:
                return f"operator {number} is of a kind that is not listed"
            if not (_within(operator.inputs, -1, count) and _within(operator.outputs, 0, count)):
                return f"operator {number} is of tensors that are not there"
    return ""


def _fault_of(tensor: Any, buffers: Any) -> str:
    shape = [int(size) for size in tensor.shape]
    if tensor.type not in _TYPES:
        return f"is of the unknown type {tensor.type}"
    if not _within([tensor.buffer], 0, len(buffers)):
        return f"lies in buffer {tensor.buffer}, which is not there"
    quantised = tensor.quantization
    scales = 0 if quantised is None or quantised.scale is None else len(quantised.scale)
    zero_points = 0 if quantised is None or quantised.zeroPoint is None else len(quantised.zeroPoint)
    if scales and zero_points not in (1, scales):
        return f"has {scales} scales and {zero_points} zero points"
    if scales > 1 and dict(enumerate(shape)).get(axis := quantised.quantizedDimension) != scales:
        return f"of {shape} has {scales} scales on axis {axis}"
    data, bits = buffers[tensor.buffer].data, _BITS.get(_TYPES[tensor.type])
    stored = 0 if data is None else len(data)
    if stored and bits and tensor.sparsity is None and stored != (prod(shape) * bits + 7) // 8:
        return f"of {shape} is stored in {stored} bytes"
    return ""


def _within(numbers: Iterable[Any], least: int, end: int) -> bool:
    return all(least <= int(number) < end for number in numbers)


def _fill(part: Any, names: Iterable[str]) -> None:
    for name in names:
        if getattr(part, name) is None:
            setattr(part, name, [])
