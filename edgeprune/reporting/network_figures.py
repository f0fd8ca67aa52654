"""Figures of a network on white: how criteria judge its filters, and what budgets leave of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeprune.pruning.frontier import FrontierPoint, mean_kept
from edgeprune.pruning.scores import rank_correlation
from edgeprune.reporting.drawing import WHITE, few_ticks, name_rows, scale_log, short, white_figure
from edgeprune.reporting.numbers import format_bytes, format_count, format_decimal, format_significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def score_figure(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """The sorted scores, with a panel for each layer and a line for each criterion, as shares of its largest score.

    Of several criteria, a strip below shows how they agree: the filters in the order of the first one, a row for each
    criterion, shaded by the rank it gives them, with its rank correlation (Spearman) to the first.

    Args:
        scores: criterion -> layer -> `[filters]`, not negative; the same layers for every criterion.
    """
    layers, several = list(next(iter(scores.values()))), len(scores) > 1
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    heights = [2.2, 0.3 + 0.2 * len(scores)] if several else [2.2]
    with white_figure(max(4.8, 2.6 * columns), 0.9 + rows * sum(heights)) as figure:
        panels = figure.subplots(rows * len(heights), columns, squeeze=False, height_ratios=heights * rows)
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            of_layer = panels[row * len(heights) : (row + 1) * len(heights), column]
            if place >= len(layers):
                for axes in of_layer:
                    axes.remove()
                continue
            by_criterion = {name: np.asarray(of_layers[layers[place]]) for name, of_layers in scores.items()}
            _draw_sorted(of_layer[0], by_criterion)
            of_layer[0].set_title(short(layers[place]))
            of_layer[0].tick_params(labelleft=column == 0)
            if several:
                _draw_agreement(of_layer[1], by_criterion)
                of_layer[1].tick_params(labelleft=column == 0)
        figure.supxlabel("filters, lowest score first", fontsize="medium")
        figure.supylabel("share of the largest score", fontsize="medium")
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=min(len(names), 2 + columns // 2))
    return figure


def _draw_sorted(axes: "Axes", scores: Mapping[str, "NDArray[np.float64]"]) -> None:
    for name, values in scores.items():
        shares = np.sort(values) / (values.max() or 1.0)
        marker = "o" if len(values) < 3 else None  # one point draws no line
        axes.plot(range(1, len(values) + 1), shares, marker=marker, label=short(name))
    axes.set_ylim(-0.05, 1.05)
    axes.xaxis.set_major_locator(few_ticks(integer=True))
    axes.grid(axis="y")


def _draw_agreement(axes: "Axes", scores: Mapping[str, "NDArray[np.float64]"]) -> None:
    first = next(iter(scores.values()))
    order = np.argsort(first, kind="stable")
    ranks = np.stack([np.argsort(np.argsort(values, kind="stable"))[order] for values in scores.values()])
    axes.imshow(ranks, aspect="auto", cmap="Blues", interpolation="nearest")
    name_rows(axes, list(scores))
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    for row, values in enumerate(scores.values()):
        if row:
            text = format_decimal(rank_correlation(first.tolist(), values.tolist()), 2)
            axes.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize="small")


def frontier_figure(points: Sequence[FrontierPoint]) -> "Figure":
    """The scores kept over a range of budgets, by the solver and with the same share of every layer.

    The horizontal axis is the limit that binds most; the others grow with it. A dotted line is at the budget itself.
    """
    itself = next((point for point in points if point.factor == 1), None)
    limit = (itself or points[-1]).solver.binding
    name, show = _LIMITS[limit]
    budgets = [point.solver.asked[limit] for point in points]
    others = [_LIMITS[other][0] for other in points[0].solver.asked if other != limit]
    with white_figure(4.8, 3.4) as figure:
        axes = figure.subplots()
        for kind, label in (("solver", "solver"), ("uniform", "same share of every layer")):
            kept = [100 * mean_kept(getattr(point, kind)) for point in points]
            axes.plot(budgets, kept, marker="o", markersize=3.5, label=label)
        if itself is not None:
            axes.axvline(itself.solver.asked[limit], color=WHITE.ink, linewidth=0.8, linestyle=":")
        scale_log(axes, budgets[0], budgets[-1])
        axes.xaxis.set_major_formatter(lambda value, _: show(value))
        axes.set_xlabel(f"{name}, at most" + (f" ({', '.join(others)} in proportion)" if others else ""))
        axes.set_ylabel("scores kept, %")
        axes.grid(axis="y")
        axes.legend(loc="best")
    return figure


_LIMITS: dict[str, tuple[str, Callable[[float], str]]] = {
    "params": ("parameters", format_count),
    "macs": ("MACs", format_count),
    "peak_ram": ("RAM", format_bytes),
    "flash": ("flash", format_bytes),
    "latency_ms": ("latency, ms", format_significant),
}
"""What a budget limits: the name on the axis and how a value is written."""
