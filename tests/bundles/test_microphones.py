"""The microphones' examples: built with stub headers of their frameworks (marked so) and run here on a sound."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bundle_sources import FRAMES, MELS, make_source

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.audio.listener import Listener
from edgeprune.bundles import micro
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.source import Source
from edgeprune.recipe import LogMel
from edgeprune.tflite.interpreter import TFLiteModel

STUBS = Path(__file__).parent / "stubs"
NAMES = ("low", "middle", "high", "very high", "none of the four")
SPEC = LogMel(sample_rate=16000, window_s=0.032, hop_s=0.016, mels=MELS, patch_frames=FRAMES, patch_hop_frames=FRAMES)
RULES = ListenRules(hops_per_window=2, smoothing=0.5)
STRICT = ("-O1", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Example:
    """Where a target keeps its microphone's example, and what the stub loses of the sound."""

    target: str
    stub: str
    main: str
    sources: str
    lost: int


EXAMPLES = {
    "zephyr": Example("zephyr", "zephyr", "example/microphone.c", "src", 8000),
    "esp-idf": Example("esp-idf", "esp_idf", "microphone/main/microphone.c", "components/edgeprune_network/src", 60),
    "arduino": Example("arduino", "arduino", "examples/Microphone/Microphone.ino", "src", 0),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    return make_source(tmp_path_factory.mktemp("source"), SPEC, NAMES)


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture(scope="module")
def bundle(source, example, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / example.target
    micro.write(source, out, example.target, Deployment(RULES))
    return out


def sound() -> np.ndarray:
    """Noise, hum, silence and hiss at several levels: int16 `[samples]`, 3.2 s in steps of 0.4 s."""
    noise = np.random.default_rng(5).normal(0, 1, (8, 6400))
    hum, hiss = np.cumsum(noise[1], axis=-1) / 50, np.diff(noise[3], append=0) / 2
    steps = [300 * noise[0], 9000 * hum, 0 * noise[2], 6000 * hiss, noise[4], 12000 * noise[5], 2000 * hum, 90 * hiss]
    return np.concatenate(steps).clip(-32768, 32767).astype(np.int16)


def build_here(bundle: Path, example: Example, out: Path) -> Path:
    if not (shutil.which("gcc") and shutil.which("g++")):
        pytest.skip("needs gcc and g++")
    stubs = STUBS / example.stub
    includes = [f"-I{folder}" for folder in (bundle / example.sources, stubs, STUBS)]
    files = [
        *sorted((bundle / example.sources).glob("*.c")),
        bundle / example.main,
        *stubs.glob("run_here.c*"),
        STUBS / "stub_signal.c",
    ]
    objects = []
    for path in files:
        language = ["gcc", "-std=gnu11"] if path.suffix == ".c" else ["g++", "-std=gnu++17", "-x", "c++"]
        objects.append(out / f"{path.name}.o")
        subprocess.run([*language, *STRICT, *includes, "-c", path, "-o", objects[-1]], check=True)
    subprocess.run(["g++", *objects, "-lm", "-lpthread", "-o", out / "program"], check=True)
    return out / "program"


def test_it_prints_what_edgeprune_listen_hears(source, example, bundle, tmp_path) -> None:
    samples = sound()
    samples.tofile(tmp_path / "sound.raw")
    program = build_here(bundle, example, tmp_path)
    done = subprocess.run(
        [program], env=os.environ | {"SIGNAL": str(tmp_path / "sound.raw")}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = [re.fullmatch(r"(.+) (\d+)%, (-?\d+) dBFS, (\d+) samples lost", line) for line in done.stdout.splitlines()]
    model = TFLiteModel(source.model, reference=True)
    listener = Listener(SPEC, lambda patch: model.predict(source.description.inputs(patch[None]))[0], RULES)
    # the board hears on, while a recording ends with the silence that its last frames see
    expected = list(listener.listen([(samples / 32768).astype(np.float32)]))[: len(lines)]
    assert len(lines) >= 3200 // 96 - 2
    for line, decision in zip(lines, expected, strict=True):
        judgement = decision.judgement
        assert line is not None
        assert line[1] == (NAMES[judgement.best] if judgement.heard == "class" else judgement.heard)
        assert abs(int(line[2]) - judgement.percent) <= 2
        assert abs(int(line[3]) - max(judgement.level_dbfs - 0.5, -91)) <= 1
    assert {line[1] for line in lines} > {"silence"}
    assert lines[-1][4] == str(example.lost)


@pytest.mark.parametrize("name", ["zephyr", "arduino"])
def test_it_compiles_for_its_processor(source, tmp_path, name) -> None:
    """A Cortex-M4's; there is no compiler for Xtensa here."""
    example = EXAMPLES[name]
    if shutil.which("arm-none-eabi-g++") is None:
        pytest.skip("needs gcc-arm-none-eabi")
    micro.write(source, tmp_path / "out", example.target, Deployment(RULES))
    processor = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
    includes = (f"-I{tmp_path / 'out' / example.sources}", f"-I{STUBS / example.stub}")
    main = tmp_path / "out" / example.main
    language = (
        ["arm-none-eabi-gcc", "-std=gnu11"]
        if main.suffix == ".c"
        else ["arm-none-eabi-g++", "-std=gnu++17", "-x", "c++"]
    )
    subprocess.run([*language, *processor, *STRICT, *includes, "-c", main, "-o", tmp_path / "main.o"], check=True)
