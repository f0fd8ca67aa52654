"""Compiled networks give TFLite Micro's bytes: some hundred small files, on this computer and on emulated boards."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from firmware.drawn_files import Drawing, DrawnFile, drawn_file
from firmware.operator_files import FileBuilder
from firmware.tflm import tflm_outputs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stream_programs import Clips, run_on_board, run_on_host

from edgeprune.devices.boards import board_of
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.compile import Walk, compile_stream
from edgeprune.tflite.flatbuffer import pack_model, unpack_model

pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler: apt install gcc")
SEARCH = settings(
    max_examples=4,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Draw only: networks are built by the dozen, so there is no time to make one smaller."""


def expected(files: Iterable[DrawnFile]) -> list[tuple[DrawnFile, np.ndarray]]:
    """The files that TFLite Micro takes, with its outputs; without those whose outputs would hide a wrong one."""
    files = list(files)
    outputs = tflm_outputs([(file.file, file.inputs()) for file in files])
    refused = [file.text for file, out in zip(files, outputs, strict=True) if isinstance(out, str)]
    assert len(refused) < 0.1 * len(files), refused  # it aborts on scales that no converter writes
    pairs = zip(files, outputs, strict=True)
    telling = [(file, out) for file, out in pairs if not isinstance(out, str) and len(np.unique(out)) > 2]
    assert len(telling) >= 0.5 * len(files)
    return telling


def compiled(files: Iterable[DrawnFile], folder: Path, walk: Walk) -> list[Clips]:
    """Each network with its place as prefix; one that cannot be walked along its width is walked along its height."""
    checks = []
    for place, file in enumerate(files):
        path = folder / f"n{place}.tflite"
        path.write_bytes(file.file)
        along = "height" if walk == "width" and "RESHAPE" in file.text else walk
        checks.append(Clips(compile_stream(path, folder, f"n{place}", along), file.inputs()))
    return checks


def check(files: Iterable[DrawnFile], folder: Path, walk: Walk, optimise: str = "-O1", board: str = "") -> None:
    """Compile and run these networks in one program; each must give TFLite Micro's bytes."""
    folder.mkdir(exist_ok=True)
    files, outputs = zip(*expected(files), strict=True)
    checks = compiled(files, folder, walk)
    ours = run_on_board(board, checks, folder) if board else run_on_host(checks, folder, optimise)
    differ = [file.text for place, file in enumerate(files) if not np.array_equal(ours[f"n{place}"], outputs[place])]
    assert not differ, "\n\n".join(differ)


@needs_gcc
@pytest.mark.parametrize("walk", ["height", "width"])
def test_networks(tmp_path, walk):
    check(map(drawn_file, range(27) if walk == "height" else range(27, 54)), tmp_path, walk)


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("walk", ["height", "width", "auto"])
def test_more_networks(tmp_path, walk):
    @settings(SEARCH)
    @given(st.lists(st.integers(100, 2**32 - 1), min_size=27, max_size=27, unique=True))
    def networks(seeds):
        check(map(drawn_file, seeds), tmp_path / str(seeds[0]), walk, "-O0")

    networks()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "walk", "first", "count"),
    [
        ("cortex-m4", "height", 54, 40),
        ("cortex-m4", "width", 94, 40),
        ("cortex-m33", "auto", 134, 15),
        ("riscv32", "auto", 149, 15),
    ],
)
def test_networks_on_boards(tmp_path, board, walk, first, count):
    """The kernels with Arm's DSP instructions, and the portable ones on 32 bits."""
    tools = board_of(board).tools
    if shutil.which(tools.compiler) is None or shutil.which(tools.emulator) is None:
        pytest.skip(f"needs {tools.compiler} and {tools.emulator} (.ci/run installs them)")
    files = [*map(drawn_file, range(first, first + count)), dense_file(first), dense_file(first + 1)]
    check(files, tmp_path, walk, board=board)


def dense_file(seed: int) -> DrawnFile:
    """Dense layers alone, whose input has no height and no width."""
    drawing = Drawing(np.random.default_rng(seed), FileBuilder((60 + seed,), (0.02, seed - 40)))
    x = drawing.dense(drawing.dense(drawing.builder.input, 9), 5)
    return DrawnFile(drawing.builder.file(x), drawing.builder.input.shape, f"dense {seed}")


@needs_gcc
def test_two_networks_in_one_program(tmp_path):
    """Their names differ by the prefix alone; no state is global."""
    files = [dense_file(3), drawn_file(7)]
    (first, second), outputs = compiled(files, tmp_path, "auto"), [each[1] for each in expected(files)]
    ours = run_on_host([first, second], tmp_path)
    np.testing.assert_array_equal(ours["n0"], outputs[0])
    np.testing.assert_array_equal(ours["n1"], outputs[1])
    for check in (first, second):
        (source,) = check.network.sources
        subprocess.run(["gcc", "-c", source, f"-I{tmp_path}", "-o", tmp_path / "object.o"], check=True)
        listed = subprocess.run(["nm", tmp_path / "object.o"], check=True, capture_output=True, text=True).stdout
        names = {
            kind: [line.split()[-1] for line in listed.splitlines() if line.split()[-2] == kind] for kind in "TBbDdC"
        }
        prefix = check.network.prefix
        assert sorted(names.pop("T")) == sorted(f"{prefix}_{name}" for name in ("reset", "push", "output", "infer"))
        assert not any(names.values())  # nothing that could change lies outside the state


@pytest.mark.parametrize("name", ["TRANSPOSE", "SPLIT_V", "EXP"])
def test_an_operator_it_does_not_take_is_named(tmp_path, name):
    builder = FileBuilder((4, 6, 3), (0.1, 0))
    out = builder.step(name, [builder.input.number], builder.activation((1, 4, 6, 3), (0.1, 0)), None)
    path = tmp_path / "other.tflite"
    path.write_bytes(builder.file(builder.unary("RELU", out, (0.1, 0))))
    with pytest.raises(EdgepruneError, match=rf"other.tflite.* is {name};.*device tflm"):
        compile_stream(path, tmp_path)


@needs_gcc
def test_any_names_of_layers_make_c(tmp_path):
    """Names that others give to layers neither collide in C nor end its comments."""
    names = ["conv", "conv_row", "conv_weights", "conv_filters", "2fast", "*/ int evil; /*", "??/\n#error", "input", ""]
    drawing = Drawing(np.random.default_rng(0), FileBuilder((6, 5, 3), (0.05, 3)))
    x = drawing.builder.input
    for place in range(len(names)):
        x = drawing.conv(x, (3, 1), 3, plain=True) if place % 2 else drawing.depthwise(x)
    path = tmp_path / "named.tflite"
    path.write_bytes(drawing.builder.file(x))
    model = unpack_model(path)
    for operator, name in zip(model.subgraphs[0].operators, names, strict=True):
        for number in (*operator.inputs[1:], *operator.outputs):
            model.subgraphs[0].tensors[number].name = name
    path.write_bytes(pack_model(model))
    network = compile_stream(path, tmp_path, "names")
    outputs = run_on_host([Clips(network, np.zeros((1, *network.input_shape), np.int8))], tmp_path)
    assert list(outputs) == ["names"]
