import json
from pathlib import Path

import pandas as pd
import pytest
from calls import call, call_json
from run_folders import change, pruned, write_run


@pytest.fixture
def sweep(tmp_path) -> Path:
    for seed in range(3):
        write_run(tmp_path / "sweep" / f"own{seed}", pruned(seed), accuracy=0.7, dense_accuracy=0.75)
        write_run(tmp_path / "sweep" / f"r{seed}", pruned(seed, criterion="random"), accuracy=0.6, dense_accuracy=0.75)
    return tmp_path / "sweep"


def test_it_prints_the_table_and_the_notes(capsys, sweep) -> None:
    code, out, _ = call(capsys, "compare", sweep)
    assert code == 0
    assert "accuracy of the int8 files" in out
    assert "against the controls" in out
    assert "p is that of the exact two-sided sign-flip permutation test" in out
    assert "- So few pairs cannot give a small p; the smallest: 3 pairs 0.25." in out


def test_json_and_files(capsys, sweep, tmp_path) -> None:
    found = call_json(capsys, "compare", sweep, "--csv", tmp_path / "c.csv", "--html", tmp_path / "c.html")
    assert [one["name"] for one in found["variants"]] == ["dense", "operator_norm", "random"]
    assert list(pd.read_csv(tmp_path / "c.csv")["accuracy"]) == pytest.approx([0.75, 0.7, 0.6])
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "operator_norm" in page


def test_several_folders_and_a_format(capsys, sweep) -> None:
    found = call_json(capsys, "compare", sweep / "own0", sweep / "r0", "--format", "int8")
    assert len(found["variants"]) == 3
    code, _, err = call(capsys, "compare", sweep, "--format", "int4")
    assert code == 2
    assert "format 'int4' is unknown" in err


def test_the_gate_passes_and_says_what_was_compared(capsys, sweep) -> None:
    code, out, err = call(capsys, "compare", sweep / "own0", "--baseline", sweep / "own1", "--max-drop", "0.0")
    assert code == 0, err
    assert "Within the limits:" in out
    assert "accuracy (0.00 points, a drop of 0.00 is allowed)" in out


def test_the_gate_fails_with_4_after_the_results(capsys, sweep) -> None:
    change(sweep / "own0" / "result.json", artefacts__int8__accuracy__accuracy=0.5)
    arguments = ("compare", sweep / "own0", "--baseline", sweep / "own1")
    code, out, err = call(capsys, *arguments)
    assert code == 4
    assert "too much" in out
    assert "accuracy fell by 20.00 points of 1.00 allowed" in err
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 4
    assert json.loads(out)["gate"]["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name the runs first"),
        (["nowhere"], "is no folder"),
        (["SWEEP", "--max-latency", "1.05"], "--max-latency limits what may change since earlier runs"),
        (["SWEEP", "--baseline", "SWEEP", "--max-bytes", "-1"], "--max-bytes"),
    ],
)
def test_wrong_input_ends_with_2(capsys, sweep, arguments, told) -> None:
    code, _, err = call(capsys, "compare", *[str(sweep) if word == "SWEEP" else word for word in arguments])
    assert code == 2
    assert told in " ".join(err.split())


def test_a_sweep_passes_against_itself(capsys, sweep) -> None:
    code, out, err = call(capsys, "compare", sweep, "--baseline", sweep, "--max-bytes", "1")
    assert code == 0, err
    assert "2 variants, 6 pairs of runs" in out


def test_the_csv_file_holds_no_formulas(capsys, tmp_path) -> None:
    """A criterion's name comes from a result that anybody may have sent."""
    formula = '=HYPERLINK("http://x","y")'
    for seed in range(2):
        write_run(tmp_path / "sweep" / f"a{seed}", pruned(seed, criterion=formula), accuracy=0.7, dense_accuracy=0.75)
    code, _, err = call(capsys, "compare", tmp_path / "sweep", "--csv", tmp_path / "c.csv")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "c.csv", dtype=str).fillna("")
    assert any(formula in cell for cell in table.to_numpy().ravel())
    text = table.select_dtypes(exclude="number").to_numpy().ravel()
    assert not [cell for cell in text if cell.startswith(("=", "+", "@", "\t", "\r"))]
