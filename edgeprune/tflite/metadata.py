"""The JSON inside a .tflite that makes it usable on its own: labels, front-end, normalisation, network.

The table `Model.metadata` of a .tflite names buffers; ours is called `edgeprune.json`, and interpreters ignore it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import EdgepruneError
from edgeprune.files import parse_json, to_jsonable, write_bytes
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model

METADATA_NAME = "edgeprune.json"


def set_metadata(model: Any, metadata: Mapping[str, Any]) -> None:
    """Embed `metadata` in a `ModelT` as the buffer `edgeprune.json`, replacing what was there."""
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), default=to_jsonable, allow_nan=False)
    embed(model, METADATA_NAME, text.encode("utf-8"))


def embed(model: Any, name: str, content: bytes) -> None:
    """Embed a named buffer in a `ModelT`, replacing the one of that name."""
    data = np.frombuffer(content, dtype=np.uint8)
    model.metadata = model.metadata or []
    for item in model.metadata:
        if item.name == name.encode():
            model.buffers[item.buffer].data = data
            return
    model.buffers.append(schema.BufferT(data))
    item = schema.MetadataT()
    item.name = name
    item.buffer = len(model.buffers) - 1
    model.metadata.append(item)


def write_described(path: Path | str, description: Description, out: Path) -> Path:
    """Write a copy of a .tflite that carries a description, such as that of a file by others."""
    model = unpack_model(path)
    set_metadata(model, description.to_dict())
    write_bytes(out, pack_model(model))
    return out


def read_metadata(path: Path | str) -> dict[str, Any]:
    """The JSON embedded in a .tflite: the fields of its `Description`, its format, and how the waveform is fed."""
    model = unpack_model(path)
    item = next((item for item in model.metadata or [] if item.name == METADATA_NAME.encode()), None)
    if item is None:
        raise EdgepruneError(
            f"{path}: carries no {METADATA_NAME}, since edgeprune did not export it; give its labels and front-end "
            "(--labels, --frontend)."
        )
    try:
        content = parse_json(bytes(model.buffers[item.buffer].data), METADATA_NAME)
    except (EdgepruneError, IndexError, TypeError) as error:
        raise EdgepruneError(f"{path}: its {METADATA_NAME} is damaged; export the model again.") from error
    if not isinstance(content, dict):
        raise EdgepruneError(f"{path}: its {METADATA_NAME} is no object; export the model again.")
    return content


def read_description(path: Path | str) -> Description:
    """The description of the network in a .tflite exported by edgeprune."""
    metadata = read_metadata(path)
    try:
        return Description.from_dict(metadata)
    except EdgepruneError as error:
        raise EdgepruneError(f"{path}: {error}") from error
