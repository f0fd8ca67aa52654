"""The page's scripts under Node: windows, rules, log-mel and resampling are those of Python."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from bundle_sources import MELS

from edgeprune.audio.listen_rules import Judge, ListenRules, mean_square, power_sums
from edgeprune.audio.listener import Listener
from edgeprune.audio.logmel import Frontend
from edgeprune.bundles.web import frontend_settings, listening_settings
from edgeprune.data.normalisation import Normalisation
from edgeprune.files import share_folder
from edgeprune.models.registry import make_spec
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description

SPEC = LogMel(sample_rate=8000, mels=MELS, patch_frames=12, patch_hop_frames=12)
SPECS = {
    "centred": SPEC,
    "odd window, power, hann": replace(SPEC, sample_rate=11025, spectrum="power", window="hann"),
    "slaney areas, limits": replace(SPEC, norm="slaney", fmin=50, fmax=3000, center=False),
    "vggish": LogMel.vggish(),
    "gaps": replace(SPEC, window_s=0.016, hop_s=0.03),
}
# takes a program's name, and the JSON of its arguments from standard input; prints the JSON of its result
DRIVER = """
import { Judge, Listener, meanSquare } from "./listener.js";
import { LogMelStream } from "./logmel.js";
import { Resampler } from "./audio.js";

const joined = (blocks) => blocks.flatMap((block) => [...block]);
const programs = {
    judge: ({ rules, probabilities, squares }) => {
        const judge = new Judge(rules);
        return probabilities.map((latest, place) => judge.judge(latest, squares[place]));
    },
    levels: (blocks) => blocks.map((block) => meanSquare(Float32Array.from(block))),
    logmel: ({ settings, blocks }) => {
        const stream = new LogMelStream(settings);
        return blocks.flatMap((block) => [...stream.push(Float32Array.from(block))].map((frame) => [...frame]));
    },
    resample: ({ from, to, blocks }) => {
        const resampler = new Resampler(from, to);
        return joined(blocks.map((block) => resampler.push(Float32Array.from(block))));
    },
    listen: async ({ settings, blocks }) => {
        const made = [];
        const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
        const predict = async (window) => [0.5 + mean(window), 0.5 - mean(window)];
        const listener = new Listener(settings, predict);
        for (const block of blocks) {
            for await (const decision of listener.push(Float32Array.from(block))) made.push(decision);
        }
        for await (const decision of listener.end()) made.push(decision);
        return made.map((decision) => ({ ...decision, window: [...decision.window] }));
    },
};
let text = "";
for await (const part of process.stdin) text += part;
console.log(JSON.stringify(await programs[process.argv[2]](JSON.parse(text))));
"""
Node = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    if shutil.which("node") is None:
        pytest.skip("needs nodejs")
    folder = tmp_path_factory.mktemp("scripts")
    for name in ("listener.js", "logmel.js", "audio.js"):
        shutil.copy(share_folder("export") / "web" / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "driver.js").write_text(DRIVER)

    def run(program: str, arguments: Any) -> Any:
        done = subprocess.run(
            ["node", "driver.js", program], cwd=folder, input=json.dumps(arguments), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def cut(samples: np.ndarray, seed: int = 0) -> list[list[float]]:
    """Blocks of all lengths, some empty."""
    places = np.sort(np.random.default_rng(seed).integers(0, len(samples), 12))
    return [block.tolist() for block in np.split(samples, [0, *places])]


def noise(samples: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    level = np.interp(np.arange(samples), np.linspace(0, samples, 9), generator.uniform(0, 0.5, 9))
    return (generator.normal(0, 1, samples) * level).astype(np.float32).clip(-1, 1)


def described(spec: LogMel) -> Description:
    return Description(("a", "b"), spec, Normalisation.none(spec.mels), make_spec("dcase21", 2))


@pytest.mark.parametrize("rules", [ListenRules(), ListenRules(smoothing=0), ListenRules(threshold=0.3, gate_dbfs=-40)])
def test_judgements_are_those_of_python(node: Node, rules: ListenRules) -> None:
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet(np.full(4, 0.5), 300).astype(np.float32)
    probabilities[::7] = [0.25, 0.25, 0.25, 0.25]  # no class is likelier than another
    squares = generator.integers(0, 400_000, 300)
    squares[generator.random(300) < 0.2] = 0
    settings = {
        "smoothing_weight": rules.smoothing_weight,
        "least_probability": rules.least_probability,
        "least_mean_square": rules.least_mean_square,
    }
    found = node("judge", {"rules": settings, "probabilities": probabilities.tolist(), "squares": squares.tolist()})
    judge = Judge(rules)
    expected = [judge.judge(latest, int(square)) for latest, square in zip(probabilities, squares, strict=True)]
    assert {one.heard for one in expected} >= {"class", "silence"}
    assert (rules.threshold == 0) or {len(one.likely) for one in expected} >= {0, 1, 2}
    for one, other in zip(found, expected, strict=True):
        assert (one["heard"], one["best"]) == (other.heard, other.best)
        assert (one["smoothed"], one["likely"]) == (other.smoothed.tolist(), list(other.likely))


def test_levels_are_those_of_python(node: Node) -> None:
    halves = np.arange(-40, 40, dtype=np.float32) / 65536  # whole numbers and halves of a 16-bit step
    blocks = [noise(100_000), noise(7) + 0.5, halves, np.full(5, 1.5, np.float32), np.zeros(0, np.float32)]
    expected = [mean_square(power_sums(block)) for block in blocks]
    assert node("levels", [block.tolist() for block in blocks]) == expected


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_decisions_are_those_of_python(node: Node, spec: LogMel) -> None:
    """The same windows at the same times, by samples, and the same levels: of a recording, and of a shorter one."""
    rules = ListenRules(hops_per_window=2, gate_dbfs=-30)
    settings = listening_settings(spec, rules)
    for clip in (noise(3 * spec.patch_samples + 5), noise(spec.patch_samples // 3)):
        windows: list[np.ndarray] = []

        def predict(window: np.ndarray, windows: list[np.ndarray] = windows) -> np.ndarray:
            windows.append(window.copy())
            return np.array([0.5 + window.mean(dtype=np.float64), 0.5 - window.mean(dtype=np.float64)])

        expected = list(Listener(spec, predict, rules, from_samples=True).listen([clip]))
        found = node("listen", {"settings": settings, "blocks": cut(clip)})
        assert [one["time_s"] for one in found] == pytest.approx([one.time_s for one in expected])
        assert [one["mean_square"] for one in found] == [one.judgement.mean_square for one in expected]
        assert [one["heard"] for one in found] == [one.judgement.heard for one in expected]
        np.testing.assert_array_equal([one["window"] for one in found], windows[1:])  # the first warms up


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_picture_shows_the_front_ends_log_mels(node: Node, spec: LogMel) -> None:
    clip = noise(spec.sample_rate)
    found = node("logmel", {"settings": frontend_settings(described(spec)), "blocks": cut(clip)})
    expected = Frontend(spec)(torch.from_numpy(clip)).numpy()
    assert 0 <= len(expected) - len(found) <= spec.window_samples / spec.hop_samples  # those beyond the end are not due
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-4)


@pytest.mark.parametrize(("rate", "wanted"), [(48000, 44100), (48000, 16000), (44100, 16000), (96000, 8000)])
def test_resampling_keeps_what_is_below_the_limit(node: Node, rate: int, wanted: int) -> None:
    """Held to soxr's very high quality, on noise up to 0.85 of the new limit; a tone above the limit is gone."""
    samples = rate // 4
    spectrum = np.fft.rfft(np.random.default_rng(4).standard_normal(samples))
    spectrum[int(0.85 * wanted / rate * len(spectrum)) :] = 0
    low = np.fft.irfft(spectrum, samples)
    low *= 0.1 / low.std()
    found = np.array(node("resample", {"from": rate, "to": wanted, "blocks": cut(low)}))
    expected = soxr.resample(low, rate, wanted, quality="VHQ")
    assert 0 <= len(expected) - len(found) < 100  # wait for what comes
    inner = slice(100, len(found) - 100)
    assert np.abs(found - expected[: len(found)])[inner].max() < 1e-4
    tone = np.sin(2 * np.pi * 0.55 * wanted * np.arange(samples) / rate)
    rest = np.array(node("resample", {"from": rate, "to": wanted, "blocks": cut(tone)}))[200:-200]
    assert np.abs(rest).max() < 2e-4
