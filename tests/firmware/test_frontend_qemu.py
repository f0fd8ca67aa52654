"""The front-end on emulated Cortex-M boards: real clips through the code that ships, and what it takes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
import torch

from edgeprune.audio.decode import load_clip
from edgeprune.audio.layout import Layout
from edgeprune.audio.logmel import Frontend
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices.frontend_cost import HOPS, instructions_per_hop, run_frontend
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.frontend import FrontendFiles, frontend_cost, write_frontend
from edgeprune.recipe import LogMel
from edgeprune.tflite.interpreter import TFLiteModel

TIMEOUT_S = 60
QUANTISATION = (0.031, 4)
CASES = {
    "dcase21": ("cortex-m4", LogMel.dcase21(16000, 1.0), "tut2017/audio", "*.flac", "mels_frames"),
    "dcase21, 44.1 kHz": ("cortex-m4", LogMel.dcase21(44100, 1.0), "esc10/audio", "*.ogg", "mels_frames"),
    "vggish": ("cortex-m4", LogMel.vggish(), "tut2017/audio", "*.flac", "frames_mels"),
    "mixed FFT, power": (
        "cortex-m33",
        LogMel(sample_rate=16000, n_fft=640, spectrum="power", patch_frames=9),
        "tut2017/audio",
        "*.flac",
        "frames_mels",
    ),
}


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program, package in (
        ("qemu-system-arm", "qemu-system-arm"),
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi and libnewlib-arm-none-eabi"),
    ):
        if shutil.which(program) is None:
            pytest.skip(f"needs {package}")


def normalisation(spec: LogMel) -> Normalisation:
    bands = np.arange(spec.mels, dtype=np.float32)
    return Normalisation(np.float32(-3) + bands / 17, np.float32(0.7) + bands / 31)


def write(
    folder: Path, spec: LogMel, layout: Layout, quantisation: tuple[float, int] | None, stream: bool = False
) -> FrontendFiles:
    return write_frontend(spec, normalisation(spec), folder, layout, quantisation, stream)


def tflite_quantise(folder: Path, values: np.ndarray) -> np.ndarray:
    """By TFLite's own operator."""
    flat = np.ascontiguousarray(values, np.float32).reshape(1, -1)
    path = tiny_tflite.write(tiny_tflite.quantise_model(flat.size, "int8", QUANTISATION), folder / "quantise.tflite")
    return TFLiteModel(path, reference=True).invoke_raw(flat).reshape(values.shape)


@pytest.mark.parametrize("name", CASES)
def test_real_clips_on_a_board(shared_data: Path, tmp_path: Path, name: str) -> None:
    """The last second of a clip: log-mels of training, and the network's int8 input but for single steps."""
    board, spec, folder, pattern, layout = CASES[name]
    clip = load_clip(sorted((shared_data / folder).glob(pattern))[7], spec.sample_rate)[-spec.sample_rate :]
    stored = np.clip(np.round(clip * 32768), -32768, 32767).astype(np.int16)
    found = run_frontend(write(tmp_path / "c", spec, layout, QUANTISATION), stored, board, TIMEOUT_S)

    expected = Frontend(spec)(torch.from_numpy(stored.astype(np.float32) / 32768)).numpy()
    assert found.log_mels.shape == expected.shape
    error = np.abs(found.log_mels - expected)
    assert np.percentile(error, 99.9) < 1e-4  # 1e-3 is what is promised
    assert error.max() < 1e-3

    norm = normalisation(spec)
    patch = tflite_quantise(tmp_path, (expected[-spec.patch_frames :] - norm.mean) / norm.std)
    patch = (patch if layout == "frames_mels" else patch.T).ravel().astype(int)
    assert np.abs(found.patch - patch).max() <= 1
    assert (found.patch != patch).mean() <= 0.01


def test_instructions_are_counted_and_the_same_each_time() -> None:
    spec = LogMel.dcase21(16000, 1.0)
    one = instructions_per_hop(spec, "cortex-m4", TIMEOUT_S)
    assert one == instructions_per_hop(spec, "cortex-m4", TIMEOUT_S)
    assert (one.kind, one.board) == ("emulated", "cortex-m4")
    assert one.hops >= HOPS
    # an FFT of 512 complex points alone is some 20,000 operations; several times that would be a mistake
    assert 20_000 < one.least <= one.instructions_per_hop <= one.most < 150_000
    assert one.instructions_per_patch < 20_000


@pytest.mark.parametrize(
    ("name", "layout", "quantised"),
    [
        ("vggish", "frames_mels", True),
        ("vggish", "mels_frames", False),
        ("mixed FFT, power", "frames_mels", False),
        ("dcase21", "mels_frames", True),
    ],
)
def test_flash_is_foretold(tmp_path: Path, name: str, layout: Layout, quantised: bool) -> None:
    """Of a bare program: code to 10 %, tables and variables to the byte, and a stack of a few hundred bytes."""
    spec = replace(CASES[name][1], patch_frames=20)
    files = write(tmp_path, spec, layout, QUANTISATION if quantised else None)
    found, cost = instructions_per_hop(files, "cortex-m4", TIMEOUT_S), frontend_cost(spec, quantised)
    assert found.ram_bytes == cost.ram_bytes
    assert found.flash_bytes - cost.table_bytes == pytest.approx(cost.code_bytes, rel=0.1)
    assert 0 < found.stack_bytes < 300


@pytest.mark.parametrize("name", ["vggish", "mixed FFT, power", "dcase21"])
def test_without_a_ring_it_takes_less(tmp_path: Path, name: str) -> None:
    spec = replace(CASES[name][1], patch_frames=20)
    files = write(tmp_path, spec, "frames_mels", QUANTISATION, stream=True)
    found, cost = instructions_per_hop(files, "cortex-m4", TIMEOUT_S), frontend_cost(spec, stream=True)
    assert found.ram_bytes == cost.ram_bytes
    assert found.flash_bytes - cost.table_bytes == pytest.approx(cost.code_bytes, rel=0.1)
    kept = frontend_cost(spec).ram_bytes - cost.ram_bytes
    assert kept == 2 * spec.window_samples + 19 * spec.mels  # samples of 16 bits, and one frame of 20


def test_a_board_that_is_none_is_refused() -> None:
    with pytest.raises(EdgepruneError, match="cortex-m44"):
        instructions_per_hop(LogMel.vggish(), "cortex-m44")
