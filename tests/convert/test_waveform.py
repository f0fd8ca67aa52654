"""Waveform-in files against librosa, the Python front-end and the exported networks they hold, on real clips."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import embed_metadata

from edgeprune.audio.decode import load_clip
from edgeprune.audio.layout import Layout
from edgeprune.audio.logmel import Frontend, patch_starts, waveform_patches
from edgeprune.convert.waveform import patch_shape, write_waveform_model
from edgeprune.convert.waveform_graph import GraphBuilder, add_frontend, check_fft
from edgeprune.convert.waveform_parity import LOG_MEL_TOLERANCE, check_waveform
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.evaluation.audio_files import audio_probabilities
from edgeprune.recipe import LogMel
from edgeprune.tflite.flatbuffer import operators, pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description, read_metadata

pytestmark = pytest.mark.slow  # converts networks

SPECS = {
    "dcase21, 16 kHz": LogMel.dcase21(16000, 1.0),
    "dcase21, 44.1 kHz, 10 s": LogMel.dcase21(44100),
    "dcase21, 11 kHz, odd window": replace(LogMel.dcase21(11025, 1.0), patch_hop_frames=20),
    "vggish": LogMel.vggish(),
    "cnn14": LogMel.cnn14(1.0),
    "no common divisor": LogMel(sample_rate=44100, window_s=0.025, hop_s=0.010, patch_frames=30, patch_hop_frames=11),
    "window below half the FFT": LogMel(sample_rate=8000, window_s=0.02, n_fft=1024, patch_frames=30),
    "gaps between windows": LogMel(sample_rate=8000, window_s=0.016, hop_s=0.03, patch_frames=30, patch_hop_frames=7),
    "one frame": LogMel(sample_rate=8000, patch_frames=1, patch_hop_frames=1),
    "longest hop": LogMel(sample_rate=8000, window_s=0.032, hop_s=0.032, patch_frames=9, center=False),
}


def layout_of(name: str) -> Layout:
    return "frames_mels" if name in ("vggish", "cnn14") else "mels_frames"


def normalisation(mels: int) -> Normalisation:
    generator = np.random.default_rng(5)
    return Normalisation(
        generator.normal(-3, 1, mels).astype(np.float32), generator.uniform(0.5, 2, mels).astype(np.float32)
    )


def sounds(rate: int) -> dict[str, np.ndarray]:
    """2.3 s each, and one shorter than any patch."""
    generator, seconds = np.random.default_rng(1), np.arange(int(2.3 * rate)) / rate
    made = {
        "noise": generator.uniform(-1, 1, len(seconds)),
        "tone": np.sin(2 * np.pi * 440 * seconds),
        "faint": generator.normal(0, 1e-4, len(seconds)),
        "silence": np.zeros(len(seconds)),
        "short": generator.uniform(-0.5, 0.5, rate // 50),
    }
    return {name: values.astype(np.float32) for name, values in made.items()}


def python_chain(clip: np.ndarray, spec: LogMel, norm: Normalisation, layout: Layout) -> np.ndarray:
    """Patches cut from the features of the whole clip, as the network takes them."""
    frames = Frontend(spec)(torch.from_numpy(clip)).numpy()
    starts = patch_starts(len(frames), spec.patch_frames, spec.patch_hop_frames)
    values = np.stack([(frames[start : start + spec.patch_frames] - norm.mean) / norm.std for start in starts])
    return np.ascontiguousarray((values if layout == "frames_mels" else values.transpose(0, 2, 1))[..., None])


# The front-end alone


def write_frontend_model(spec: LogMel, norm: Normalisation, layout: Layout, out: Path) -> Path:
    """A front-end as a file of its own: `[1, samples]` gives normalised log-mel `[1, height, width, 1]`."""
    check_fft(spec)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], [schema.BufferT()]
    graph.tensors = []
    builder = GraphBuilder(model)
    features = builder.tensor("features", patch_shape(spec, layout))
    graph.inputs = [add_frontend(builder, spec, norm, layout, features)]
    graph.outputs, graph.operators = [features], builder.operators
    out.write_bytes(pack_model(model))
    return out


@pytest.mark.parametrize("name", SPECS)
def test_every_patch_is_the_python_chains(name: str, tmp_path: Path) -> None:
    spec, layout = SPECS[name], layout_of(name)
    norm = normalisation(spec.mels)
    model = TFLiteModel(write_frontend_model(spec, norm, layout, tmp_path / "frontend.tflite"))
    assert model.input_shape == (1, spec.patch_samples)
    for kind, clip in sounds(spec.sample_rate).items():
        expected = python_chain(clip, spec, norm, layout)
        found = np.concatenate([model.invoke_raw(patch[None]) for patch in waveform_patches(clip, spec)])
        assert found.shape == expected.shape, kind
        np.testing.assert_allclose(found, expected, rtol=0, atol=2 * LOG_MEL_TOLERANCE, err_msg=kind)


def test_equals_librosa(tmp_path: Path) -> None:
    spec = LogMel.dcase21(16000, 1.0)
    clip = sounds(16000)["noise"][:16000]
    norm = Normalisation(np.zeros(40, np.float32), np.ones(40, np.float32))
    model = TFLiteModel(write_frontend_model(spec, norm, "mels_frames", tmp_path / "frontend.tflite"))
    spectrum = np.abs(librosa.stft(clip, n_fft=1024, hop_length=320, win_length=640, window="hamming"))
    # librosa lays the window in the middle of the FFT frame, which moves no magnitude; it starts 192 samples later
    assert spectrum.shape[1] == 51
    bank = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=40, norm=None)
    found = model.invoke_raw(waveform_patches(clip, spec))[0, ..., 0]
    np.testing.assert_allclose(found, np.log(bank @ spectrum + 1e-3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_only_builtin_operators(name: str, tmp_path: Path) -> None:
    norm = normalisation(SPECS[name].mels)
    path = write_frontend_model(SPECS[name], norm, "frames_mels", tmp_path / "frontend.tflite")
    assert set(operators(path)) <= set(vars(schema.BuiltinOperator))  # a custom one would have a name of its own
    assert operators(path).count("RFFT2D") == 1


def test_an_fft_size_that_is_no_power_of_two_is_refused(tmp_path: Path) -> None:
    spec = LogMel(sample_rate=16000, n_fft=1000)
    with pytest.raises(EdgepruneError, match=r"n_fft 1000 is no power of two.* train with n_fft 1024"):
        write_frontend_model(spec, normalisation(40), "mels_frames", tmp_path / "frontend.tflite")
    assert not list(tmp_path.iterdir())


def test_the_calls_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_frontend_model(SPECS["vggish"], normalisation(64), "frames_mels", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# In front of exported networks


@pytest.fixture(scope="module")
def tut2017(shared_data: Path) -> list[Path]:
    """12 clips of 10 s, 16 kHz."""
    return sorted((shared_data / "tut2017" / "audio").glob("*.flac"))[::40]


@pytest.fixture(scope="module")
def esc10(shared_data: Path) -> list[Path]:
    """10 clips of about 5 s, 44.1 kHz."""
    return sorted((shared_data / "esc10" / "audio").glob("*.ogg"))[::40]


@pytest.fixture
def exported(networks, tmp_path: Path):
    """`exported(network, format, spec, clips)`: a copy of its file whose metadata is complete."""

    def make(network: str, format: str, spec: LogMel, clips: list[Path]) -> Path:
        copy = tmp_path / f"model_{format}.tflite"
        shutil.copy(networks[network].files[format], copy)
        frames = np.concatenate(
            [Frontend(spec)(torch.from_numpy(load_clip(clip, spec.sample_rate))).numpy() for clip in clips]
        )
        norm = Normalisation(frames.mean(axis=0), frames.std(axis=0))
        told = {"labels": [f"scene {number}" for number in range(10)], "frontend": asdict(spec), "format": format}
        described = {**told, "normalisation": norm.to_dict(), "model": networks[network].spec.to_dict()}
        embed_metadata(copy, described)
        return copy

    return make


def chain_probabilities(source: Path, clips: list[Path]) -> np.ndarray:
    """Means over patches, through the Python front-end."""
    description, model = read_description(source), TFLiteModel(source)
    spec, layout = description.logmel, description.layout
    waveforms = [load_clip(clip, spec.sample_rate) for clip in clips]
    patches = [python_chain(waveform, spec, description.normalisation, layout) for waveform in waveforms]
    return np.stack([model.probabilities(clip).mean(axis=0) for clip in patches])


@pytest.mark.parametrize("format", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_real_clips(format: str, exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", format, LogMel.dcase21(16000, 1.0), tut2017)
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    clips = tut2017[:2] if format == "int16x8" else tut2017  # which has no quick kernels
    found = check_waveform(path, source, clips)
    assert (found.clips, found.patches) == (len(clips), len(clips) * 9)
    assert found.label_flips == 0
    assert found.log_mel_p999 < 1e-5
    assert found.log_mel_max < 1e-4
    assert found.largest_step <= 1
    assert found.inputs == (found.patches * 40 * 51 if format in ("int8", "int16x8") else 0)
    assert found.inputs_differing <= found.inputs * (1e-4 if format == "int8" else 1e-2)
    if format == "float32":
        assert found.max_abs_error < 1e-5


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_real_clips_at_44_1_khz(format: str, exported, esc10, tmp_path: Path) -> None:
    source = exported("dcase21", format, replace(LogMel.dcase21(44100, 1.0), patch_hop_frames=25), esc10)
    found = check_waveform(write_waveform_model(source, tmp_path / "waveform.tflite"), source, esc10)
    assert found.patches > 5 * found.clips
    assert found.label_flips == 0
    assert found.largest_step <= 1


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_real_clips_of_a_network_that_takes_time_first(format: str, exported, tut2017, tmp_path: Path) -> None:
    source = exported("vggish", format, LogMel.vggish(), tut2017)
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    assert "TRANSPOSE" not in operators(path)
    found = check_waveform(path, source, tut2017)
    assert found.patches == 19 * found.clips
    assert found.label_flips == 0
    assert found.log_mel_max < LOG_MEL_TOLERANCE


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_probabilities_of_files_are_the_chains(format: str, exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", format, LogMel.dcase21(16000, 1.0), tut2017)
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    found, expected = audio_probabilities(path, tut2017), chain_probabilities(source, tut2017)
    assert found.shape == expected.shape == (12, 10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if format == "float32" else 2e-3)
    assert audio_probabilities(path, []).shape == (0, 10)
    np.testing.assert_allclose(audio_probabilities(source, tut2017), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", ["float32", "int8", "dynamic"])
def test_the_network_is_byte_for_byte_as_it_was(format: str, exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", format, LogMel.dcase21(16000, 1.0), tut2017[:1])
    before, after = (unpack_model(path) for path in (source, write_waveform_model(source, tmp_path / "w.tflite")))
    told = {item.buffer for item in before.metadata}
    for number, (buffer, kept) in enumerate(zip(before.buffers, after.buffers, strict=False)):
        if number not in told and buffer.data is not None:
            assert bytes(buffer.data) == bytes(kept.data)
    old, new = before.subgraphs[0], after.subgraphs[0]
    for ours, theirs in zip(old.tensors, new.tensors, strict=False):
        assert (ours.buffer, ours.type, list(ours.shape)) == (theirs.buffer, theirs.type, list(theirs.shape))
        if ours.quantization is not None and ours.quantization.scale is not None:
            np.testing.assert_array_equal(ours.quantization.scale, theirs.quantization.scale)
            np.testing.assert_array_equal(ours.quantization.zeroPoint, theirs.quantization.zeroPoint)
    start = next(place for place, step in enumerate(new.operators) if old.inputs[0] in list(step.inputs))
    for ours, theirs in zip(old.operators, new.operators[start:], strict=False):
        assert (list(ours.inputs), list(ours.outputs)) == (list(theirs.inputs), list(theirs.outputs))
        codes = before.operatorCodes[ours.opcodeIndex], after.operatorCodes[theirs.opcodeIndex]
        assert (codes[0].builtinCode, codes[0].version) == (codes[1].builtinCode, codes[1].version)


def test_runs_in_the_bare_interpreter_by_its_signature(exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", "int8", LogMel.dcase21(16000, 1.0), tut2017)
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    assert set(operators(path)) <= set(vars(schema.BuiltinOperator))
    run = litert.Interpreter(model_path=str(path)).get_signature_runner()
    (waveform,) = run.get_input_details().values()
    assert (list(waveform["shape"]), waveform["dtype"]) == ([1, 50 * 320 + 640], np.float32)
    clip = load_clip(tut2017[0], 16000)
    first = run(waveform=np.pad(clip, (320, 0))[None, : 50 * 320 + 640])["probabilities"]
    assert first.dtype == np.float32
    np.testing.assert_allclose(first.sum(), 1, atol=0.02)
    np.testing.assert_array_equal(first, TFLiteModel(path).predict(read_description(path).patches(clip)[:1]))


def test_metadata_tells_how_to_feed_it(exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", "int8", replace(LogMel.dcase21(11025, 1.0), patch_hop_frames=25), tut2017[:1])
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    told = read_metadata(path)
    # 40 ms are 441 samples, of which 221 come before the frame's own; 20 ms are 220 (even of 220.5)
    assert told["waveform"] == {"sample_rate": 11025, "samples": 50 * 220 + 441, "before": 221, "hop": 25 * 220}
    assert read_description(path).takes_waveform
    assert not read_description(source).takes_waveform
    assert {name: told[name] for name in read_metadata(source)} == read_metadata(source)
    oldest = {item.name: bytes(unpack_model(path).buffers[item.buffer].data) for item in unpack_model(path).metadata}
    assert oldest[b"min_runtime_version"] == b"2.5.0".ljust(16, b"\0")


# What is refused, and what is found


def test_refusals(exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", "int8", LogMel.dcase21(16000, 1.0), tut2017[:1])
    path = write_waveform_model(source, tmp_path / "waveform.tflite")
    described = read_metadata(source)

    def refused(match: str, **changes: object) -> None:
        other = tmp_path / "other.tflite"
        shutil.copy(source, other)
        embed_metadata(other, {name: value for name, value in {**described, **changes}.items() if value is not None})
        with pytest.raises(EdgepruneError, match=match):
            write_waveform_model(other, tmp_path / "never.tflite")

    with pytest.raises(EdgepruneError, match="takes the waveform already"):
        write_waveform_model(path, tmp_path / "never.tflite")
    refused("takes images, not audio", frontend={})
    refused(r"other\.tflite: the description of a network is damaged .*'normalisation'", normalisation=None)
    refused("no power of two", frontend={**described["frontend"], "n_fft": 700})
    refused(r"takes \[1, 40, 51, 1\] where its front-end gives \[1, 40, 52, 1\]", frontend=asdict(
        replace(LogMel.dcase21(16000, 1.0), patch_frames=52)
    ))  # fmt: skip
    with pytest.raises(EdgepruneError, match="there are no clips"):
        check_waveform(path, source, [])
    with pytest.raises(EdgepruneError, match="takes features, not samples"):
        check_waveform(source, source, tut2017[:1])
    assert not (tmp_path / "never.tflite").exists()


def spoil(path: Path, name: str, out: Path) -> Path:
    """A copy in which the first value of a constant is another one."""
    model = unpack_model(path)
    graph = model.subgraphs[0]
    (tensor,) = [tensor for tensor in graph.tensors if tensor.name == name.encode()]
    content = np.array(model.buffers[tensor.buffer].data, np.uint8).view(np.float32)
    content[content.argmax()] *= 1.01
    model.buffers[tensor.buffer].data = content.view(np.uint8)
    out.write_bytes(pack_model(model))
    return out


@pytest.mark.parametrize("constant", ["frontend/window", "frontend/filter_bank", "frontend/mean", "frontend/std"])
def test_a_changed_front_end_is_found(constant: str, exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", "int8", LogMel.dcase21(16000, 1.0), tut2017[:1])
    path = spoil(write_waveform_model(source, tmp_path / "w.tflite"), constant, tmp_path / "spoilt.tflite")
    with pytest.raises(CheckFailedError, match=r"spoilt.tflite: its front-end differs .* more than 0.001"):
        check_waveform(path, source, tut2017[:1])


def test_another_network_is_found(exported, tut2017, tmp_path: Path) -> None:
    source = exported("dcase21", "int8", LogMel.dcase21(16000, 1.0), tut2017[:1])
    path = write_waveform_model(source, tmp_path / "w.tflite")
    model = unpack_model(path)
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    weights = model.subgraphs[0].tensors[next(  # of a convolution in the middle
        step for step in model.subgraphs[0].operators
        if model.operatorCodes[step.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ).inputs[1]].buffer  # fmt: skip
    assert sizes[weights] > 100
    model.buffers[weights].data = np.roll(np.array(model.buffers[weights].data, np.uint8), 1)
    path.write_bytes(pack_model(model))
    with pytest.raises(CheckFailedError, match=r"its network differs from model_int8.tflite"):
        check_waveform(path, source, tut2017[:1])
    other = exported("dcase21", "float32", LogMel.dcase21(16000, 1.0), tut2017[:1])
    with pytest.raises(CheckFailedError, match="was not made from"):
        check_waveform(path, other, tut2017[:1])
