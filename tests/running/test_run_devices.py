"""A run on real clips, its network on every device that needs no hardware, and the bundle built from it."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calls import call, call_json

from edgeprune.errors import CheckFailedError, EdgepruneError, InfeasibleBudgetError
from edgeprune.files import read_json, sha256_file
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.flags import parse_flags
from edgeprune.recipe import Bench, Budget, Data, Export, LogMel, Model, Prune, Recipe, Train
from edgeprune.running.run import run
from edgeprune.tflite.interpreter import TFLiteModel

pytestmark = pytest.mark.slow  # trains, exports and emulates small networks

DEVICES = ("host", "browser", "tflm", "cortex-m4", "ethos-u55-128")
RAM, FLASH = 36_000, 40_000


def needs(*programs: str) -> None:
    for program, package in programs_of(programs):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian package {package})")


def programs_of(programs: tuple[str, ...]) -> list[tuple[str, str]]:
    packages = {"arm-none-eabi-gcc": "gcc-arm-none-eabi and libnewlib-arm-none-eabi"}
    return [(program, packages.get(program, program)) for program in programs]


def recipe_of(root: Path, folder: Path) -> Recipe:
    """The first second of a third of TUT's clips, two epochs: the chain is real, the accuracy is not the point."""
    return Recipe(
        name="devices",
        data=Data("tut2017", root, cache=folder / "cache", validation=0.0, train_share=0.3),
        frontend=replace(LogMel.dcase21(16000, 1.0), patch_hop_frames=450),
        model=Model(width=0.75),
        train=Train(epochs=2, choose="last", threads=1),
        prune=Prune(keep=0.75),
        budget=Budget(peak_ram=RAM, flash=FLASH, include_frontend=True),
        finetune=Train(epochs=1, choose="last", threads=1),
        export=Export(("int8",), ("int8",), calibration_clips=20),
        bench=Bench(devices=DEVICES, runs=3),
        out=folder / "run",
    )


@pytest.fixture(scope="module")
def done(shared_data: Path, litert_js: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("arm-none-eabi-gcc", "qemu-system-arm", "chromium")
    recipe = recipe_of(shared_data / "tut2017", tmp_path_factory.mktemp("devices"))
    run(recipe)
    return recipe.folder()


# The run


def test_every_device_tells_of_both_networks(done):
    rows = read_json(done / "result.json")["latency"]
    asked = [(device, name) for device in DEVICES for name in ("model_int8.tflite", "dense_int8.tflite")]
    assert sorted((row["device"], row["model"]) for row in rows) == sorted(asked)
    kinds = {row["device"]: row["kind"] for row in rows}
    assert kinds == dict(zip(DEVICES, (*["measured"] * 3, "emulated", "estimated"), strict=True))
    for row in rows:
        assert row["sha256"] == sha256_file(done / row["model"])
        assert "test inputs of tut2017" in row["detail"]["inputs"]
    for device in DEVICES[2:]:  # no clock, on which a busy computer tells
        median = {row["model"]: row["median"] for row in rows if row["device"] == device}
        assert median["model_int8.tflite"] < median["dense_int8.tflite"]


def test_the_budget_holds_network_and_frontend_together(done):
    result = read_json(done / "result.json")
    frontend = frontend_cost(LogMel.dcase21(16000, 1.0), quantised=True)
    taken = {"peak_ram": frontend.ram_bytes, "flash": frontend.flash_bytes}
    budget, cost = result["budget"], result["artefacts"]["int8"]["cost"]
    assert budget["frontend"] == taken
    assert (budget["asked"]["peak_ram"], budget["asked"]["flash"]) == (RAM, FLASH)
    assert budget["reached"]["peak_ram"] == cost["arena_bytes"] + taken["peak_ram"] <= RAM
    assert budget["reached"]["flash"] == cost["flash_bytes"] + taken["flash"] <= FLASH
    # without the front-end the network alone would have had more room, and the budget is used
    assert budget["reached"]["peak_ram"] > 0.9 * RAM
    (emulated,) = result["frontend"]["emulated"]
    assert result["frontend"]["ram_bytes"] == emulated["ram_bytes"] == taken["peak_ram"]
    assert emulated["board"] == "cortex-m4"
    assert "instructions a hop (every 20.0 ms), cortex-m4" in (done / "report.html").read_text()


def test_a_device_that_stops_the_run_loses_nothing_already_measured(done, tmp_path, monkeypatch):
    from edgeprune.devices import bench

    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    before = read_json(folder / "latency.json")
    (folder / "result.json").unlink()
    (folder / "latency.json").write_text(json.dumps([row for row in before if row["device"] == "host"]))
    asked = []
    honest = bench.bench

    def measure(paths, device, **rest):
        asked.append(device)
        if device == "cortex-m4" and asked.count("cortex-m4") == 1:
            raise CheckFailedError("device cortex-m4: computes something else; nothing was measured.")
        return honest(paths, device, **rest)

    monkeypatch.setattr(bench, "bench", measure)
    recipe = replace(recipe_of(Path(read_json(done / "recipe.json")["data"]["root"]), done.parent), out=folder)
    with pytest.raises(CheckFailedError, match="computes something else"):
        run(recipe)
    assert {row["device"] for row in read_json(folder / "latency.json")} == {"host", "browser", "tflm"}
    assert not (folder / "result.json").exists()
    again = run(recipe).to_json()["latency"]
    assert asked == ["browser", "tflm", "cortex-m4", "cortex-m4", "ethos-u55-128"]
    assert [(row["device"], row["model"]) for row in again] == [(row["device"], row["model"]) for row in before]
    assert [row for row in again if row["device"] == "host"] == [row for row in before if row["device"] == "host"]


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (["--bench.devices", "host,tfml"], EdgepruneError, "perhaps you meant 'tflm'"),
        (["--bench.devices", "tflm", "--export.formats", "float32"], EdgepruneError, "put int8 among --export.formats"),
        (["--bench.timeout-s", "0"], EdgepruneError, "give seconds above 0"),
        (["--budget.peak-ram", "5kB"], InfeasibleBudgetError, "of the front-end alone"),
    ],
)
def test_what_cannot_be_measured_is_told_before_training(tmp_path, flags, error, message):
    recipe = parse_flags(recipe_of(tmp_path / "nowhere", tmp_path), flags)
    with pytest.raises(error, match=message):
        run(recipe)
    assert not recipe.folder().exists()


def test_budget_verb_includes_the_frontend(capsys):
    argv = ("budget", "dcase21", "--input", "1x40x51", "--peak-ram", "64kB", "--flash", "60kB", "--quiet")
    alone = call_json(capsys, *argv)
    both = call_json(capsys, *argv, "--include-frontend")
    taken = frontend_cost(LogMel.dcase21(44100, 1.0), quantised=True)
    assert alone["frontend"] is None
    assert both["frontend"] == {"peak_ram": taken.ram_bytes, "flash": taken.flash_bytes}
    assert both["asked"] == alone["asked"] == {"peak_ram": 64_000, "flash": 60_000}
    assert both["cost"]["pruned"]["arena_bytes"] + taken.ram_bytes == both["reached"]["peak_ram"] <= 64_000
    assert both["cost"]["pruned"]["flash_bytes"] + taken.flash_bytes == both["reached"]["flash"] <= 60_000
    assert both["cost"]["pruned"]["macs"] < alone["cost"]["pruned"]["macs"]
    code, _, err = call(capsys, "budget", "vgg16", "--peak-ram", "64kB", "--include-frontend")
    assert code == 2
    assert "has no log-mel front-end to include" in err


# The waveform


def test_a_waveform_file_says_of_the_audio_what_the_chain_says_of_the_features(capsys, done, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    files = call_json(capsys, "export", folder, "--formats", "int8", "--waveform")
    path = Path(files["int8_waveform"]["path"])
    assert path == folder / "model_int8_waveform.tflite"
    parity = read_json(f"{path}.json")["extra"]["parity"]
    assert (parity["clips"], parity["label_flips"]) == (20, 0)
    audio, chain = (call_json(capsys, "evaluate", file) for file in (path, folder / "model_int8.tflite"))
    assert audio["clips"] == chain["clips"] == 145
    assert audio["accuracy"] == pytest.approx(chain["accuracy"], abs=1.5 / 145)
    assert audio["log_loss"] == pytest.approx(chain["log_loss"], abs=5e-3)
    (record,) = call_json(capsys, "bench", path, "--runs", "2")["latency"]
    assert record["detail"]["inputs"] == "10 test clips of tut2017, fold 1"
    code, out, _ = call(capsys, "listen", path, "--file", next((folder / "recipe.json").parent.glob("*.json")))
    assert (code, out) == (2, "")  # no audio


# The bundle


@pytest.fixture(scope="module")
def bundle(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeprune.bundles.targets import write_bundle

    needs("make", "gcc")
    return write_bundle(done, "c11", tmp_path_factory.mktemp("bundles") / "in c 'quoted'")


def made(bundle: Path, target: str) -> list[str]:
    done = subprocess.run(["make", "--silent", target], cwd=bundle, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warnings
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", ["run", "run-cortex-m4", "run-cortex-m7"])
def test_the_bundle_goes_from_audio_samples_to_the_label_of_the_chain_in_python(done, bundle, target):
    lines = made(bundle, target)
    assert lines[0] == "vectors: 10 of 10 right"
    assert lines[-2:] == ["clips: 3 of 3 as in Python", "done"]
    labels = read_json(bundle / "labels.json")
    expected = expected_of(done, read_json(bundle / "manifest.json")["clips"])
    for line, (name, probabilities) in zip(lines[1:4], expected, strict=True):
        best = int(probabilities.argmax())
        assert line.startswith(f"clip {name}: {labels[best]} ")
        percent = int(line.split("%")[0].rpartition(" ")[2])
        # the front-end in C is of single precision, so an input of the network may be a step away
        assert abs(percent / 100 - probabilities[best]) < 0.06


def expected_of(done: Path, names: list[str]) -> list[tuple[str, np.ndarray]]:
    """What librosa's front-end and the file say to the first second of the clips."""
    import librosa
    import soundfile

    from edgeprune.tflite.metadata import read_metadata

    described = read_metadata(done / "model_int8.tflite")
    mean, std = (np.array(described["normalisation"][key])[:, None] for key in ("mean", "std"))
    root = Path(read_json(done / "recipe.json")["data"]["root"])
    model, found = TFLiteModel(done / "model_int8.tflite", xnnpack=False), []
    for name in names:
        samples, rate = soundfile.read(next(root.rglob(name)), dtype="float32", frames=16000)
        magnitude = np.abs(librosa.stft(samples, n_fft=1024, hop_length=320, win_length=640, window="hamming"))
        bank = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=40, norm=None)
        x = (np.log(bank @ magnitude + 1e-3) - mean) / std
        found.append((name, model.predict(x[None, :, :, None])[0]))
    return found


def test_the_manifest_names_every_file_with_its_hash(done, bundle):
    manifest = read_json(bundle / "manifest.json")
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    built = {name for name in files if name.startswith("build/")}
    assert set(manifest["files"]) == files - built - {"manifest.json"}
    for name, file in manifest["files"].items():
        assert (file["bytes"], file["sha256"]) == ((bundle / name).stat().st_size, sha256_file(bundle / name))
    assert manifest["model"]["sha256"] == sha256_file(done / "model_int8.tflite")
    assert manifest["target"] == "c11"
    frontend = read_json(bundle / "frontend.json")
    assert frontend["samples"] == {"window": 640, "hop": 320, "fft": 1024}


def test_deploy_lists_its_files_and_writes_nothing_over_others(capsys, done, tmp_path):
    out = tmp_path / "bundle"
    manifest = call_json(capsys, "deploy", done, "--target", "c11", "--out", out)
    assert "Makefile" in manifest["files"]
    assert call_json(capsys, "deploy", done, "--target", "c11", "--out", out) == manifest  # a second time
    code, _, err = call(capsys, "deploy", done, "--target", "c11", "--out", out, "--prefix", "other")
    assert code == 2
    assert f"{out}: is there already" in err
    (out / "labels.json").write_text("[]")
    assert call(capsys, "deploy", done, "--target", "c11", "--out", out)[0] == 2
    (out / "manifest.json").unlink()
    assert call(capsys, "deploy", done, "--target", "c11", "--out", out)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    code, _, err = call(capsys, "deploy", done, "--target", "c12", "--out", tmp_path / "other")
    assert code == 2
    assert "target 'c12' is unknown; perhaps you meant 'c11'" in err
    code, _, err = call(capsys, "deploy", tmp_path, "--target", "c11", "--out", tmp_path / "other")
    assert code == 2
    assert "model_int8.tflite: is not there" in err
    assert not (tmp_path / "other").exists()
