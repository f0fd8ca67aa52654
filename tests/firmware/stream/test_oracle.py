"""Compiled networks give TFLite Micro's bytes: some hundred small files, on this computer and on emulated boards."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from firmware.drawn_files import DrawnFile, drawn_file
from firmware.tflm import tflm_outputs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stream_programs import Clips, run_on_board, run_on_host

from edgeprune.firmware.stream.compile import Walk, compile_stream

pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler: apt install gcc")
needs_board = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="needs apt install qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi",
)


def expected(files: Iterable[DrawnFile]) -> list[tuple[DrawnFile, np.ndarray]]:
    """The files that TFLite Micro takes, with its outputs of their inputs."""
    files = list(files)
    pairs = zip(files, tflm_outputs([(file.file, file.inputs()) for file in files]), strict=True)
    taken = [(file, outputs) for file, outputs in pairs if not isinstance(outputs, str)]
    assert len(taken) > 0.9 * len(files)  # it aborts on scales that no converter writes
    return taken


def compiled(files: Iterable[DrawnFile], folder: Path, walk: Walk) -> list[Clips]:
    checks = []
    for place, file in enumerate(files):
        path = folder / f"n{place}.tflite"
        path.write_bytes(file.file)
        checks.append(Clips(compile_stream(path, folder, f"n{place}", walk), file.inputs()))
    return checks


def check(seeds: Iterable[int], folder: Path, walk: Walk, optimise: str = "-O1", board: str = "") -> None:
    """Compile and run the networks of these seeds in one program; each must give TFLite Micro's bytes."""
    folder.mkdir(exist_ok=True)
    files, outputs = zip(*expected(drawn_file(seed) for seed in seeds), strict=True)
    checks = compiled(files, folder, walk)
    ours = run_on_board(board, checks, folder) if board else run_on_host(checks, folder, optimise)
    differ = [file.text for place, file in enumerate(files) if not np.array_equal(ours[f"n{place}"], outputs[place])]
    assert not differ, "\n\n".join(differ)


@needs_gcc
@pytest.mark.parametrize("walk", ["height", "width"])
def test_networks(tmp_path, walk):
    check(range(20) if walk == "height" else range(20, 40), tmp_path, walk)


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("walk", ["height", "width", "auto"])
def test_more_networks(tmp_path, walk):
    @settings(max_examples=4, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @settings(suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(100, 2**32 - 1), min_size=20, max_size=20, unique=True))
    def networks(seeds):
        check(seeds, tmp_path / str(seeds[0]), walk, "-O0")

    networks()


@needs_board
@pytest.mark.slow
@pytest.mark.parametrize(("walk", "first"), [("height", 40), ("width", 70)])
def test_networks_with_dsp_instructions(tmp_path, walk, first):
    check(range(first, first + 30), tmp_path, walk, board="cortex-m4")


def test_the_files_tell_right_from_wrong():
    """Most files give many different values, so that a wrong one shows."""
    values = [len(np.unique(outputs)) for _, outputs in expected(map(drawn_file, range(100)))]
    assert np.mean(np.array(values) >= 8) > 0.6
