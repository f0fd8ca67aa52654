"""The front-end in C against the one that trains, against TFLite's rounding and NumPy's FFT; on real clips."""

import ctypes
import dataclasses
import json
import re
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.audio.decode import load_clip
from edgeprune.audio.layout import Layout
from edgeprune.audio.logmel import Frontend, patch_starts
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.frontend import HEADER, FrontendFiles, frontend_cost, spec_of, write_frontend
from edgeprune.recipe import LogMel
from edgeprune.tflite.interpreter import TFLiteModel

pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")

SPECS = {
    "dcase21": LogMel.dcase21(16000, 1.0),
    "dcase21, 44.1 kHz": LogMel.dcase21(44100, 1.0),
    "vggish": LogMel.vggish(),
    "cnn14": LogMel.cnn14(5.0),
    "odd window": LogMel.dcase21(11025, 1.0),
    "power, unit area": LogMel(
        sample_rate=16000, spectrum="power", norm="slaney", fmin=50, fmax=7000, n_fft=2048, patch_frames=40
    ),
    "HTK, uncentred, window of the FFT's size": LogMel(
        sample_rate=16000, center=False, mel_scale="htk", window="hann", window_s=0.064, patch_frames=9
    ),
    "hop beyond the window": LogMel(sample_rate=16000, window_s=0.02, hop_s=0.03, patch_frames=9),
    "more mels than bins": LogMel(
        sample_rate=16000, window_s=0.001, hop_s=0.001, mels=20, log_offset=0.1, patch_frames=9, patch_hop_frames=2
    ),
    "FFT of 2^6 x 10": LogMel(sample_rate=16000, n_fft=640, patch_frames=9, patch_hop_frames=5),
    "FFT of 2 x 9 x 49": LogMel(sample_rate=22050, n_fft=882, patch_frames=9),
    "FFT of 2 x 19 x 29": LogMel(sample_rate=44100, window_s=0.02, n_fft=1102, patch_frames=9, center=False),
}
WARNINGS = (
    *("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion"),
    *("-Wshadow", "-Wundef", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wcast-qual", "-Wvla", "-Werror"),
)
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
SIZE = """\
#include "edgeprune_frontend.h"
size_t ep_size(void);
size_t ep_size(void) { return sizeof(ep_frontend); }
"""


def normalisation(spec: LogMel) -> Normalisation:
    """Different for every band, as real ones are."""
    bands = np.arange(spec.mels, dtype=np.float32)
    return Normalisation(np.float32(-3) + bands / 17, np.float32(0.7) + bands / 31)


class CFrontend:
    """The front-end compiled for the host."""

    def __init__(
        self,
        spec: LogMel,
        folder: Path,
        layout: Layout = "mels_frames",
        quantisation: tuple[float, int] | None = (0.037, -7),
        extra: tuple[Path, ...] = (),
        options: tuple[str, ...] = (),
    ) -> None:
        if shutil.which("gcc") is None:
            pytest.skip("needs gcc")
        self.spec = spec
        self.quantised = quantisation is not None
        self.files = write_frontend(spec, normalisation(spec), folder, layout, quantisation)
        (folder / "size.c").write_text(SIZE)
        sources = [*self.files.sources, *extra, folder / "size.c"]
        command = ["gcc", *WARNINGS, "-O2", *options, "-fPIC", "-shared", "-I", folder, *sources]
        subprocess.run([*command, "-o", folder / "frontend.so", "-lm"], check=True)
        self.c = ctypes.CDLL(str(folder / "frontend.so"))
        for name in ("ep_size", "ep_frontend_push", "ep_frontend_push_i16", "ep_frontend_finish_frame"):
            getattr(self.c, name).restype = ctypes.c_size_t
        self.c.ep_frontend_finish.restype = ctypes.c_size_t
        self.state = ctypes.create_string_buffer(self.c.ep_size())
        self.c.ep_frontend_reset(self.state)

    def reset(self) -> None:
        self.c.ep_frontend_reset(self.state)

    def push(self, samples: np.ndarray) -> int:
        samples = np.ascontiguousarray(samples)
        call = self.c.ep_frontend_push_i16 if samples.dtype == np.int16 else self.c.ep_frontend_push
        return call(self.state, samples.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(samples)))

    def finish(self) -> int:
        return self.c.ep_frontend_finish(self.state)

    def frame(self) -> np.ndarray | None:
        """float32 `[mels]`."""
        values = np.full(self.spec.mels, np.nan, np.float32)
        given = self.c.ep_frontend_log_mel(self.state, values.ctypes.data_as(ctypes.c_void_p))
        return values if given else None

    def patch(self) -> np.ndarray | None:
        """Flat, as the network takes it."""
        values = np.zeros(self.spec.mels * self.spec.patch_frames, np.int8 if self.quantised else np.float32)
        call = self.c.ep_frontend_patch_i8 if self.quantised else self.c.ep_frontend_patch_f32
        return values if call(self.state, values.ctypes.data_as(ctypes.c_void_p)) else None

    def listen(self, waveform: np.ndarray, sizes: list[int] | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
        """All log-mels `[frames, mels]` and all patches that were due, of a clip pushed in pieces (or hops)."""
        self.reset()
        frames, patches = [], []

        def collect(completed: int) -> None:
            assert completed in (0, 1)
            if completed:
                frames.append(self.frame())
                assert self.c.ep_frontend_frames(self.state) == len(frames)
                if self.c.ep_frontend_patch_due(self.state):
                    patches.append(self.patch())

        done, turn = 0, 0
        while done < len(waveform):
            size = sizes[turn % len(sizes)] if sizes else self.spec.hop_samples
            collect(self.push(waveform[done : done + size]))
            done, turn = done + size, turn + 1
        while self.c.ep_frontend_finish_frame(self.state):
            collect(1)
        return np.stack(frames), patches


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The front-end of a name in `SPECS`, compiled once."""

    @cache
    def make(name: str, **how) -> CFrontend:
        return CFrontend(SPECS[name], tmp_path_factory.mktemp("frontend"), **how)

    return make


def clips_of(shared_data: Path, spec: LogMel, each: int = 120) -> list[np.ndarray]:
    """Real clips at the front-end's rate: scenes where 16 kHz are enough, else events."""
    if spec.sample_rate <= 16000:
        files = sorted((shared_data / "tut2017/audio").glob("*.flac"))
    else:
        files = sorted((shared_data / "esc10/audio").glob("*.ogg"))
    return [load_clip(path, spec.sample_rate) for path in files[::each]]


trained = cache(Frontend)


def python_log_mel(spec: LogMel, waveform: np.ndarray) -> np.ndarray:
    return trained(spec)(torch.from_numpy(waveform)).numpy()


def python_patches(spec: LogMel, frames: np.ndarray) -> np.ndarray:
    """Normalised, `[patches, mels, frames]`."""
    norm = normalisation(spec)
    starts = patch_starts(len(frames), spec.patch_frames, spec.patch_hop_frames)
    patches = np.stack([frames[start : start + spec.patch_frames] for start in starts])
    return ((patches - norm.mean) / norm.std).transpose(0, 2, 1)


def tflite_quantise(folder: Path, values: np.ndarray, quantisation: tuple[float, int]) -> np.ndarray:
    """By TFLite's own operator."""
    flat = np.ascontiguousarray(values, np.float32).reshape(1, -1)
    path = tiny_tflite.write(tiny_tflite.quantise_model(flat.size, "int8", quantisation), folder / "quantise.tflite")
    return TFLiteModel(path, reference=True).invoke_raw(flat).reshape(values.shape)


def noise(spec: LogMel, seconds: float = 0.5, peak: float = 0.5) -> np.ndarray:
    samples = round(seconds * spec.sample_rate)
    return np.random.default_rng(1).uniform(-peak, peak, samples).astype(np.float32)


@pytest.mark.parametrize("name", SPECS)
def test_log_mels_of_real_clips_are_those_of_training(shared_data: Path, compiled, name: str) -> None:
    spec = SPECS[name]
    errors = []
    for waveform in clips_of(shared_data, spec):
        found, expected = compiled(name).listen(waveform)[0], python_log_mel(spec, waveform)
        assert found.shape == expected.shape
        errors.append(np.abs(found - expected).ravel())
    error = np.concatenate(errors)
    assert np.percentile(error, 99.9) < 1e-4  # 1e-3 is what is promised
    assert error.max() < 1e-3


@pytest.mark.parametrize("layout", ["mels_frames", "frames_mels"])
@pytest.mark.parametrize("name", ["dcase21", "dcase21, 44.1 kHz", "vggish", "FFT of 2^6 x 10"])
def test_int8_inputs_of_real_clips_are_those_of_training(
    shared_data: Path, compiled, tmp_path: Path, name: str, layout: Layout
) -> None:
    spec, quantisation = SPECS[name], (0.021, 11)
    c = compiled(name, layout=layout, quantisation=quantisation)
    for waveform in clips_of(shared_data, spec, each=240):
        expected = tflite_quantise(tmp_path, python_patches(spec, python_log_mel(spec, waveform)), quantisation)
        if layout == "frames_mels":
            expected = expected.transpose(0, 2, 1)
        found = np.stack(c.listen(waveform)[1]).reshape(expected.shape).astype(int)
        assert np.abs(found - expected).max() <= 1
        assert (found != expected).mean() < 0.002  # 0.01 is what is promised


@pytest.mark.parametrize("layout", ["mels_frames", "frames_mels"])
@pytest.mark.parametrize("name", ["vggish", "FFT of 2^6 x 10"])
def test_float_inputs_are_those_of_training(compiled, name: str, layout: Layout) -> None:
    spec = SPECS[name]
    c = compiled(name, layout=layout, quantisation=None)
    expected = python_patches(spec, python_log_mel(spec, noise(spec, 2)))
    if layout == "frames_mels":
        expected = expected.transpose(0, 2, 1)
    found = np.stack(c.listen(noise(spec, 2))[1])
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SPECS)
@given(seconds=st.floats(0, 0.7))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clips_of_any_length_yield_the_frames_of_training(compiled, name: str, seconds: float) -> None:
    """Short ones are filled up to one patch; those that end within a frame are centred beyond their end."""
    spec = SPECS[name]
    waveform = noise(spec, seconds)
    expected = python_log_mel(spec, waveform)
    c = compiled(name)
    found, patches = c.listen(waveform)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert len(patches) == len(patch_starts(len(expected), spec.patch_frames, spec.patch_hop_frames))

    c.reset()
    assert c.push(waveform) + c.finish() == len(expected)
    np.testing.assert_array_equal(c.frame(), found[-1])
    assert c.finish() == 0


@pytest.mark.parametrize("name", ["dcase21", "odd window", "vggish", "hop beyond the window", "FFT of 2 x 9 x 49"])
@given(data=st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_of_any_size_give_the_same_bits(compiled, name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    sizes = data.draw(st.lists(st.integers(1, spec.hop_samples), min_size=1, max_size=5))
    c, waveform = compiled(name), noise(spec, 0.4)
    expected, expected_patches = c.listen(waveform)
    found, patches = c.listen(waveform, sizes)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(patches, expected_patches)

    c.reset()
    assert c.push(waveform) + c.finish() == len(expected)
    np.testing.assert_array_equal(c.frame(), expected[-1])


def test_nothing_is_given_before_there_is_something(compiled) -> None:
    c, spec = compiled("dcase21"), SPECS["dcase21"]
    c.reset()
    assert c.push(np.zeros(0, np.float32)) == 0
    assert c.frame() is None
    assert c.patch() is None
    assert not c.c.ep_frontend_patch_due(c.state)
    assert c.push(noise(spec, 0.999)) == spec.patch_frames - 2
    assert c.frame() is not None
    assert c.patch() is None
    assert c.finish() == 2
    assert c.patch() is not None


def test_a_reset_forgets_the_clip_before(shared_data: Path, compiled) -> None:
    c = compiled("dcase21")
    first, second = clips_of(shared_data, c.spec, each=200)[:2]
    expected = c.listen(second)
    c.listen(first)
    for found, wanted in zip(c.listen(second), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_16_bit_samples_are_32768ths(shared_data: Path, compiled) -> None:
    c = compiled("dcase21")
    stored = np.round(clips_of(shared_data, c.spec, each=400)[0] * 32768).astype(np.int16)
    stored[:2] = -32768, 32767
    found, expected = c.listen(stored), c.listen(stored.astype(np.float32) / np.float32(32768))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("name", SPECS)
def test_extreme_signals_give_numbers(compiled, name: str) -> None:
    spec, c = SPECS[name], compiled(name)
    places = np.arange(spec.sample_rate // 2)
    silence = c.listen(np.zeros(len(places), np.float32))[0]
    np.testing.assert_allclose(silence, np.log(np.float32(spec.log_offset)), rtol=2e-7)
    square = np.where(places * 440 % spec.sample_rate < spec.sample_rate // 2, 1, -1).astype(np.float32)
    for waveform in (square, np.ones_like(square), np.tile(np.float32([1, -1]), len(places) // 2)):
        found, expected = c.listen(waveform)[0], python_log_mel(spec, waveform)
        assert np.isfinite(found).all()
        if spec.log_offset >= 1e-3:  # below that, single precision's rounding is all that empty bands hold
            np.testing.assert_allclose(found, expected, rtol=0, atol=0.06)


def test_samples_that_are_no_numbers_pass(compiled) -> None:
    """They spoil the frames that see them, and those alone; the network still gets values in its range."""
    c = compiled("dcase21")
    waveform = noise(c.spec, 1)
    expected = c.listen(waveform)[0]
    waveform[8000] = np.nan
    found, patches = c.listen(waveform)
    wrong = np.isnan(found).all(axis=1)
    assert wrong.sum() == 2
    np.testing.assert_array_equal(found[~wrong], expected[~wrong])
    assert (patches[0].reshape(40, 51)[:, wrong] == -128).all()


@pytest.fixture(scope="module")
def inside(tmp_path_factory) -> ctypes.CDLL:
    """The logarithm and the rounding, which are static."""
    folder = tmp_path_factory.mktemp("inside")
    extra = folder / "inside.c"
    extra.write_text(
        """\
#include "edgeprune_frontend.c"
void logs(const float *x, float *y, size_t n);
void logs(const float *x, float *y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = natural_log(x[i]); }
void rounded(const float *x, int8_t *y, size_t n);
void rounded(const float *x, int8_t *y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = stored(x[i]); }
"""
    )
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    spec = SPECS["dcase21"]
    files = write_frontend(spec, normalisation(spec), folder, False, (0.0625, 5))
    others = [path for path in files.sources if path.name != "edgeprune_frontend.c"]
    command = ["gcc", *WARNINGS, "-O2", "-fPIC", "-shared", "-I", folder, extra, *others]
    subprocess.run([*command, "-o", folder / "inside.so", "-lm"], check=True)
    return ctypes.CDLL(str(folder / "inside.so"))


def call(function, values: np.ndarray, dtype: type) -> np.ndarray:
    out = np.empty(len(values), dtype)
    pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (values, out))
    function(*pointers, ctypes.c_size_t(len(values)))
    return out


def test_logarithm_is_good_to_its_last_bits(inside: ctypes.CDLL) -> None:
    generator = np.random.default_rng(2)
    spread = np.exp(generator.uniform(-87, 88, 200_000)).astype(np.float32)
    near_one = generator.uniform(0.6, 1.6, 200_000).astype(np.float32)
    values = np.concatenate([spread, near_one, np.float32([1, np.finfo(np.float32).tiny, np.finfo(np.float32).max])])
    found, expected = call(inside.logs, values, np.float32), np.log(values.astype(np.float64))
    assert (np.abs(found - expected) <= np.maximum(1e-7, 1.2e-7 * np.abs(expected))).all()
    assert found[-3] == 0
    beyond = call(inside.logs, np.float32([np.inf, np.nan]), np.float32)
    assert beyond[0] == np.inf
    assert np.isnan(beyond[1])


def test_rounding_is_tflites(inside: ctypes.CDLL, tmp_path: Path) -> None:
    """Halves, their neighbours, and values far beyond the range."""
    halves = np.arange(-400, 400, dtype=np.float32) / 2 * np.float32(0.0625)
    up, down = (np.nextafter(halves, np.float32(limit)) for limit in (np.inf, -np.inf))
    far = np.float32([1e30, -1e30, np.finfo(np.float32).max, np.inf, -np.inf, 1e-40, -0.0])
    values = np.concatenate([halves, up, down, far]).astype(np.float32)
    finite = np.isfinite(values)
    found = call(inside.rounded, values, np.int8)
    expected = tflite_quantise(tmp_path, values[finite & (np.abs(values) < 1e6)], (0.0625, 5))
    np.testing.assert_array_equal(found[finite & (np.abs(values) < 1e6)], expected)
    np.testing.assert_array_equal(found[-7:-2], [127, -128, 127, 127, -128])
    assert call(inside.rounded, np.float32([np.nan]), np.int8)[0] == -128


def test_square_roots_of_processors_without_the_instruction_are_exact(tmp_path: Path) -> None:
    spec = SPECS["dcase21"]
    files = write_frontend(spec, normalisation(spec), tmp_path, "mels_frames", None)
    (tmp_path / "roots.c").write_text(
        """\
#include "edgeprune_fft.c"
void roots(const float *x, float *y, size_t n);
void roots(const float *x, float *y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = root_of(x[i]); }
"""
    )
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    sources = [tmp_path / "roots.c", *(path for path in files.sources if path.name != "edgeprune_fft.c")]
    command = ["gcc", *WARNINGS, "-O2", "-DEP_SOFT_ROOT=1", "-fPIC", "-shared", "-I", tmp_path, *sources, "-lm"]
    subprocess.run([*command, "-o", tmp_path / "roots.so"], check=True)
    bits = np.arange(0x00800000, 0x7F800000, 997, np.uint32)  # every exponent, odd and even
    values = np.concatenate([bits.view(np.float32), np.float32([0, 1, 4, np.finfo(np.float32).max, np.inf])])
    np.testing.assert_array_equal(
        call(ctypes.CDLL(str(tmp_path / "roots.so")).roots, values, np.float32), np.sqrt(values)
    )


@pytest.mark.parametrize("size", [2, 4, 8, 64, 4096, 6, 10, 14, 480, 1922])
def test_fft_is_numpys(tmp_path: Path, size: int) -> None:
    """Strengths of all bins, at the even places of `work`, which the state begins with."""
    spec = LogMel(sample_rate=size * 10, window_s=0.1, hop_s=0.1, center=False, mels=1, patch_frames=1)
    c = CFrontend(dataclasses.replace(spec, n_fft=size), tmp_path)
    generator = np.random.default_rng(size)
    for signal in (generator.standard_normal(size), np.cos(2 * np.pi * np.arange(size) * (size // 5) / size)):
        compare_spectrum(c, signal)


def compare_spectrum(c: CFrontend, signal: np.ndarray) -> None:
    samples = signal.astype(np.float32)
    work = np.frombuffer(c.state, np.float32, len(samples) + 2)
    work[:-2] = samples
    c.c.ep_spectrum(c.state)
    expected = np.abs(np.fft.rfft(samples.astype(np.float64)))
    bound = 4e-7 * np.sqrt(len(samples)) * np.linalg.norm(samples)
    np.testing.assert_allclose(work[::2], expected, rtol=0, atol=bound)


# A stand-in for CMSIS-DSP, which is not part of this project: its names, its packing of the result (the last bin, which
# is real, lies where the first bin's imaginary part would) and its habit of spoiling the input; by the definition.
STAND_IN_HEADER = """\
#ifndef STAND_IN_ARM_MATH_H
#define STAND_IN_ARM_MATH_H
#include <stdint.h>
typedef float float32_t;
typedef int8_t arm_status;
typedef struct { uint16_t fftLenRFFT; } arm_rfft_fast_instance_f32;
arm_status arm_rfft_fast_init_f32(arm_rfft_fast_instance_f32 *S, uint16_t fftLen);
arm_status arm_rfft_fast_init_1024_f32(arm_rfft_fast_instance_f32 *S);
void arm_rfft_fast_f32(const arm_rfft_fast_instance_f32 *S, float32_t *p, float32_t *pOut, uint8_t ifftFlag);
#endif
"""
STAND_IN = """\
#include "arm_math.h"
#include <math.h>
arm_status arm_rfft_fast_init_f32(arm_rfft_fast_instance_f32 *S, uint16_t fftLen) { S->fftLenRFFT = fftLen; return 0; }
arm_status arm_rfft_fast_init_1024_f32(arm_rfft_fast_instance_f32 *S) { return arm_rfft_fast_init_f32(S, 1024); }
void arm_rfft_fast_f32(const arm_rfft_fast_instance_f32 *S, float32_t *p, float32_t *pOut, uint8_t ifftFlag)
{
    const int n = S->fftLenRFFT;
    for (int k = 0; k <= n / 2; ++k) {
        double real = 0, imaginary = 0;
        for (int i = 0; i < n; ++i) {
            const double angle = 6.283185307179586 * (double)((long)k * i % n) / n;
            real += (double)p[i] * cos(angle);
            imaginary -= (double)p[i] * sin(angle);
        }
        pOut[k < n / 2 ? 2 * k : 1] = (float)real;
        if (k > 0 && k < n / 2)
            pOut[2 * k + 1] = (float)imaginary;
    }
    for (int i = 0; i < n; ++i)
        p[i] = ifftFlag ? 0.0f : -1e30f;
}
"""


@pytest.mark.parametrize("options", [(), ("-DEP_CMSIS_DSP_INIT=arm_rfft_fast_init_1024_f32",)])
def test_cmsis_dsps_fft_gives_the_same(shared_data: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "arm_math.h").write_text(STAND_IN_HEADER)
    (tmp_path / "arm_math_stand_in.c").write_text(STAND_IN)
    spec = dataclasses.replace(SPECS["dcase21"], patch_frames=5, patch_hop_frames=5)
    c = CFrontend(spec, tmp_path, extra=(tmp_path / "arm_math_stand_in.c",), options=("-DEP_USE_CMSIS_DSP", *options))
    waveform = clips_of(shared_data, spec, each=400)[0][:1500]
    found, patches = c.listen(waveform)
    np.testing.assert_allclose(found, python_log_mel(spec, waveform), rtol=0, atol=1e-4)
    assert len(patches) == 1
    compare_spectrum(c, np.random.default_rng(3).standard_normal(1024))  # all bins; the last is in no mel band


def test_cmsis_dsp_is_refused_at_sizes_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "arm_math.h").write_text(STAND_IN_HEADER)
    with pytest.raises(subprocess.CalledProcessError):
        CFrontend(SPECS["FFT of 2^6 x 10"], tmp_path, options=("-DEP_USE_CMSIS_DSP",))


def write(folder: Path, spec: LogMel, **how) -> FrontendFiles:
    arguments = {"layout": "mels_frames", "quantisation": (0.05, -3)} | how
    return write_frontend(spec, normalisation(spec), folder, **arguments)


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, SPECS["cnn14"]) for name in ("one", "two"))
    names = sorted(path.name for path in one.folder.iterdir())
    assert names == sorted(path.name for path in (*one.sources, *one.headers))
    assert HEADER in names
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_numbers_are_written_exactly(tmp_path: Path) -> None:
    spec = SPECS["dcase21, 44.1 kHz"]
    text = (write(tmp_path, spec).folder / "edgeprune_frontend_tables.c").read_text()

    def table(name: str) -> np.ndarray:
        body = re.search(rf"{name}\[\d+\] = {{(.*?)}};", text, re.DOTALL)[1]
        return np.asarray([float(word.strip().rstrip("f")) for word in body.split(",") if word.strip()], np.float32)

    frontend = Frontend(spec)
    bank, window = frontend.filter_bank.numpy().T, frontend.window.numpy().astype(np.float32)
    np.testing.assert_array_equal(table("ep_weights"), bank[bank > 0])
    half = table("ep_window")
    np.testing.assert_array_equal(np.concatenate([half, half[1 : (len(window) + 1) // 2][::-1]]), window)
    np.testing.assert_array_equal(table("ep_mean"), normalisation(spec).mean)
    np.testing.assert_array_equal(table("ep_std"), normalisation(spec).std)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_fft": 641}, r"n_fft 641 is odd; take 642"),
        ({"n_fft": 2 * 347}, r"n_fft 694 .*use 1024\."),
        ({"n_fft": 1 << 17}, r"an FFT of 131072 is above 65536"),
        ({"log_offset": 1e-40}, r"log_offset 1e-40"),
        ({"mels": 0}, r"mels must"),
        ({"patch_frames": 0}, r"patch_frames"),
    ],
)
def test_what_the_c_code_does_not_take_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    spec = dataclasses.replace(SPECS["dcase21"], **change)
    for refused in (partial(write, tmp_path / "out", spec), partial(frontend_cost, spec)):
        with pytest.raises(EdgepruneError, match=f"^front-end: .*{words}"):
            refused()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mean", "std", "quantisation"),
    [
        (np.zeros(39), np.ones(40), None),
        (np.zeros(40), np.ones(41), None),
        (np.full(40, np.nan), np.ones(40), None),
        (np.zeros(40), np.zeros(40), None),
        (np.zeros(40), np.full(40, 1e-60), None),
        (np.zeros(40), np.ones(40), (0.0, 0)),
        (np.zeros(40), np.ones(40), (float("nan"), 0)),
        (np.zeros(40), np.ones(40), (1e39, 0)),
        (np.zeros(40), np.ones(40), (0.1, 128)),
    ],
)
def test_normalisation_and_quantisation_must_fit(tmp_path: Path, mean, std, quantisation) -> None:
    with pytest.raises(EdgepruneError, match=r"^front-end: [^.].*\.$"):
        write_frontend(SPECS["dcase21"], Normalisation(mean, std), tmp_path / "out", False, quantisation)
    assert not (tmp_path / "out").exists()


def arm(*words: str | Path) -> str:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs gcc-arm-none-eabi and libnewlib-arm-none-eabi")
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize("name", ["cnn14", "odd window", "more mels than bins", "FFT of 2 x 9 x 49"])
def test_sizes_on_a_32_bit_device_are_foretold(tmp_path: Path, name: str, quantised: bool) -> None:
    """Compiled for a Cortex-M4 without a warning: the state, and the sum of the constants."""
    spec, cost = SPECS[name], frontend_cost(SPECS[name], quantised)
    files = write(tmp_path, spec, quantisation=(0.05, -3) if quantised else None)
    probe = tmp_path / "probe.c"
    probe.write_text('#include "edgeprune_frontend.h"\nextern ep_frontend probe;\nep_frontend probe;\n')
    objects = []
    for source in (*files.sources, probe):
        objects.append(source.with_suffix(".o"))
        arm("arm-none-eabi-gcc", *CORTEX_M4, *WARNINGS, "-O2", "-c", source, "-o", objects[-1])
    symbols = [line.split() for line in arm("arm-none-eabi-nm", "-S", "-A", *objects).splitlines()]
    sized = [(words[-1], words[-2], int(words[-3], 16)) for words in symbols if len(words) == 4]
    assert sum(size for _, kind, size in sized if kind in "Rr") == cost.table_bytes
    assert [(name, size) for name, kind, size in sized if kind in "BbDdC"] == [("probe", cost.ram_bytes)]
    assert cost.flash_bytes == cost.table_bytes + cost.code_bytes


def test_no_function_of_double_precision_is_called(tmp_path: Path) -> None:
    """Neither by the code nor by what the compiler makes of it, also where there is no floating-point unit."""
    for options in (CORTEX_M4, ("-mcpu=cortex-m0plus", "-mthumb")):
        for source in write(tmp_path, SPECS["cnn14"]).sources:
            arm("arm-none-eabi-gcc", *options, *WARNINGS, "-O2", "-c", source, "-o", tmp_path / "one.o")
            called = arm("arm-none-eabi-nm", "-u", tmp_path / "one.o").split()[1::2]
            assert not [name for name in called if re.match(r"__aeabi_(d|.2d|f2d)|log|malloc|free|__errno", name)]


def test_description_is_json_and_complete() -> None:
    spec = SPECS["odd window"]
    described = json.loads(json.dumps(spec_of(spec, normalisation(spec), "frames_mels", (0.05, -3)), allow_nan=False))
    assert LogMel(**described["settings"]) == spec
    assert described["samples"] == {"window": 441, "hop": 220, "fft": 512}
    assert described["hertz"] == {"sample_rate": 11025, "lowest": 0.0, "highest": 5512.5}
    framing = {"zeros_before": 221, "zeros_after": 220, "patch_frames": 51, "patch_hop_frames": 51}
    assert described["framing"] == framing
    np.testing.assert_array_equal(np.float32(described["normalisation"]["std"]), normalisation(spec).std)
    assert described["input"] == {
        "layout": ["frames", "mels"],
        "shape": [51, 40],
        "dtype": "int8",
        "scale": 0.05,
        "zero_point": -3,
    }
    plain = spec_of(spec, normalisation(spec), "mels_frames", None)["input"]
    assert (plain["layout"], plain["dtype"], plain["scale"]) == (["mels", "frames"], "float32", None)
