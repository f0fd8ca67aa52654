"""The budget that the plot of differences goes by."""

from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import dense, pruned, write_run

from edgeprune.comparing.compare import compare
from edgeprune.comparing.report.differences import difference_figure
from edgeprune.recipe import Budget, Recipe


def figure(folder: Path, recipes: list[Recipe]) -> dict[str, str] | None:
    for place, recipe in enumerate(recipes):
        write_run(folder / str(place), recipe)
    return difference_figure(compare(folder, tolerance=0.02), lambda variant: 0)


@pytest.mark.parametrize(
    ("budgets", "name", "ticks"),
    [
        ([Budget(peak_ram=32_000), Budget(peak_ram=48_000)], "RAM", ["32.0 kB", "48.0 kB"]),
        ([Budget(latency_ms="20@cortex-m4"), Budget(latency_ms="5@cortex-m4")], "latency, ms", [">5<", ">20<"]),
        ([Budget(params=20_000, macs=1_000_000), Budget(params=20_000)], "MACs", [">1.0M<", ">none<"]),
    ],
)
def test_it_is_the_limit_that_varies(tmp_path: Path, budgets: list[Budget], name: str, ticks: list[str]) -> None:
    found = figure(tmp_path, [replace(pruned(params=None), budget=budget) for budget in budgets])
    assert found is not None
    assert found["name"] == f"accuracy minus that of dense, by budget of {name}"
    places = [found["svg"].index(text) for text in ticks]
    assert places == sorted(places)
    assert "\N{MINUS SIGN}2.00 points, the tolerance" in found["caption"]


def test_without_a_limit_it_is_the_share_kept(tmp_path: Path) -> None:
    found = figure(tmp_path, [pruned(params=None, keep=0.5), pruned(params=None, keep=0.25)])
    assert found is not None
    assert "by budget of share of filters kept" in found["name"]
    assert found["svg"].index("25 %") < found["svg"].index("50 %")


def test_without_a_difference_there_is_none(tmp_path: Path) -> None:
    assert figure(tmp_path, [dense()]) is None
