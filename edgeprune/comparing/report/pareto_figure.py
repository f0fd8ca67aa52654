"""The Pareto front of a comparison as a figure on white."""

from typing import TYPE_CHECKING

from edgeprune.comparing.comparison import Comparison
from edgeprune.comparing.report.pareto_points import coloring_of, pareto_points, quantities
from edgeprune.comparing.report.plots import draw_pareto
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.reporting.drawing import WHITE, short, white_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_IN = (8.4, 4.2)
_AXES = (0.085, 0.14, 0.5, 0.8)  # left, bottom, width and height as shares of the figure
_MOST_NAMES = 18
"""Names that stand beside the plot."""


def pareto_figure(comparison: Comparison, cost: str = "macs") -> "Figure":
    """Accuracy against a cost: a numbered point a variant, its intervals, a line along the front, and the names.

    `cost` is a key of `quantities`.
    """
    known = quantities(comparison)
    if cost not in known:
        raise unknown_name("cost", cost, known)
    points = pareto_points(comparison, known[cost], coloring_of(comparison.variants))
    if not points:
        raise EdgepruneError(f"{cost}: no variant has both it and an accuracy; choose another of {', '.join(known)}.")
    named = sorted(points, key=lambda point: not point.front)[:_MOST_NAMES]
    with white_figure(*_SIZE_IN) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes(_AXES)
        draw_pareto(axes, points, known[cost].name, known[cost].show, comparison.score_name, WHITE)
        for row, point in enumerate(sorted(named, key=lambda point: point.number)):
            color = WHITE.soft if point.color is None else WHITE.groups[point.color]
            weight = "bold" if point.front else "normal"
            right, top = _AXES[0] + _AXES[2], _AXES[1] + _AXES[3] - 0.047 * (row + 0.5)
            for x, text in ((0.04, str(point.number)), (0.07, short(comparison.variants[point.number - 1].name))):
                figure.text(right + x, top, text, fontweight=weight, color=color, fontsize="small")
        if len(points) > len(named):
            axes.set_title(f"named: {len(named)} of {len(points)}", fontsize="small", loc="right")
    return figure
