"""What an exported file says about itself: JSON embedded in the .tflite, and a sidecar file beside it.

A .tflite is a FlatBuffer (schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, identifier `TFL3`). Its table
`Model.metadata` names buffers; ours is called `edgeprune.json`, and interpreters pass over it.
"""

import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import read_json, sha256_file, to_jsonable, write_bytes, write_json
from edgeprune.tflite.interpreter import check_file, operators

METADATA_NAME = "edgeprune.json"
SCHEMA = 1
# The schema demands it of every buffer; kernels with vector instructions rely on it.
_ALIGNMENT = 16


def unpack_model(path: Path | str) -> Any:
    """Read a .tflite to the object form of TFLite's schema, `ModelT`.

    Raises:
        EdgepruneError: the file is missing or not a whole TFLite model.
    """
    from ai_edge_litert import schema_py_generated as schema

    check_file(path)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Path(path).read_bytes(), 0))
    except (struct.error, ValueError, IndexError, TypeError) as error:  # options of operators are not followed above
        raise EdgepruneError(f"{path}: is damaged ({error}); copy or export it again.") from error
    if not model.subgraphs or not model.buffers:
        raise EdgepruneError(f"{path}: is a TFLite file without a graph; export the model again.")
    return model


def pack_model(model: Any) -> bytes:
    """Serialise a `ModelT`, every buffer aligned to 16 bytes; the same model gives the same bytes."""
    import flatbuffers

    model.buffers = [_aligned_buffer_type()(buffer.data) for buffer in model.buffers]
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + size // 16 + 65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@cache
def _aligned_buffer_type() -> Any:
    """The schema's `BufferT` with the alignment the generated Python code leaves out."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> int:  # noqa: N802 (the schema's name)
            offset = None
            if self.data is not None and len(self.data):
                content = np.asarray(self.data, dtype=np.uint8).tobytes()
                builder.StartVector(1, len(content), _ALIGNMENT)
                builder.head -= len(content)
                builder.Bytes[builder.head : builder.head + len(content)] = content
                offset = builder.EndVector()
            schema.BufferStart(builder)
            if offset is not None:
                schema.BufferAddData(builder, offset)
            end: int = schema.BufferEnd(builder)
            return end

    return AlignedBuffer


def set_metadata(model: Any, metadata: Mapping[str, Any]) -> None:
    """Embed `metadata` in a `ModelT` as the buffer `edgeprune.json`, replacing what was there."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), default=to_jsonable, allow_nan=False)
    content = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    model.metadata = model.metadata or []
    for item in model.metadata:
        if item.name == METADATA_NAME.encode():
            model.buffers[item.buffer].data = content
            return
    model.buffers.append(schema.BufferT(content))
    item = schema.MetadataT()
    item.name = METADATA_NAME
    item.buffer = len(model.buffers) - 1
    model.metadata.append(item)


def embed_metadata(path: Path | str, metadata: Mapping[str, Any]) -> None:
    """Embed `metadata` in the .tflite at `path`; weights and graph stay as they are.

    Raises:
        EdgepruneError: the file is missing or not a TFLite model.
    """
    model = unpack_model(path)
    set_metadata(model, metadata)
    write_bytes(path, pack_model(model))


def read_metadata(path: Path | str) -> dict[str, Any]:
    """The JSON embedded in a .tflite: labels, front-end and whatever else the export put there.

    Raises:
        EdgepruneError: the file is missing, not a TFLite model, or carries no such JSON.
    """
    model = unpack_model(path)
    for item in model.metadata or []:
        if item.name == METADATA_NAME.encode():
            try:
                content: dict[str, Any] = json.loads(bytes(model.buffers[item.buffer].data))
            except (ValueError, IndexError, TypeError) as error:
                raise EdgepruneError(f"{path}: its {METADATA_NAME} is damaged; export the model again.") from error
            return content
    raise EdgepruneError(f"{path}: carries no {METADATA_NAME}; it was not exported by edgeprune, give labels yourself.")


def write_sidecar(
    tflite_path: Path | str,
    labels: Sequence[str],
    frontend: Mapping[str, Any],
    normalisation: Mapping[str, Any],
    model: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write `<file>.json` beside an exported file: its SHA-256 and size, its tensors, and what is needed to use it.

    Args:
        tflite_path: the exported file.
        labels: class names, in the order of the output.
        frontend: the log-mel settings the network was trained with.
        normalisation: how the features are normalised.
        model: the network's spec.
        extra: anything else worth keeping (accuracy, parity, versions).

    Returns:
        the path of the sidecar.

    Raises:
        EdgepruneError: the file is missing or not a TFLite model, or the labels do not match its output.
    """
    tflite_path = Path(tflite_path)
    inputs, outputs = describe_tensors(unpack_model(tflite_path))
    classes = outputs[0]["shape"][-1]
    if len(labels) != classes:
        raise EdgepruneError(f"{tflite_path}: has {classes} outputs but {len(labels)} labels were given; match them.")
    sidecar = sidecar_path(tflite_path)
    write_json(
        sidecar,
        {
            "schema": SCHEMA,
            "file": tflite_path.name,
            "sha256": sha256_file(tflite_path),
            "bytes": tflite_path.stat().st_size,
            "inputs": inputs,
            "outputs": outputs,
            "operators": dict(Counter(operators(tflite_path))),
            "labels": list(labels),
            "frontend": dict(frontend),
            "normalisation": dict(normalisation),
            "model": dict(model),
            "extra": dict(extra or {}),
        },
    )
    return sidecar


def sidecar_path(tflite_path: Path | str) -> Path:
    """`model_int8.tflite` has the sidecar `model_int8.tflite.json`."""
    return Path(f"{tflite_path}.json")


def read_sidecar(path: Path | str) -> dict[str, Any]:
    """Read the sidecar of an exported file, given the path of either, and verify the file against it.

    Raises:
        EdgepruneError: one of the two files is missing or the sidecar is not one of ours.
        CheckFailedError: the exported file is not the one the sidecar describes.
    """
    path = Path(path)
    sidecar = path if path.suffix == ".json" else sidecar_path(path)
    content: dict[str, Any] = read_json(sidecar)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not {"file", "sha256"} <= content.keys():
        raise EdgepruneError(f"{sidecar}: is not a sidecar of this version of edgeprune; export the model again.")
    exported = sidecar.with_name(Path(content["file"]).name)
    if not exported.is_file():
        raise EdgepruneError(f"{exported}: is missing beside its sidecar; copy both files together.")
    if sha256_file(exported) != content["sha256"]:
        raise CheckFailedError(
            f"{exported}: its SHA-256 is not the one in {sidecar.name}; it was changed or damaged, export it again."
        )
    return content


def describe_tensors(model: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs of a `ModelT`: name, shape, dtype, and scale and zero point (None when not quantised).

    A stored integer q stands for the value `scale * (q - zero_point)`.
    """
    graph = model.subgraphs[0]
    return ([_describe(graph.tensors[i]) for i in graph.inputs], [_describe(graph.tensors[i]) for i in graph.outputs])


def _describe(tensor: Any) -> dict[str, Any]:
    quantisation = tensor.quantization
    quantised = quantisation is not None and quantisation.scale is not None and len(quantisation.scale) == 1
    return {
        "name": tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name,
        "shape": [int(size) for size in tensor.shape],
        "dtype": _type_names()[tensor.type],
        "scale": float(quantisation.scale[0]) if quantised else None,
        "zero_point": int(quantisation.zeroPoint[0]) if quantised else None,
    }


@cache
def _type_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
