"""Runs of several classes a clip and of one sound: the recipes at tiny size, through every stage."""

import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import edgeprune
from edgeprune.bundles.targets import write_bundle
from edgeprune.cli.main import main
from edgeprune.data.labels import membership
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.detection import choose_threshold
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.evaluation.predictions import read_predictions
from edgeprune.models import checkpoint
from edgeprune.recipe import Bench, Export, Model, Recipe
from edgeprune.recipe_files import load_recipe
from edgeprune.results.result import Result
from edgeprune.running.check import check
from edgeprune.running.data import load_data_of
from edgeprune.submitting.card import write_card
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.metadata import read_description

pytestmark = pytest.mark.slow


def tiny(name: str, folder: Path) -> Recipe:
    """The recipe with few clips, epochs and filters."""
    recipe = load_recipe(name)
    return replace(
        recipe,
        data=replace(recipe.data, clips_per_scene=18, root=folder / "clips", cache=folder / "cache"),
        model=Model(width=0.5),
        train=replace(recipe.train, epochs=4, threads=1),
        finetune=replace(recipe.finetune, epochs=2, threads=1),
        export=Export(formats=("float32", "int8"), dense_formats=("float32",), calibration_clips=20),
        bench=Bench(runs=3),
        out=folder / name,
    )


@pytest.fixture(scope="module")
def tags_run(tmp_path_factory) -> Result:
    return edgeprune.run(tiny("synthetic_tags", tmp_path_factory.mktemp("tags")))


@pytest.fixture(scope="module")
def detection_run(tmp_path_factory) -> Result:
    return edgeprune.run(tiny("synthetic_detection", tmp_path_factory.mktemp("detection")))


def test_scores_of_tags_are_those_of_the_predictions(tags_run: Result) -> None:
    folder = tags_run.folder
    assert folder is not None
    stored = json.loads((folder / "result.json").read_text())
    assert stored["task"] == tags_run.task == "tags"
    for key, file in (("int8", tags_run.shipped), ("float32", tags_run.networks["pruned"].files["float32"])):
        table = read_predictions(folder / f"predictions_{key}.csv")
        assert table.several
        truth = membership(table.labels, table.classes)
        scores = file.scores
        assert scores.mean_average_precision == pytest.approx(average_precision_score(truth, table.probabilities))
        assert scores.auc == pytest.approx(roc_auc_score(truth, table.probabilities))
        assert scores.accuracy == np.mean([a == b for a, b in zip(table.labels, table.predicted, strict=True)])
        assert abs(table.probabilities.sum(axis=1) - 1).max() > 0.1, "they are no shares of one"
    assert tags_run.shipped.parity.label_flips <= 0.2 * tags_run.shipped.parity.clips


def test_the_file_says_what_it_tells(tags_run: Result) -> None:
    path = tags_run.folder / "model_int8.tflite"
    assert operators(path)[-1] == "LOGISTIC"
    description = read_description(path)
    assert (description.task, description.threshold, len(description.labels)) == ("tags", 0.5, 10)
    evaluation = edgeprune.evaluate(tags_run.folder)
    assert evaluation.scores == tags_run.shipped.scores
    assert "average_precision" in evaluation.table()
    with pytest.raises(EdgepruneError, match="tells several classes a clip, but synthetic holds one class a clip"):
        edgeprune.evaluate(path, edgeprune.Data(name="synthetic", clips_per_scene=9, root=path.parent / "scenes"))


def test_report_card_and_comparison_show_the_score_that_counts(tags_run: Result, tmp_path: Path) -> None:
    report = (tags_run.folder / "report.html").read_text()
    assert "Mean average precision by format" in report
    assert "Confusion matrix" not in report
    assert "counts as heard from 0.500 on" in write_card(tags_run.folder, tmp_path / "card.md").read_text()
    comparison = edgeprune.compare(tags_run.folder)
    assert comparison.score == "mean_average_precision"
    row = comparison.table().set_index(["role", "format"]).loc["variant", "int8"]
    assert row["mean_average_precision"] == tags_run.shipped.scores.mean_average_precision
    assert "accuracy" not in row
    assert json.loads(json.dumps(comparison.to_json()))["score"] == "mean_average_precision"


@pytest.mark.parametrize("run", ["tags_run", "detection_run"])
def test_submit_refuses(run: str, request, capsys, tmp_path: Path) -> None:
    folder = request.getfixturevalue(run).folder
    assert main(["submit", str(folder), "--rules", "dcase2022", "--out", str(tmp_path)]) == 2
    assert "ranks systems of one scene a clip" in " ".join(capsys.readouterr().err.split())


def test_the_threshold_is_that_of_validation_clips(detection_run: Result) -> None:
    """The files have the network's threshold, and what they reach with it on the evaluation part is counted."""
    folder = detection_run.folder
    recipe = load_recipe(str(folder))
    network = checkpoint.load(folder / "pruned.ckpt")
    data = load_data_of(recipe, network)
    holds = membership(list(data.validation["label"]), ["metro"])[:, 0]
    threshold = choose_threshold(holds, torch_probabilities(network.model, data.patches(data.validation))[:, 0], 0.9)
    assert detection_run.task == "detection"
    assert detection_run.networks["pruned"].threshold.recall >= 0.9
    for format in ("float32", "int8"):
        assert read_description(folder / f"model_{format}.tflite").threshold == threshold
        with open(folder / f"predictions_{format}.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        alarms = [float(row["metro"]) >= threshold for row in rows]
        assert ["metro" if alarm else "none" for alarm in alarms] == [row["predicted"] for row in rows]
        false = sum(alarm for alarm, row in zip(alarms, rows, strict=True) if row["labels"] == "none")
        without = sum(row["labels"] == "none" for row in rows)
        figures = detection_run.networks["pruned"].files[format].scores.detection
        assert figures.false_alarms == false
        assert figures.false_alarms_per_hour == pytest.approx(3600 * false / (1.0 * without), rel=1e-3)  # 1-s clips
        assert figures.threshold == threshold


def test_a_head_of_one_unit_is_no_constant(detection_run: Result) -> None:
    path = detection_run.folder / "model_int8.tflite"
    assert read_description(path).spec.classes == 1
    table = read_predictions(detection_run.folder / "predictions_int8.csv", ["metro"])
    assert len(np.unique(table.probabilities)) > 5
    assert edgeprune.evaluate(detection_run.folder).scores == detection_run.shipped.scores


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("gcc")), reason="needs Debian's make and gcc")
def test_firmware_decides_by_the_networks_threshold(detection_run: Result, tmp_path: Path) -> None:
    bundle = write_bundle(detection_run.folder, "c11", tmp_path / "bundle")
    threshold = read_description(detection_run.folder / "model_int8.tflite").threshold
    config = (bundle / "src" / "edgeprune_listen_config.h").read_text()
    assert f"#define EP_THRESHOLD {round(threshold * 65536)}u" in config
    done = subprocess.run(["make", "--silent", "run"], cwd=bundle, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vectors: 10 of 10 right" in done.stdout
    assert "clips: 3 of 3 as in Python" in done.stdout


def test_report_of_a_detector(detection_run: Result) -> None:
    report = (detection_run.folder / "report.html").read_text()
    assert "Detection at the threshold" in report
    assert "is the highest at which 90 % of the sounds are found in validation clips" in report
    assert "false_alarms_per_hour" in detection_run.table()


def test_a_detector_without_validation_clips_is_refused() -> None:
    recipe = load_recipe("synthetic_detection")
    with pytest.raises(EdgepruneError, match=r"give --data\.validation above 0"):
        check(replace(recipe, data=replace(recipe.data, validation=0.0)))
    with pytest.raises(EdgepruneError, match=r"data\.detect_recall: 1\.5"):
        check(replace(recipe, data=replace(recipe.data, detect_recall=1.5)))
