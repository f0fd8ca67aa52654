"""Metadata as tools for Android read it; the reader here follows the schema, and shares nothing with the writer."""

import zipfile
from pathlib import Path
from typing import Any

import conv_tflite
import numpy as np
import pytest
from flatbuffers import number_types as numbers
from flatbuffers.table import Table

from edgeprune.convert.waveform import write_waveform_model
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices.bench import bench
from edgeprune.frontend import LogMel
from edgeprune.models.registry import make_spec
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import operators, unpack_model
from edgeprune.tflite.integrity import check_file
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.standard_metadata import label_lines, write_standard_metadata

LABELS = ("metro station", "tram", "Straße\n🚋", " ", "park")
MELS, FRAMES = conv_tflite.SHAPE
DESCRIPTION = Description(
    LABELS,
    LogMel(sample_rate=8000, window_s=0.032, hop_s=0.016, mels=MELS, patch_frames=FRAMES),
    Normalisation(np.zeros(MELS, np.float32), np.ones(MELS, np.float32)),
    make_spec("dcase21", len(LABELS)),
)
SCHEMA = {
    "ModelMetadata": (
        *("name", "description", "version", "[SubGraphMetadata] graphs", "author", "license"),
        *("[AssociatedFile] files", "min_parser_version"),
    ),
    "SubGraphMetadata": ("name", "description", "[TensorMetadata] inputs", "[TensorMetadata] outputs"),
    "TensorMetadata": (
        *("name", "description", "[string] dimensions", "Content content", "[ProcessUnit] units", "Stats stats"),
        "[AssociatedFile] files",
    ),
    "AssociatedFile": ("name", "description", "byte type", "locale"),
    "Content": ("byte kind", "Properties properties", "ValueRange range"),
    "Properties": ("uint sample_rate", "uint channels"),
}
"""The fields of metadata_schema.fbs, in its order; a field without a type is a text. Properties: those of audio."""


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A network that takes features, and one that takes the waveform, as they were and with the standard's metadata."""
    features = conv_tflite.conv_network(tmp_path / "features.tflite", metadata=DESCRIPTION.to_dict())
    found = {"features": features, "waveform": write_waveform_model(features, tmp_path / "waveform.tflite")}
    for name in tuple(found):
        found[f"standard {name}"] = tmp_path / f"standard_{name}.tflite"
        found[f"standard {name}"].write_bytes(found[name].read_bytes())
        write_standard_metadata(found[f"standard {name}"])
    return found


def read(content: bytes) -> Any:
    assert content[4:8] == b"M001"
    return _read(Table(content, int.from_bytes(content[:4], "little")), "ModelMetadata")


def _read(table: Table, kind: str) -> dict[str, Any]:
    found = {}
    for place, field in enumerate(SCHEMA[kind]):
        *types, name = field.split(" ")
        offset = table.Offset(4 + 2 * place)
        if not offset:
            continue
        where = offset + table.Pos
        if not types:
            found[name] = table.String(where).decode()
        elif types[0] in ("byte", "uint"):
            flags = numbers.Uint8Flags if types[0] == "byte" else numbers.Uint32Flags
            found[name] = table.Get(flags, where)
        elif types[0].startswith("["):
            start = table.Vector(offset)
            places = [table.Indirect(start + 4 * number) for number in range(table.VectorLen(offset))]
            found[name] = [_read(Table(table.Bytes, at), types[0].strip("[]")) for at in places]
        else:
            found[name] = _read(Table(table.Bytes, table.Indirect(where)), types[0])
    return found


def standard_metadata(path: Path) -> Any:
    model = unpack_model(path)
    (item,) = [item for item in model.metadata if item.name == b"TFLITE_METADATA"]
    return read(bytes(model.buffers[item.buffer].data))


def test_it_tells_ends_and_labels(files) -> None:
    label_file = {"name": "labels.txt", "description": "names of the classes, in the order of the output", "type": 2}
    output = {"name": "probabilities", "description": "of the classes", "content": {"kind": 1, "properties": {}}}
    inputs = {
        "features": {"name": "features", "description": "log-mel features, normalised"}
        | {"content": {"kind": 1, "properties": {}}},
        "waveform": {"name": "waveform", "description": "samples, mono, full scale 1"}
        | {"content": {"kind": 4, "properties": {"sample_rate": 8000, "channels": 1}}},
    }
    for name, version in (("features", "1.0.0"), ("waveform", "1.3.0")):
        assert standard_metadata(files[f"standard {name}"]) == {
            "name": "dcase21",
            "graphs": [{"inputs": [inputs[name]], "outputs": [output | {"files": [label_file]}]}],
            "min_parser_version": version,
        }


def test_the_labels_are_a_file_in_a_zip_behind_the_network(files) -> None:
    for name in ("features", "waveform"):
        with zipfile.ZipFile(files[f"standard {name}"]) as archive:
            assert archive.testzip() is None
            (entry,) = archive.infolist()
            assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
            content = archive.read(entry).decode()
        assert content == label_lines(LABELS) == "metro station\ntram\nStraße 🚋\nclass 3\npark\n"
        # the place that the directory names is that in the whole file, where tools look without unpacking
        assert files[f"standard {name}"].read_bytes()[entry.header_offset :].startswith(b"PK\x03\x04")


def test_the_network_and_its_own_description_are_untouched(files) -> None:
    random = np.random.default_rng(0)
    for name in ("features", "waveform"):
        plain, standard = files[name], files[f"standard {name}"]
        check_file(standard)
        assert read_metadata(standard) == read_metadata(plain)
        assert operators(standard) == operators(plain)
        inputs = random.normal(0, 1, (5, *TFLiteModel(plain).input_shape[1:])).astype(np.float32)
        np.testing.assert_array_equal(TFLiteModel(standard).predict(inputs), TFLiteModel(plain).predict(inputs))


def test_a_waveform_file_does_not_inherit_what_was_told_of_features(files, tmp_path) -> None:
    path = write_waveform_model(files["standard features"], tmp_path / "again.tflite")
    assert b"TFLITE_METADATA" not in [item.name for item in unpack_model(path).metadata]
    write_standard_metadata(path)
    assert standard_metadata(path) == standard_metadata(files["standard waveform"])


def test_writing_it_twice_gives_the_same_bytes(files) -> None:
    path = files["standard features"]
    content = path.read_bytes()
    write_standard_metadata(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("device", ["tflm", "ethos-u55-128"])
def test_microcontrollers_take_the_file(files, device) -> None:
    plain, standard = (bench(files[name], device).records[0] for name in ("features", "standard features"))
    assert (standard.peak_ram_bytes, standard.median) == (plain.peak_ram_bytes, plain.median)
