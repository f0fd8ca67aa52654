import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from edgeprune.reporting import plots
from edgeprune.reporting.layers import LayerChange

HISTORY = [{"epoch": 0, "train_loss": 2.0, "val_loss": None}, {"epoch": 1, "train_loss": 1.0, "val_loss": 1.5}]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def test_plots_say_what_they_show() -> None:
    svg = ElementTree.fromstring(plots.accuracy_plot([("dense", 0.555, (0.51, 0.59)), ("pruned int8", 0.5, None)]))
    assert svg.tag == "svg"
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "Accuracy by format: dense 55.50 %; pruned int8 50.00 %."


def test_plots_are_the_same_from_run_to_run_and_share_no_ids() -> None:
    loss, again = plots.loss_plot(HISTORY, "dense"), plots.loss_plot(HISTORY, "dense")
    other = plots.loss_plot(HISTORY, "fine-tuning")
    assert loss == again
    ids, other_ids = (set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (loss, other))
    assert ids
    assert not ids & other_ids
    assert set(re.findall(r'href="#([^"]+)"', loss)) <= ids


def test_plots_follow_the_theme_and_leave_the_page_alone() -> None:
    svg = plots.loss_plot(HISTORY, "dense")
    assert "var(--accent)" in svg
    assert "#03" not in svg
    assert "<style" not in svg
    assert "http" not in svg


def test_names_are_text_never_markup_or_formulas() -> None:
    names = ["<b>&", "$x_1$", "a\x00b", "n" * 80]
    svg = plots.accuracy_plot([(name, 0.5, None) for name in names])
    shown = texts(svg)
    assert {"<b>&", "$x_1$", "ab"} <= set(shown)
    assert "n" * 29 + "\N{HORIZONTAL ELLIPSIS}" in shown


def test_layer_plot_keeps_the_costliest_in_network_order() -> None:
    layers = [LayerChange(f"layer{i}", "conv", (8, 4), (10, 5), (100 + i, 50)) for i in range(20)]
    shown = [text for text in texts(plots.layer_plot(layers)) if text.startswith("layer")]
    assert shown == [f"layer{i}" for i in range(4, 20)]
    assert plots.layer_plot([LayerChange("conv", "conv", (8, 4), (None, None), (None, None))]) == ""


def test_curves_leave_out_what_was_not_recorded() -> None:
    assert plots.validation_plot(HISTORY, "dense") == ""
    assert plots.loss_plot([], "dense") == ""
    loss = ElementTree.fromstring(plots.loss_plot(HISTORY, "dense"))
    label = "dense, loss over 2 epochs: training from 2.000 to 1.000; validation from 1.500 to 1.500."
    assert loss.get("aria-label") == label
    assert plots.loss_plot([{"epoch": 0, "train_loss": math.nan}], "dense") == ""


def frontier(count: int = 5) -> list[dict[str, Any]]:
    """Budgets from a quarter to four times of 1,000 parameters; the solver keeps more of each."""
    return [
        {
            "factor": factor,
            "solver": {"reached": {"params": 990 * factor, "latency_ms": factor / 3}, "kept": min(1.0, 0.5 * factor)},
            "uniform": {"reached": {"params": 900 * factor, "latency_ms": factor / 4}, "kept": min(1.0, 0.3 * factor)},
        }
        for factor in (0.25 * 2**step for step in range(count))
    ]


def lines(svg: bytes) -> list[list[tuple[float, float]]]:
    """The curves of the solver and of the uniform allocation: the points of each."""
    paths = [path.attrib for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")]
    found = []
    for color in ("#0072b2", "#d55e00"):
        drawn = (path["d"] for path in paths if f"stroke: {color}" in path.get("style", "") and "C" not in path["d"])
        words = max(drawn, key=len).replace("M", "L").split()
        found.append([(float(x), float(y)) for x, y in zip(words[1::3], words[2::3], strict=True)])
    return found


def test_frontier_rises_from_left_to_right_and_the_solver_is_above() -> None:
    solver, uniform = lines(plots.frontier_plot(frontier(), "params", "svg"))
    assert len(solver) == len(uniform) == 5
    for line in (solver, uniform):
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)  # downwards is larger in an SVG
    assert all(one[1] < other[1] for one, other in zip(solver[:3], uniform[:3], strict=True))


@pytest.mark.parametrize(("limit", "label"), [("params", "params"), ("latency_ms", "latency ms")])
def test_frontier_names_its_axes_and_is_the_same_every_time(limit: str, label: str) -> None:
    drawn = plots.frontier_plot(frontier(), limit, "svg")
    assert plots.frontier_plot(frontier(), limit, "svg") == drawn
    shown = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {label, "scores kept, % (geometric mean)", "solver", "same share of every layer"} <= set(shown)


def test_frontier_as_png_and_of_a_single_budget() -> None:
    assert plots.frontier_plot(frontier(), "params", "png").startswith(b"\x89PNG")
    without = [point for point in frontier() if point["factor"] != 1]  # the budget itself need not be among them
    for points in (frontier(1), without):
        assert ElementTree.fromstring(plots.frontier_plot(points, "params", "svg")).tag.endswith("svg")
