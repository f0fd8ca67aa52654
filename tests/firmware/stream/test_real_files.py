"""Networks of ours and of others, compiled, on real sounds, random and extreme inputs: bytes of TFLite Micro."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from firmware.tflm import tflm_outputs
from stream_programs import Clips, run_on_host

from edgeprune.audio.decode import load_clip
from edgeprune.audio.logmel import Frontend
from edgeprune.firmware.stream.compile import StreamNetwork, compile_stream
from edgeprune.frontend import LogMel

pytestmark = [
    pytest.mark.slow,  # some networks have millions of multiplications
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler: apt install gcc"),
]
pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")


def sounds(shared_data: Path, network: StreamNetwork, mels: int, count: int = 10) -> np.ndarray:
    """Log-mels of real clips in the input's shape and scale, levels spread over what it can hold."""
    spec = LogMel(sample_rate=16000, mels=mels, n_fft=1024)
    frames = int(np.prod(network.input_shape)) // mels
    paths = sorted((shared_data / "tut2017" / "audio").glob("*.flac"))[:: 471 // count][:count]
    samples = np.stack([load_clip(path, 16000)[: frames * 320] for path in paths])
    logs = Frontend(spec)(torch.from_numpy(samples)).numpy().reshape(count, mels, -1)[..., :frames]
    levels = np.linspace(-80, 80, count)[:, None, None]
    spread = (logs - logs.mean()) / logs.std() * 40 + levels
    return np.clip(np.round(spread), -128, 127).astype(np.int8).transpose(0, 2, 1).reshape(count, *network.input_shape)


def drawn(network: StreamNetwork, count: int) -> np.ndarray:
    """Lowest, highest, alternating and random inputs."""
    stored = np.random.default_rng(0).integers(-128, 128, (count, *network.input_shape)).astype(np.int8)
    stored[0], stored[1] = -128, 127
    stored[2] = np.where(np.arange(stored[0].size) % 2, 127, -128).reshape(stored[0].shape)
    stored[3] //= 32
    return stored


@pytest.mark.parametrize(
    ("name", "mels", "count"),
    [
        ("tflm_micro_speech_quantized", 40, 200),
        ("mlperf_ad01_int8", 128, 200),
        ("mlperf_kws_int8", 10, 30),
        ("mlperf_strww", 40, 30),
        ("mlperf_resnet_int8", 0, 5),
        ("mlperf_vww_int8", 0, 4),
    ],
)
def test_files_of_others(tmp_path, shared_data, name, mels, count):
    path = shared_data / "models" / "mlperf_tiny" / f"{name}.tflite"
    network = compile_stream(path, tmp_path)
    inputs = drawn(network, count)
    if mels:
        inputs = np.concatenate([sounds(shared_data, network, mels), inputs])
    (outputs,) = tflm_outputs([(path.read_bytes(), inputs)])
    assert len(np.unique(outputs[:10], axis=0)) > 1
    np.testing.assert_array_equal(run_on_host([Clips(network, inputs)], tmp_path)["net"], outputs)


def test_a_pruned_network_of_odd_widths(tmp_path, shared_data, dcase21):
    """DCASE21_Net with 13, 11 and 27 filters, on ten clips and 40 inputs that are random or extreme."""
    path = dcase21.files["int8"]
    network = compile_stream(path, tmp_path)
    clips = np.swapaxes(sounds(shared_data, network, mels=40).reshape(10, 51, 40), 1, 2)
    inputs = np.concatenate([clips.reshape(10, *network.input_shape), drawn(network, 40)])
    (outputs,) = tflm_outputs([(path.read_bytes(), inputs)])
    assert len(np.unique(outputs[:10], axis=0)) > 1
    np.testing.assert_array_equal(run_on_host([Clips(network, inputs)], tmp_path)["net"], outputs)
