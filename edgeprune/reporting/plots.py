"""Plots of a run as inline SVG for its report; `run_figures` draws the same on white."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgeprune.reporting.drawing import PAGE, Palette, few_ticks, name_rows, short, svg_figure
from edgeprune.reporting.layers import LayerChange
from edgeprune.reporting.numbers import format_count, format_decimal, format_percent
from edgeprune.results.json_fields import number
from edgeprune.results.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LAYERS = 16
"""Layers that a plot shows; more would be too small to read."""


def accuracy_plot(rows: Sequence[tuple[str, float, tuple[float, float] | None]], score: str = "accuracy") -> str:
    """An `<svg>` element with a dot and an interval for each form of the network.

    A row is a label, the accuracy (or another `score`) and its interval `(low, high)` or None, as fractions.
    """

    def draw(axes: "Axes") -> None:
        for y, (_, accuracy, interval) in enumerate(rows):
            if interval is not None:
                axes.plot([100 * bound for bound in interval], [y, y], color=PAGE.muted, linewidth=2)
            axes.plot([100 * accuracy], [y], "o", color=PAGE.accent, markersize=7)
        name_rows(axes, [label for label, _, _ in rows])
        axes.set_xlabel(f"{score}, %")
        axes.grid(axis="x")

    summary = "; ".join(f"{label} {format_percent(accuracy)}" for label, accuracy, _ in rows)
    return svg_figure("accuracy", draw, f"{score.capitalize()} by format: {summary}.", height_in=0.8 + 0.31 * len(rows))


def layer_plot(layers: Sequence[LayerChange]) -> str:
    """An `<svg>` element with the MACs of the costliest layers before and after pruning; "" if none are known."""
    shown = costliest(layers)
    if not shown:
        return ""
    summary = "; ".join(f"{short(x.name)} {format_count(x.macs[0])} to {format_count(x.macs[1])}" for x in shown)
    return svg_figure(
        "layers",
        lambda axes: draw_layers(axes, shown, "macs", PAGE),
        f"MACs by layer, dense to pruned: {summary}.",
        height_in=layers_height_in(shown),
    )


def costliest(layers: Sequence[LayerChange]) -> list[LayerChange]:
    """The layers with most MACs, in network order; those without a count are left out."""
    counted = [layer for layer in layers if any(layer.macs)]
    costly = sorted(counted, key=lambda layer: -max(macs or 0 for macs in layer.macs))[:MOST_LAYERS]
    return [layer for layer in counted if layer in costly]


def layers_height_in(layers: Sequence[LayerChange]) -> float:
    """Height of a plot with two bars for each layer."""
    return 0.8 + 0.42 * len(layers)


def draw_layers(axes: "Axes", layers: Sequence[LayerChange], quantity: str, colors: Palette) -> None:
    """A bar for each layer before and after pruning, of its `macs` or `params`."""
    pairs = [getattr(layer, quantity) for layer in layers]
    for stage, label, offset, color in ((0, "dense", -0.19, colors.muted), (1, "pruned", 0.19, colors.accent)):
        places = [row + offset for row in range(len(layers))]
        axes.barh(places, [pair[stage] or 0 for pair in pairs], 0.34, color=color, label=label)
    name_rows(axes, [layer.name for layer in layers])
    axes.xaxis.set_major_locator(few_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: format_count(value))
    axes.set_xlabel({"macs": "MACs", "params": "parameters"}[quantity])
    axes.grid(axis="x")
    axes.legend(loc="lower right")


@dataclass(frozen=True)
class Curve:
    """What is drawn against the epoch: its column in a history, its name, and the palette's colour."""

    column: str
    name: str
    color: str


LOSS = (Curve("train_loss", "training", "muted"), Curve("val_log_loss", "validation", "accent"))
ACCURACY = (Curve("val_accuracy", "validation", "accent"),)
_STAGES = {"dense": "dense network", "finetune": "fine-tuning"}


def stages(result: Result) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """The name and the history of each training of a run.

    Epochs are numbered on from step to step where each of several pruning steps starts again at its first epoch.
    """
    return [(_STAGES.get(key, str(key)), _in_one_line(history)) for key, history in result.history.items()]


def _in_one_line(history: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    epochs = [number(row.get("epoch")) for row in history]
    restarts = any(before is not None and before >= (after or 0) for before, after in pairwise(epochs))
    return [{**row, "epoch": place} for place, row in enumerate(history)] if restarts else history


def loss_plot(history: Sequence[Mapping[str, Any]], stage: str) -> str:
    """Training and validation loss against the epoch; empty text if neither was recorded."""
    return _curves(history, stage, "loss", LOSS, 1.0)


def validation_plot(history: Sequence[Mapping[str, Any]], stage: str) -> str:
    """Validation accuracy against the epoch; empty text if it was not recorded."""
    return _curves(history, stage, "validation accuracy, %", ACCURACY, 100.0)


def _curves(history: Sequence[Mapping[str, Any]], stage: str, name: str, curves: Sequence[Curve], scale: float) -> str:
    known = recorded(history, curves)
    if not known:
        return ""
    ends = []
    for curve in known:
        values = [scale * value for row in history if (value := number(row.get(curve.column))) is not None]
        ends.append(f"{curve.name} from {format_decimal(values[0])} to {format_decimal(values[-1])}")
    return svg_figure(
        f"{stage} {name}",
        lambda axes: draw_curves(axes, history, name, known, scale, PAGE),
        f"{stage}, {name} over {len(history)} epochs: {'; '.join(ends)}.",
        height_in=2.8,
    )


def recorded(history: Sequence[Mapping[str, Any]], curves: Sequence[Curve]) -> list[Curve]:
    """Those of some curves that have a number in any epoch."""
    return [curve for curve in curves if any(number(row.get(curve.column)) is not None for row in history)]


def draw_curves(
    axes: "Axes",
    history: Sequence[Mapping[str, Any]],
    name: str,
    curves: Sequence[Curve],
    scale: float,
    colors: Palette,
) -> None:
    """A line for each curve against the epoch, times `scale`; gaps where an epoch has no number."""
    epochs = [number(row.get("epoch")) or place for place, row in enumerate(history)]
    for curve in curves:
        values = [number(row.get(curve.column)) for row in history]
        line = [math.nan if value is None else scale * value for value in values]
        few = sum(value is not None for value in values) < 3  # one point draws no line
        color = getattr(colors, curve.color)
        axes.plot(epochs, line, color=color, label=curve.name, linewidth=1.8, marker="o" if few else None)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(few_ticks(integer=True))
    axes.grid(axis="y")
    if len(curves) > 1:
        axes.legend(loc="upper right")
