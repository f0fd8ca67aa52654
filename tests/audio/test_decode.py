"""Decoding against analytic signals, and one sentence for every clip that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.audio.decode import clip_samples, load_clip, probe_clip
from edgeprune.audio.logmel import Frontend
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

RATE = 16000


def sine(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    """Full scale."""
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def test_16_bit_samples_are_exact(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 12345], dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    loaded = load_clip(tmp_path / "a.wav", RATE)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, samples / 32768)


def test_channels_are_mixed_by_their_mean(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-1, 1, (1000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_clip(tmp_path / "a.wav", RATE), channels.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("hertz", [50.0, 1000.0, 6000.0])
def test_resampling_keeps_a_sine(tmp_path: Path, hertz: float) -> None:
    soundfile.write(tmp_path / "a.wav", 0.5 * sine(hertz, 44100), 44100, subtype="FLOAT")
    loaded = load_clip(tmp_path / "a.wav", RATE)
    assert len(loaded) == RATE
    middle = slice(RATE // 4, -RATE // 4)  # away from the filter's ends
    np.testing.assert_allclose(loaded[middle], (0.5 * sine(hertz, RATE))[middle], atol=2e-4)


def test_resampling_lets_no_alias_through(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(12000, 44100), 44100, subtype="FLOAT")
    assert np.abs(load_clip(tmp_path / "a.wav", RATE)[1000:-1000]).max() < 1e-4


@given(frames=st.integers(1, 10**8), rate=st.sampled_from([16000, 22050, 32000, 44100, 48000, 96000]))
def test_clip_samples_keep_the_duration(frames: int, rate: int) -> None:
    assert abs(clip_samples(frames, rate, RATE) - frames * RATE / rate) <= 0.5


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("frames", [3, 1001, 44099])
def test_length_is_the_one_the_header_tells(tmp_path: Path, rate: int, frames: int) -> None:
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, frames), rate)
    samples = clip_samples(frames, rate, RATE)
    assert len(load_clip(tmp_path / "a.flac", RATE)) == samples
    assert probe_clip(tmp_path / "a.flac", RATE) == samples


def test_real_ogg_clips(shared_data: Path) -> None:
    for path in sorted((shared_data / "esc10/audio").glob("*.ogg"))[::80]:
        loaded = load_clip(path, RATE)
        assert len(loaded) == probe_clip(path, RATE)
        assert len(loaded) / RATE == pytest.approx(soundfile.info(path).duration, abs=1e-4)


def cut_in_half(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# What the header tells: what is wrong with the clip, how it comes about, what the sentence says.
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "is missing; run `edgeprune data verify`"),
    "no audio": (lambda path: path.write_bytes(b"<html>404</html>"), "cannot be decoded"),
    "no bytes": (lambda path: path.touch(), "cannot be decoded"),
    "no samples": (lambda path: soundfile.write(path, np.zeros(0), RATE, format="WAV"), "is empty"),
    "low rate": (
        lambda path: soundfile.write(path, np.ones(800), 8000),
        "sampled at 8000 Hz, below the front-end's 16000 Hz.*--frontend.sample-rate 8000",
    ),
    "folder": (lambda path: path.mkdir(), "cannot be decoded"),
}


@pytest.mark.parametrize("reader", [load_clip, probe_clip])
@pytest.mark.parametrize("kind", BAD)
def test_unusable(tmp_path: Path, kind: str, reader: Callable[[Path, int], object]) -> None:
    path = tmp_path / "park-lyon.flac"
    make, sentence = BAD[kind]
    make(path)
    with pytest.raises(EdgepruneError, match=f"park-lyon.flac: .*{sentence}"):
        reader(path, RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_not_a_number(tmp_path: Path, value: float, channels: int) -> None:
    samples = np.zeros((100, channels))
    samples[50, 0] = value
    soundfile.write(tmp_path / "park-lyon.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(EdgepruneError, match=r"park-lyon.wav: holds NaN or infinite samples"):
        load_clip(tmp_path / "park-lyon.wav", RATE)


def test_cut_short(tmp_path: Path) -> None:
    cut_in_half(tmp_path / "park-lyon.flac")
    with pytest.raises(EdgepruneError, match=r"park-lyon.flac: cannot be decoded"):
        load_clip(tmp_path / "park-lyon.flac", RATE)


def test_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    frontend = Frontend(LogMel.vggish())
    found = frontend(torch.from_numpy(load_clip(tmp_path / "a.wav", RATE)))
    np.testing.assert_allclose(found, np.log(0.01), rtol=1e-6)
