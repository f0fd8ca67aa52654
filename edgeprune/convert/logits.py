"""The network without its softmax, for compilers that do not take one."""

from pathlib import Path

from edgeprune.errors import EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.tflite.flatbuffer import operator_names, pack_model, unpack_model


def without_softmax(path: Path | str, out: Path | str) -> Path:
    """Write the file's network without the softmax at its end, where there is one.

    Weights, scales and the other operators stay as they are, and softmax does not change which class is the likeliest.

    Returns:
        `out`, whose output is logits with their own scale and zero point.
    """
    model = unpack_model(path)
    names = operator_names(model)
    graph = model.subgraphs[0]
    if names and names[-1] == "SOFTMAX":
        last = graph.operators.pop()
        graph.outputs = [last.inputs[0]]
        model.signatureDefs = None
        names = names[:-1]
    if "SOFTMAX" in names:
        raise EdgepruneError(f"{path}: has a softmax inside, which the compiler to C does not take; use tflm.")
    write_bytes(out, pack_model(model))
    return Path(out)
