"""The front-end against librosa, and its framing against the published counts."""

import dataclasses
import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.audio.decode import load_clip
from edgeprune.audio.logmel import Frontend, patch_starts
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

SPECS = {
    "vggish": LogMel.vggish(),
    "dcase21": LogMel.dcase21(16000),
    "dcase21, 44.1 kHz": LogMel.dcase21(44100),
    "dcase21, 11 kHz": LogMel.dcase21(11025),  # 441 samples a window: odd
    "power, unit area": LogMel(sample_rate=16000, spectrum="power", norm="slaney", fmin=50, fmax=7000, n_fft=2048),
    "HTK, uncentred": LogMel(
        sample_rate=16000, center=False, mel_scale="htk", window="hann", window_s=0.064, patch_frames=9
    ),
}


def librosa_logmel(waveform: np.ndarray, spec: LogMel) -> np.ndarray:
    """`[frames, mels]` as a user of librosa would compute it."""
    if not spec.center:  # librosa centres the window in its FFT frame, here it begins with the frame
        spare = spec.fft_size - spec.window_samples
        waveform = np.pad(waveform, (spare // 2, spare - spare // 2))
    spectrum = np.abs(
        librosa.stft(
            waveform,
            n_fft=spec.fft_size,
            hop_length=spec.hop_samples,
            win_length=spec.window_samples,
            window=spec.window,
            center=spec.center,
            pad_mode="constant",
        )
    )
    low, high = spec.band_limits
    bank = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.fft_size,
        n_mels=spec.mels,
        fmin=low,
        fmax=high,
        htk=spec.mel_scale == "htk",
        norm=None if spec.norm == "none" else spec.norm,
    )
    return np.log(bank @ spectrum ** (2 if spec.spectrum == "power" else 1) + spec.log_offset).T


def logmel(waveform: np.ndarray, spec: LogMel) -> np.ndarray:
    return Frontend(spec)(torch.from_numpy(waveform)).numpy()


def noise(spec: LogMel, peak: float = 1.0) -> np.ndarray:
    """10 s."""
    return np.random.default_rng(0).uniform(-peak, peak, 10 * spec.sample_rate).astype(np.float32)


@pytest.mark.parametrize("peak", [1.0, 1e-3])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_equals_librosa_on_noise(spec: LogMel, peak: float) -> None:
    expected = librosa_logmel(noise(spec, peak), spec)
    found = logmel(noise(spec, peak), spec)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("hertz", [0.0, 100.0, 1000.0])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_equals_librosa_where_bands_are_empty(spec: LogMel, hertz: float) -> None:
    """A tone at full scale beside bands of nothing: the rounding of a float32 FFT would show there."""
    tone = np.cos(2 * np.pi * hertz * np.arange(10 * spec.sample_rate) / spec.sample_rate).astype(np.float32)
    np.testing.assert_allclose(logmel(tone, spec), librosa_logmel(tone, spec), rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", [LogMel.vggish(), LogMel.dcase21(16000)], ids=["vggish", "dcase21"])
def test_equals_librosa_on_real_scenes(shared_data: Path, spec: LogMel) -> None:
    for path in sorted((shared_data / "tut2017/audio").glob("*.flac"))[::40]:
        waveform, _ = librosa.load(path, sr=None)
        np.testing.assert_allclose(
            logmel(load_clip(path, 16000), spec), librosa_logmel(waveform, spec), rtol=0, atol=1e-4, err_msg=path.name
        )


def test_equals_librosa_on_real_events_at_44_khz(shared_data: Path) -> None:
    spec = LogMel.dcase21(44100, clip_s=1.0)
    for path in sorted((shared_data / "esc10/audio").glob("*.ogg"))[::40]:
        waveform, _ = librosa.load(path, sr=None)
        np.testing.assert_allclose(
            logmel(load_clip(path, 44100), spec), librosa_logmel(waveform, spec), rtol=0, atol=1e-4, err_msg=path.name
        )


def test_equals_torchaudio() -> None:
    """Of torchaudio 2.11, whose wheels do not import beside every torch, the values are stored.

    `MelSpectrogram(16000, n_fft=1024, win_length=640, hop_length=320, f_min=0, f_max=8000, n_mels=40,
    window_fn=torch.hamming_window, power=1, center=True, pad_mode="constant", norm=None, mel_scale="slaney")`, then
    the logarithm, `[frames, mels]`.
    """
    spec = LogMel.dcase21(16000, 1.0)
    assert (spec.fft_size, spec.window_samples, spec.hop_samples, spec.band_limits) == (1024, 640, 320, (0, 8000))
    expected = np.load(Path(__file__).with_name("torchaudio_logmel.npy"))
    np.testing.assert_allclose(logmel(noise(spec)[:16000], spec), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_batch_equals_single_clips(spec: LogMel) -> None:
    clips = torch.from_numpy(noise(spec)).reshape(5, -1)
    frontend = Frontend(spec)
    together = frontend(clips)
    assert together.shape == (5, frontend.frames(clips.shape[1]), spec.mels)
    for one, clip in zip(together, clips, strict=True):
        torch.testing.assert_close(one, frontend(clip), rtol=0, atol=1e-6)


def test_dcase21_frame_counts() -> None:
    for rate in (16000, 44100, 48000):
        assert LogMel.dcase21(rate).patch_frames == 500
        assert LogMel.dcase21(rate, clip_s=1.0).patch_frames == 51
        ten, one = Frontend(LogMel.dcase21(rate)), Frontend(LogMel.dcase21(rate, clip_s=1.0))
        assert len(patch_starts(ten.frames(10 * rate), 500, 500)) == 1
        assert one.frames(rate) == 51


def test_vggish_frame_counts() -> None:
    spec = LogMel.vggish()
    assert Frontend(spec).frames(160000) == len(logmel(noise(spec), spec)) == 998
    starts = patch_starts(998, spec.patch_frames, spec.patch_hop_frames)
    assert len(starts) == 19
    assert starts == [48 * patch for patch in range(19)]
    assert len(patch_starts(998, 96, 96)) == 10


@given(frames=st.integers(1, 2000), size=st.integers(1, 200), hop=st.integers(1, 200))
def test_patches_fit_and_none_is_left_out(frames: int, size: int, hop: int) -> None:
    starts = patch_starts(frames, size, hop)
    assert starts == [start for start in range(0, frames, hop) if start + size <= frames]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("seconds", [0.001, 0.5, 1.0, 3.7, 12.0])
def test_frames_are_foretold(spec: LogMel, seconds: float) -> None:
    waveform = noise(spec)[: round(seconds * spec.sample_rate)]
    found = logmel(waveform, spec)
    assert len(found) == Frontend(spec).frames(len(waveform))
    assert len(found) >= spec.patch_frames
    needed = (len(found) - 1) * spec.hop_samples + (0 if spec.center else spec.window_samples)
    padded = np.pad(waveform, (0, max(0, needed - len(waveform))))
    np.testing.assert_allclose(found, librosa_logmel(padded, spec)[: len(found)], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("window_s", 1e-5),
        ("window_s", -0.01),
        ("hop_s", 1e-6),
        ("hop_s", -0.01),
        ("n_fft", 256),
        ("mels", 0),
        ("fmin", 9000.0),
        ("fmin", -1.0),
        ("fmax", 8001.0),
        ("fmax", 100.0),
        ("log_offset", 0.0),
        ("patch_frames", 0),
        ("patch_hop_frames", 0),
    ],
)
def test_contradictions_are_refused(field: str, value: float) -> None:
    spec = dataclasses.replace(LogMel.vggish(), **{field: value})
    with pytest.raises(EdgepruneError) as caught:
        Frontend(spec)
    sentence = str(caught.value)
    assert sentence.startswith("front-end: ")
    assert field.replace("fmin", "bands").replace("fmax", "bands") in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@given(rate=st.integers(8000, 96000), window_ms=st.floats(1, 100))
def test_fft_is_the_next_power_of_two(rate: int, window_ms: float) -> None:
    spec = LogMel(sample_rate=rate, window_s=window_ms / 1000)
    assert spec.fft_size == 2 ** math.ceil(math.log2(spec.window_samples))


@pytest.mark.parametrize("name", SPECS)
def test_array_operations_give_the_same(name: str) -> None:
    """Array operations over all clips at once against the compiled loops."""
    spec, frontend = SPECS[name], Frontend(SPECS[name])
    waveforms = torch.from_numpy(np.random.default_rng(5).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32))
    before, after = spec.samples_around
    padded = torch.nn.functional.pad(waveforms.double(), (before, after + frontend.padded_samples(9000) - 9000))
    frames = padded.unfold(-1, spec.window_samples, spec.hop_samples)
    bins = torch.fft.rfft(frames * frontend.window, n=spec.fft_size).to(torch.complex64).abs()
    bands = (bins.square() if spec.spectrum == "power" else bins) @ frontend.filter_bank
    torch.testing.assert_close(torch.log(bands + spec.log_offset), frontend(waveforms), rtol=0, atol=1e-5)


def test_odd_fft_sizes_are_refused() -> None:
    """librosa gives one frame fewer, and centres an odd window one sample later."""
    with pytest.raises(EdgepruneError, match="n_fft 513 is odd; take 514"):
        LogMel(sample_rate=8000, n_fft=513).check()
