"""The Android bundle's Kotlin, compiled and run here; Android, LiteRT, JUnit and coroutines are stubs (marked so)."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from bundle_sources import LABELS, SPEC, make_source

from edgeprune.audio.listen_rules import Judge, Judgement, ListenRules, mean_square, power_sums
from edgeprune.audio.listener import Decision, Listener
from edgeprune.bundles import android
from edgeprune.bundles.deployment import Deployment
from edgeprune.tflite.interpreter import TFLiteModel

STUBS = Path(__file__).parent / "stubs" / "android"
LIBRARIES = ":".join(f"/usr/share/java/{name}.jar" for name in ("kotlin-stdlib", "kotlin-stdlib-jdk7"))
RULES = ListenRules(hops_per_window=2, smoothing=0.5, threshold=0.3)
PACKAGES = ("org.example.heard", "org.example.features")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("kotlinc") and shutil.which("java") and Path(LIBRARIES.split(":")[0]).is_file()),
        reason="needs kotlin (apt-get install kotlin)",
    ),
]


@dataclass(frozen=True)
class Program:
    """Bundles for a waveform and for features, and the program their Kotlin is compiled into."""

    waveform: Path
    features: Path
    jar: Path

    def run(self, *arguments: str, lines: Sequence[str] = (), **files: Path | int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["java", "-cp", f"{self.jar}:{LIBRARIES}", "org.example.heard.Run_hereKt", *arguments],
            input="".join(f"{line}\n" for line in lines),
            env=os.environ | {name: str(value) for name, value in files.items()},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def answers(self, *arguments: str, lines: Sequence[str] = ()) -> list[str]:
        done = self.run(*arguments, lines=lines)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Program:
    folder = tmp_path_factory.mktemp("kotlin")
    waveform, features, jar = folder / "waveform", folder / "features", folder / "program.jar"
    android.write(make_source(folder), waveform, Deployment(RULES, package=PACKAGES[0]))
    android.write(make_source(folder, replace(SPEC, n_fft=320)), features, Deployment(RULES, package=PACKAGES[1]))
    sources = [*waveform.rglob("*.kt"), *features.rglob("*.kt"), *STUBS.glob("*.kt")]
    subprocess.run(["kotlinc", "-Werror", "-cp", LIBRARIES, *sources, "-d", jar], check=True, timeout=600)
    return Program(waveform, features, jar)


def sound() -> np.ndarray:
    """Noise, hum, silence and hiss at several levels, int16 `[samples]`: 3 s."""
    noise = np.random.default_rng(5).normal(0, 1, (6, 4000))
    hum, hiss = np.cumsum(noise[1]) / 50, np.diff(noise[3], append=0) / 2
    steps = [300 * noise[0], 9000 * hum, 0 * noise[2], 6000 * hiss, 40 + noise[4], 12000 * noise[5]]
    return np.concatenate(steps).clip(-32768, 32767).astype(np.int16)


def text(judgement: Judgement) -> str:
    """As the program prints it."""
    smoothed, likely = judgement.smoothed.tolist(), list(judgement.likely)
    heard = judgement.heard.upper()
    return f"{heard} {judgement.best} {judgement.mean_square} {judgement.percent} {smoothed} {likely}"


def heard_in(samples: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> list[Decision]:
    """The decisions of `edgeprune listen`, without those that need the silence after a recording."""
    decisions = list(Listener(SPEC, predict, RULES, from_samples=True).listen([(samples / 32768).astype(np.float32)]))
    return [decision for decision in decisions if decision.time_s < len(samples) / SPEC.sample_rate]


def test_the_microphones_decisions_are_those_of_edgeprune_listen(program, tmp_path) -> None:
    """LiteRT is a stub that plays the network's outputs; what it was given are the windows Python cut."""
    model = TFLiteModel(program.waveform / "app/src/main/assets/scene_classifier.tflite")
    windows: list[np.ndarray] = []
    outputs: list[np.ndarray] = []

    def predict(window: np.ndarray) -> np.ndarray:
        windows.append(window)
        outputs.append(model.predict(window[None])[0])
        return outputs[-1]

    expected = heard_in(sound(), predict)
    assert {decision.judgement.heard for decision in expected} == {"class", "none", "silence"}
    sound().astype("<i2").tofile(tmp_path / "sound")
    np.array(outputs[1:], "<f4").tofile(tmp_path / "outputs")  # the first call warms up
    done = program.run(
        "listen",
        ASSETS=program.waveform / "app/src/main/assets",
        SOUND=tmp_path / "sound",
        OUTPUTS=tmp_path / "outputs",
        INPUTS=tmp_path / "inputs",
        CLASSES=len(LABELS),
    )
    assert "the microphone stopped (AudioRecord error -6)" in done.stderr
    labels, *lines, last = done.stdout.splitlines()
    assert last == "released"
    assert labels == str([np.frombuffer(label.encode(), np.int8).tolist() for label in LABELS])
    assert lines == [f"{decision.time_s!r} 0 {text(decision.judgement)}" for decision in expected]
    given = np.fromfile(tmp_path / "inputs", "<f4").reshape(-1, SPEC.patch_samples)
    np.testing.assert_array_equal(given, windows[1 : 1 + len(expected)])


@pytest.mark.parametrize("rules", [ListenRules(), ListenRules(smoothing=0, threshold=0.5, gate_dbfs=None), RULES])
def test_the_rules_decide_as_in_python(program, rules) -> None:
    random = np.random.default_rng(7)
    probabilities = np.round(random.dirichlet([0.5] * 4, 200), 6).astype(np.float32)
    probabilities[::9] = [0.5, 0.5, 0, 0]  # equal ones
    probabilities[5::11] = [1.25, -0.5, 0.25, 0]  # beyond what a probability can be
    levels = random.integers(0, 30, 200) ** random.integers(1, 7, 200)
    lines = [f"rules {rules.smoothing_weight} {rules.least_probability} {rules.least_mean_square}"]
    lines += [f"{level} {' '.join(map(repr, row.tolist()))}" for level, row in zip(levels, probabilities, strict=True)]
    judge = Judge(rules)
    expected = [text(judge.judge(row, int(level))) for level, row in zip(levels, probabilities, strict=True)]
    assert program.answers("judge", lines=lines) == expected


def test_levels_are_those_of_python(program) -> None:
    random = np.random.default_rng(8)
    blocks = [random.integers(-32768, 32768, size) for size in (1, 2, 3, 7, 400)]
    blocks += [np.full(9, value) for value in (-32768, -1, 0, 32767)] + [np.array([-3, -2]), np.array([], int)]
    expected = [mean_square(power_sums(block / 32768)) for block in blocks]
    assert program.answers("level", lines=[" ".join(map(str, block)) for block in blocks]) == list(map(str, expected))


def test_the_ring_keeps_the_latest_samples(program) -> None:
    random = np.random.default_rng(9)
    stream, lines, expected = np.zeros(0, int), [], []
    for _ in range(300):
        block = random.integers(-32768, 32768, random.integers(0, 23))
        stream = np.append(stream, block)
        lines.append(f"write {' '.join(map(str, block))}")
        end, size = random.integers(max(0, len(stream) - 60), len(stream) + 2), random.integers(1, 50)
        lines.append(f"copy {end} {size}")
        there = end <= len(stream) and max(end - size, 0) >= len(stream) - 50
        samples = np.append(np.zeros(size, int), stream[:end])[-size:]
        expected.append(f"is {' '.join(map(str, samples))}" if there else "not there")
    assert program.answers("ring", "50", lines=lines) == expected
    assert 20 < expected.count("not there") < 200


def test_windows_that_were_overwritten_are_left_out_and_counted(program) -> None:
    samples = 10_000
    hop = RULES.hop_frames(SPEC) * SPEC.hop_samples
    kept = max(SPEC.patch_samples, SPEC.patch_frames * SPEC.hop_samples)
    first = SPEC.patch_samples - SPEC.samples_around[0]
    ends = [end for end in range(first, samples + 1, hop) if end - kept >= samples - (kept + hop)]
    lost = ends[0] - first
    expected = [
        f"{end / SPEC.sample_rate!r} {lost} [{float(end - SPEC.patch_samples)}, {float(end - SPEC.patch_samples + 1)}]"
        for end in ends
    ]
    assert lost > 0
    assert program.answers("overrun", str(samples)) == expected


@pytest.mark.parametrize("kind", ["waveform", "features"])
def test_the_instrumented_test_tells_right_outputs_from_wrong_ones(program, tmp_path, kind) -> None:
    """On a phone the network computes them; here they are played, the right ones and such as differ."""
    app = (program.waveform if kind == "waveform" else program.features) / "app/src"
    inputs = (app / "androidTest/assets/inputs.bin").read_bytes()
    asset = TFLiteModel(next((app / "main/assets").glob("*.tflite")))
    if kind == "waveform":
        windows = np.frombuffer(inputs, "<i2").astype("<f4").reshape(-1, SPEC.patch_samples) / 32768
        right = asset.predict(windows).astype("<f4")
        wrong = right[:, ::-1].tobytes()
        given, outputs = windows.tobytes(), right.tobytes()
    else:
        stored = np.frombuffer(inputs, np.int8).reshape(-1, *asset.input_shape)
        right = np.concatenate([asset.invoke_raw(one) for one in stored])
        given, outputs, wrong = inputs, right.tobytes(), right[:, ::-1].tobytes()
    for played, passes in ((outputs, True), (wrong, False)):
        (tmp_path / "outputs").write_bytes(played)
        (tmp_path / "inputs").unlink(missing_ok=True)
        done = program.run(
            "test" if kind == "waveform" else "test features",
            ASSETS=app / "main/assets",
            TEST_ASSETS=app / "androidTest/assets",
            OUTPUTS=tmp_path / "outputs",
            INPUTS=tmp_path / "inputs",
            CLASSES=len(LABELS),
        )
        assert (done.returncode == 0) is passes, done.stderr
        assert passes or "AssertionError: clip " in done.stderr
        assert not passes or (tmp_path / "inputs").read_bytes() == given
