"""A file is held to the network it was exported from, and its sidecar does not vouch for it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tflite import embed_metadata

from edgeprune.data.normalisation import Normalisation
from edgeprune.devices.bench import bench
from edgeprune.devices.network_check import check_network
from edgeprune.devices.request import Inputs
from edgeprune.errors import CheckFailedError
from edgeprune.models import checkpoint
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.sidecar import write_sidecar

FORMATS = ["float32", "float16", "dynamic", "int8", "int16x8"]


def described(exported, path: Path, format: str) -> Path:
    """A copy of a file with its description and sidecar."""
    shutil.copy(exported.files[format], path)
    normalisation = Normalisation(np.zeros(40, np.float32), np.ones(40, np.float32))
    labels = tuple(f"scene {number}" for number in range(10))
    description = Description(labels, LogMel.dcase21(16000, 1.0), normalisation, exported.spec)
    embed_metadata(path, {**description.to_dict(), "format": format})
    write_sidecar(path, description)
    return path


def negate(path: Path) -> None:
    """All weights of an int8 file negated, and the sidecar written anew for them."""
    model = unpack_model(path)
    tensors = model.subgraphs[0].tensors
    used = {tensors[operator.inputs[1]].buffer for operator in model.subgraphs[0].operators if len(operator.inputs) > 2}
    for number in used:
        data = np.asarray(model.buffers[number].data, np.uint8).view(np.int8)
        model.buffers[number].data = (-np.maximum(data, -127)).astype(np.int8).view(np.uint8)
    path.write_bytes(pack_model(model))


@pytest.fixture
def inputs(dcase21) -> Inputs:
    return Inputs(dcase21.tflite_inputs[:10], "10 clips")


@pytest.mark.parametrize("format", FORMATS)
def test_right_files_pass_and_those_of_other_weights_do_not(dcase21, tmp_path, inputs, format) -> None:
    path = described(dcase21, tmp_path / f"model_{format}.tflite", format)
    check_network(path, inputs)  # nothing at hand
    checkpoint.save(tmp_path / "pruned.ckpt", dcase21.spec, dcase21.model)
    check_network(path, inputs)
    torch.manual_seed(1)
    checkpoint.save(tmp_path / "pruned.ckpt", dcase21.spec, build(dcase21.spec))
    with pytest.raises(CheckFailedError, match="differs from the trained network"):
        check_network(path, inputs)


@pytest.mark.parametrize("reference", ["checkpoint", "float32 file"])
def test_bench_refuses_negated_weights_that_their_sidecar_vouches_for(dcase21, tmp_path, inputs, reference) -> None:
    path = described(dcase21, tmp_path / "model_int8.tflite", "int8")
    if reference == "checkpoint":
        checkpoint.save(tmp_path / "pruned.ckpt", dcase21.spec, dcase21.model)
    else:
        described(dcase21, tmp_path / "model_float32.tflite", "float32")
    check_network(path, inputs)
    model = path.read_bytes()
    negate(path)
    assert path.read_bytes() != model
    (tmp_path / "model_int8.tflite.json").unlink()
    with pytest.raises(CheckFailedError, match=r"model_int8\.tflite: (differs|gives another class)") as caught:
        bench(path, "host", runs=1, clips=inputs)
    assert caught.value.exit_code == 4


def test_the_network_of_another_file_is_no_reference(dcase21, tmp_path, inputs) -> None:
    path = described(dcase21, tmp_path / "model_int8.tflite", "int8")
    other = make_spec("dcase21", 10, dcase21.spec.input_shape, 0.5)
    checkpoint.save(tmp_path / "pruned.ckpt", other, build(other))
    check_network(path, inputs)
