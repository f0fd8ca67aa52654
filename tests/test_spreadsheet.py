"""No cell of a CSV file is a formula, and what was written is read again."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeprune.evaluation.predictions import read_predictions, write_predictions
from edgeprune.spreadsheet import as_text, from_text

FORMULAS = ['=HYPERLINK("http://x","y")', "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "'=1", "'", "''x"]
BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a cell a formula in Excel, LibreOffice Calc or Google Sheets, by OWASP's page on CSV injection."""


@given(st.text())
@example("")
@pytest.mark.parametrize("formula", FORMULAS)
def test_text_comes_back_and_is_no_formula(formula: str, text: str) -> None:
    for cell in (formula, text, formula + text, "'" + text):
        assert from_text(as_text(cell)) == cell
        assert not as_text(cell).startswith(BEGINNINGS)


def test_plain_text_stays() -> None:
    for cell in ("audio/a-1.wav", "dog", "", "1", "a=b"):
        assert as_text(cell) == from_text(cell) == cell
    assert from_text("'tis") == "'tis", "as earlier versions wrote it"


def test_predictions_hold_no_formulas(tmp_path: Path) -> None:
    """Neither names of clips nor labels nor the columns' names are; they are read as they were."""
    path, classes = tmp_path / "predictions.csv", FORMULAS[:4]
    names = [f"{formula}.wav" for formula in FORMULAS if "\r" not in formula]
    labels = [classes[number % 4] for number in range(len(names))]
    write_predictions(path, names, labels, np.eye(4)[np.arange(len(names)) % 4], classes)
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream):
            assert not any(cell.startswith(BEGINNINGS) for cell in row)
    read = read_predictions(path, classes)
    assert (read.filenames, read.labels, read.predicted, read.classes) == (names, labels, labels, classes)
