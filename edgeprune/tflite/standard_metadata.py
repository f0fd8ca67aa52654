"""TFLite Metadata, the standard that tools for Android read: what goes in and out, and the labels as a file.

Beside the description in our own words (`tflite.metadata`), the buffer `TFLITE_METADATA` holds a FlatBuffer of its own
(schema: mediapipe/tasks/metadata/metadata_schema.fbs, version 1.5.0, identifier `M001`). The files it names lie
in a zip, uncompressed, behind the network. Interpreters read neither.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers

from edgeprune.files import write_bytes
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.metadata import embed, read_description

NAME = "TFLITE_METADATA"
LABELS = "labels.txt"
_TENSOR_AXIS_LABELS = 2
_FEATURES, _AUDIO = 1, 4
"""Kinds of content."""


def write_standard_metadata(path: Path | str) -> None:
    """Add the standard's metadata to an audio network that edgeprune described, replacing what there is of it."""
    description, model = read_description(path), unpack_model(path)
    embed(model, NAME, _metadata(description))
    write_bytes(path, _with_file(pack_model(model), LABELS, label_lines(description.labels).encode("utf-8")))


def drop_standard_metadata(model: Any) -> None:
    """Take the standard's metadata out of a `ModelT` whose ends are about to change."""
    model.metadata = [item for item in model.metadata or [] if item.name != NAME.encode()]


def label_lines(labels: Sequence[str]) -> str:
    """The labels, one a line, none of them empty: readers leave out empty lines, which would shift the rest."""
    lines = (" ".join(label.split()) or f"class {place}" for place, label in enumerate(labels))
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _Number:
    """A number of a table, 1 byte or 4 wide."""

    value: int
    wide: bool = False


_Table = Mapping[int, Any]
"""A FlatBuffer's table: by slot a text, a `_Number`, a table or a list of tables."""


def _metadata(description: Description) -> bytes:
    """The FlatBuffer `ModelMetadata`; slots are numbered as the schema lists its fields."""
    if description.takes_waveform:
        audio = {0: _Number(description.logmel.sample_rate, wide=True), 1: _Number(1, wide=True)}
        waveform = "samples, mono, full scale 1"
        into: _Table = {0: "waveform", 1: waveform, 3: {0: _Number(_AUDIO), 1: audio}}
    else:
        into = {0: "features", 1: "log-mel features, normalised", 3: {0: _Number(_FEATURES), 1: {}}}
    labels: _Table = {0: LABELS, 1: "names of the classes, in the order of the output", 2: _Number(_TENSOR_AXIS_LABELS)}
    out: _Table = {0: "probabilities", 1: "of the classes", 3: {0: _Number(_FEATURES), 1: {}}, 6: [labels]}
    graph: _Table = {2: [into], 3: [out]}
    model: _Table = {0: description.spec.name, 3: [graph], 7: "1.3.0" if description.takes_waveform else "1.0.0"}
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, model), b"M001")
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: str | Sequence[_Table] | _Table) -> int:
    """Write a text, a list of tables or a table; returns its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Sequence):
        tables = [_write(builder, table) for table in value]
        builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            builder.PrependUOffsetTRelative(table)
        return int(builder.EndVector())
    entries = {slot: entry if isinstance(entry, _Number) else _write(builder, entry) for slot, entry in value.items()}
    builder.StartObject(max(entries, default=-1) + 1)
    for slot, entry in entries.items():
        if not isinstance(entry, _Number):
            builder.PrependUOffsetTRelativeSlot(slot, entry, 0)
        elif entry.wide:
            builder.PrependUint32Slot(slot, entry.value, 0)
        else:
            builder.PrependUint8Slot(slot, entry.value, 0)
    return int(builder.EndObject())


def _with_file(network: bytes, name: str, content: bytes) -> bytes:
    """The bytes of a .tflite with a zip of one file behind them; the same content gives the same bytes."""
    stream = io.BytesIO(network)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(name)  # of 1980, at any time
        entry.create_system = 3  # on every system
        archive.writestr(entry, content)
    return stream.getvalue()
