"""A file that was changed after its export is refused by every verb that uses it, with exit code 4."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import call
from tiny_tflite import embed_metadata

from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import CheckFailedError
from edgeprune.files import read_json, sha256_file, write_json
from edgeprune.models.registry import make_spec
from edgeprune.recipe import LogMel
from edgeprune.running.network_file import load_tflite
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.sidecar import sidecar_path, write_sidecar

DESCRIPTION = Description(
    labels=tuple(f"scene {number}" for number in range(10)),
    frontend=LogMel.dcase21(16000, 1.0),
    normalisation=Normalisation(np.zeros(40, np.float32), np.ones(40, np.float32)),
    spec=make_spec("dcase21"),
)
VERBS = {
    "evaluate": ["evaluate", "FILE", "--data.name", "synthetic_scenes"],
    "bench": ["bench", "FILE", "--runs", "1"],
    "cost": ["cost", "FILE"],
    "listen": ["listen", "FILE", "--file", "CLIP"],
    "deploy": ["deploy", "FILE", "--target", "c11", "--out", "OUT"],
}


@pytest.fixture
def path(dcase21, tmp_path: Path) -> Path:
    """An int8 file with its description and sidecar, in a folder whose result names it."""
    path = Path(shutil.copy(dcase21.files["int8"], tmp_path / "model_int8.tflite"))
    embed_metadata(path, {**DESCRIPTION.to_dict(), "format": "int8"})
    write_sidecar(path, DESCRIPTION)
    write_result(path)
    return path


def write_result(path: Path) -> None:
    artefact = {"path": path.name, "sha256": sha256_file(path)}
    write_json(path.with_name("result.json"), {"artefacts": {"int8": artefact}})


def negate_weights(path: Path) -> None:
    model = unpack_model(path)
    buffer = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    buffer.data = (255 - np.asarray(buffer.data, np.uint8)).astype(np.uint8)
    path.write_bytes(pack_model(model))


def shift_frontend(path: Path) -> None:
    metadata = read_metadata(path)
    embed_metadata(path, {**metadata, "frontend": {**metadata["frontend"], "log_offset": 1.0}})


def in_sidecar(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = read_json(sidecar_path(path))
        write_json(sidecar_path(path), content | changes)

    return change


def with_a_new_sidecar(path: Path) -> None:
    negate_weights(path)
    write_sidecar(path, DESCRIPTION)


def without_a_sidecar(path: Path) -> None:
    negate_weights(path)
    sidecar_path(path).unlink()


CHANGES = {
    "weights": (negate_weights, "its SHA-256 is not the one in model_int8.tflite.json"),
    "embedded front-end": (shift_frontend, "its SHA-256 is not the one in model_int8.tflite.json"),
    "labels in the sidecar": (in_sidecar(labels=["other"] * 10), "describes its labels otherwise than"),
    "front-end in the sidecar": (in_sidecar(frontend={"mels": 40}), "describes its frontend otherwise than"),
    "weights and sidecar": (with_a_new_sidecar, "is not the file that was evaluated"),
    "weights, no sidecar": (without_a_sidecar, "is not the file that was evaluated"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_refused(path, tmp_path, capsys, verb, change) -> None:
    alter, sentence = CHANGES[change]
    alter(path)
    soundfile.write(tmp_path / "clip.wav", np.zeros(16000), 16000)
    places = {"FILE": path, "CLIP": tmp_path / "clip.wav", "OUT": tmp_path / "bundle"}
    code, out, err = call(capsys, *(places.get(word, word) for word in VERBS[verb]))
    assert (code, out) == (4, "")
    assert sentence in err
    with pytest.raises(CheckFailedError, match=sentence):
        load_tflite(path)


def test_a_missing_sidecar_is_said_once(path, capsys) -> None:
    assert call(capsys, "cost", path)[2] == ""
    sidecar_path(path).unlink()
    code, _, err = call(capsys, "cost", path)
    assert code == 0
    assert err.replace("\n", " ").count("note: model_int8.tflite has no model_int8.tflite.json beside it") == 1
    assert call(capsys, "cost", path)[2] == ""


def test_a_file_by_others_needs_no_sidecar(path, tmp_path, capsys) -> None:
    model = unpack_model(path)
    model.metadata = []
    other = tmp_path / "other.tflite"
    other.write_bytes(pack_model(model))
    code, _, err = call(capsys, "cost", other)
    assert (code, err) == (0, "")


def test_a_result_of_another_program_beside_a_file_does_no_harm(path, capsys) -> None:
    for text in ("{", "[]", '{"artefacts": [1]}', json.dumps({"artefacts": {"int8": {"path": path.name}}})):
        path.with_name("result.json").write_text(text)
        assert call(capsys, "cost", path)[0] == 0
