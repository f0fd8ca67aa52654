"""Listening: any blocks give the decisions of the whole recording; microphones are stand-ins (marked so)."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tflite import embed_metadata

from edgeprune.audio import microphone as microphone_module
from edgeprune.audio.decode import file_blocks, load_clip, resampled
from edgeprune.audio.listen_rules import UNIT, ListenRules
from edgeprune.audio.listener import Listener
from edgeprune.audio.logmel import Frontend, patch_starts, waveform_patches
from edgeprune.audio.microphone import Microphone
from edgeprune.audio.streaming import FrameStream, Sliding
from edgeprune.cli.verbs.listen import ListenCommand, open_listener
from edgeprune.convert.waveform import write_waveform_model
from edgeprune.convert.waveform_graph import GraphBuilder
from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import make_spec
from edgeprune.recipe import LogMel
from edgeprune.tflite.flatbuffer import pack_model
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata, set_metadata

RATE = 8000
SPEC = LogMel(sample_rate=RATE, mels=12, patch_frames=20, patch_hop_frames=5)
"""A patch is 0.4 s; its hop 0.1 s."""
SPECS = {
    "centred": SPEC,
    "odd window": replace(SPEC, sample_rate=11025),
    "not centred": replace(SPEC, center=False),
    "vggish": LogMel.vggish(),
    "gaps": replace(SPEC, window_s=0.016, hop_s=0.03),
}
LABELS = ["beach", "bus", "park", "tram"]
cuts = st.lists(st.integers(0, 3000), max_size=8)


def cut(samples: np.ndarray, places: list[int]) -> list[np.ndarray]:
    """Blocks of lengths that add up over and over to the places given, some empty."""
    return np.split(samples, sorted(place % (len(samples) + 1) for place in places))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Its level changes, so that patches differ."""
    generator = np.random.default_rng(seed)
    level = np.interp(np.arange(samples), np.linspace(0, samples, 9), generator.uniform(0, 0.5, 9))
    return (generator.normal(0, 1, samples) * level).astype(np.float32)


# Windows and frames


@given(size=st.integers(1, 9), hop=st.integers(1, 12), lengths=st.lists(st.integers(0, 15), max_size=12))
def test_sliding_gives_each_window_once(size: int, hop: int, lengths: list[int]) -> None:
    rows = np.arange(sum(lengths))
    sliding, found = Sliding(size, hop), []
    for block in np.split(rows, np.cumsum(lengths)[:-1] if lengths else []):
        found += [list(window) for window in sliding.windows(block)]
    assert found == [list(rows[start : start + size]) for start in range(0, len(rows) - size + 1, hop)]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(max_examples=15, deadline=None)
@given(places=cuts)
def test_frames_are_the_front_ends(spec: LogMel, places: list[int]) -> None:
    clip = noise(2 * spec.sample_rate)
    before, after = spec.samples_around
    stream = FrameStream(spec)
    blocks = [np.zeros(before, np.float32), *cut(clip, places), np.zeros(after, np.float32)]
    found = np.concatenate([stream.push(block) for block in blocks])
    np.testing.assert_allclose(found, Frontend(spec)(torch.from_numpy(clip)).numpy(), rtol=0, atol=1e-6)


def fake_network(patch: np.ndarray) -> np.ndarray:
    """Probabilities that tell patches apart."""
    sums = np.array([patch.astype(np.float64).sum(), patch[::2].sum(), patch[0].sum()]) / patch.size
    exponentials = np.exp(sums - sums.max())
    return exponentials / exponentials.sum()


@settings(max_examples=15, deadline=None)
@given(places=cuts, samples=st.integers(1, 9000), from_samples=st.booleans())
def test_any_blocks_give_the_decisions_of_the_whole(places: list[int], samples: int, from_samples: bool) -> None:
    clip, hop_s = noise(samples), SPEC.patch_hop_frames * SPEC.hop_s
    listener = Listener(SPEC, fake_network, ListenRules(hop_s, smoothing=0), from_samples=from_samples)
    found = list(listener.listen(cut(clip, places)))
    if from_samples:
        patches = list(waveform_patches(clip, SPEC))
    else:
        frames = Frontend(SPEC)(torch.from_numpy(clip)).numpy()
        patches = [frames[s : s + 20] for s in patch_starts(len(frames), 20, SPEC.patch_hop_frames)]
    assert len(found) == len(patches) == listener.decisions
    np.testing.assert_allclose(
        np.stack([decision.latest for decision in found]), [fake_network(patch) for patch in patches], atol=1e-6
    )
    assert listener.samples == samples
    assert 0 < listener.real_time_factor == listener.processing_s / listener.audio_s


def test_times_are_the_ends_of_patches() -> None:
    # centred: the last of 20 frames is centred on sample 19 * 160 and hears 160 samples more
    found = [d.time_s for d in Listener(SPEC, fake_network, ListenRules(0.1)).listen([noise(RATE)])]
    np.testing.assert_allclose(found, [0.4 + 0.1 * place for place in range(7)])
    short = list(Listener(SPEC, fake_network, ListenRules(0.1)).listen([noise(800)]))
    assert [d.time_s for d in short] == [0.1]


def test_smoothing_is_exponential() -> None:
    patches = iter([None, [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # the first warms up
    listener = Listener(replace(SPEC, center=False), lambda _: next(patches), ListenRules(0.4, smoothing=0.75))
    found = list(listener.listen([noise(3 * 20 * 160 + 160)]))
    np.testing.assert_allclose([d.probabilities for d in found], [[1, 0], [0.75, 0.25], [0.5625, 0.4375]])
    np.testing.assert_array_equal([d.latest for d in found], [[1, 0], [0, 1], [0, 1]])


def test_decisions_come_as_soon_as_their_patch_is_heard() -> None:
    given_blocks = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal given_blocks
        for block in np.split(noise(RATE), 10):
            given_blocks += 1
            yield block

    next(Listener(SPEC, fake_network, ListenRules(0.1)).listen(blocks()))
    assert given_blocks == 4


def test_levels_are_those_of_the_windows() -> None:
    """Of the samples that came since the window's first frame began to wait, as 16-bit ones, without their mean."""
    clip = np.clip(noise(RATE) + 0.1, -1, 1)
    listener = Listener(SPEC, fake_network, ListenRules(0.1, gate_dbfs=None))
    found = [decision.judgement.mean_square for decision in listener.listen(cut(clip, [17, 4000, 5001]))]
    stored = np.round(clip * 32768).clip(-32768, 32767)
    # the first frame needs 160 samples of a window of 320, each later one 160 more
    windows = [stored[max(0, 160 * 5 * k) : 160 * (5 * k + 20)] for k in range(7)]
    np.testing.assert_allclose(found, [np.var(window) for window in windows], atol=1.3)
    assert len(found) == 7


def test_silence_is_no_class() -> None:
    """Digital silence, one least step of noise, and an offset that a microphone adds, between two sounds."""
    least = np.random.default_rng(0).integers(-1, 2, RATE) / 32768
    clip = np.concatenate([noise(RATE), np.zeros(RATE), least, least + 0.2, noise(RATE, 3)]).astype(np.float32)
    listener = Listener(replace(SPEC, center=False), fake_network, ListenRules(0.4, smoothing=0.9))
    found = [(d.time_s, d.judgement.heard, d.probabilities) for d in listener.listen([clip])]
    heard = {round(time_s, 1): what for time_s, what, _ in found}
    assert [heard[time] for time in (0.4, 0.8)] == ["class"] * 2
    assert [heard[time] for time in (1.6, 2.0, 2.4, 2.8, 3.6)] == ["silence"] * 5
    assert not found[4][2].any()
    after = next(probabilities for time_s, what, probabilities in found if time_s > 3.7 and what == "class")
    np.testing.assert_allclose(after.sum(), 1, atol=1e-4)  # judged by itself, without what came before
    listener = Listener(SPEC, fake_network, ListenRules(0.4, gate_dbfs=None))
    assert {d.judgement.heard for d in listener.listen([clip])} == {"class"}


def test_the_likeliest_class_must_be_likely() -> None:
    patches = iter([None, [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    rules = ListenRules(0.4, smoothing=0, threshold=0.6)
    listener = Listener(replace(SPEC, center=False), lambda _: next(patches), rules)
    found = [d.judgement for d in listener.listen([noise(3 * 20 * 160 + 160)])]
    assert [judgement.heard for judgement in found] == ["class", "none", "class"]
    assert [judgement.best for judgement in found] == [0, 0, 1]
    np.testing.assert_array_equal(found[1].smoothed, [UNIT // 2] * 2)


def test_independent_classes_are_heard_together_from_the_networks_own_threshold() -> None:
    rules = ListenRules(0.4, smoothing=0).of_network(0.5)
    patches = iter([None, [0.6, 0.9, 0.1], [0.4, 0.45, 0.1], [0.2, 0.2, 0.5]])
    listener = Listener(replace(SPEC, center=False), lambda _: next(patches), rules)
    found = [d.judgement for d in listener.listen([noise(3 * 20 * 160 + 160)])]
    assert [judgement.likely for judgement in found] == [(1, 0), (), (2,)]
    assert [judgement.heard for judgement in found] == ["class", "none", "class"]
    assert ListenRules(threshold=0.7).of_network(0.5).threshold == 0.7, "what was asked for stays"
    assert ListenRules().of_network(None) == ListenRules()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"hop_s": 0.0}, "hop-s: 0 s between decisions"),
        ({"hop_s": float("nan")}, "hop-s: nan s between decisions"),
        ({"hops_per_window": 0}, "hops-per-window: 0 decisions a window"),
        ({"hop_s": 1.0, "hops_per_window": 2}, "hop-s: --hops-per-window says the same"),
        ({"smoothing": 1.0}, "smoothing: 1; give 0"),
        ({"smoothing": -0.1}, "smoothing: -0.1; give 0"),
        ({"threshold": 1.5}, "threshold: 1.5 is no probability"),
        ({"gate_dbfs": -100.0}, "gate-dbfs: -100 dBFS is no level of 16-bit samples"),
    ],
)
def test_wrong_rules(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgepruneError, match=sentence):
        ListenRules(**fields)


def test_hops_are_whole_frames() -> None:
    assert ListenRules().hop_frames(SPEC) == 20
    assert ListenRules(hops_per_window=3).hop_frames(SPEC) == 7
    assert ListenRules(hops_per_window=99).hop_frames(SPEC) == 1
    assert ListenRules(hop_s=0.29).hop_frames(SPEC) == 14


# Files


@pytest.mark.parametrize("block_s", [0.013, 0.1, 7.0])
@pytest.mark.parametrize("rate", [RATE, 11025, 44100])
def test_file_blocks_are_load_clip(rate: int, block_s: float, tmp_path: Path) -> None:
    for name, samples in (("long", 3 * rate + 7), ("short", 3)):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.stack([noise(samples), noise(samples, 1)], axis=1), rate, subtype="FLOAT")
        blocks = list(file_blocks(path, RATE, block_s))
        assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
        np.testing.assert_allclose(np.concatenate(blocks), load_clip(path, RATE), rtol=0, atol=1e-6)


def test_real_files_are_load_clip(shared_data: Path) -> None:
    files = [
        *sorted((shared_data / "esc10" / "audio").glob("*.ogg"))[:3],
        shared_data / "tut2017/audio/a001_50_60.flac",
    ]
    for path in files:
        np.testing.assert_array_equal(np.concatenate(list(file_blocks(path, 16000))), load_clip(path, 16000))


def test_bad_files_are_refused_as_load_clip_does(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "low.wav", noise(400), 4000)
    soundfile.write(tmp_path / "nan.wav", np.full(400, np.nan, np.float32), RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    for name in ("low", "nan", "text", "missing"):
        with pytest.raises(EdgepruneError) as ours:
            list(file_blocks(tmp_path / f"{name}.wav", RATE))
        with pytest.raises(EdgepruneError) as theirs:
            load_clip(tmp_path / f"{name}.wav", RATE)
        assert str(ours.value) == str(theirs.value)


# The verb


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A .tflite of one dense layer and a softmax behind the front-end, made by hand."""
    generator = np.random.default_rng(3)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], [schema.BufferT()]
    graph.tensors = []
    builder = GraphBuilder(model)
    features = builder.tensor("input", (1, SPEC.mels, SPEC.patch_frames, 1))
    weights = builder.constant("weights", generator.normal(0, 0.3, (4, 240)).astype(np.float32))
    bias = builder.constant("bias", np.zeros(4, np.float32))
    logits, output = builder.tensor("logits", (1, 4)), builder.tensor("output", (1, 4))
    builder.apply("FULLY_CONNECTED", [features, weights, bias], logits)
    builder.apply("SOFTMAX", [logits], output, beta=1.0)
    graph.operators, graph.inputs, graph.outputs = builder.operators, [features], [output]
    described = {
        "labels": LABELS,
        "frontend": asdict(SPEC),
        "normalisation": {"mean": [-2.0] * SPEC.mels, "std": [1.5] * SPEC.mels},
        "model": make_spec("dcase21", 4).to_dict(),
    }
    set_metadata(model, described)
    path = tmp_path / "classifier.tflite"
    path.write_bytes(pack_model(model))
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    soundfile.write(path, noise(3 * RATE), RATE, subtype="FLOAT")
    return path


def batch_probabilities(path: Path, clip: np.ndarray) -> np.ndarray:
    """Of every patch, with the features of the whole clip."""
    frames = Frontend(SPEC)(torch.from_numpy(clip)).numpy()
    patches = [frames[start : start + 20].T for start in patch_starts(len(frames), 20, SPEC.patch_hop_frames)]
    return TFLiteModel(path).predict((np.stack(patches)[..., None] + 2) / np.float32(1.5))


def lines(capsys: pytest.CaptureFixture[str], verb: ListenCommand) -> tuple[list[Any], str]:
    """What the verb prints with --json, and what it says beside."""
    assert verb() == 0
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("waveform_in", [False, True], ids=["log-mel", "waveform"])
def test_a_file_gives_the_batchs_probabilities(waveform_in: bool, classifier, recording, capsys) -> None:
    expected = batch_probabilities(classifier, load_clip(recording, RATE))
    path = classifier
    if waveform_in:
        path = write_waveform_model(classifier, classifier.with_name("waveform.tflite"))
    found, said = lines(capsys, ListenCommand(path, recording, json=True, rules=ListenRules(0.1, smoothing=0)))
    assert len(found) == len(expected) == 27
    np.testing.assert_allclose([list(line["probabilities"].values()) for line in found], expected, atol=1e-5)
    assert [list(line["probabilities"]) for line in found] == [LABELS] * 27
    assert [line["label"] for line in found] == [LABELS[place] for place in expected.argmax(axis=1)]
    assert len({line["label"] for line in found}) > 1
    assert found[-1]["time_s"] == 3.0
    assert found[-1]["overruns"] == found[-1]["dropped_samples"] == 0
    assert "3.0 s of audio, 27 decisions" in said
    assert "real-time factor" in said


def test_lines_tell_the_three_likeliest(classifier, recording, capsys) -> None:
    assert ListenCommand(classifier, recording, seconds=0.55)() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("    0.40 s  ")
    shown = [float(word) for word in line.split()[3::2]]
    assert len(shown) == 3
    assert shown == sorted(shown, reverse=True)


def test_long_audio_is_reported_on_now_and_then(classifier, tmp_path, capsys) -> None:
    soundfile.write(tmp_path / "long.wav", noise(25 * RATE), RATE)
    assert ListenCommand(classifier, tmp_path / "long.wav", rules=ListenRules(1))() == 0
    assert capsys.readouterr().err.count("real-time factor") == 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"seconds": 0.0}, "0 seconds; give --seconds more than 0"),
        ({"device": "USB"}, "leave out --file or --device"),
        ({"threads": 0}, "threads: 0 cannot run anything"),
    ],
)
def test_wrong_flags(fields: dict[str, Any], sentence: str, classifier, recording) -> None:
    with pytest.raises(EdgepruneError, match=sentence):
        ListenCommand(classifier, recording, **fields)()


def test_wrong_models(classifier: Path) -> None:
    embed_metadata(classifier, read_metadata(classifier) | {"frontend": {}})
    with pytest.raises(EdgepruneError, match="is no classifier of audio"):
        open_listener(classifier, ListenRules())
    embed_metadata(classifier, {"frontend": asdict(SPEC)})
    with pytest.raises(EdgepruneError, match=r"classifier\.tflite: the description of a network is damaged"):
        open_listener(classifier, ListenRules())


# The microphone: `sounddevice` is a stand-in here


class PortAudioError(Exception):
    """As sounddevice's."""


class StandIn:
    """Plays `sounddevice`: one microphone that hears `samples [samples, channels]` at once or in steps."""

    def __init__(self, samples: np.ndarray, rate: int = RATE, channels: tuple[int, ...] = (1,)) -> None:
        self.samples, self.rate, self.channels = samples, rate, channels
        self.overflow_at: set[int] = set()
        self.pause_s = 0.0
        self.open = False
        self.asked: dict[str, Any] = {}

    def query_devices(self, device: object, kind: str) -> dict[str, Any]:
        assert kind == "input"
        if device not in (None, 0, "Stand"):
            raise ValueError(f"No input device matching {device!r}")
        return {"name": "Stand-in", "default_samplerate": float(self.rate), "max_input_channels": max(self.channels)}

    def check_input_settings(self, device: object, channels: int, dtype: str, extra: None, samplerate: int) -> None:
        if samplerate != self.rate or channels not in self.channels:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def stream(self, **asked: Any) -> "StandIn":
        self.asked = asked
        return self

    def __enter__(self) -> "StandIn":
        self.open = True
        threading.Thread(target=self._hear, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def _hear(self) -> None:
        size = self.asked["blocksize"]
        for number, start in enumerate(range(0, len(self.samples), size)):
            block = self.samples[start : start + size].copy()
            self.asked["callback"](block, len(block), None, SimpleNamespace(input_overflow=number in self.overflow_at))
            block[:] = np.nan  # PortAudio uses the memory again
            time.sleep(self.pause_s)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "StandIn":
        module = ModuleType("sounddevice")
        module.query_devices, module.check_input_settings = self.query_devices, self.check_input_settings
        module.InputStream, module.PortAudioError = self.stream, PortAudioError
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return self


def test_a_microphone_is_heard_like_a_file(classifier, recording, capsys, monkeypatch) -> None:
    expected, _ = lines(capsys, ListenCommand(classifier, recording, json=True, rules=ListenRules(0.5)))
    device = StandIn(load_clip(recording, RATE)[:, None]).install(monkeypatch)
    found, said = lines(capsys, ListenCommand(classifier, seconds=3.0, json=True, rules=ListenRules(0.5)))
    assert [line["probabilities"] for line in found] == [line["probabilities"] for line in expected]
    assert "listening to Stand-in" in said
    assert "no samples lost" in said
    assert not device.open


def test_a_microphones_own_rate_and_channels(monkeypatch) -> None:
    heard = np.stack([noise(2 * 44100), noise(2 * 44100, 1)], axis=1)
    device = StandIn(heard, 44100, channels=(2,)).install(monkeypatch)
    found = np.concatenate(list(Microphone(RATE, "Stand").blocks(1.5)))
    mono = heard.mean(axis=1)[: 44100 * 3 // 2]
    np.testing.assert_allclose(found, np.concatenate(list(resampled([mono], 44100, RATE))), atol=1e-6)
    assert (device.asked["samplerate"], device.asked["channels"], device.asked["dtype"]) == (44100, 2, "float32")


def test_lost_samples_are_counted(classifier, capsys, monkeypatch) -> None:
    device = StandIn(noise(RATE)[:, None]).install(monkeypatch)
    device.overflow_at = {2, 5}
    found, said = lines(capsys, ListenCommand(classifier, device="0", seconds=1.0, json=True, rules=ListenRules(0.5)))
    assert found[-1]["overruns"] == 2
    assert "samples lost 2 times" in said


def test_blocks_that_find_no_room_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(microphone_module, "QUEUE_S", 0.3)
    device = StandIn(noise(RATE)[:, None]).install(monkeypatch)
    microphone = Microphone(RATE)
    blocks = microphone.blocks(0.25)
    assert len(next(blocks)) == 800
    deadline = time.monotonic() + 5
    while microphone.overruns < 6 and time.monotonic() < deadline:  # 10 blocks, of which 3 or 4 find room
        time.sleep(0.01)
    assert microphone.overruns in (6, 7)
    assert microphone.dropped_samples == 800 * microphone.overruns
    assert [len(block) for block in blocks] == [800, 400]
    assert not device.open


def test_ctrl_c_ends_with_the_summary(classifier, capsys, monkeypatch) -> None:
    device = StandIn(noise(RATE)[:, None]).install(monkeypatch)
    blocks = Microphone._recorded

    def interrupted(self: Microphone, seconds: float | None) -> Iterator[np.ndarray]:
        for number, block in enumerate(blocks(self, seconds)):
            if number == 6:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(Microphone, "_recorded", interrupted)
    found, said = lines(capsys, ListenCommand(classifier, json=True, rules=ListenRules(0.1)))
    assert [line["time_s"] for line in found] == [0.4, 0.5, 0.6]
    assert "interrupted" in said
    assert "0.6 s of audio, 3 decisions" in said
    assert not device.open


def test_a_microphone_that_stops_is_told(monkeypatch) -> None:
    monkeypatch.setattr(microphone_module, "SILENCE_S", 0.05)
    device = StandIn(noise(1600)[:, None]).install(monkeypatch)
    with pytest.raises(EdgepruneError, match=r"microphone 'Stand-in' gave nothing for 0.05 s"):
        list(Microphone(RATE).blocks())
    assert not device.open


def test_a_microphone_in_use_is_told(monkeypatch) -> None:
    device = StandIn(noise(1600)[:, None])

    def refuse(**_: object) -> None:
        raise PortAudioError("Error opening InputStream: Device unavailable [PaErrorCode -9985]")

    monkeypatch.setattr(device, "stream", refuse)
    device.install(monkeypatch)
    with pytest.raises(EdgepruneError, match=r"cannot be opened .*Device unavailable.* close what uses it"):
        list(Microphone(RATE).blocks())


def test_no_such_microphone(monkeypatch) -> None:
    StandIn(noise(10)[:, None], rate=4000).install(monkeypatch)
    with pytest.raises(EdgepruneError, match=r"there is no microphone 'Blue' .*plug one in"):
        Microphone(RATE, "Blue")
    with pytest.raises(EdgepruneError, match="'Stand-in' does not record at 8000 Hz, which the model needs, or above"):
        Microphone(RATE)


def test_what_to_install(classifier, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(EdgepruneError, match=r"needs the package sounddevice .* install edgeprune\[listen\]"):
        ListenCommand(classifier)()
    monkeypatch.delitem(sys.modules, "sounddevice")
    # as sounddevice does where the library is missing
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EdgepruneError, match=r"needs the PortAudio library .* install libportaudio2"):
        ListenCommand(classifier)()
