import math
import re
from xml.etree import ElementTree

from edgeprune.reporting import plots
from edgeprune.reporting.layers import LayerChange

HISTORY = [{"epoch": 0, "train_loss": 2.0, "val_log_loss": None}, {"epoch": 1, "train_loss": 1.0, "val_log_loss": 1.5}]


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
