"""Runs that tell several classes a clip are compared by mean average precision."""

import json
from pathlib import Path

import pytest
from run_folders import change, pruned, write_run

from edgeprune.cli.main import main
from edgeprune.comparing.compare import compare
from edgeprune.comparing.gate import Limits, judge
from edgeprune.comparing.report.report import write_comparison
from edgeprune.comparing.table import main_table
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.evaluation.predictions import write_predictions


def tag_run(folder: Path, precision: float, **settings) -> Path:
    """A run of tags; its accuracy says the opposite of its mean average precision."""
    write_run(folder, pruned(**settings), accuracy=1 - precision)
    change(
        folder / "result.json",
        task="tags",
        artefacts__int8__accuracy__mean_average_precision=precision,
        artefacts__dense_int8__accuracy__mean_average_precision=0.75,
    )
    rows = [[0.9, 0.8], [0.2, 0.6]]
    write_predictions(
        folder / "predictions_int8.csv", ["a", "b"], ["bus", "park"], rows, ["bus", "park"], threshold=0.5
    )
    return folder


def test_the_score_that_counts_is_compared_and_named(tmp_path: Path, capsys) -> None:
    tag_run(tmp_path / "l1", 0.6, criterion="l1")
    tag_run(tmp_path / "op", 0.7)
    comparison = compare(tmp_path)
    table = comparison.table()
    best = table[table["role"] == "variant"].set_index("prune.criterion")
    assert best["mean_average_precision"].to_dict() == {"l1": 0.6, "operator_norm": 0.7}
    assert best["mean_average_precision_minus_dense"].to_dict() == {
        "l1": pytest.approx(-0.15),
        "operator_norm": pytest.approx(-0.05),
    }
    assert not [name for name in table if "accuracy" in name]
    assert "mean average precision, %" in main_table(comparison).columns
    content = json.loads(json.dumps(comparison.to_json()))
    assert {one["metric"] for one in content["variants"][1]["differences"]} == {"mean_average_precision", "log_loss"}
    assert content["variants"][1]["runs"][0]["scores"]["int8"]["mean_average_precision"] in (0.6, 0.7)
    write_comparison(comparison, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Mean average precision against cost</h2>" in page
    assert main(["compare", str(tmp_path)]) == 0
    assert "mean average precision of the int8 files" in capsys.readouterr().out


def test_a_gate_judges_mean_average_precision_and_no_share_of_clips(tmp_path: Path) -> None:
    new, old = tag_run(tmp_path / "new", 0.6), tag_run(tmp_path / "old", 0.7)
    gate = judge([new], [old], Limits())
    assert (gate.matches[0].old, gate.matches[0].new, gate.matches[0].chance) == (0.7, 0.6, None)
    with pytest.raises(CheckFailedError, match=r"mean average precision fell by 10\.00 points"):
        gate.require()


def test_runs_of_different_tasks_do_not_compare(tmp_path: Path) -> None:
    tag_run(tmp_path / "tags", 0.6)
    write_run(tmp_path / "scenes", pruned())
    with pytest.raises(EdgepruneError, match=r"tells one class a clip and .*tags several or none"):
        compare(tmp_path)
