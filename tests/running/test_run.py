"""A whole run on a few synthetic clips: what it leaves, what is measured on what, `kill -9` in every stage."""

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import FORMATS, kill_when, same_but_times, start, tiny

import edgeprune.training.fit as fitting
from edgeprune.cli.main import main
from edgeprune.data.scene_data import load_scenes
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import read_json, sha256_file
from edgeprune.models import checkpoint
from edgeprune.pruning.reconstruction import reconstruct
from edgeprune.recipe import Budget, Export, Prune, Train
from edgeprune.recipe_files import load_recipe
from edgeprune.results.run_folder import OtherRecipeError, RunFolder
from edgeprune.running import prune_to_budget
from edgeprune.running.evaluate import evaluate
from edgeprune.running.export_more import export_more
from edgeprune.running.run import run
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.sidecar import read_sidecar

pytestmark = pytest.mark.slow  # trains and exports small networks


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    run(tiny(folder, cache))
    return folder


def test_the_folder_holds_what_was_promised(done):
    names = {path.name for path in done.iterdir()}
    assert names >= {
        "recipe.json", "log.txt", "dense.ckpt", "pruned.ckpt", "model.onnx", "model_float32.tflite",
        "model_int8.tflite", "dense_float32.tflite", "predictions_float32.csv", "predictions_int8.csv",
        "result.json", "report.html",
    }  # fmt: skip
    result = read_json(done / "result.json")
    assert {"schema", "recipe", "seed", "versions", "data", "dense", "pruned", "budget", "artefacts"} <= result.keys()
    assert result["data"]["clips"] == {"train": 48, "validation": 12, "test": 30}
    assert not list(done.glob(".*tflite*"))
    assert not list((done / "training").rglob("*.ckpt"))


def test_the_numbers_are_those_of_the_files(done):
    result = read_json(done / "result.json")
    assert set(result["artefacts"]) == {"float32", "int8", "dense_float32"}
    for key, artefact in result["artefacts"].items():
        path = done / artefact["path"]
        assert (artefact["bytes"], artefact["sha256"]) == (path.stat().st_size, sha256_file(path))
        with open(done / f"predictions_{key}.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert artefact["accuracy"]["accuracy"] == sum(row["label"] == row["predicted"] for row in rows) / len(rows)
        assert artefact["parity"]["transposes"] == operators(path).count("TRANSPOSE") == 0
    assert result["artefacts"]["float32"]["parity"]["max_abs_error"] <= 1e-4
    assert {row["model"] for row in result["latency"]} == {a["path"] for a in result["artefacts"].values()}
    assert all(row["kind"] == "measured" and row["runs"] == 3 for row in result["latency"])


def test_the_budget_holds_and_every_layer_keeps_at_most_three_quarters(done):
    result = read_json(done / "result.json")
    assert result["budget"]["asked"]["macs"] == 1_000_000
    assert result["pruned"]["cost"]["macs"] == result["budget"]["reached"]["macs"] <= 1_000_000
    widths = result["widths"]
    for layer in ("conv1", "conv2", "conv3"):
        assert widths["pruned"][layer] <= 0.75 * widths["dense"][layer]


def test_a_prediction_can_be_computed_from_the_file_and_a_clip_alone(done, cache):
    """What a user of the file does: decode, librosa, normalise as the metadata says, quantise, run."""
    import librosa

    path = done / "model_int8.tflite"
    said = read_metadata(path)
    front, norm = said["frontend"], said["normalisation"]
    with open(done / "predictions_int8.csv", newline="") as stream:
        row = next(csv.DictReader(stream))
    samples, rate = librosa.load(cache / "scenes" / row["filename"], sr=None)
    assert rate == front["sample_rate"]
    window = round(front["window_s"] * rate)
    hop, n_fft = round(front["hop_s"] * rate), 1 << (window - 1).bit_length()
    padded = np.pad(samples, (window // 2, window // 2 + front["patch_frames"] * hop))
    frames = [padded[t * hop : t * hop + window] for t in range(front["patch_frames"])]
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(window) / window)
    spectrum = np.abs(np.fft.rfft(np.stack(frames) * hamming, n_fft)).T
    mel = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=front["mels"], norm=None) @ spectrum
    x = (np.log(mel + front["log_offset"]).T - norm["mean"]) / norm["std"]
    model = TFLiteModel(path)
    got = model.predict(x.T[None, :, :, None].astype(np.float32))[0]
    expected = [float(row[name]) for name in said["labels"]]
    assert np.abs(got - expected).max() <= 0.02  # a few of the input's steps may fall on the other side


def test_sidecars_describe_their_files(done):
    for format in FORMATS:
        content = read_sidecar(done / f"model_{format}.tflite")
        assert content["labels"] == read_metadata(done / f"model_{format}.tflite")["labels"]
        assert content["frontend"]["patch_frames"] == 51
        assert content["inputs"][0]["shape"] == [1, 40, 51, 1]
        assert content["extra"]["parity_onnx"]["max_abs_error"] <= 1e-5


def test_a_finished_run_is_read_not_computed(done, cache, monkeypatch):
    monkeypatch.setattr("edgeprune.running.run.run_stages", lambda *args: pytest.fail("computed again"))
    assert run(tiny(done, cache)).to_json() == read_json(done / "result.json")


def test_other_settings_need_another_folder(done, cache):
    recipe = tiny(done, cache)
    with pytest.raises(EdgepruneError, match=r"train.epochs: 3 -> 4.*choose another --out"):
        run(replace(recipe, train=replace(recipe.train, epochs=4)))


def test_another_budget_goes_on_from_the_dense_network(done, cache, capsys, monkeypatch):
    """The run names the command, which is taken at its word here, but for the work."""
    recipe = tiny(done, cache)
    with pytest.raises(OtherRecipeError, match=r"budget.macs: 1000000 -> 900000\), none of which changes"):
        run(replace(recipe, budget=Budget(macs="900k")))
    flags = ["run", str(done), "--out", str(done), "--budget.macs", "900k", "--json"]
    assert main(flags) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("to go on from that network: "))
    program, *args = shlex.split(line.partition(": ")[2])
    assert (program, args[:2]) == ("edgeprune", ["run", str(done)])
    begun = []

    def stages(*recipe_data_folder):
        begun.extend(recipe_data_folder)
        return RunFolder(done).result()

    monkeypatch.setattr("edgeprune.running.run.run_stages", stages)
    assert main(args) == 0
    taken, _, folder = begun
    assert folder.path == taken.out == done.with_name("tiny-2")
    assert (taken.dense_from, taken.budget) == (done / "dense.ckpt", Budget(macs=900_000))
    assert replace(taken, out=done, dense_from=None, budget=recipe.budget) == recipe


def test_a_folder_in_use_is_left_alone(done, cache):
    import filelock

    with filelock.FileLock(done / ".lock"), pytest.raises(EdgepruneError, match="another process"):
        run(tiny(done, cache))


def test_recipe_json_runs_again(done):
    recipe = load_recipe(str(done / "recipe.json"))
    assert recipe.out == done
    assert recipe.to_dict() == load_recipe(str(done)).to_dict()
    assert main(["run", str(done / "recipe.json"), "--json"]) == 0


def test_evaluate_the_file_that_ships(done, capsys):
    recorded = read_json(done / "result.json")["artefacts"]["int8"]["accuracy"]
    found = evaluate(done).to_json()
    assert (found["accuracy"], found["log_loss"]) == (recorded["accuracy"], recorded["log_loss"])
    capsys.readouterr()
    assert main(["evaluate", str(done / "model_int8.tflite"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_loss"] == recorded["log_loss"]
    assert evaluate(done, split="train").scores.clips == 60
    assert "other clips" not in capsys.readouterr().err


def test_evaluate_elsewhere_on_other_clips_says_so(done, cache, tmp_path, capsys):
    for name in ("model_int8.tflite", "model_int8.tflite.json"):
        shutil.copy(done / name, tmp_path)
    data = tiny(done, cache).data
    evaluate(tmp_path / "model_int8.tflite", data)
    assert "other clips" not in capsys.readouterr().err
    evaluate(tmp_path / "model_int8.tflite", replace(data, clips_per_scene=12, root=tmp_path / "scenes"))
    assert "its run evaluated it on 30 other clips, of synthetic" in capsys.readouterr().err


def test_export_adds_a_format(done):
    paths = export_more(done, ("float16", "int8"))
    assert read_sidecar(paths["float16"])["extra"]["parity"]["max_abs_error"] < 0.01
    paths["float16"].unlink()


def test_dense_network_of_another_run(done, cache, tmp_path):
    """The same dense network, then only pruning, fine-tuning and what follows; another split's is refused."""
    recipe = replace(tiny(tmp_path / "adopted", cache), dense_from=done / "dense.ckpt")
    other = replace(recipe, data=replace(recipe.data, clips_per_scene=12, root=tmp_path / "scenes"))
    with pytest.raises(EdgepruneError, match="another split"):
        run(other)
    light = Export(formats=("float32",), dense_formats=())
    result = run(
        replace(recipe, out=tmp_path / "light", export=light, finetune=replace(recipe.finetune, epochs=0))
    ).to_json()
    assert result["dense"]["accuracy"] == read_json(done / "result.json")["dense"]["accuracy"]
    assert result["pruned"]["before_finetuning"] == result["pruned"]["accuracy"]


def test_pruned_without_training(done, cache, tmp_path, monkeypatch):
    """Dense checkpoint in, budget, reconstruction on training clips, file out: no training is started."""
    recipe = replace(tiny(tmp_path / "repaired", cache), dense_from=done / "dense.ckpt")
    recipe = replace(recipe, finetune=replace(recipe.finetune, epochs=0), prune=Prune(keep=0.5))
    recipe = replace(recipe, export=Export(formats=("float32",), dense_formats=()))
    seen: list[torch.Tensor] = []

    def spy(*args, **kwargs):
        seen.extend(args[4])
        return reconstruct(*args, **kwargs)

    monkeypatch.setattr(prune_to_budget, "reconstruct", spy)
    monkeypatch.setattr(fitting, "fit", lambda *_, **__: pytest.fail("a training was started"))
    result = run(recipe).to_json()
    data = load_scenes(recipe.data, recipe.frontend, seed=recipe.seed)
    clips = data.patches(data.train)  # fewer than prune.clips: all of them, and no clip of another part
    torch.testing.assert_close(torch.cat(seen), clips.network_inputs(range(len(clips))))
    pruned = result["pruned"]
    assert pruned["reconstruction"]["inputs"] == len(clips)
    assert pruned["reconstruction"]["output_error_after"] < pruned["reconstruction"]["output_error_before"]
    assert pruned["reconstruction"]["cut_only"] != pruned["before_finetuning"] == pruned["accuracy"]
    assert "Reconstruction fitted 4 layers" in (recipe.folder() / "report.html").read_text()
    assert "as the cut leaves it" not in (recipe.folder() / "log.txt").read_text()


def test_scores_that_look_at_the_runs_own_clips(done, capsys):
    """Twice the same, the training clips as the network takes them: not what it gives for noise."""
    args = ["score", str(done), "--criterion", "hrank,taylor,batchnorm_scale", "--json"]
    assert main(args) == 0
    found = json.loads(capsys.readouterr().out)["criteria"]
    assert main(args) == 0
    assert json.loads(capsys.readouterr().out)["criteria"] == found
    network = checkpoint.load(done / "dense.ckpt")
    scales = [network.model.get_submodule(f"features.bn{n}").weight.abs().tolist() for n in (1, 2, 3)]
    assert [layer["scores"] for layer in found["batchnorm_scale"].values()] == scales
    recipe = load_recipe(str(done))
    data = load_scenes(recipe.data, recipe.frontend, seed=recipe.seed)
    x = data.patches(data.train).inputs(range(len(data.train)))  # fewer than prune.clips: all of them
    with torch.no_grad():
        maps = network.model.features[:3](x)
    expected = np.linalg.matrix_rank(maps.numpy()).mean(axis=0)
    np.testing.assert_allclose(found["hrank"]["conv1"]["scores"], expected, atol=0.05)


def test_pruned_by_what_filters_do_on_training_clips(done, cache, tmp_path):
    export = Export(formats=("float32",), dense_formats=())
    recipe = replace(tiny(tmp_path / "active", cache), dense_from=done / "dense.ckpt", export=export)
    settings = Prune(criterion="hrank", keep=0.5, reconstruct=False)
    recipe = replace(recipe, prune=settings, finetune=Train(epochs=0), budget=Budget())
    result = run(recipe).to_json()
    kept = checkpoint.load(tmp_path / "active" / "pruned.ckpt").extra["kept"]
    assert {name: len(filters) for name, filters in kept.items()} == {"conv1": 2, "conv2": 2, "conv3": 4}
    assert result["recipe"]["prune"]["criterion"] == "hrank"
    assert "as the cut leaves it; --prune.reconstruct repairs it" in (tmp_path / "active" / "log.txt").read_text()


def test_damaged_files_of_a_run_are_named(done, cache, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(done, folder)
    (folder / "result.json").unlink()
    model = folder / "model_int8.tflite"
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(CheckFailedError, match=r"model_int8.tflite.*SHA-256"):
        run(tiny(folder, cache))
    whole = (done / "dense.ckpt").read_bytes()
    (folder / "dense.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EdgepruneError, match=r"dense.ckpt: is not a whole edgeprune checkpoint"):
        run(tiny(folder, cache))


# kill -9, stage by stage. A stage is known by what lies in the folder; nothing in the product helps the test.

STAGES: dict[str, Callable[[Path], bool]] = {
    "training": lambda f: (f / "training/dense/last.ckpt").is_file(),
    "fine-tuning": lambda f: (f / "training/finetune/last.ckpt").is_file(),
    "export": lambda f: any(f.glob(".convert.*")),
    "evaluation": lambda f: any(f.glob("predictions_*.csv")),
    "latency": lambda f: "host: timing" in (f / "log.txt").read_text(),
}


def test_killed_in_every_stage_it_ends_with_the_same_result(done, cache, tmp_path):
    script = tmp_path / "tiny.py"
    script.write_text(
        "from dataclasses import replace\nfrom edgeprune.recipe_files import load_recipe\n"
        f"recipe = replace(load_recipe({str(done)!r}), out=None)\n"
        "if __name__ == '__main__':\n    recipe.main()\n"
    )
    folder, fresh = tmp_path / "killed", tmp_path / "fresh cache"
    flags = ("--out", str(folder), "--data.cache", str(fresh))
    kill_when(start(script, *flags), lambda: any(fresh.rglob("done.npy")))  # while features are written
    for reached in STAGES.values():
        kill_when(start(script, *flags), lambda reached=reached: (folder / "log.txt").is_file() and reached(folder))
        assert not (folder / "result.json").is_file()
    process = start(script, *flags)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err.decode()
    killed, whole = read_json(folder / "result.json"), read_json(done / "result.json")
    killed["recipe"]["data"]["cache"] = whole["recipe"]["data"]["cache"]
    assert same_but_times(killed) == same_but_times(whole)
    assert killed["threads"] == [{"train": 1, "finetune": 1}]
    compared = [path for path in done.iterdir() if path.suffix in (".ckpt", ".onnx", ".tflite", ".csv")]
    assert len(compared) == 10
    assert [path.name for path in compared if sha256_file(folder / path.name) != sha256_file(path)] == []
    assert {path.name for path in folder.rglob("*.ckpt")} == {"dense.ckpt", "pruned.ckpt"}
    assert not [*folder.rglob("*edgeprune.tmp-*")]
