"""Accuracy against cost as inline SVG: small, readable without a script, in the colours of the page."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from edgeprune.comparing.comparison import Estimate
from edgeprune.reporting.plots import printable

WIDTH, HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 44
_RADIUS = 5.0
_LETTER, _LINE = 6.9, 12.0  # the width and height a label takes at the plots' font size
_LOG_FROM = 5.0  # a cost that varies by more than this is drawn on a logarithmic axis
GROUPS = 6
"""Colours there are for groups of variants: classes `c0` to `c5` of the page; controls have the class `control`."""


@dataclass(frozen=True)
class Point:
    """A variant in a plot.

    Attributes:
        number: of the variant in the comparison, written beside the point.
        role: decides the shape.
        group: colour of a variant, 0 to 5; None of a control.
        x, y: cost, and accuracy as a fraction.
        front: whether nothing else is both cheaper and more accurate.
        told: lines of the title that shows on hovering.
    """

    number: int
    role: str
    group: int | None
    x: Estimate
    y: Estimate
    front: bool
    told: tuple[str, ...] = ()


def pareto_plot(points: Sequence[Point], quantity: str, show: Callable[[float], str]) -> str:
    """Accuracy against a cost, with intervals, numbers beside the points, and a line along the front.

    Args:
        points: at least one.
        quantity: the cost, named on the horizontal axis.
        show: a value of the cost as text.

    Returns:
        An `<svg>` element with a text alternative.
    """
    x = _x_axis(points)
    y = _y_axis(points)
    front = [point for point in points if point.front]
    said = f"Accuracy against {quantity}: {len(points)} variants. On the front, cheapest first: " + "; ".join(
        f"{point.number} with {100 * point.y.mean:.1f} % at {show(point.x.mean)}"
        for point in sorted(front, key=lambda point: point.x.mean)
    )
    svg = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "plot", "role": "img", "aria-label": printable(said)}
    )
    _draw_axes(svg, x, y, quantity, show)
    _draw_front(svg, front, x, y)
    _draw_points(svg, points, x, y)
    return ElementTree.tostring(svg, encoding="unicode")


# Axes


@dataclass(frozen=True)
class _Axis:
    """A range of values laid over a range of pixels."""

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, low / 10)), math.log(low), math.log(high)
        share = (value - low) / (high - low)
        return self.first + min(max(share, 0.0), 1.0) * (self.last - self.first)

    def ticks(self) -> list[float]:
        found = _log_ticks(self.low, self.high) if self.log else []
        return found if len(found) >= 3 else _linear_ticks(self.low, self.high)


def _x_axis(points: Sequence[Point]) -> _Axis:
    values = [value for point in points for value in (point.x.mean, *_bounds(point.x)) if value > 0] or [1.0]
    low, high = min(values), max(values)
    pixels = (_LEFT + 10.0, WIDTH - _RIGHT - 10.0)
    if high / low > _LOG_FROM:
        return _Axis(low / 1.08, high * 1.08, *pixels, log=True)
    room = 0.06 * (high - low) or 0.1 * high
    return _Axis(max(0.0, low - room), high + room, *pixels)


def _y_axis(points: Sequence[Point]) -> _Axis:
    values = [value for point in points for value in (point.y.mean, *_bounds(point.y))]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.02
    return _Axis(low - room, high + room, HEIGHT - _BOTTOM - 4.0, _TOP + 4.0)


def _bounds(value: Estimate) -> tuple[float, ...]:
    return () if value.low is None or value.high is None else (value.low, value.high)


def _linear_ticks(low: float, high: float) -> list[float]:
    """Four to six round values."""
    rough = (high - low) / 4.5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if step >= rough)
    first = math.ceil(low / step)
    return [step * place for place in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """The coarsest series of round values that has at least three in the range, at most six of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for series in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [digit * 10.0**power for power in powers for digit in series if low <= digit * 10.0**power <= high]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 6)] if found else []


def _draw_axes(svg: ElementTree.Element, x: _Axis, y: _Axis, quantity: str, show: Callable[[float], str]) -> None:
    floor, top = HEIGHT - _BOTTOM, _TOP
    for value in y.ticks():
        place = y.at(value)
        _line(svg, "grid", _LEFT, place, WIDTH - _RIGHT, place)
        _text(svg, f"{100 * value:.{_digits(y)}f}", _LEFT - 6, place + 4, "end")
    _line(svg, "axis", _LEFT, floor, WIDTH - _RIGHT, floor)
    taken = -math.inf
    for value in x.ticks():
        place, text = x.at(value), show(value)
        half = _LETTER * len(text) / 2
        _line(svg, "axis", place, floor, place, floor + 4)
        # A label that would touch the one before, or leave the picture, is left out; its tick stays.
        if place - half > taken + 4 and place + half <= WIDTH:
            _text(svg, text, place, floor + 16, "middle")
            taken = place + half
    scale = ", logarithmic" if x.log else ""
    _text(svg, printable(f"{quantity}{scale}"), (WIDTH + _LEFT - _RIGHT) / 2, HEIGHT - 8, "middle", "name")
    name = _text(svg, "accuracy, %", 0, 0, "middle", "name")
    name.set("transform", f"translate(12 {_round((floor + top) / 2)}) rotate(-90)")


def _digits(axis: _Axis) -> int:
    ticks = axis.ticks()
    step = 100 * (ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    return 0 if abs(step - round(step)) < 1e-6 else 1


# The front, the points and their labels


def _draw_front(svg: ElementTree.Element, front: Sequence[Point], x: _Axis, y: _Axis) -> None:
    """A step line: what accuracy each cost buys."""
    if len(front) < 2:
        return
    places = _steps(front, x, y)
    path = f"M{_round(places[0][0])} {_round(places[0][1])}"
    path += "".join(f"H{_round(across)}V{_round(up)}" for across, up in places[1:])
    ElementTree.SubElement(svg, "path", {"class": "front", "d": path})


def _steps(front: Sequence[Point], x: _Axis, y: _Axis) -> list[tuple[float, float]]:
    """Where the front's points are, cheapest first."""
    return sorted((x.at(point.x.mean), y.at(point.y.mean)) for point in front)


def _draw_points(svg: ElementTree.Element, points: Sequence[Point], x: _Axis, y: _Axis) -> None:
    # Those on the front last, so that nothing covers them.
    order = sorted(points, key=lambda point: point.front)
    labels = _place_labels(order, x, y)
    for point in order:
        across, up = x.at(point.x.mean), y.at(point.y.mean)
        color = "control" if point.group is None else f"c{point.group % GROUPS}"
        group = ElementTree.SubElement(
            svg,
            "g",
            {"class": f"point {color}{' on' if point.front else ''}", "data-v": str(point.number)},
        )
        title = ElementTree.SubElement(group, "title")
        title.text = "\n".join(printable(line) for line in point.told)
        for bar in _bars(point, x, y):
            _line(group, "bar", *bar)
        ElementTree.SubElement(group, "path", {"class": "dot", "d": _shape(point.role, across, up)})
        if label := labels.get(point.number):
            if label.leader:
                _line(group, "bar", across, up, *label.leader)
            _text(group, str(point.number), label.x, label.y + 4, "middle", "label")


def _bars(point: Point, x: _Axis, y: _Axis) -> Iterator[tuple[float, float, float, float]]:
    across, up = x.at(point.x.mean), y.at(point.y.mean)
    if len(heights := _bounds(point.y)) == 2:
        yield across, y.at(heights[0]), across, y.at(heights[1])
    if len(widths := _bounds(point.x)) == 2 and widths[0] < widths[1]:
        yield x.at(widths[0]), up, x.at(widths[1]), up


def _shape(role: str, x: float, y: float) -> str:
    """Path of a marker: a circle, or of controls a diamond (dense), a square (scratch) or a triangle (random)."""
    r = _RADIUS
    if role == "dense":
        return f"M{_round(x)} {_round(y - 1.3 * r)}l{1.3 * r} {1.3 * r}l{-1.3 * r} {1.3 * r}l{-1.3 * r} {-1.3 * r}z"
    if role == "scratch":
        return f"M{_round(x - r)} {_round(y - r)}h{2 * r}v{2 * r}h{-2 * r}z"
    if role == "random":
        return f"M{_round(x)} {_round(y - 1.2 * r)}l{1.2 * r} {2.1 * r}h{-2.4 * r}z"
    return f"M{_round(x - r)} {_round(y)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"


def swatch(role: str, color_group: int | None, on: bool = False) -> str:
    """The marker of a role and colour, for the legend."""
    color = "control" if color_group is None else f"c{color_group % GROUPS}"
    group = f'<g class="point {color}{" on" if on else ""}"><path class="dot" d="{_shape(role, 8, 8)}"/></g>'
    return f'<svg class="plot swatch" viewBox="0 0 16 16" aria-hidden="true">{group}</svg>'


@dataclass(frozen=True)
class _Label:
    """Middle of a label, and where its leader line ends when it stands away from its point."""

    x: float
    y: float
    leader: tuple[float, float] | None


_Box = tuple[float, float, float, float]


def _place_labels(order: Sequence[Point], x: _Axis, y: _Axis) -> dict[int, _Label]:
    """Labels by number that touch no point, line or other label; the front's first. What fits nowhere is left out."""
    places = {point.number: (x.at(point.x.mean), y.at(point.y.mean)) for point in order}
    reach = 1.3 * _RADIUS
    taken: list[_Box] = [(a - reach, b - reach, a + reach, b + reach) for a, b in places.values()]
    bars = [bar for point in order for bar in _bars(point, x, y)]
    for (a, b), (c, d) in itertools.pairwise(_steps([point for point in order if point.front], x, y)):
        bars += [(a, b, c, b), (c, b, c, d)]
    taken += [(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1) for a, b, c, d in bars]
    found = {}
    for point in sorted(order, key=lambda point: not point.front):
        half = _LETTER * len(str(point.number)) / 2 + 1
        for label in _candidates(*places[point.number], half):
            box = (label.x - half, label.y - _LINE / 2, label.x + half, label.y + _LINE / 2)
            if _inside(box) and not any(_touch(box, other) for other in taken):
                found[point.number] = label
                taken.append(box)
                break
    return found


def _candidates(x: float, y: float, half: float) -> Iterator[_Label]:
    """Places around a point, near ones first."""
    for distance, angle in itertools.product(
        (12.0, 20.0, 30.0), (-45, 0, -135, 180, 45, 135, -90, 90, -22, -158, 22, 158)
    ):
        across, down = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        near = (x + across * (distance - 7), y + down * (distance - 7)) if distance > 12 else None
        yield _Label(x + across * (distance + half - 4), y + down * distance, near)


def _inside(box: _Box) -> bool:
    return box[0] > _LEFT + 1 and box[2] < WIDTH - 1 and box[1] > 0 and box[3] < HEIGHT - _BOTTOM - 1


def _touch(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# Elements


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _line(parent: ElementTree.Element, name: str, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = f"M{_round(x1)} {_round(y1)}L{_round(x2)} {_round(y2)}"
    ElementTree.SubElement(parent, "path", {"class": name, "d": ends})


def _text(
    parent: ElementTree.Element, text: str, x: float, y: float, anchor: str, name: str = "tick"
) -> ElementTree.Element:
    where = {"class": name, "x": _round(x), "y": _round(y), "text-anchor": anchor}
    element = ElementTree.SubElement(parent, "text", where)
    element.text = text
    return element
