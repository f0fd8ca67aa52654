"""`result.json` as a typed value: whole, partial and malformed."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from stored_result import stored_result

from edgeprune.errors import EdgepruneError
from edgeprune.results.figures import CostFigures, Scores
from edgeprune.results.result import NETWORKS, Result, artefact_key


@pytest.fixture
def result() -> Result:
    return Result.from_json(stored_result())


# A whole result


def test_both_networks_have_the_same_shape(result) -> None:
    assert tuple(result.networks) == NETWORKS
    dense, pruned = result.networks["dense"], result.networks["pruned"]
    assert (dense.cost.params, pruned.cost.params) == (46_000, 14_000)
    assert (dense.widths, pruned.widths) == ({"conv1": 16}, {"conv1": 8})
    assert dense.files["int8"].scores.accuracy == 0.79
    assert pruned.files["int8"].scores.accuracy == 0.74
    assert (dense.onnx, pruned.onnx) == (None, "model.onnx")
    assert not dense.before_finetuning
    assert pruned.before_finetuning.accuracy == 0.3


def test_files_stand_in_the_order_of_formats(result) -> None:
    assert list(result.networks["pruned"].files) == ["float32", "int8"]
    assert [file.key for file in result.files] == ["dense_int8", "float32", "int8"]
    assert result.shipped is result.networks["pruned"].files["int8"]


def test_a_file(result) -> None:
    file = result.networks["pruned"].files["int8"]
    assert (file.name, file.bytes, file.sha256) == ("model_int8.tflite", 24_576, "3faf")
    assert (file.parity.max_abs_error, file.parity.label_flips, file.parity.transposes) == (0.02, 1, 0)
    assert file.scores.interval == pytest.approx((0.64, 0.84))
    assert file.scores.groups["class"]["bus"].clips == 2
    assert file.scores.groups["class"]["tram"].accuracy is None
    assert set(file.scores.groups) == {"class", "device"}, "a group without rows is left out"
    assert file.scores.confusion == ((1, 1), (0, 2))


def test_the_arena_is_the_ram_and_the_bound_stands_in_where_there_is_none(result) -> None:
    cost = result.networks["dense"].cost
    assert (cost.arena_bytes, cost.peak_bound_bytes, cost.ram_bytes) == (32_640, 30_000, 32_640)
    assert CostFigures.from_json({"peak_ram_bytes": 30_000}).ram_bytes == 30_000
    assert [layer.name for layer in cost.by_layer] == ["conv1"]


def test_timings_are_converted_to_milliseconds_where_the_unit_is_a_time(result) -> None:
    assert [timing.median_ms for timing in result.latency] == [0.5, 0.4, pytest.approx(0.9), None]
    assert result.latency[3].median == 25.9


def test_budget_data_and_frontend(result) -> None:
    assert result.budget
    assert result.budget.binding == ("params",)
    assert result.budget.reached == {"params": 14_000, "macs": 1_400_000}
    assert result.budget.proven
    assert result.data.clips == {"train": 612, "validation": 108, "test": 360}
    assert result.frontend is not None
    assert result.frontend.instructions_per_hop == {"cortex-m4": 48_100.0}
    assert (result.name, result.seed) == ("quickstart", 3)


def test_json_is_given_back_as_it_was_read(result) -> None:
    assert result.to_json() == stored_result()


def test_table_has_a_row_a_file(result) -> None:
    table = result.table()
    assert list(table["network"]) == ["dense", "pruned", "pruned"]
    assert list(table["format"]) == ["int8", "float32", "int8"]
    assert list(table["params"]) == [46_000, 14_000, 14_000]
    assert list(table["accuracy"]) == [0.79, 0.75, 0.74]
    one_thread = table["host_latency_ms"]
    assert (one_thread[0], one_thread[2]) == (pytest.approx(0.9), 0.5)
    assert math.isnan(one_thread[1])


def test_a_notebook_shows_the_table(result) -> None:
    html = result._repr_html_()
    assert html.startswith("<table")
    assert "host_latency_ms" in html


def test_table_of_scores() -> None:
    table = Scores.from_json(stored_result()["dense"]["accuracy"]).table()
    assert list(table.index) == [("all", ""), ("class", "bus"), ("class", "tram"), ("device", "a")]
    assert table.loc[("class", "bus"), "accuracy"] == 0.5
    assert pd.isna(table.loc[("class", "tram"), "accuracy"])


@pytest.mark.parametrize(("network", "key"), [("pruned", "int8"), ("dense", "dense_int8")])
def test_artefact_key(network, key) -> None:
    assert artefact_key(network, "int8") == key


# Less than a whole result


@pytest.mark.parametrize("missing", sorted(set(stored_result()) - {"schema"}))
def test_a_result_without_one_part_is_read(missing) -> None:
    stored = stored_result()
    del stored[missing]
    result = Result.from_json(stored)
    assert tuple(result.networks) == NETWORKS
    result.table()


def test_an_empty_result() -> None:
    result = Result.from_json({})
    assert not any(result.networks.values())
    assert not result.budget
    assert (result.shipped, result.frontend, result.seed, result.files) == (None, None, None, [])
    assert result.table().empty


def test_null_parts_are_absent() -> None:
    result = Result.from_json({**stored_result(), "frontend": None, "latency": None, "budget": None})
    assert (result.frontend, result.latency, bool(result.budget)) == (None, (), False)


def test_figures_that_are_no_finite_numbers_are_none() -> None:
    stored = stored_result()
    stored["dense"]["accuracy"]["accuracy"] = float("nan")
    stored["dense"]["cost"] |= {"params": "many", "macs": True, "flash_bytes": float("inf")}
    network = Result.from_json(stored).networks["dense"]
    assert network.scores.accuracy is None
    assert (network.cost.params, network.cost.macs, network.cost.flash_bytes) == (None, None, None)


def test_the_seed_of_an_older_result_is_the_recipes() -> None:
    stored = stored_result()
    del stored["seed"]
    assert Result.from_json(stored).seed == 3


def test_clips_of_an_older_result_are_one_number() -> None:
    assert Result.from_json({"data": {"clips": 360}}).data.clips == {"all": 360}


def test_a_file_of_an_unknown_format_comes_last() -> None:
    stored = stored_result()
    stored["artefacts"] = {"int4": stored["artefacts"]["int8"], "int8": stored["artefacts"]["int8"]}
    assert list(Result.from_json(stored).networks["pruned"].files) == ["int8", "int4"]


# Malformed parts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "its schema is 2 and this edgeprune reads 1"),
        ({"dense": []}, "dense should be an object, not list"),
        ({"dense": {"cost": 3}}, r"dense\.cost should be an object, not int"),
        ({"artefacts": {"int8": "file"}}, r"artefacts\.int8 should be an object, not str"),
        ({"artefacts": {"int8": {"accuracy": 0.5}}}, r"artefacts\.int8\.accuracy should be an object, not float"),
        ({"latency": {}}, "latency should be a list, not dict"),
        ({"latency": [1]}, "latency should list objects, not int"),
        ({"budget": {"binding": 4}}, r"budget\.binding should be a list, not int"),
        ({"history": {"dense": 1}}, r"history\.dense should be a list, not int"),
        ({"frontend": {"emulated": "m4"}}, r"frontend\.emulated should be a list, not str"),
    ],
)
def test_a_malformed_part_is_named(change, message) -> None:
    with pytest.raises(EdgepruneError, match=message):
        Result.from_json({**stored_result(), **change})


@pytest.mark.parametrize(("content", "message"), [("[]", "holds no object"), ('{"schema": ', "JSON")])
def test_a_file_that_is_no_result(content, message, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(EdgepruneError, match=message):
        Result.read(tmp_path)


def test_read_takes_the_folder_or_the_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(stored_result()))
    for given in (tmp_path, path, str(path)):
        result = Result.read(given)
        assert result == Result.from_json(stored_result(), tmp_path)
        assert result.folder == tmp_path
