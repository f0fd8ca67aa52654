"""What LiteRT's kernels do not check ends a process of its own, and one sentence says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
from conv_tflite import conv_network

from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import describe_tensors, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel


def read_what_nothing_writes(model: Any) -> None:
    """The first convolution reads the output of the second one."""
    graph = model.subgraphs[0]
    graph.operators[0].inputs = [graph.operators[2].outputs[0], *graph.operators[0].inputs[1:]]


def write_into_weights(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators[0].outputs = [graph.operators[0].inputs[1]]


@pytest.mark.parametrize("change", [read_what_nothing_writes, write_into_weights])
def test_a_file_that_ends_the_interpreter_is_refused(tmp_path: Path, change: Callable[[Any], None]) -> None:
    path = conv_network(tmp_path / "x.tflite")
    model = unpack_model(path)
    change(model)
    damaged = tiny_tflite.write(model, tmp_path / "damaged.tflite")
    for _ in range(2):
        with pytest.raises(EdgepruneError, match=r"damaged.tflite: .*(crashes|cannot load|failed)"):
            TFLiteModel(damaged).predict(np.zeros((1, 20, 12, 1), np.float32))
    assert TFLiteModel(path).predict(np.zeros((1, 20, 12, 1), np.float32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensor: setattr(tensor, "shape", [5, 3]), r"tensor 1 of \[5, 3\] is stored in 24 bytes"),
        (lambda tensor: setattr(tensor, "buffer", 9), "lies in buffer 9, which is not there"),
        (lambda tensor: setattr(tensor, "type", 99), "is of the unknown type 99"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, change: Any, says: str) -> None:
    model = tiny_tflite.float_model()
    change(model.subgraphs[0].tensors[1])
    path = tiny_tflite.write(model, tmp_path / "x.tflite")
    with pytest.raises(EdgepruneError, match=says):
        unpack_model(path)


def test_scales_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = unpack_model(conv_network(tmp_path / "x.tflite"))
    weights = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    weights.quantization.scale = weights.quantization.scale[:-1]
    weights.quantization.zeroPoint = weights.quantization.zeroPoint[:-1]
    with pytest.raises(EdgepruneError, match=r"of \[8, 3, 3, 1\] has 7 scales on axis 0"):
        unpack_model(tiny_tflite.write(model, tmp_path / "damaged.tflite"))


def test_outputs_that_no_batch_divides_are_refused(tmp_path: Path) -> None:
    model = tiny_tflite.float_model(inputs=240, outputs=5)
    model.subgraphs[0].tensors[0].shape = [240, 1]
    path = tiny_tflite.write(model, tmp_path / "x.tflite")
    with pytest.raises(EdgepruneError, match=r"gives \[1, 5\] for a batch of 240"):
        TFLiteModel(path).predict_all(np.zeros((240, 1), np.float32))


def test_names_that_are_no_text_are_shown_as_well_as_can_be(tmp_path: Path) -> None:
    model = tiny_tflite.float_model()
    model.subgraphs[0].tensors[3].name = b"out\xff"
    path = tiny_tflite.write(model, tmp_path / "x.tflite")
    assert describe_tensors(unpack_model(path))[1][0]["name"] == "out\N{REPLACEMENT CHARACTER}"
