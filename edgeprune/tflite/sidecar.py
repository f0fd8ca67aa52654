"""The sidecar `<file>.json` beside an exported file: its checksum, its tensors, and what is needed to use it."""

import os
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from edgeprune.console import say
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import read_json, sha256_file, write_json
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import describe_tensors, operator_names, unpack_model
from edgeprune.tflite.metadata import read_metadata

SCHEMA = 1
_DESCRIBED = ("labels", "frontend", "normalisation", "model", "task", "threshold", "layout", "output")
"""Fields of a description that a file and its sidecar both hold; how a waveform is fed is the file's alone."""


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
    """Read the sidecar of an exported file, given the path of either, and verify the file against it.

    Raises:
        CheckFailedError: the file is not the one the sidecar was written for, or not the one its run evaluated.
    """
    path = Path(path)
    sidecar = path if path.suffix == ".json" else sidecar_path(path)
    content: dict[str, Any] = read_json(sidecar)
    known = isinstance(content, dict) and content.get("schema") == SCHEMA and {"file", "sha256"} <= content.keys()
    name = Path(content["file"]).name if known and isinstance(content["file"], str) else ""
    if not 0 < len(os.fsencode(name)) <= 255:  # what file systems take
        raise EdgepruneError(f"{sidecar}: is not a sidecar of this version of edgeprune; export the model again.")
    exported = sidecar.with_name(name) if path == sidecar else path
    if not exported.is_file():
        raise EdgepruneError(f"{exported}: is missing beside its sidecar; copy both files together.")
    if _sha256(exported) != content["sha256"]:
        raise CheckFailedError(
            f"{exported}: its SHA-256 is not the one in {sidecar.name}; it was changed or damaged, export it again."
        )
    _check_description(exported, content)
    _check_result(exported)
    return content


def check_unchanged(path: Path | str) -> None:
    """Refuse a .tflite that is not the one its sidecar, or the result of its run, was written for.

    A note says once that a file of edgeprune's lies without its sidecar. Files by others have none.

    Raises:
        CheckFailedError: the file, or the description in its sidecar, was changed.
    """
    path = Path(path)
    if sidecar_path(path).is_file():
        read_sidecar(path)
    elif path.is_file():
        _check_result(path)
        _note_missing_sidecar(path.absolute())


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of_state(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=64)
def _sha256_of_state(path: Path, *_: int) -> str:
    """The hash of a file in one state, so that the steps of a command read it once."""
    return sha256_file(path)


def _check_description(path: Path, sidecar: Mapping[str, Any]) -> None:
    """Refuse a sidecar that describes another network than the file does itself."""
    try:
        embedded = read_metadata(path)
    except EdgepruneError:
        return  # described beside the file alone
    if "labels" not in embedded:
        return
    other = [name for name in _DESCRIBED if embedded.get(name) != sidecar.get(name)]
    if other:
        raise CheckFailedError(
            f"{path}: describes its {other[0]} otherwise than {sidecar_path(path).name} does; one of them was changed, "
            "export the file again."
        )


def _check_result(path: Path) -> None:
    """Refuse a file of a finished run that is not the one the run evaluated."""
    try:
        artefacts = read_json(path.with_name("result.json"))["artefacts"].values()
        evaluated = [artefact["sha256"] for artefact in artefacts if artefact["path"] == path.name]
    except (EdgepruneError, AttributeError, KeyError, TypeError):
        return  # no run, or one whose result is refused where it is read
    if evaluated and evaluated[0] != _sha256(path):
        raise CheckFailedError(
            f"{path}: is not the file that was evaluated, by its SHA-256 in result.json; it was changed after the run, "
            "run the recipe again."
        )


@cache
def _note_missing_sidecar(path: Path) -> None:
    try:
        read_metadata(path)
    except EdgepruneError:
        return
    say(f"note: {path.name} has no {sidecar_path(path).name} beside it, so nothing tells whether it was changed")
