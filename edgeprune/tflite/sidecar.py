"""The sidecar `<file>.json` beside an exported file: its checksum, its tensors, and what is needed to use it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import read_json, sha256_file, write_json
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import describe_tensors, operator_names, unpack_model

SCHEMA = 1


def write_sidecar(tflite_path: Path | str, description: Description, extra: Mapping[str, Any] | None = None) -> Path:
    """Write the sidecar of an exported file; `extra` is anything else worth keeping (accuracy, parity, versions)."""
    tflite_path = Path(tflite_path)
    network = unpack_model(tflite_path)
    inputs, outputs = describe_tensors(network)
    classes = outputs[0]["shape"][-1]
    labels = len(description.labels)
    if labels != classes:
        raise EdgepruneError(f"{tflite_path}: has {classes} outputs but {labels} labels were given; match them.")
    fields = description.to_dict()
    fields.pop("input", None)
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
            "operators": dict(Counter(operator_names(network))),
            **fields,
            "extra": dict(extra or {}),
        },
    )
    return sidecar


def sidecar_path(tflite_path: Path | str) -> Path:
    """`model_int8.tflite` has the sidecar `model_int8.tflite.json`."""
    return Path(f"{tflite_path}.json")


def read_sidecar(path: Path | str) -> dict[str, Any]:
    """Read the sidecar of an exported file, given the path of either, and verify the file against it."""
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
