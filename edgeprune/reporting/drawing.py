"""How plots are drawn: inline SVG in the theme of a page, or figures on white that notebooks show and files hold."""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from cycler import cycler

from edgeprune.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Palette:
    """Colours of a plot, `#rrggbb`.

    Attributes:
        ground: of what a plot stands on.
        groups: of groups of points or lines.
    """

    ink: str
    faint: str
    accent: str
    muted: str
    soft: str
    ground: str
    groups: tuple[str, ...]


# Matplotlib cannot write CSS variables, so a page's colours are placeholders that `_inline` replaces.
PAGE = Palette(
    ink="#010101",
    faint="#020202",
    accent="#030303",
    muted="#040404",
    soft="#0d0000",
    ground="#0d0001",
    groups=tuple(f"#0c000{number}" for number in range(6)),
)
INK, FAINT, ACCENT, MUTED = PAGE.ink, PAGE.faint, PAGE.accent, PAGE.muted
_THEME = {
    PAGE.ink: "var(--ink)",
    PAGE.faint: "var(--line)",
    PAGE.accent: "var(--accent)",
    PAGE.muted: "var(--muted)",
    PAGE.soft: "var(--soft)",
    PAGE.ground: "var(--card)",
    **{color: f"var(--c{number})" for number, color in enumerate(PAGE.groups)},
}
WHITE = Palette(
    ink="#222222",
    faint="#cccccc",
    accent="#0f5e82",
    muted="#8d949c",
    soft="#565d66",
    ground="#ffffff",
    # distinct to colour-blind readers too (Okabe & Ito)
    groups=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00"),
)
_LONGEST_LABEL = 30


def _style(colors: Palette) -> dict[str, Any]:
    return {
        "text.parse_math": False,  # a `$` in a class name is a character, not the start of a formula
        "font.size": 10.5,
        "text.color": colors.ink,
        "axes.labelcolor": colors.ink,
        "axes.edgecolor": colors.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "xtick.color": colors.faint,
        "ytick.color": colors.faint,
        "xtick.labelcolor": colors.ink,
        "ytick.labelcolor": colors.ink,
        "grid.color": colors.faint,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
    }


_ON_PAGE = _style(PAGE) | {"figure.facecolor": "none", "axes.facecolor": "none"}
_ON_WHITE = _style(WHITE) | {
    "lines.linewidth": 1.6,
    "axes.prop_cycle": cycler(color=WHITE.groups, linestyle=("-", "--", ":", "-.") * 2),
}


@contextmanager
def _settings(style: Mapping[str, Any]) -> Iterator[None]:
    """Settings of matplotlib that do not depend on the user's own matplotlibrc."""
    import matplotlib  # it takes most of a second to import

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = style
        matplotlib.rcParams.update(settings)
        yield


@contextmanager
def white_figure(width_in: float, height_in: float) -> Iterator["Figure"]:
    """An empty figure on white, to be drawn on inside the block; it then keeps its look, whatever the user sets."""
    from edgeprune.reporting.notebook_figure import NotebookFigure

    with _settings(_ON_WHITE):
        figure = NotebookFigure(figsize=(width_in, height_in), layout="constrained")
        yield figure
        figure.draw_without_rendering()  # ticks are made when they are first drawn


def image_bytes(figure: "Figure", form: str, salt: str = "edgeprune") -> bytes:
    """A figure as `svg` or `png`; the same salt and drawing give the same bytes."""
    import matplotlib

    stream = io.BytesIO()
    undated: Any = dict.fromkeys(("Creator", "Date", "Format", "Type") if form == "svg" else ("Software",))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format=form, dpi=150, metadata=undated)
    return stream.getvalue()


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as the .svg or .png file that the path's ending says."""
    write_bytes(path, image_bytes(figure, path.suffix[1:]))


def few_ticks(integer: bool = False) -> Any:
    """A locator of round values."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=integer)


def scale_log(axes: "Axes", low: float, high: float) -> None:
    """A logarithmic horizontal axis over a range above 0, with ticks at round values."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low / 1.08, high * 1.08)
    axes.xaxis.set_major_locator(FixedLocator(_log_ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())


def _log_ticks(low: float, high: float) -> list[float]:
    """The coarsest series of round values with at least three in the range, thinned to at most six."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        ticks = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 6) or 1]


def name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Number rows from the top and name them."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def short(name: str) -> str:
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
        draw: draws on the axes, in the colours of `PAGE` and of `theme`.
        description: the text alternative.
        theme: further placeholder colours and the CSS colours that replace them, such as `var(--c0)`.
        marks: by the `gid` of an artist.
    """
    from matplotlib.figure import Figure

    with _settings(_ON_PAGE):
        figure = Figure(figsize=(4.8, height_in), layout="constrained")
        draw(figure.add_subplot())
        svg = image_bytes(figure, "svg", name)
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
