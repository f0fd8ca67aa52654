"""A network of integers between float32 ends, for runtimes that take and give real numbers alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeprune.convert.waveform_graph import GraphBuilder
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import describe_tensors, pack_model, unpack_model

_QUANTISE_VERSIONS = {"int8": 2, "uint8": 1, "int16": 3}
"""Versions of QUANTIZE and DEQUANTIZE that take the type."""


def has_float_ends(path: Path | str) -> bool:
    """Whether the inputs and outputs of a .tflite are all float32."""
    inputs, outputs = describe_tensors(unpack_model(path))
    return all(end["dtype"] == "float32" for end in (*inputs, *outputs))


def with_float_ends(path: Path | str) -> bytes:
    """A .tflite of one input and one output with QUANTIZE and DEQUANTIZE at its ends, where they are integers.

    Operators, weights and scales of the network stay byte for byte as they are.
    """
    model = unpack_model(path)
    add_float_ends(model, path)
    return pack_model(model)


def add_float_ends(model: Any, path: Path | str) -> None:
    """Put QUANTIZE and DEQUANTIZE around the network of a `ModelT` where its ends are integers; see `with_float_ends`.

    Args:
        path: of the file the network is from, for messages.
    """
    (network_input,), (network_output,) = describe_tensors(model)
    builder, graph = GraphBuilder(model), model.subgraphs[0]
    if network_input["dtype"] != "float32":
        features = builder.tensor("features", tuple(network_input["shape"]))
        builder.apply("QUANTIZE", [features], graph.inputs[0], _version(path, network_input))
        graph.inputs = [features]
    before, builder.operators = builder.operators, []
    if network_output["dtype"] != "float32":
        values = builder.tensor("values", tuple(network_output["shape"]))
        builder.apply("DEQUANTIZE", [graph.outputs[0]], values, _version(path, network_output))
        graph.outputs = [values]
    graph.operators = [*before, *graph.operators, *builder.operators]
    set_signature(model)


def set_signature(model: Any) -> None:
    """Name the one input and output of a `ModelT` as its signature, which some runtimes read in place of the graph."""
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = _named(graph, graph.inputs[0]), _named(graph, graph.outputs[0])
    model.signatureDefs = [signature]


def _version(path: Path | str, tensor: Mapping[str, Any]) -> int:
    if tensor["dtype"] not in _QUANTISE_VERSIONS or tensor["scale"] is None:
        raise EdgepruneError(f"{path}: has an end of {tensor['dtype']}; export it as float32, int8 or int16x8.")
    return _QUANTISE_VERSIONS[tensor["dtype"]]


def _named(graph: Any, tensor: int) -> list[Any]:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = graph.tensors[tensor].name, tensor
    return [entry]
