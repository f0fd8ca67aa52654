"""JSON and TOML that nobody would write: recipes, results, cards, settings, sidecars, and what runs leave behind."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
from hostile import INPUTS, try_inputs
from spoiling import spoil_json, spoil_toml, spoil_value
from stored_result import stored_result

from edgeprune.cli.file_description import read_frontend
from edgeprune.cli.output import print_json
from edgeprune.comparing.compare import compare
from edgeprune.comparing.report.report import write_comparison
from edgeprune.data.cards import load_card
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices.latency_profile import LatencyProfile
from edgeprune.devices.settings import setting
from edgeprune.files import sha256_file, share_folder, write_json
from edgeprune.models.registry import ModelSpec
from edgeprune.recipe import Budget, LogMel, Recipe
from edgeprune.recipe_files import identity, load_recipe
from edgeprune.results.result import Result
from edgeprune.running.check import check
from edgeprune.submitting.info import label_of, merged, read_info
from edgeprune.submitting.template import load_template
from edgeprune.tflite.description import Description
from edgeprune.tflite.sidecar import check_unchanged, read_sidecar

RECIPE = replace(Recipe(name="small"), budget=Budget(params=20_000, latency_ms="3@host"), out=Path("runs/small"))


def written(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], None]:
    """A reader of bytes that come from a file."""

    def write_and_read(made: bytes) -> None:
        path.write_bytes(made)
        read(path)

    return write_and_read


def of(document: Any) -> Callable[[random.Random], bytes]:
    return lambda rng: spoil_json(rng, document)


def test_recipes(tmp_path, hold):
    def read(path: Path) -> None:
        recipe = load_recipe(str(path))
        identity(recipe.to_dict())
        check(recipe)

    hold(try_inputs("recipe.json", of(RECIPE.to_dict()), written(tmp_path / "recipe.json", read)))


def test_results(tmp_path, hold):
    """Read, put into a table, compared with another run, and printed as JSON that is strict."""
    folders = [tmp_path / name for name in ("spoilt", "whole")]
    for number, folder in enumerate(folders):
        write_json(folder / "recipe.json", replace(RECIPE, seed=number).to_dict())
        write_json(folder / "result.json", stored_result())

    def read(path: Path) -> None:
        comparison = compare(folders)
        print_json(comparison.to_json())
        comparison.table()
        Result.read(path).table()

    hold(try_inputs("result.json, compared", of(stored_result()), written(folders[0] / "result.json", read)))


def test_reports(tmp_path, hold):
    """The page of a comparison of a run with a spoilt recipe and result."""
    folder = tmp_path / "run"
    document = {"recipe": RECIPE.to_dict(), "result": stored_result()}

    def read(made: dict[str, Any]) -> None:
        for name in ("recipe", "result"):
            (folder / f"{name}.json").write_text(json.dumps(made.get(name)))
        write_comparison(compare(folder), tmp_path / "page.html")

    folder.mkdir()
    hold(try_inputs("compare --html", lambda rng: spoil_value(rng, document), read, max(INPUTS // 50, 4)))


@pytest.mark.parametrize("name", ["folder", "tau2020_mobile", "speech_commands", "mnist", "esc10"])
def test_cards(name, tmp_path, hold):
    text = (share_folder("datasets") / f"{name}.toml").read_text(encoding="utf-8")
    read = written(tmp_path / "mine.toml", lambda path: load_card(str(path)))
    hold(try_inputs(f"card {name}", lambda rng: spoil_toml(rng, text), read, INPUTS // 5))


def test_settings(tmp_path, hold, monkeypatch):
    path = tmp_path / "settings.toml"
    monkeypatch.setattr("edgeprune.devices.settings.settings_path", lambda: path)
    text = '[android]\nbenchmark_model = "/opt/benchmark_model"\nother = 3\n'
    read = written(path, lambda _: setting("android.benchmark_model"))
    hold(try_inputs("settings.toml", lambda rng: spoil_toml(rng, text), read))


FRONTEND = """[frontend]
sample_rate = 16000
window_s = 0.025
hop_s = 0.010
n_fft = 512
window = "hann"
mels = 40
fmax = 8000.0
patch_frames = 49
[normalisation]
mean = 1.0
std = 2.0
"""


def test_frontends(tmp_path, hold):
    read = written(tmp_path / "frontend.toml", read_frontend)
    hold(try_inputs("front-end as TOML", lambda rng: spoil_toml(rng, FRONTEND), read))
    stored = {"frontend": asdict(LogMel.vggish()), "normalisation": {"mean": [0.0] * 64, "std": [1.0] * 64}}
    hold(try_inputs("front-end as JSON", of(stored), written(tmp_path / "frontend.json", read_frontend)))


def described() -> dict[str, Any]:
    spec = ModelSpec("dcase21", 2, (1, 40, 500), {"conv1": 4, "conv2": 4, "conv3": 8, "dense": 20})
    return Description(("a", "b"), LogMel(), Normalisation.none(40), spec).to_dict()


def test_descriptions(hold):
    hold(try_inputs("description in a file", lambda rng: spoil_value(rng, described()), Description.from_dict))


def test_sidecars(tmp_path, hold):
    path = tmp_path / "model_int8.tflite"
    tiny_tflite.write(tiny_tflite.dense_model(np.ones((2, 4), np.float32), np.zeros(2, np.float32)), path)
    document = {"schema": 1, "file": path.name, "sha256": sha256_file(path), "bytes": path.stat().st_size}
    document |= {"inputs": [], "outputs": [], "operators": {}, **described(), "extra": {}}

    def read(sidecar: Path) -> None:
        check_unchanged(path)
        read_sidecar(sidecar)
        Description.from_dict(read_sidecar(path))

    hold(try_inputs("sidecar", of(document), written(tmp_path / "model_int8.tflite.json", read)))


INFO = """[submission]
label = "Surname_INST_task1_1"
name = "Pruned by operator norm"
abbreviation = "Pruned"
[[submission.authors]]
lastname = "Surname"
firstname = "First name"
email = "mail@example.org"
corresponding = true
affiliation = { abbreviation = "INST", institute = "Institute", location = "City, Country" }
[system]
source_code = "https://example.org/code"
[system.description]
input_sampling_rate = 44100
"""


def test_info_of_a_submission(tmp_path, hold):
    template = load_template("dcase2022")

    def read(path: Path) -> None:
        label_of(merged(read_info(path, template), [], {}), template)

    hold(try_inputs("info file", lambda rng: spoil_toml(rng, INFO), written(tmp_path / "info.toml", read)))


PROFILE = {
    "schema": 1, "device": "host", "kind": "measured", "machine": {"cpu": "some"}, "format": "int8", "threads": 1,
    "model": "dense_int8.tflite", "sha256": "3faf", "runs": 50, "monotone": True, "overhead_ms": 0.1,
    "widths": {"conv1": 16, "conv2": 8},
    "stages": [
        {"name": "conv", "groups": ["conv1"], "grid": [[1, 8, 16]], "tiles": [1], "times_ms": [0.1, 0.2, 0.4]},
    ],
}  # fmt: skip


def test_latency_profiles(tmp_path, hold):
    def read(path: Path) -> None:
        LatencyProfile.load(path).predict({"conv1": 8})

    hold(try_inputs("latency profile", of(PROFILE), written(tmp_path / "profile.json", read)))
