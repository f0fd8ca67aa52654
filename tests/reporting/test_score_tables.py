"""Which scores tables show of several classes a clip, and of one sound."""

import copy
from pathlib import Path
from typing import Any

import pytest

from edgeprune.evaluation.clips import evaluate_clips
from edgeprune.reporting import scores, summary, tables
from edgeprune.reporting.report import write_report
from edgeprune.results.result import Result

pd = pytest.importorskip("pandas")
CLASSES = ["airport", "bus"]


def metrics(detects: bool, shift: float = 0.0) -> dict[str, Any]:
    """What is measured of four clips; `shift` moves all probabilities."""
    cells = ["airport;bus", "bus", "none", "airport"] if not detects else ["bus", "bus", "none", "none"]
    clips = pd.DataFrame({"label": cells, "device": "a", "city": ""})
    rows = [[0.9, 0.8], [0.3, 0.6], [0.4, 0.7], [0.6, 0.1]]
    if detects:
        clips, rows = clips.assign(seconds=900.0), [[row[1]] for row in rows]
    probabilities = [[max(0.0, value - shift) for value in row] for row in rows]
    return evaluate_clips(clips, probabilities, ["bus"] if detects else CLASSES, 0.5)


def result_of(result: dict[str, Any], detects: bool) -> Result:
    """A stored result with other scores."""
    changed = copy.deepcopy(result)
    changed["task"] = "detection" if detects else "tags"
    for key, part in (*changed["artefacts"].items(), ("dense", changed["dense"]), ("pruned", changed["pruned"])):
        part["accuracy"] = metrics(detects, 0.15 if key == "int8" else 0.0)
    if detects:
        changed["pruned"]["threshold_on_validation"] = {"asked_recall": 0.9, "recall": 0.95, "threshold": 0.5}
    return Result.from_json(changed)


def test_tags_are_summed_up_by_average_precision(result: dict[str, Any]) -> None:
    told = result_of(result, detects=False)
    table = summary.summary_table(told)
    assert table.columns[4:7] == ("mean average precision", "d-prime", "accuracy")
    # airport: clips with it come first and second; bus: first and third
    assert table.rows[0][4] == f"{100 * (1 + (1 + 2 / 3) / 2) / 2:.2f} %"
    rows = {row[0]: row for row in tables.format_table(told).rows}
    assert tables.format_table(told).columns[1:4] == ("mean average precision", "points", "d-prime")
    assert rows["pruned int8"][2] == "0.00", "a shift of all probabilities changes no rank"
    by_class = tables.breakdown_table(told, "class")
    assert [row[0] for row in by_class.rows] == CLASSES
    assert by_class.rows[1][2] == "83.3 %"
    assert scores.detection_table(told).rows == ()


def test_a_detector_is_summed_up_at_its_threshold(result: dict[str, Any]) -> None:
    told = result_of(result, detects=True)
    table = summary.summary_table(told)
    assert table.columns[4:6] == ("recall", "false alarms an hour")
    rows = {row[0]: row for row in scores.detection_table(told).rows}
    # one of the two clips without a bus, half an hour together, has 0.7; 0.15 less leaves 0.55 and the bus at 0.45
    assert rows["dense float32"][1:8] == ("0.500", "100.0 %", "66.7 %", "0", "1", "0.500", "2.00")
    assert rows["pruned int8"][1:8] == ("0.500", "50.0 %", "50.0 %", "1", "1", "0.500", "2.00")
    assert "90 % of the sounds are found" in scores.threshold_note(told.networks["pruned"])
    assert scores.threshold_note(told.networks["dense"]) == ""
    assert {"recall", "false_alarms_per_hour"} <= set(told.table())


@pytest.mark.parametrize("detects", [False, True])
def test_the_report_names_the_score(result: dict[str, Any], tmp_path: Path, detects: bool) -> None:
    write_report(result_of(result, detects), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    score = "Average precision" if detects else "Mean average precision"
    assert f"<h2>{score} by format</h2>" in page
    assert f"<dt>{score}</dt>" in page
    assert ("Detection at the threshold" in page) is detects
    assert "Accuracy by format" not in page


def test_an_older_result_tells_one_class_a_clip(result: dict[str, Any]) -> None:
    old = Result.from_json(result)
    assert old.task == "scenes"
    assert {"mean_average_precision", "recall"}.isdisjoint(old.table())
    assert summary.summary_table(old).columns[4:6] == ("accuracy", "log loss")
