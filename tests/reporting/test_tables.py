from typing import Any

import numpy as np
import pytest

from edgeprune.errors import EdgepruneError
from edgeprune.reporting import summary, tables
from edgeprune.reporting.layers import layer_changes
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_change,
    format_count,
    format_points,
    format_significant,
)
from edgeprune.results.result import Result

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0k"),
        (1000, "1.0k"),
        (45_990, "46.0k"),
        (np.int64(45_990), "46.0k"),
        (np.float32(1500), "1.5k"),
        (999_949, "999.9k"),
        (999_951, "1.0M"),
        (286_637_800, "286.6M"),
        (55_361_162, "55.4M"),
        (1_234_000_000, "1.2G"),
        (None, MISSING),
        (float("nan"), MISSING),
        ("46k", MISSING),
        (True, MISSING),
    ],
)
def test_counts(value: Any, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (56_100, "56.1 kB"),
        (1_048_576, "1.0 MB"),
        (221_444_648, "221.4 MB"),
        (None, MISSING),
    ],
)
def test_sizes_are_decimal_bytes(value: Any, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (1.2349, "1.23"), (12.345, "12.3"), (99.949, "99.9"), (99.96, "100"), (1234.4, "1,234"),
     (0.0, "0.00"), (None, MISSING)],
)  # fmt: skip
def test_three_significant_digits(value: Any, text: str) -> None:
    assert format_significant(value) == text


def test_changes_are_signed_and_zero_is_not() -> None:
    assert format_points(0.47, 0.48) == f"{MINUS}1.0"
    assert format_points(0.50, 0.48) == "+2.0"
    assert format_points(0.48001, 0.48002) == "0.0"
    assert format_points(None, 0.48) == MISSING
    assert format_change(14_142, 45_990) == f"{MINUS}69 %"
    assert format_change(1, 0) == MISSING


def test_summary_of_a_whole_run(result: dict[str, Any]) -> None:
    table = summary.summary_table(Result.from_json(result))
    columns, rows = table.columns, table.rows
    assert columns == ("network", "parameters", "MACs", "file", "accuracy", "log loss", "latency, host")
    assert [row[0] for row in rows] == [
        "dense float32", "dense int8", "pruned float32", "pruned float16", "pruned dynamic", "pruned int8",
        "pruned int16x8",
    ]  # fmt: skip
    assert rows[0] == ("dense float32", "46.0k", "286.6M", "187.7 kB", "55.50 %", "1.425", "14.5 ms (measured)")
    # One thread, on the machine, not the two-thread, the emulated or the estimated row.
    assert rows[5] == ("pruned int8", "14.1k", "75.6M", "21.9 kB", "53.83 %", "1.463", "4.24 ms (measured)")
    assert rows[2][-1] == MISSING


def test_summary_shows_bare_networks_where_no_float32_file_is(result: dict[str, Any]) -> None:
    result["artefacts"] = {"int8": result["artefacts"]["int8"]}
    rows = summary.summary_table(Result.from_json(result)).rows
    assert [row[0] for row in rows] == ["dense", "pruned", "pruned int8"]
    assert rows[0][1:] == ("46.0k", "286.6M", MISSING, "55.50 %", "1.425", MISSING)


def test_summary_takes_an_estimate_only_where_nothing_was_measured(result: dict[str, Any]) -> None:
    result["latency"] = [row for row in result["latency"] if row["kind"] != "measured"]
    table = summary.summary_table(Result.from_json(result))
    columns, rows = table.columns, table.rows
    assert columns[-1] == "latency, ethos-u55-128"
    assert rows[5][-1] == "0.873 ms (estimated)"


def test_summary_reads_other_units_of_time_and_no_instructions(result: dict[str, Any]) -> None:
    result["latency"] = [{"device": "x", "kind": "measured", "unit": "us", "median": 870, "model": "model_int8.tflite"}]
    assert summary.summary_table(Result.from_json(result)).rows[5][-1] == "0.870 ms (measured)"
    result["latency"][0]["unit"] = "instructions"
    table = summary.summary_table(Result.from_json(result))
    columns, rows = table.columns, table.rows
    assert columns[-1] == "latency"
    assert rows[5][-1] == MISSING


def test_summary_is_printed(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    summary.print_summary(Result.from_json(result))
    printed = capsys.readouterr().out
    assert "dcase21_tau2020" in printed
    assert "21.9 kB" in printed


def test_empty_result_has_no_rows() -> None:
    assert summary.summary_table(Result.from_json({})).rows == ()
    assert summary.shipped(Result.from_json({})) is None
    assert summary.reference(Result.from_json({})) is None


def test_shipped_is_pruned_int8_else_the_first_pruned(result: dict[str, Any]) -> None:
    assert summary.shipped(Result.from_json(result)).label == "pruned int8"  # type: ignore[union-attr]
    del result["artefacts"]["int8"]
    assert summary.shipped(Result.from_json(result)).label == "pruned float32"  # type: ignore[union-attr]
    result["artefacts"], result["pruned"] = {}, None
    assert summary.shipped(Result.from_json(result)).label == "dense"  # type: ignore[union-attr]


def test_budget_names_the_binding_limit(result: dict[str, Any]) -> None:
    rows = tables.budget_table(Result.from_json(result)).rows
    assert rows[0] == ("parameters", "46.0k", "15.0k", "14.1k", "94.3 %", "")
    assert rows[1] == ("MACs", "286.6M", "80.0M", "75.6M", "94.5 %", "binding")
    assert rows[2] == ("peak activation memory, int8", "640.0 kB", "400.0 kB", "320.0 kB", "80.0 %", "")
    assert rows[3] == ("weights and biases, int8", "46.5 kB", "no limit", "14.6 kB", MISSING, "")


def test_budget_knows_costs_by_either_name(result: dict[str, Any]) -> None:
    result["budget"] = {
        "asked": {"peak_ram": 400_000},
        "reached": {"peak_ram_bytes": 320_000},
        "binding": ["peak_ram_bytes"],
    }
    rows = tables.budget_table(Result.from_json(result)).rows
    assert rows == (("peak activation memory, int8", "640.0 kB", "400.0 kB", "320.0 kB", "80.0 %", "binding"),)


def test_budget_has_a_row_for_latency(planned: dict[str, Any]) -> None:
    rows = tables.budget_table(Result.from_json(planned)).rows
    assert [row[0] for row in rows] == [
        "parameters", "MACs", "peak activation memory, int8", "weights and biases, int8",
        "latency of an inference, by profile",
    ]  # fmt: skip
    assert rows[1][-1] == ""
    assert rows[2] == ("peak activation memory, int8", "648.0 kB", "400.0 kB", "328.0 kB", "82.0 %", "")
    assert rows[4][1:] == (MISSING, "4.80 ms", "4.76 ms", "99.2 %", "binding")


def test_budget_without_a_limit_on_latency_has_no_row_for_it(planned: dict[str, Any]) -> None:
    planned["budget"]["asked"]["latency_ms"] = None
    del planned["budget"]["reached"]["latency_ms"]
    assert len(tables.budget_table(Result.from_json(planned)).rows) == 4


def test_budget_takes_a_latency_as_a_number_too(planned: dict[str, Any]) -> None:
    planned["budget"]["asked"]["latency_ms"] = 4.8
    assert tables.budget_table(Result.from_json(planned)).rows[4][2] == "4.80 ms"
    planned["budget"]["asked"]["latency_ms"] = "soon"
    with pytest.raises(EdgepruneError, match="'soon' is not a latency"):
        tables.budget_table(Result.from_json(planned))


def test_allocation_is_said_to_be_proven_or_how_far_it_may_be(planned: dict[str, Any]) -> None:
    proven, source, latency = tables.allocation_notes(Result.from_json(planned))
    assert proven == f"No allocation within the limits has a higher log_mass ({-1.0567}): proven."
    assert source == "What is reached was read from model_int8.tflite."
    assert latency == "Latency is that of the profile of host, whose stages were measured."
    planned["budget"] |= {"proven": False, "gap": 0.25}
    expected = "log_mass -1.0567; no allocation within the limits can have more than -0.8067, 0.2500 above."
    assert tables.allocation_notes(Result.from_json(planned))[0] == expected


def test_allocation_of_several_steps_is_of_the_last(planned: dict[str, Any]) -> None:
    planned["recipe"]["prune"]["steps"] = 3
    steps, proven, *_ = tables.allocation_notes(Result.from_json(planned))
    assert steps == "Pruned in 3 steps, scored again before each."
    assert proven.endswith(" in the last step: proven.")


def test_uniform_allocation_claims_no_optimum(planned: dict[str, Any]) -> None:
    planned["recipe"]["prune"]["allocation"] = "uniform"
    notes = " ".join(tables.allocation_notes(Result.from_json(planned)))
    assert "Every layer keeps the same share of its filters" in notes
    assert "proven" not in notes


def test_reconstruction_is_told_with_the_score_before_and_after(planned: dict[str, Any]) -> None:
    planned["pruned"]["before_finetuning"] = {"accuracy": 0.3}
    cut_only = {"accuracy": 0.125}
    layers = [{"path": "conv1", "left": "its inputs did not change"}, {"path": "conv2", "left": ""}]
    done = {"inputs": 200, "layers": layers, "output_error_before": 1.1, "output_error_after": 0.1}
    planned["pruned"]["reconstruction"] = {**done, "kept": True, "cut_only": cut_only}
    planned["recipe"]["finetune"] = {"epochs": 0}
    notes = tables.reconstruction_notes(Result.from_json(planned))
    assert notes == [
        "Reconstruction fitted 1 layer to the dense network's outputs on 200 inputs of training clips, without labels: "
        "accuracy 12.50 % with the filters cut, 30.00 % afterwards.",
        "The pruned network was not trained.",
    ]
    planned["pruned"]["reconstruction"]["kept"] = False
    assert "no closer" in tables.reconstruction_notes(Result.from_json(planned))[0]


def test_older_results_say_nothing_of_their_allocation(result: dict[str, Any]) -> None:
    assert tables.allocation_notes(Result.from_json(result)) == []
    assert tables.allocation_notes(Result.from_json({})) == []
    assert all(layer.scores_kept is None for layer in layer_changes(Result.from_json(result)))


def test_breakdown_gives_the_change_of_each_class(result: dict[str, Any]) -> None:
    table = tables.breakdown_table(Result.from_json(result), "class")
    assert table.columns == ("class", "clips", "dense float32", "pruned int8", "points")
    assert ("airport", "60", "66.7 %", "65.0 %", f"{MINUS}1.7") in table.rows  # 40 of 60, then 39
    assert ("park", "60", "80.0 %", "80.0 %", "0.0") in table.rows
    assert tables.breakdown_table(Result.from_json(result), "city").rows == ()


def test_breakdown_of_a_single_network_has_no_change(result: dict[str, Any]) -> None:
    result["pruned"], result["artefacts"] = None, None
    table = tables.breakdown_table(Result.from_json(result), "class")
    assert table.columns == ("class", "clips", "dense")
    assert table.rows[0] == ("airport", "60", "66.7 %")


def test_confused_pairs_are_the_largest_mistakes() -> None:
    table = tables.confused_pairs(["bus", "tram", "park"], [[5, 3, 0], [7, 1, 2], [0, 0, 0]], limit=2)
    assert table.rows == (("tram", "bus", "7", "70.0 %"), ("bus", "tram", "3", "37.5 %"))


def test_layers_leave_out_pools_and_count_what_stays(result: dict[str, Any]) -> None:
    found = layer_changes(Result.from_json(result))
    assert [layer.name for layer in found] == ["conv1", "conv2", "conv3", "dense1", "dense2"]
    assert found[1].filters == (16, 8)
    assert found[1].kept == 0.5
    assert sum(layer.params[0] or 0 for layer in found) == result["dense"]["cost"]["params"]
    assert sum(layer.macs[1] or 0 for layer in found) == result["pruned"]["cost"]["macs"]


def test_layers_tell_the_scores_they_keep(planned: dict[str, Any]) -> None:
    found = {layer.name: layer.scores_kept for layer in layer_changes(Result.from_json(planned))}
    assert found == {"conv1": 0.7123, "conv2": 0.8, "conv3": 0.61, "dense1": None, "dense2": None}


def test_layers_from_widths_alone() -> None:
    (layer,) = layer_changes(Result.from_json({"widths": {"dense": {"conv1": 64}, "pruned": {"conv1": 16}}}))
    assert layer.kept == 0.25
    assert layer.macs == (None, None)


def test_latency_keeps_kinds_and_units_apart(result: dict[str, Any]) -> None:
    rows = tables.latency_table(Result.from_json(result).latency).rows
    assert [row[2] for row in rows] == ["measured", "measured", "measured", "emulated", "estimated"]
    assert rows[3][3] == "178.0M instructions"
    assert rows[2] == (
        "model_int8.tflite", "host", "measured", "4.24 ms", "4.10 to 4.90", "50", "1", "1.2 MB", MISSING,
    )  # fmt: skip


def test_an_arena_is_a_size_and_no_median(result: dict[str, Any]) -> None:
    arena = {"device": "tflm", "kind": "measured", "unit": "arena_bytes", "median": 34_208, "p5": 34_208, "p95": 34_208}
    result["latency"] = [{**arena, "model": "model_int8.tflite", "runs": 1}]
    table = tables.latency_table(Result.from_json(result).latency)
    assert table.columns[3:5] == ("median or size", "5th to 95th percentile")
    assert table.rows[0][3:5] == ("34.2 kB", MISSING)


def test_settings_are_flattened() -> None:
    settings = {"data": {"fold": 1, "root": None}, "export": {"formats": ["int8", "float32"]}}
    flat = list(tables.flatten(settings))
    assert flat == [("data.fold", "1"), ("data.root", MISSING), ("export.formats", "int8, float32")]


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"schema": 2}, "schema is 2"),
        ({"artefacts": [1]}, "artefacts should be an object, not list"),
        ({"dense": {"cost": 3}}, "dense.cost should be an object, not int"),
        ({"latency": {"host": 1}}, "latency should be a list, not dict"),
        ({"latency": [3]}, "latency should list objects, not int"),
    ],
)
def test_malformed_results_are_named(broken: dict[str, Any], named: str) -> None:
    with pytest.raises(EdgepruneError, match=named):
        Result.from_json(broken)


def test_latency_tells_the_flash_of_devices_that_have_it(result: dict[str, Any]) -> None:
    result["latency"][0]["detail"] = {"flash_bytes": 61_440, "by_layer": [1, 2], "board": "AN386", "rate": 2.35}
    assert tables.latency_table(Result.from_json(result).latency).rows[3][8] == "61.4 kB"
    rows = tables.detail_table(Result.from_json(result).latency[0]).rows
    assert rows == (("flash bytes", "61,440"), ("board", "AN386"), ("rate", "2.35"))


def test_frontend_beside_the_network(result: dict[str, Any]) -> None:
    assert tables.frontend_table(Result.from_json(result)).rows == ()
    result["frontend"] = {
        "ram_bytes": 8_724,
        "flash_bytes": 9_100,
        "hop_s": 0.02,
        "emulated": [{"board": "cortex-m4", "instructions_per_hop": 83_906.5}],
    }
    assert tables.frontend_table(Result.from_json(result)).rows == (
        ("RAM", "8.7 kB"),
        ("flash", "9.1 kB"),
        ("instructions a hop (every 20.0 ms), cortex-m4", "83,906 (emulated)"),
    )
