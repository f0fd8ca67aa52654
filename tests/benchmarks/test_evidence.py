"""The evidence grid: a tiny one is made, resumed and packed; its figures are held to hand computation."""

import re
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import filelock
import numpy as np
import pandas as pd
import pytest

from edgeprune.data.scene_data import load_scenes
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.evaluation.predictions import read_predictions
from edgeprune.models import checkpoint

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import evidence  # noqa: E402
import evidence_grid  # noqa: E402
import evidence_plots  # noqa: E402
import evidence_predictions  # noqa: E402
import evidence_summary  # noqa: E402
import evidence_tables  # noqa: E402

TINY = """
from pathlib import Path

from edgeprune.recipe import Data, LogMel, Model, Recipe, Train

recipe = Recipe(
    name="tiny",
    data=Data(clips_per_scene=9),
    frontend=LogMel.dcase21(16000, 1.0),
    model=Model(width=0.25),
    train=Train(batch_size=16),
    finetune=Train(batch_size=16, distillation=0.5),
)
"""
NETWORKS = {
    "dense",
    "0.5-scratch",
    "0.5-distilled_scratch",
    "0.5-l1-cut",
    "0.5-l1-reconstructed",
    "0.5-l1-finetuned",
    "0.5-l1-cut_finetuned",
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder of a tiny grid, one epoch each, and the arguments that made it."""
    folder = tmp_path_factory.mktemp("evidence")
    (folder / "tiny.py").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence_grid, "SETS", {"synthetic": (str(folder / "tiny.py"), 1)})
        patch.setattr(evidence, "SETS", evidence_grid.SETS)
        arguments = ["--work", str(folder / "work"), "--root-synthetic", str(folder / "scenes"), "--threads", "1"]
        arguments += ["--cache", str(folder), "--seeds", "3", "--keep", "0.5", "--criteria", "l1", "--main", "l1"]
        arguments += ["--finetune-epochs", "1", "--epochs", "1"]
        arguments += ["--stages", "dense,oneshot,finetune,scratch,distilled_scratch,finetune_cut"]
        assert evidence.main(arguments) == 0
        yield folder / "work", arguments


@pytest.fixture
def place(grid) -> Path:
    return grid[0] / "synthetic" / "seed3" / "fold1"


def test_every_network_and_its_predictions_are_kept(place) -> None:
    assert {path.stem for path in place.glob("*.csv")} == NETWORKS
    assert {path.stem for path in place.glob("*.ckpt")} == NETWORKS


def test_pruned_and_scratch_networks_have_half_of_the_filters(place) -> None:
    dense = checkpoint.load(place / "dense.ckpt").spec.widths
    for name in ("0.5-scratch", "0.5-l1-cut", "0.5-l1-finetuned"):
        widths = checkpoint.load(place / f"{name}.ckpt").spec.widths
        assert {layer: widths[layer] for layer in ("conv1", "conv2", "conv3")} == {
            layer: dense[layer] // 2 for layer in ("conv1", "conv2", "conv3")
        }


def test_predictions_are_those_of_the_network_that_is_kept(grid, place) -> None:
    recipe = evidence.recipe_of("synthetic", evidence._options(grid[1]))
    data = load_scenes(replace(recipe.data, fold=1), recipe.frontend, seed=3)
    for name in ("dense", "0.5-l1-finetuned"):
        expected = torch_probabilities(checkpoint.load(place / f"{name}.ckpt").model, data.patches(data.test))
        assert read_predictions(place / f"{name}.csv").probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_int8_predictions_are_those_of_the_exported_file(grid, place) -> None:
    assert evidence.main([*grid[1], "--stages", "int8", "--main", ""]) == 0
    own, of_file = (read_predictions(place / f"{key}.csv").probabilities for key in ("dense", "dense-int8"))
    assert of_file == pytest.approx(own, abs=0.05)
    assert np.allclose(of_file * 512, (of_file * 512).round())  # steps of 1/256, and zeros as half a step
    (place / "dense-int8.csv").unlink()


def test_the_same_command_makes_nothing_again(grid, place) -> None:
    before = {path: path.stat().st_mtime_ns for path in place.glob("*.c*")}
    (place / "0.5-scratch.csv").unlink()
    assert evidence.main(grid[1]) == 0
    after = {path: path.stat().st_mtime_ns for path in place.glob("*.c*")}
    assert {path.name for path in after if after[path] != before[path]} == {"0.5-scratch.csv", "0.5-scratch.ckpt"}


def test_other_settings_are_refused(grid, capsys) -> None:
    assert evidence.main([*grid[1], "--epochs", "2"]) == 2
    assert "train.epochs: 1 -> 2" in capsys.readouterr().err
    longer = [*grid[1], "--finetune-epochs", "2"]
    assert evidence.main(longer) == 2
    assert evidence.main([*longer, "--stages", "dense"]) == 0  # fine-tuning plays no part in dense networks


def test_packed_predictions_give_the_same_figures(grid, tmp_path) -> None:
    packed = tmp_path / "predictions.csv.gz"
    assert evidence.main([*grid[1], "--pack", str(packed)]) == 0
    of_folder, of_file = (
        evidence_summary.summarise(table)
        for table in (evidence_predictions.from_folder(grid[0]), evidence_predictions.unpack(packed))
    )
    assert of_file["questions"] == of_folder["questions"]
    for name, network in of_folder["sets"]["synthetic"]["networks"].items():
        other = of_file["sets"]["synthetic"]["networks"][name]
        assert other["log_loss"] == pytest.approx(network["log_loss"], abs=5e-3)
        assert other["accuracy"] == network["accuracy"]


def test_a_network_that_another_process_makes_is_waited_for(tmp_path) -> None:
    cell = evidence_grid.Cell("synthetic", 0, 1, "dense")
    experiment = evidence.Experiment(tmp_path, {})  # without a recipe it can make nothing itself
    folder = experiment.place(cell)
    folder.mkdir(parents=True)
    held = threading.Event()

    def make_it_elsewhere() -> None:
        with filelock.FileLock(folder / ".dense.lock"):
            held.set()
            time.sleep(0.5)
            (folder / "dense.csv").touch()

    other = threading.Thread(target=make_it_elsewhere)
    other.start()
    assert held.wait(timeout=10)
    experiment.make([cell])
    other.join()
    assert experiment.is_made(cell)


def test_work_goes_by_seed_then_stage_then_fold(monkeypatch) -> None:
    monkeypatch.setattr(evidence_grid, "SETS", {"tut2017": ("", 4), "esc10": ("", 5)})
    choices = evidence_grid.Choices([0.5, 0.25], ["l1", "random"], ["l1"])
    cells = evidence_grid.cells(["tut2017", "esc10"], [0, 1], [], ["dense", "oneshot"], choices)
    assert len(cells) == 2 * 9 * (1 + 2 * 2 * 2)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert [(cell.data_set, cell.fold) for cell in cells[:5]] == [*(("tut2017", f) for f in (1, 2, 3, 4)), ("esc10", 1)]
    assert all(cell.network == "dense" for cell in cells[:9])


def hand_made() -> pd.DataFrame:
    """Four clips of three recordings on two folds, two seeds; of `0.5-l1-finetuned` seed 1 lacks fold 2."""
    right = {
        ("dense", 0): [1, 1, 1, 0],
        ("dense", 1): [1, 1, 0, 0],
        ("0.5-operator_norm-finetuned", 0): [1, 0, 1, 1],
        ("0.5-operator_norm-finetuned", 1): [1, 0, 0, 0],
        ("0.5-l1-finetuned", 0): [0, 0, 1, 1],
        ("0.5-l1-finetuned", 1): [1, 1],
    }
    clips = [(1, "a.wav", "x"), (1, "b.wav", "x"), (2, "c.wav", "y"), (2, "d.wav", "z")]
    rows = [
        ("tut2017", *clips[place], "park", seed, network, "park" if correct else "bus", np.log(0.8 if correct else 0.2))
        for (network, seed), decided in right.items()
        for place, correct in enumerate(decided)
    ]
    return pd.DataFrame(rows, columns=list(evidence_predictions.COLUMNS))


def test_accuracies_and_differences_by_hand() -> None:
    summary = evidence_summary.summarise(hand_made())
    of_set = summary["sets"]["tut2017"]
    assert (of_set["clips"], of_set["recordings"], of_set["folds"]) == (4, 3, 2)
    dense = of_set["networks"]["dense"]
    assert (dense["seeds"], dense["accuracy"], dense["by_seed"]) == ([0, 1], 5 / 8, [0.75, 0.5])
    assert dense["log_loss"] == pytest.approx(-(5 * np.log(0.8) + 3 * np.log(0.2)) / 8)
    assert of_set["networks"]["0.5-l1-finetuned"]["seeds"] == [0]
    differences = {
        row["label"]: (row["seeds"], row["difference"]) for rows in summary["questions"].values() for row in rows
    }
    assert differences == {
        "`operator_norm` finetuned - dense": ([0, 1], -1 / 8),
        "`l1` finetuned - dense": ([0], -1 / 4),
        "`operator_norm` - `l1`, finetuned": ([0], 1 / 4),
    }


def test_p_values_are_corrected_within_a_question() -> None:
    (fine_tuned, criteria) = evidence_summary.summarise(hand_made())["questions"].values()
    smaller, larger = sorted(fine_tuned, key=lambda row: row["p"])
    assert smaller["p_corrected"] == pytest.approx(min(1, 2 * smaller["p"]))
    assert larger["p_corrected"] == pytest.approx(max(larger["p"], smaller["p_corrected"]))
    assert criteria[0]["p_corrected"] == criteria[0]["p"]


def test_plots_are_whole_svg_files(tmp_path) -> None:
    (accuracy, difference) = evidence_plots.write_plots(evidence_summary.summarise(hand_made()), tmp_path)
    for path in (accuracy, difference):
        text = path.read_text()
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme:dark" in text
        assert not re.search("#0[1-8]0[1-8]0[1-8]", text)  # no placeholder colour is left
    assert "fine-tuned" in accuracy.read_text()
    assert "points from the dense network" in difference.read_text()


def test_tables_say_where_seeds_are_fewer() -> None:
    found = {table.title: table for table in evidence_tables.tables(evidence_summary.summarise(hand_made()))}
    (accuracies,) = (table for title, table in found.items() if title.endswith("2 seeds: accuracy, %"))
    assert accuracies.columns == ["filters kept", "`operator_norm`", "`l1`"]
    (row,) = accuracies.rows
    assert row[0] == "half, fine-tuned"
    assert [cell.split(" (")[0] for cell in row[1:]] == ["50.0", "50.0"]
    assert [cell.endswith(" [1]") for cell in row[1:]] == [False, True]
