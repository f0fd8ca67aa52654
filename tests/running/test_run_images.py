"""A whole run on a few images: the same stages and files as for clips."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from squares import CLASSES, squares, write_npz_card

from edgeprune.cli.main import main
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.models import checkpoint
from edgeprune.recipe import Bench, Budget, Data, Export, Model, Prune, Recipe, Train
from edgeprune.running.evaluate import evaluate
from edgeprune.running.export_more import export_more
from edgeprune.running.run import run
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.sidecar import read_sidecar

pytestmark = pytest.mark.slow  # trains and exports small networks

SHAPE = (16, 12, 3)


def tiny(out: Path, card: Path) -> Recipe:
    """63 images to train on, 30 to test on, a network of a sixteenth of the width."""
    train = Train(epochs=16, batch_size=16, lr=5e-3, mixup=0.0, time_roll=False, flip=True, shift=1, threads=1)
    return Recipe(
        name="tiny",
        data=Data(name=str(card), root=card.parent, validation=0.3, train_share=0.75),
        model=Model(name="vgg16", width=0.0625),
        train=train,
        prune=Prune(keep=0.75),
        budget=Budget(params=60_000),
        finetune=replace(train, epochs=4, distillation=0.5),
        export=Export(formats=("float32", "int8"), dense_formats=(), calibration_clips=30),
        bench=Bench(runs=3),
        out=out,
    )


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz_card(tmp_path_factory.mktemp("images"), train=120, test=30, shape=SHAPE)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, card: Path) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    run(tiny(folder, card))
    return folder


def test_what_it_leaves(done: Path) -> None:
    result = read_json(done / "result.json")
    assert result["data"]["clips"] == {"train": 63, "validation": 27, "test": 30}
    assert set(result["artefacts"]) == {"float32", "int8"}
    assert result["artefacts"]["float32"]["parity"]["max_abs_error"] <= 1e-4
    assert result["budget"]["reached"]["params"] <= 60_000
    assert result["dense"]["accuracy"]["accuracy"] > 0.6, "chance is a third"
    assert "squares" in (done / "report.html").read_text(encoding="utf-8")
    for format in ("float32", "int8"):
        sidecar = read_sidecar(done / f"model_{format}.tflite")
        assert sidecar["inputs"][0]["shape"] == [1, *SHAPE]
        assert (sidecar["labels"], sidecar["frontend"]) == (list(CLASSES), {})
        assert sidecar["model"]["input_shape"] == [3, 16, 12]
        assert len(sidecar["normalisation"]["mean"]) == 3
    assert checkpoint.load(done / "dense.ckpt").extra["frontend"] == {}


def test_a_prediction_can_be_computed_from_the_file_and_an_image_alone(done: Path) -> None:
    path = done / "model_float32.tflite"
    normalisation = read_metadata(path)["normalisation"]
    images, labels = squares(30, 1, SHAPE)
    x = (images - np.array(normalisation["mean"])) / np.array(normalisation["std"])
    predicted = TFLiteModel(path).predict(x.astype(np.float32)).argmax(1)
    recorded = read_json(done / "result.json")["artefacts"]["float32"]["accuracy"]["accuracy"]
    assert (predicted == labels).mean() == pytest.approx(recorded)


def test_evaluate_a_file_on_its_images(done: Path, card: Path, capsys) -> None:
    recorded = read_json(done / "result.json")["artefacts"]["int8"]["accuracy"]
    flags = ["--data.name", str(card), "--data.root", str(card.parent), "--json"]
    capsys.readouterr()
    assert main(["evaluate", str(done / "model_int8.tflite"), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["log_loss"] == recorded["log_loss"]
    assert evaluate(done).scores.accuracy == recorded["accuracy"]
    assert evaluate(done, split="train").scores.clips == 120, "the published part, whatever share was trained on"


def test_clips_are_no_images(done: Path) -> None:
    with pytest.raises(EdgepruneError, match=r"takes images, but synthetic holds clips"):
        evaluate(str(done / "model_int8.tflite"), Data(name="synthetic"))


def test_it_goes_on_where_it_stopped(done: Path, card: Path) -> None:
    whole = read_json(done / "result.json")
    for name in ("result.json", "predictions_int8.csv"):
        (done / name).unlink()
    run(tiny(done, card))
    again = read_json(done / "result.json")
    for part in ("data", "dense", "pruned", "artefacts", "history"):
        assert again[part] == whole[part]


def test_dense_network_of_another_run(done: Path, card: Path, tmp_path: Path) -> None:
    recipe = replace(tiny(tmp_path / "adopted", card), dense_from=done / "dense.ckpt")
    light = Export(formats=("float32",), dense_formats=())
    result = run(replace(recipe, export=light, finetune=replace(recipe.finetune, epochs=0))).to_json()
    assert result["dense"]["accuracy"] == read_json(done / "result.json")["dense"]["accuracy"]
    other = write_npz_card(tmp_path, train=120, test=33, shape=SHAPE)
    with pytest.raises(EdgepruneError, match="another split"):
        run(replace(tiny(tmp_path / "refused", other), dense_from=done / "dense.ckpt"))


def test_export_adds_a_format(done: Path) -> None:
    path = export_more(done, ("float16",))["float16"]
    assert read_sidecar(path)["extra"]["parity"]["max_abs_error"] < 0.01


@pytest.mark.parametrize("part", ["train", "finetune"])
def test_rolling_in_time_is_refused_before_any_work(part: str, card: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, card)
    rolled = replace(recipe, **{part: replace(getattr(recipe, part), time_roll=True)})
    with pytest.raises(EdgepruneError, match=rf"turn it off with --{part}.no-time-roll"):
        run(rolled)
    with pytest.raises(EdgepruneError, match=rf"{part}.shift: -1; give 0 or more"):
        run(replace(recipe, **{part: replace(getattr(recipe, part), shift=-1)}))


def test_audioset_weights_are_for_audio_networks(card: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path / "run", card)
    weighted = replace(recipe, model=replace(recipe.model, audioset_weights=tmp_path / "weights.pth"))
    with pytest.raises(EdgepruneError, match="only vggish and cnn14"):
        run(weighted)
