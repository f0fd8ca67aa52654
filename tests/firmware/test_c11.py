import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import conv_tflite
import int8_networks
import numpy as np
import pytest
import tiny_tflite
import torch

from edgeprune.devices.checks import reference
from edgeprune.devices.request import Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.firmware import c11
from edgeprune.firmware.c11 import C11, compile_c11, probabilities
from edgeprune.tflite.flatbuffer import pack_model, unpack_model

HOSTILE = "*/ int evil; /* \\\n#error evil\n??/\n%s ${evil} \x00"


@pytest.fixture
def network(tmp_path) -> Path:
    return int8_networks.small_network(tmp_path / "network.tflite")


def _texts(code: C11) -> dict[str, str]:
    folder = code.header.parent
    return {str(file.relative_to(folder)): file.read_text("utf-8") for file in folder.rglob("*") if file.is_file()}


def _call(code: C11, stored: np.ndarray, folder: Path) -> np.ndarray:
    """The outputs of the code, compiled for this computer."""
    library = folder / "network.so"
    options = [f"-I{include}" for include in code.includes] + [f"-D{name}" for name in code.defines]
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", "-fsanitize=undefined"]
    recover = ["-fsanitize-undefined-trap-on-error"]
    subprocess.run(["gcc", *strict, *recover, *options, *map(str, code.sources), "-o", str(library)], check=True)
    infer = getattr(ctypes.CDLL(str(library)), f"{code.symbol}_infer")
    infer.restype = None
    guarded = np.full(code.arena_bytes + code.arena_alignment + 64, 0x5A, np.uint8)
    start = -guarded.ctypes.data % code.arena_alignment
    arena = guarded[start : start + code.arena_bytes]
    got = np.zeros((len(stored), *code.output_shape[1:]), np.int8)
    for clip, output in zip(stored, got, strict=True):
        infer(*(ctypes.c_void_p(array.ctypes.data) for array in (arena, np.ascontiguousarray(clip), output)))
    assert (guarded[start + code.arena_bytes :] == 0x5A).all()  # the working memory is as large as was said
    return got


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("widths", [(8, 16), (3, 5)])
def test_the_code_computes_what_the_file_does(tmp_path, widths) -> None:
    path = int8_networks.small_network(tmp_path / "network.tflite", widths)
    code = compile_c11(path, tmp_path / "out", "host", name="scene_net")
    stored, expected = reference(code.tflite, Inputs(conv_tflite.clips(20), ""))
    assert len(np.unique(expected)) > 5
    np.testing.assert_array_equal(_call(code, stored, tmp_path), expected)
    assert code.symbol == "bknn_scene_net"
    assert (code.input_shape, code.output_shape) == ((1, 20, 12, 1), (1, 5))
    assert code.logits

    # with softmax on the host they are the file's own probabilities, as well as its 1/256 can tell
    _, whole = reference(path, Inputs(conv_tflite.clips(20), ""))
    steps = (whole.astype(np.float32) + 128) / 256
    np.testing.assert_allclose(probabilities(expected, *code.output_quantisation), steps, atol=0.75 / 256)


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_cortex_m_gets_the_kernels_of_cmsis_nn(tmp_path, network, target) -> None:
    code = compile_c11(network, tmp_path / "out", target)
    kernels = [(step.operator, step.kernel.split(".")[0]) for step in code.layers]
    assert kernels[:3] == [(0, "cmsis_nn"), (1, "cmsis_nn"), (2, "cmsis_nn")]
    assert [place for place, _ in kernels] == [0, 1, 2, 3, 4]
    assert set(code.licences) == {"bakenn", "CMSIS-NN", "CMSIS-Core"}
    assert all("Apache License" in path.read_text("utf-8") for path in code.licences.values())
    assert all(path.is_file() for path in (code.tflite, code.header, code.source, *code.sources))
    assert code.source in code.sources
    weights = next(path for path in code.sources if path.name == "bknn_net_weights.c").read_text("utf-8")
    assert "packed" not in weights  # dense weights once, not unfolded to twice their size


def _rename(model: Any, name: str) -> None:
    model.description = name
    model.subgraphs[0].name = name
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"{name}{number}"


def test_words_of_the_file_do_not_reach_the_code(tmp_path, network) -> None:
    plain = compile_c11(network, tmp_path / "plain", "cortex-m4")
    model = unpack_model(network)
    _rename(model, HOSTILE)
    hostile = tiny_tflite.write(model, tmp_path / "* int evil; .tflite")
    code = compile_c11(hostile, tmp_path / "hostile", "cortex-m4")
    assert _texts(code) == _texts(plain)
    assert not any("evil" in text for text in _texts(code).values())

    import bakenn

    # bakenn alone does write them into its comments
    model = unpack_model(plain.tflite)
    _rename(model, HOSTILE)
    bakenn.compile_tflite(pack_model(model), tmp_path / "alone", name="net")
    assert "evil" in (tmp_path / "alone" / "bknn_net.c").read_text("utf-8")


@pytest.mark.parametrize("name", ["", "1net", "Net", "a-b", "a b", "a;b", "net\n", "é", "x" * 32])
def test_names_that_are_no_c_names_are_refused(tmp_path, network, name) -> None:
    with pytest.raises(EdgepruneError, match="makes no C name"):
        compile_c11(network, tmp_path / "out", "host", name=name)
    assert not (tmp_path / "out").exists()


def test_targets_it_cannot_serve_are_refused(tmp_path, network) -> None:
    with pytest.raises(EdgepruneError, match=r"cortex-m55: bakenn reserves too little .* use cortex-m4"):
        compile_c11(network, tmp_path / "out", "cortex-m55")
    with pytest.raises(EdgepruneError, match=r"target 'cortexm4' is unknown; perhaps you meant 'cortex-m4'"):
        compile_c11(network, tmp_path / "out", "cortexm4")


def test_files_that_are_not_int8_are_refused(tmp_path) -> None:
    weights, bias = np.ones((2, 3), np.int8), np.ones(2, np.int32)
    wide = tiny_tflite.dense_model(weights, bias, 1, "int16", (0.1, 0), 0.1, (0.1, 0))
    mixed = tiny_tflite.quantise_model(4, "int8", (0.1, 0))
    for model, types in ((tiny_tflite.float_model(), "float32"), (wide, "int16"), (mixed, "float32 and int8|int8 and")):
        path = tiny_tflite.write(model, tmp_path / "network.tflite")
        with pytest.raises(EdgepruneError, match=rf"has ({types}).* ends, and only int8 is compiled to C"):
            compile_c11(path, tmp_path / "out", "host")
    with pytest.raises(EdgepruneError, match=r"none.tflite: cannot be read"):
        compile_c11(tmp_path / "none.tflite", tmp_path / "out", "host")


def test_operators_that_bakenn_does_not_take_are_one_sentence(tmp_path, network) -> None:
    model = unpack_model(network)
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 28  # TANH
    with pytest.raises(EdgepruneError, match=r"bakenn does not compile it \(.*\); use tflm\.$") as caught:
        compile_c11(tiny_tflite.write(model, tmp_path / "tanh.tflite"), tmp_path / "out", "host")
    assert "\n" not in str(caught.value)


def test_a_folder_with_other_files_is_left_alone(tmp_path, network) -> None:
    mine = tmp_path / "out" / "c11" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="ascii")
    with pytest.raises(EdgepruneError, match=r"bakenn does not compile it .*refusing to replace"):
        compile_c11(network, tmp_path / "out", "host")
    assert mine.read_text(encoding="ascii") == "mine"


@pytest.mark.parametrize("module", ["bakenn", "tflite"])
def test_without_bakenn_the_sentence_says_what_to_install(tmp_path, network, monkeypatch, module) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EdgepruneError, match=rf"needs {module}, .*pip install 'edgeprune\[mcu\]'"):
        compile_c11(network, tmp_path / "out", "host")


def test_probabilities_are_softmax() -> None:
    logits = np.random.default_rng(0).integers(-128, 128, (50, 10)).astype(np.int8)
    logits[0] = [127, -128] * 5
    real = torch.tensor(logits.astype(np.float64) - 7) * 0.3
    got = probabilities(logits, 0.3, 7)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, torch.softmax(real, dim=1).numpy(), rtol=2e-5)
    # scales at which exp of the logits themselves would be infinite
    np.testing.assert_allclose(probabilities(logits, 100.0, 7).sum(axis=1), 1, rtol=1e-6)


def test_every_target_is_a_board_or_this_computer() -> None:
    from edgeprune.devices.boards import BOARDS

    assert set(c11.TARGETS) == {"host", *(name for name, board in BOARDS.items() if board.has_dsp)}
