"""The plots of the evidence grid, as SVG files whose colours follow the reader's light or dark theme."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_summary import pruned_networks
from evidence_tables import set_name, share_name

from edgeprune.files import write_text
from edgeprune.reporting.drawing import INK, MUTED, svg_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {
    "cut": ("cut only", "#050505", ":"),
    "reconstructed": ("reconstructed", "#060606", "--"),
    "finetuned": ("fine-tuned", "#070707", "-"),
    "finetuned-int8": ("fine-tuned, int8", "#080808", "-"),
    "scratch": ("from scratch", "#080808", "-."),
}
"""Placeholder colours, which the style of the file replaces (see `reporting.drawing`)."""
_THEME = {"#050505": "var(--c0)", "#060606": "var(--c1)", "#070707": "var(--c2)", "#080808": "var(--c3)"}
_LIGHT = (
    "--ink:#222222;--line:#d5d5d5;--muted:#767676;--page:#ffffff;--c0:#b45309;--c1:#0072b2;--c2:#00704f;--c3:#a3397c"
)
_DARK = (
    "--ink:#e6e7e8;--line:#3a4047;--muted:#9aa2aa;--page:#15181b;--c0:#f0a04b;--c1:#6ab8e8;--c2:#4fc79c;--c3:#e08abf"
)
_STYLE = f"svg{{{_LIGHT};background:var(--page)}}@media(prefers-color-scheme:dark){{svg{{{_DARK}}}}}"
MARKERS = {"operator_norm": "o", "stand_in": "D"}


def write_plots(summary: dict[str, Any], folder: Path) -> list[Path]:
    """`evidence_accuracy_SET.svg` and `evidence_difference_SET.svg` of each data set."""
    paths = []
    for name, of_set in summary["sets"].items():
        plots = {"accuracy": _accuracy_plot(name, of_set), "difference": _difference_plot(name, summary["questions"])}
        for kind, svg in plots.items():
            if svg:
                path = folder / f"evidence_{kind}_{name}.svg"
                write_text(path, svg)
                paths.append(path)
    return paths


def _accuracy_plot(name: str, of_set: dict[str, Any]) -> str:
    """Accuracy by the share of the filters kept: a colour a treatment, a marker a criterion."""
    networks, dense = of_set["networks"], of_set["networks"].get("dense")
    shares, criteria = pruned_networks(networks)
    if dense is None or not shares:
        return ""
    curves = {
        (treatment, marker): [f"{share}-{criterion}-{treatment}" for share in shares]
        for treatment in ("cut", "reconstructed", "finetuned")
        for criterion, marker in MARKERS.items()
    } | {("scratch", "s"): [f"{share}-scratch" for share in shares]}

    def draw(axes: "Axes") -> None:
        axes.axhline(100 * dense["accuracy"], color=MUTED, linewidth=1)
        axes.text(len(shares) - 0.45, 100 * dense["accuracy"], "dense", va="bottom", ha="right")
        for place, ((treatment, marker), keys) in enumerate(curves.items()):
            label, color, style = LINES[treatment]
            points = [(x + 0.04 * (place - 3), networks[key]) for x, key in enumerate(keys) if key in networks]
            for x, found in points:
                axes.plot([x, x], [100 * bound for bound in found["interval"]], color=color, linewidth=1.4, alpha=0.55)
            across, heights = [x for x, _ in points], [100 * found["accuracy"] for _, found in points]
            shown = label if points and marker != "D" else None
            axes.plot(across, heights, color=color, linestyle=style, marker=marker, markersize=5, label=shown)
        for criterion, marker in ((name, marker) for name, marker in MARKERS.items() if name in criteria):
            axes.plot([], [], color=MUTED, linestyle="", marker=marker, markersize=5, label=criterion)
        axes.set_xticks(range(len(shares)), [f"{share_name(share)} of the filters" for share in shares])
        axes.set_xlim(-0.45, len(shares) - 0.45)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("accuracy, %")
        axes.grid(axis="y")
        axes.figure.legend(loc="outside lower center", ncols=2)

    words = f"{set_name(name)}: accuracy by budget and by what was done after the cut, with 95 % intervals"
    return _file(f"evidence accuracy {name}", draw, words, 3.9)


def _difference_plot(name: str, questions: dict[str, Any]) -> str:
    """Paired differences to the dense network: a row a share and criterion, a colour a treatment."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in (row for of_question in questions.values() for row in of_question if row["set"] == name):
        criterion, treatment, _, control = row["label"].split(" ")[:4]
        if control == "dense" and treatment in LINES:
            rows.setdefault((row["share"], criterion.strip("`")), {})[treatment] = row
    shown = [line for line in LINES if any(line in of_row for of_row in rows.values())]
    if not rows:
        return ""
    order = sorted(rows, key=lambda place: -float(place[0]))

    def draw(axes: "Axes") -> None:
        axes.axvline(0, color=INK, linewidth=1)
        for place, treatment in enumerate(shown):
            label, color, _ = LINES[treatment]
            found = [(y, rows[key][treatment]) for y, key in enumerate(order) if treatment in rows[key]]
            heights = [y + 0.22 * (place - (len(shown) - 1) / 2) for y, _ in found]
            for y, (_, row) in zip(heights, found, strict=True):
                axes.plot([100 * bound for bound in row["interval"]], [y, y], color=color, linewidth=2)
            points = [100 * row["difference"] for _, row in found]
            axes.plot(points, heights, "o", color=color, markersize=5.5, label=label)
        axes.set_yticks(range(len(order)), [f"{criterion}, {share_name(share)}" for share, criterion in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("points from the dense network")
        axes.grid(axis="x")
        axes.figure.legend(loc="outside lower center", ncols=len(shown))

    words = f"{set_name(name)}: differences to the dense network, paired by clip, seed and fold, with 95 % intervals"
    return _file(f"evidence difference {name}", draw, words, 1.3 + 0.42 * len(order))


def _file(name: str, draw: Callable[["Axes"], None], description: str, height_in: float) -> str:
    """A plot as a file of its own, with both themes' colours."""
    svg = svg_figure(name, draw, description, height_in, _THEME)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        ">", f"><title>{description}</title><style>{_STYLE}</style>", 1
    )
