"""Plots of a run as inline SVG, whose colours follow the light or dark theme of the page.

`score_plot` and `frontier_plot` give the bytes of an image file on white instead.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from cycler import cycler

from edgeprune.reporting.layers import LayerChange
from edgeprune.reporting.numbers import format_count, format_decimal, format_percent
from edgeprune.results.json_fields import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholders: matplotlib cannot write CSS variables, so `_inline` replaces these colours by them.
INK, FAINT, ACCENT, MUTED = "#010101", "#020202", "#030303", "#040404"
_THEME = {INK: "var(--ink)", FAINT: "var(--line)", ACCENT: "var(--accent)", MUTED: "var(--muted)"}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a class name is a character, not the start of a formula
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
# Images on white. The colours of lines are distinct to colour-blind readers too (Okabe & Ito).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00")
_ON_WHITE = {
    key: {INK: "#222222", FAINT: "#cccccc", "none": "#ffffff"}.get(value, value) if key != "svg.fonttype" else value
    for key, value in _STYLE.items()
} | {"lines.linewidth": 1.6, "axes.prop_cycle": cycler(color=_COLORS, linestyle=("-", "--", ":", "-.") * 2)}
_LONGEST_LABEL = 30


def accuracy_plot(rows: Sequence[tuple[str, float, tuple[float, float] | None]], score: str = "accuracy") -> str:
    """An `<svg>` element with a dot and an interval for each form of the network.

    A row is a label, the accuracy (or another `score`) and its interval `(low, high)` or None, as fractions.
    """

    def draw(axes: "Axes") -> None:
        for y, (_, accuracy, interval) in enumerate(rows):
            if interval is not None:
                axes.plot([100 * bound for bound in interval], [y, y], color=MUTED, linewidth=2)
            axes.plot([100 * accuracy], [y], "o", color=ACCENT, markersize=7)
        _name_rows(axes, [label for label, _, _ in rows])
        axes.set_xlabel(f"{score}, %")
        axes.grid(axis="x")

    summary = "; ".join(f"{label} {format_percent(accuracy)}" for label, accuracy, _ in rows)
    return svg_figure("accuracy", draw, f"{score.capitalize()} by format: {summary}.", height_in=0.8 + 0.31 * len(rows))


def layer_plot(layers: Sequence[LayerChange]) -> str:
    """An `<svg>` element with the MACs of the 16 costliest layers before and after pruning; "" if none are known."""
    counted = [layer for layer in layers if any(layer.macs)]
    costly = sorted(counted, key=lambda layer: -max(macs or 0 for macs in layer.macs))[:16]
    shown = [layer for layer in counted if layer in costly]
    if not shown:
        return ""

    def draw(axes: "Axes") -> None:
        for stage, label, offset, color in ((0, "dense", -0.19, MUTED), (1, "pruned", 0.19, ACCENT)):
            places = [row + offset for row in range(len(shown))]
            axes.barh(places, [layer.macs[stage] or 0 for layer in shown], 0.34, color=color, label=label)
        _name_rows(axes, [layer.name for layer in shown])
        axes.xaxis.set_major_locator(_few_ticks())
        axes.xaxis.set_major_formatter(lambda value, _: format_count(value))
        axes.set_xlabel("MACs")
        axes.grid(axis="x")
        axes.legend(loc="lower right")

    summary = "; ".join(f"{_clean(x.name)} {format_count(x.macs[0])} to {format_count(x.macs[1])}" for x in shown)
    return svg_figure("layers", draw, f"MACs by layer, dense to pruned: {summary}.", height_in=0.8 + 0.42 * len(shown))


def score_plot(scores: Mapping[str, Mapping[str, Sequence[float]]], form: str) -> bytes:
    """An image of the sorted scores, with a panel for each layer and a line for each criterion.

    Each line is drawn as a share of its largest score. The same input gives the same bytes.

    Args:
        scores: criterion -> layer -> `[filters]`, not negative; the same layers for every criterion.
        form: `svg` or `png`.
    """
    layers = list(next(iter(scores.values())))
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with _figure("scores", (max(4.8, 2.6 * columns), 0.9 + 2.2 * rows), _ON_WHITE) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
        for axes, layer in zip(panels, layers, strict=False):
            for name, of_layers in scores.items():
                values = sorted(of_layers[layer])
                largest = values[-1] or 1.0
                marker = "o" if len(values) < 3 else None  # one point draws no line
                shares = [value / largest for value in values]
                axes.plot(range(1, len(values) + 1), shares, marker=marker, label=_clean(name))
            axes.set_title(_clean(layer))
            axes.xaxis.set_major_locator(_few_ticks(integer=True))
            axes.grid(axis="y")
        for axes in list(figure.axes)[len(layers) :]:
            axes.remove()
        figure.supxlabel("filters, lowest score first", fontsize="medium")
        figure.supylabel("share of the largest score", fontsize="medium")
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=min(len(names), 2 + columns // 2))
        return _image(figure, form)


def frontier_plot(points: Sequence[Mapping[str, Any]], limit: str, form: str) -> bytes:
    """An image of the scores kept over a range of budgets, by the solver and with the same share of every layer.

    Args:
        points: each with `factor` (1: the budget itself), and for `solver` and `uniform` the cost `reached` by each
            limit and the share of the scores that is `kept`, the geometric mean over layers.
        limit: name of the limit on the horizontal axis.
        form: `svg` or `png`.
    """
    with _figure("frontier", (4.8, 3.4), _ON_WHITE) as figure:
        axes = figure.subplots()
        for name, label in (("solver", "solver"), ("uniform", "same share of every layer")):
            costs = [point[name]["reached"][limit] for point in points]
            axes.plot(costs, [100 * point[name]["kept"] for point in points], marker="o", markersize=3.5, label=label)
        nominal = next((point for point in points if abs(point["factor"] - 1) < 1e-9), None)
        if nominal is not None:
            axes.axvline(
                nominal["solver"]["reached"][limit], color=_ON_WHITE["text.color"], linewidth=0.8, linestyle=":"
            )
        axes.set_xscale("log")
        axes.set_xlabel(limit.replace("_", " "))
        axes.set_ylabel("scores kept, % (geometric mean)")
        axes.grid(axis="y")
        axes.legend(loc="lower right")
        return _image(figure, form)


@contextmanager
def _figure(salt: str, size_in: tuple[float, float], style: Mapping[str, Any]) -> Iterator["Figure"]:
    """An empty figure, independent of the user's own matplotlibrc; the same salt and drawing give the same bytes."""
    import matplotlib  # it takes most of a second to import
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = {**style, "svg.hashsalt": salt}
        matplotlib.rcParams.update(settings)
        yield Figure(figsize=size_in, layout="constrained")


def _image(figure: "Figure", form: str) -> bytes:
    stream = io.BytesIO()
    undated: Any = dict.fromkeys(("Creator", "Date", "Format", "Type") if form == "svg" else ("Software",))
    figure.savefig(stream, format=form, dpi=150, metadata=undated)
    return stream.getvalue()


def loss_plot(history: Sequence[Mapping[str, Any]], stage: str) -> str:
    """Training and validation loss against the epoch; empty text if neither was recorded."""
    series = (("train_loss", "training", MUTED), ("val_loss", "validation", ACCENT))
    return _curves(history, stage, "loss", series, 1.0)


def validation_plot(history: Sequence[Mapping[str, Any]], stage: str) -> str:
    """Validation accuracy against the epoch; empty text if it was not recorded."""
    return _curves(history, stage, "validation accuracy, %", (("val_accuracy", "validation", ACCENT),), 100.0)


def _curves(
    history: Sequence[Mapping[str, Any]], stage: str, name: str, series: Sequence[tuple[str, str, str]], scale: float
) -> str:
    epochs = [number(row.get("epoch")) or index for index, row in enumerate(history)]
    lines = []
    for key, label, color in series:
        values = [number(row.get(key)) for row in history]
        line = [math.nan if value is None else value * scale for value in values]
        known = [value for value in line if not math.isnan(value)]
        if known:
            lines.append((label, color, line, known))
    if not lines:
        return ""

    def draw(axes: "Axes") -> None:
        for label, color, line, known in lines:
            # One point draws no line, so a short series gets marks.
            axes.plot(epochs, line, color=color, label=label, linewidth=1.8, marker="o" if len(known) < 3 else None)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(_few_ticks(integer=True))
        axes.grid(axis="y")
        if len(lines) > 1:
            axes.legend(loc="upper right")

    ends = ((label, format_decimal(known[0]), format_decimal(known[-1])) for label, _, _, known in lines)
    summary = "; ".join(f"{label} from {first} to {last}" for label, first, last in ends)
    return svg_figure(f"{stage} {name}", draw, f"{stage}, {name} over {len(history)} epochs: {summary}.", height_in=2.8)


def _few_ticks(integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=integer)


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Number rows from the top and name them."""
    axes.set_yticks(range(len(names)), [_clean(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _clean(name: str) -> str:
    """A name cut short, since long ones leave no room for the data, and printable."""
    text = printable(name)
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    """Text without control characters, which XML forbids."""
    return "".join(character for character in text if character.isprintable())


@dataclass(frozen=True)
class Mark:
    """Attributes of a drawn artist's group, for a page's style and script, and the title shown on pointing at it."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


def svg_figure(
    name: str,
    draw: Callable[["Axes"], None],
    description: str,
    height_in: float,
    theme: Mapping[str, str] | None = None,
    marks: Mapping[str, Mark] | None = None,
) -> str:
    """Draw on a figure 4.8 in wide and return it as an `<svg>` element; the same input gives the same bytes.

    Args:
        name: unique on the page; it keeps the ids of two plots apart.
        draw: draws on the axes, in the placeholder colours of this module and of `theme`.
        description: the text alternative.
        theme: further placeholder colours and the CSS colours that replace them, such as `var(--c0)`.
        marks: by the `gid` of an artist.
    """
    with _figure(name, (4.8, height_in), _STYLE) as figure:
        draw(figure.add_subplot())
        svg = _image(figure, "svg")
    return _inline(svg, description, _THEME | dict(theme or {}), marks or {})


def _inline(svg: bytes, description: str, theme: Mapping[str, str], marks: Mapping[str, Mark]) -> str:
    """Fit a standalone SVG into a page: no namespaces or fixed size, theme colours, and a text alternative."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            # A <style> inside an inline SVG would reach the whole page.
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.tag == "g":
            mark = marks.get(element.attrib.pop("id", ""), Mark())
            element.attrib.update(mark.attributes)
            if mark.title:
                title = ElementTree.Element("title")
                title.text = "\n".join(map(printable, mark.title.split("\n")))
                element.insert(0, title)
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            if key == "style":
                for placeholder, color in theme.items():
                    value = value.replace(placeholder, color)
            element.set(key.rpartition("}")[2], value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", printable(description))
    return ElementTree.tostring(root, encoding="unicode")
