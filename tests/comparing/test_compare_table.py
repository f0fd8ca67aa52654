import io
import json

import pandas as pd
import pytest
from run_folders import pruned, timing, write_run

from edgeprune.comparing.compare import compare
from edgeprune.comparing.table import controls_table, latency_table, main_table
from edgeprune.reporting.numbers import MISSING

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Two seeds of a variant and of the random control; the first seed of the control failed."""
    root = tmp_path_factory.mktemp("sweep")
    for seed in range(2):
        rows = [
            timing("model_int8.tflite", 0.5 + seed / 10),
            timing("dense_int8.tflite", 2.0),
            timing("model_int8.tflite", 25.9e6, device="cortex-m4", kind="emulated", unit="instructions", cpu=None),
        ]
        both = {"formats": ("float32", "int8"), "dense_formats": ("int8",)}
        accuracy = 0.7 + seed / 100
        write_run(root / f"own{seed}", pruned(seed), accuracy=accuracy, dense_accuracy=0.75, latency=rows, **both)
        write_run(root / f"random{seed}", pruned(seed, criterion="random"), accuracy=0.6, dense_accuracy=0.75, **both)
    (root / "random0" / "result.json").unlink()
    return compare([root])


def test_a_frame_has_a_row_a_variant_and_format(comparison) -> None:
    frame = comparison.table()
    assert list(zip(frame["variant"], frame["format"], strict=True)) == [
        ("dense", "int8"),
        ("operator_norm", "float32"),
        ("operator_norm", "int8"),
        ("random", "float32"),
        ("random", "int8"),
    ]
    own = frame.set_index(["variant", "format"]).loc[("operator_norm", "int8")]
    assert own["role"] == "variant"
    assert (own["runs"], own["failed"], own["params"], own["file_bytes"]) == (2, 0, 15_000, 25_000)
    assert own["prune.criterion"] == "operator_norm"
    assert (own["accuracy"], own["accuracy_n"]) == (pytest.approx(0.705), 2)
    assert (own["accuracy_minus_dense"], own["accuracy_minus_dense_p"]) == (pytest.approx(-0.045), 0.5)
    assert own["accuracy_low"] < 0.7 < own["accuracy_high"]
    assert (own["random_control"], own["accuracy_minus_random_n"]) == ("random", 1)
    assert own["accuracy_minus_random"] == pytest.approx(0.11)
    assert pd.isna(own["accuracy_minus_random_low"])
    assert own["latency_ms, host, measured"] == pytest.approx(0.55)
    assert own["latency_instructions, cortex-m4, emulated"] == 25.9e6
    assert own["pareto"] == "macs params flash_bytes peak_ram_bytes"
    random = frame[frame["variant"] == "random"].iloc[-1]
    assert (random["runs"], random["failed"]) == (1, 1)


def test_a_comparison_shows_itself_in_a_notebook(comparison) -> None:
    html = comparison._repr_html_()
    assert html.startswith("<table")
    assert "accuracy_minus_dense" in html


def test_a_frame_comes_back_from_csv(comparison) -> None:
    frame = comparison.table()
    read = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert list(read.columns) == list(frame.columns)
    numbers = frame.select_dtypes("number").columns
    pd.testing.assert_frame_equal(read[numbers], frame[numbers], check_dtype=False)


def test_the_main_table_tells_costs_spread_and_difference(comparison) -> None:
    table = main_table(comparison)
    assert table.columns[0] == "variant"
    rows = {row[0]: row for row in table.rows}
    # t(1) is 12.7062, the std of 0.70 and 0.71 is 0.00707: the half interval is 6.35 points
    assert rows["operator_norm"] == (
        "operator_norm",
        "15.0k *",
        "1.5M *",
        "15.0 kB *",
        "30.0 kB *",
        "70.50 ± 6.35",
        f"{MINUS}4.50 [{MINUS}10.85, +1.85], p 0.500",
    )
    assert rows["random (1 of 2)"][5] == "60.00"
    assert rows["dense"][6] == MISSING


def test_an_interval_that_ends_at_100_percent_is_written_out(tmp_path) -> None:
    for seed, accuracy in enumerate((0.99, 0.90)):
        write_run(tmp_path / str(seed), pruned(seed), accuracy=accuracy)
    assert main_table(compare([tmp_path])).rows[1][5] == "94.50 [37.32, 100.00]"


def test_one_device_is_a_column_and_more_are_a_table(comparison, tmp_path) -> None:
    table = latency_table(comparison)
    assert table.columns == ("variant", "host, ms (measured)", "cortex-m4, instructions (emulated)")
    assert table.rows == (
        ("dense", "2.00", MISSING),
        ("operator_norm", "0.550", "25.9M"),
        ("random", MISSING, MISSING),
    )
    write_run(tmp_path, pruned(), latency=[timing("model_int8.tflite", 0.5)])
    single = compare([tmp_path])
    assert latency_table(single) is None
    assert main_table(single).columns[-1] == "host, ms (measured)"
    assert [row[-1] for row in main_table(single).rows] == [MISSING, "0.500"]


def test_differences_to_other_controls_have_a_table(comparison, tmp_path) -> None:
    rows = {(row[0], row[1]): row[2:] for row in controls_table(comparison).rows}
    assert rows["operator_norm", "random"] == ("+11.00", MISSING, "0.000", MISSING)
    assert rows["operator_norm", "dense"][1] == "0.500"
    write_run(tmp_path, pruned())
    assert controls_table(compare([tmp_path])) is None


def test_json_has_every_run_and_none_of_its_results(comparison) -> None:
    text = json.dumps(comparison.to_json(), allow_nan=False)
    found = json.loads(text)
    assert [one["name"] for one in found["variants"]] == ["dense", "operator_norm", "random"]
    runs = found["variants"][2]["runs"]
    assert [(run["seed"], run["reason"]) for run in runs] == [(0, "has not finished"), (1, "")]
    assert runs[1]["scores"]["int8"] == {"accuracy": 0.6, "log_loss": 1.0}
    assert runs[0]["scores"] is None
    assert "artefacts" not in text
    assert (found["format"], found["controls"]) == ("int8", ["dense", "random"])
