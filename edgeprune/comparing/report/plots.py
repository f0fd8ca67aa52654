"""Accuracy against a cost as inline SVG: a numbered point a variant, its intervals, and the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeprune.comparing.comparison import MeanEstimate
from edgeprune.reporting.drawing import PAGE, Mark, Palette, printable, scale_log, svg_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = len(PAGE.groups)
"""Colours for groups of variants, of a page `--c0` to `--c5`; controls have `--soft`."""
_MARKERS = {"dense": "D", "scratch": "s", "random": "^"}
SYMBOLS = {
    "variant": "\N{WHITE CIRCLE}",
    "dense": "\N{WHITE DIAMOND}",
    "scratch": "\N{WHITE SQUARE}",
    "random": "\N{WHITE UP-POINTING TRIANGLE}",
}
"""Markers of the roles as characters, for the legend."""
ON_FRONT = "\N{BLACK CIRCLE}"
_HEIGHT_IN = 3.8
_AXES = (0.135, 0.16, 0.795, 0.81)  # left, bottom, width and height as shares of the figure
_REACH_PT, _LETTER_PT, _LINE_PT = 6.5, 6.9, 12.0  # extent of a marker, and width and height of a label's digits
_LOG_FROM = 5.0  # a cost that varies by a larger factor has a logarithmic axis


@dataclass(frozen=True)
class Point:
    """A variant in a plot.

    Attributes:
        number: of the variant in the comparison, written beside the point.
        color: of a variant, 0 to 5; None for a control.
        x, y: cost, and accuracy as a fraction.
        front: whether no other point is both cheaper and more accurate.
        lines: shown when the point is pointed at.
    """

    number: int
    role: str
    color: int | None
    x: MeanEstimate
    y: MeanEstimate
    front: bool
    lines: tuple[str, ...] = ()


def pareto_plot(points: Sequence[Point], quantity: str, show: Callable[[float], str], score: str = "accuracy") -> str:
    """Draw accuracy (or another `score`) against a cost: intervals, numbers beside points, and a line along the front.

    The result is an `<svg>` element with a text alternative; `show` writes a value of the cost.
    """
    front = sorted((point for point in points if point.front), key=lambda point: point.x.mean)

    def draw(axes: Axes) -> None:
        axes.figure.set_layout_engine("none")  # type: ignore[union-attr]
        axes.set_position(_AXES)
        draw_pareto(axes, points, quantity, show, score, PAGE)

    best = "; ".join(f"{point.number} with {100 * point.y.mean:.1f} % at {show(point.x.mean)}" for point in front)
    description = (
        f"{score.capitalize()} against {quantity}: {len(points)} variants. On the front, cheapest first: {best}"
    )
    marks = {
        _gid(point): Mark({"class": "point", "data-v": str(point.number)}, "\n".join(point.lines)) for point in points
    }
    marks["front"] = Mark({"class": "front"})
    return svg_figure(f"pareto {quantity}", draw, description, _HEIGHT_IN, marks=marks)


def draw_pareto(
    axes: Axes, points: Sequence[Point], quantity: str, show: Callable[[float], str], score: str, colors: Palette
) -> None:
    """Points, intervals, numbers and front on axes whose place in the figure is final, since numbers find theirs."""
    front = sorted((point for point in points if point.front), key=lambda point: point.x.mean)
    scale = _scale_axes(axes, points, show)
    axes.set_xlabel(printable(f"{quantity}{scale}"))
    axes.set_ylabel(f"{score}, %")
    axes.grid(axis="y")
    if len(front) > 1:
        costs, accuracies = [point.x.mean for point in front], [100 * point.y.mean for point in front]
        axes.step(costs, accuracies, where="post", color=colors.accent, linewidth=1.5, dashes=(4, 2.5), gid="front")
    for point in sorted(points, key=lambda point: point.front):  # those on the front last, on top
        _draw_point(axes, point, colors)
    _draw_labels(axes, points, front, colors)


def difference_plot(
    points: Sequence[Point], limit: str, budgets: Sequence[str], tolerance: float, score: str = "accuracy"
) -> str:
    """Draw differences to the dense network, with their intervals and the tolerance, in a column for each budget.

    Args:
        points: `x` counts columns from 0, `y` is a difference of two fractions.
        limit, budgets: name of the axis and of each column.
        tolerance: a fraction; a dashed line lies as far below 0.
    """

    def draw(axes: Axes) -> None:
        axes.figure.set_layout_engine("none")  # type: ignore[union-attr]
        axes.set_position(_AXES)
        gaps = [100 * value for point in points for value in (point.y.mean, *_bounds(point.y))]
        low, high = min(*gaps, -100 * tolerance), max(*gaps, 0.0)
        room = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - room, high + room)
        axes.set_xlim(-0.6, len(budgets) - 0.4)
        step = math.ceil(len(budgets) / 5)  # more names would touch
        axes.set_xticks(range(0, len(budgets), step), [printable(name) for name in budgets[::step]])
        axes.set_xlabel(printable(f"budget: {limit}"))
        axes.set_ylabel(f"{score}, points to dense")
        axes.grid(axis="y")
        axes.axhline(0, color=PAGE.muted, linewidth=1)
        axes.axhline(-100 * tolerance, color=PAGE.accent, linewidth=1.5, dashes=(4, 2.5), gid="tolerance")
        for point in sorted(points, key=lambda point: point.front):
            _draw_point(axes, point, PAGE)
        _draw_labels(axes, points, [], PAGE, levels=(0, -100 * tolerance))

    told = "; ".join(f"{point.number} {100 * point.y.mean:+.1f}" for point in points)
    description = f"{score.capitalize()} minus that of dense, points, by budget of {limit}: {told}"
    marks = {
        _gid(point): Mark({"class": "point", "data-v": str(point.number)}, "\n".join(point.lines)) for point in points
    }
    marks["tolerance"] = Mark({"class": "tolerance"})
    return svg_figure(f"difference {limit}", draw, description, _HEIGHT_IN, marks=marks)


def color_name(color: int | None) -> str:
    """The page's name of a colour, for the legend."""
    return "soft" if color is None else f"c{color % COLORS}"


def _gid(point: Point) -> str:
    return f"point{point.number}"


def _bounds(value: MeanEstimate) -> tuple[float, ...]:
    return () if value.low is None or value.high is None else (value.low, value.high)


def _scale_axes(axes: Axes, points: Sequence[Point], show: Callable[[float], str]) -> str:
    """Set limits and ticks; returns what to add to the name of the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    accuracies = [100 * value for point in points for value in (point.y.mean, *_bounds(point.y))]
    low, high = min(accuracies), max(accuracies)
    room = 0.06 * (high - low) or 2.0
    # No empty room where there can be no share.
    axes.set_ylim(max(low - room, min(low, 0.0)), min(high + room, max(high, 100.0)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    costs = [point.x.mean for point in points]  # without intervals: of two runs they reach far beyond all points
    low, high = min(costs), max(costs)
    logarithmic = low > 0 and high / low > _LOG_FROM
    if logarithmic:
        scale_log(axes, low, high)
    else:
        room = 0.06 * (high - low) or 0.1 * high or 1.0
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(lambda value, _: show(value))
    return ", logarithmic" if logarithmic else ""


def _draw_point(axes: Axes, point: Point, colors: Palette) -> None:
    """A marker, filled on the front, with the intervals of cost and accuracy."""
    color = colors.soft if point.color is None else colors.groups[point.color % COLORS]
    left, right = axes.get_xlim()
    for ends, ys in _bars(point):
        xs = [min(max(end, left), right) for end in ends]
        axes.plot(xs, ys, "-", color=color, linewidth=1.1, alpha=0.75, clip_on=False)
    axes.plot(
        [point.x.mean],
        [100 * point.y.mean],
        _MARKERS.get(point.role, "o"),
        markersize=8,
        markeredgewidth=1.6,
        markeredgecolor=color,
        markerfacecolor=color if point.front else colors.ground,
        clip_on=False,
        gid=_gid(point),
    )


def _bars(point: Point) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """The intervals as lines, in the units of the axes."""
    x, y = point.x.mean, 100 * point.y.mean
    if bounds := _bounds(point.y):
        yield (x, x), (100 * bounds[0], 100 * bounds[1])
    if (bounds := _bounds(point.x)) and bounds[0] < bounds[1]:
        yield (bounds[0], bounds[1]), (y, y)


def _draw_labels(
    axes: Axes, points: Sequence[Point], front: Sequence[Point], colors: Palette, levels: Sequence[float] = ()
) -> None:
    """Numbers that touch no point, line or other number, the front's first; one without room is left out.

    `levels` are the heights of lines across the plot.
    """
    to_points = 72 / axes.figure.dpi

    def box(*ends: tuple[float, float], room: float) -> NDArray[np.float64]:
        """Left, bottom, right and top of two points of the axes, in typographic points, with room around them."""
        places = axes.transData.transform(ends) * to_points
        return np.concatenate([places.min(axis=0) - room, places.max(axis=0) + room])

    centers = {point.number: (point.x.mean, 100 * point.y.mean) for point in points}
    taken = [box(center, center, room=_REACH_PT) for center in centers.values()]
    taken += [box((xs[0], ys[0]), (xs[1], ys[1]), room=1) for point in points for xs, ys in _bars(point)]
    for (x, y), (x2, y2) in itertools.pairwise(centers[point.number] for point in front):
        taken += [box((x, y), (x2, y), room=1), box((x2, y), (x2, y2), room=1)]
    taken += [box(*((x, level) for x in axes.get_xlim()), room=1) for level in levels]
    left, bottom, right, top = (float(edge) * to_points for edge in axes.get_window_extent().extents)
    obstacles = np.stack(taken)
    for point in sorted(points, key=lambda point: not point.front):
        half = np.array([_LETTER_PT * len(str(point.number)) / 2 + 1, _LINE_PT / 2])
        for across, up, far in _offsets(half[0]):
            middle = axes.transData.transform(centers[point.number]) * to_points + (across, up)
            low, high = middle - half, middle + half
            inside = (low > (left, bottom)).all() and (high < (right + 18, top + 4)).all()
            touched = ((low < obstacles[:, 2:]) & (high > obstacles[:, :2])).all(axis=1)
            if inside and not touched.any():
                obstacles = np.vstack([obstacles, np.concatenate([low, high])])
                axes.annotate(
                    str(point.number),
                    centers[point.number],
                    (across, up),
                    textcoords="offset points",
                    ha="center",
                    va="center_baseline",
                    color=colors.ink,
                    fontweight="bold" if point.front else "normal",
                    arrowprops={"arrowstyle": "-", "color": colors.muted, "linewidth": 0.8} if far else None,
                )
                break


def _offsets(half: float) -> Iterator[tuple[float, float, bool]]:
    """Places of a label around its point, near ones first, and whether a line must lead to the point."""
    angles = (45, 0, 135, 180, -45, -135, 90, -90, 22, 158, -22, -158)
    for distance, angle in itertools.product((12.0, 20.0, 30.0), angles):
        radians = math.radians(angle)
        yield math.cos(radians) * (distance + half - 4), math.sin(radians) * distance, distance > 12
