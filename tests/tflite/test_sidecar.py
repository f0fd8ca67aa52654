import hashlib
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import embed_metadata

from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.models.registry import make_spec
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import METADATA_NAME, read_description, read_metadata
from edgeprune.tflite.sidecar import read_sidecar, sidecar_path, write_sidecar

LABELS = [f"scene {number}" for number in range(10)]
DESCRIPTION = Description(
    labels=tuple(LABELS),
    frontend=LogMel.dcase21(),
    normalisation=Normalisation(np.zeros(40, np.float32), np.ones(40, np.float32)),
    spec=make_spec("dcase21"),
)
FORMATS = ["float32", "float16", "dynamic", "int8", "int16x8"]


@pytest.fixture
def copied(dcase21, tmp_path):
    return shutil.copy(dcase21.files["int8"], tmp_path / "model_int8.tflite")


@pytest.mark.parametrize("format", FORMATS)
def test_embedding_changes_nothing_but_the_metadata(dcase21, tmp_path, format) -> None:
    path = shutil.copy(dcase21.files[format], tmp_path / "model.tflite")
    assert read_metadata(path)["format"] == format
    metadata = {"labels": ["Straße", "café", "公園"], "mean": np.float32(0.5), "none": None, "list": np.arange(3)}
    embed_metadata(path, metadata)
    assert read_metadata(path) == {**metadata, "mean": 0.5, "list": [0, 1, 2]}
    inputs = dcase21.tflite_inputs[:4]
    np.testing.assert_array_equal(TFLiteModel(path).predict(inputs), TFLiteModel(dcase21.files[format]).predict(inputs))
    embed_metadata(path, {"second": "time"})
    assert read_metadata(path) == {"second": "time"}
    model = unpack_model(path)
    assert [item.name for item in model.metadata].count(METADATA_NAME.encode()) == 1


def test_packing_is_repeatable_and_aligned(dcase21) -> None:
    content = dcase21.files["float32"].read_bytes()
    assert pack_model(unpack_model(dcase21.files["float32"])) == content
    root = schema.Model.GetRootAs(content, 0)
    starts = []
    for number in range(root.BuffersLength()):
        table = root.Buffers(number)._tab
        if field := table.Offset(4):  # the vector of bytes
            starts.append(table.Vector(field))
    assert len(starts) >= 10  # weights and biases of five layers
    assert [start % 16 for start in starts] == [0] * len(starts)


def test_files_without_our_metadata(shared_data) -> None:
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    with pytest.raises(EdgepruneError, match=r"carries no edgeprune\.json"):
        read_metadata(path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"labels":\xff}', None])
def test_damaged_metadata(copied, content) -> None:
    model = unpack_model(copied)
    (item,) = [item for item in model.metadata if item.name == METADATA_NAME.encode()]
    if content is None:
        item.buffer = 10_000
    else:
        model.buffers[item.buffer].data = np.frombuffer(content, dtype=np.uint8)
    copied.write_bytes(pack_model(model))
    with pytest.raises(EdgepruneError, match=r"its edgeprune\.json is damaged"):
        read_metadata(copied)


def test_a_file_without_a_graph(tmp_path) -> None:
    model = schema.ModelT()
    model.subgraphs, model.buffers = [], []
    path = tmp_path / "none.tflite"
    path.write_bytes(pack_model(model))
    with pytest.raises(EdgepruneError, match="without a graph"):
        unpack_model(path)


def _write(path, labels=LABELS):
    description = replace(DESCRIPTION, labels=tuple(labels))
    embed_metadata(path, description.to_dict())
    return write_sidecar(path, description, extra={"accuracy": 0.5})


def test_sidecar_says_what_the_file_is(copied) -> None:
    sidecar = _write(copied)
    assert sidecar == sidecar_path(copied)
    assert sidecar.name == "model_int8.tflite.json"
    content = json.loads(sidecar.read_text())
    assert content["sha256"] == hashlib.sha256(copied.read_bytes()).hexdigest()
    assert content["bytes"] == len(copied.read_bytes())
    assert (content["file"], content["labels"]) == ("model_int8.tflite", LABELS)
    assert content["operators"] == {
        "CONV_2D": 3,
        "MAX_POOL_2D": 2,
        "RESHAPE": 1,
        "FULLY_CONNECTED": 2,
        "SOFTMAX": 1,
    }
    model = TFLiteModel(copied)
    (entrance,), (exit_,) = content["inputs"], content["outputs"]
    assert (entrance["name"], entrance["shape"], entrance["dtype"]) == ("input", [1, 40, 51, 1], "int8")
    assert (entrance["scale"], entrance["zero_point"]) == model.input_quantisation
    assert exit_ == {"name": "output", "shape": [1, 10], "dtype": "int8", "scale": 1 / 256, "zero_point": -128}
    assert content["frontend"] == asdict(LogMel.dcase21())
    assert content["normalisation"] == {"mean": [0.0] * 40, "std": [1.0] * 40}
    assert content["model"] == DESCRIPTION.spec.to_dict()
    assert content["extra"] == {"accuracy": 0.5}
    assert read_sidecar(copied) == read_sidecar(sidecar) == content


def test_float_ends_have_no_scale(dcase21, tmp_path) -> None:
    path = shutil.copy(dcase21.files["float32"], tmp_path / "f.tflite")
    content = read_sidecar(_write(path))
    assert content["inputs"][0] == {
        "name": "input",
        "shape": [1, 40, 51, 1],
        "dtype": "float32",
        "scale": None,
        "zero_point": None,
    }


@pytest.mark.parametrize("labels", [LABELS[:9], [*LABELS, "another"], []])
def test_labels_must_match_the_output(copied, labels) -> None:
    with pytest.raises(EdgepruneError, match=f"has 10 outputs but {len(labels)} labels"):
        _write(copied, labels)
    assert not sidecar_path(copied).exists()


def test_a_changed_file_fails_its_checksum(copied) -> None:
    sidecar = _write(copied)
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    for path in (copied, sidecar):
        with pytest.raises(CheckFailedError, match="its SHA-256 is not the one in model_int8") as caught:
            read_sidecar(path)
        assert caught.value.exit_code == 4


def test_sidecars_that_are_none(copied) -> None:
    with pytest.raises(EdgepruneError, match="cannot be read"):
        read_sidecar(copied)
    sidecar = sidecar_path(copied)
    for text in ("[]", "{}", '{"schema": 1, "file": "x"}', '{"schema": 2, "file": "x", "sha256": "0"}'):
        sidecar.write_text(text)
        with pytest.raises(EdgepruneError, match="is not a sidecar of this version"):
            read_sidecar(copied)
    _write(copied)
    copied.unlink()
    with pytest.raises(EdgepruneError, match="is missing beside its sidecar"):
        read_sidecar(sidecar)


def test_the_description_travels_in_the_file(copied) -> None:
    embed_metadata(copied, DESCRIPTION.to_dict())
    read = read_description(copied)
    assert read.to_dict() == DESCRIPTION.to_dict()
    assert (read.layout, read.takes_waveform, read.logmel) == ("mels_frames", False, LogMel.dcase21())
    embed_metadata(copied, {**DESCRIPTION.to_dict(), "normalisation": {"mean": [0.0]}})
    with pytest.raises(EdgepruneError, match=r"model_int8\.tflite: the description of a network is damaged .*'std'"):
        read_description(copied)
