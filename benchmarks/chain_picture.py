"""The picture of the chain, docs/img/chain_{light,dark}.svg, with the figures of a finished run.

    python benchmarks/chain_picture.py runs/quickstart-fold1-seed0

The figures come from `result.json`. Those of the Cortex-M4 are not in it and are emulated here, in a minute.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import edgeprune
from edgeprune.devices.record import Measurement
from edgeprune.files import write_text
from edgeprune.reporting.layers import layer_changes
from edgeprune.reporting.numbers import format_bytes, format_count, format_percent
from edgeprune.results.result import Result

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "img"
INT8 = ("dense_int8.tflite", "model_int8.tflite")
CARD, GAP, PADDING = 170, 27, 12
INNER = CARD - 2 * PADDING
DRAWING, FIGURES, LINE = 46, 140, 22  # from the top of a card: its drawing, its first figure; from figure to figure
DRAWN = 68  # the height of a drawing
CARD_HEIGHT = FIGURES + 2 * LINE + 14
THEMES = {
    "light": {"ink": "#1f2328", "muted": "#59636e", "line": "#d1d9e0", "card": "#f6f8fa", "accent": "#0072b2"},
    "dark": {"ink": "#f0f6fc", "muted": "#9198a1", "line": "#3d444d", "card": "#151b23", "accent": "#56b4e9"},
}


@dataclass(frozen=True)
class Step:
    """A card: its name, a drawing `INNER` wide whose top left corner is 0, 0, and three figures with their names."""

    name: str
    drawing: str
    figures: Sequence[tuple[str, str]]


def main(run: Path) -> None:
    result = edgeprune.load(run)
    boards = edgeprune.bench([run / name for name in INT8], "cortex-m4").records
    steps = [*network_steps(result), export_step(result), device_step(boards)]
    for theme, colours in THEMES.items():
        path = IMAGES / f"chain_{theme}.svg"
        write_text(path, picture(steps, colours))
        print(f"{path}: {path.stat().st_size:,} B")


def network_steps(result: Result) -> list[Step]:
    """Train, prune and fine-tune."""
    dense, pruned = result.networks["dense"], result.networks["pruned"]
    widths = [change.filters for change in layer_changes(result) if change.kind == "conv"]
    history = [row["val_accuracy"] for row in result.history["finetune"]]
    before, cut, after = (
        format_percent(scores.accuracy, 1) for scores in (dense.scores, pruned.before_finetuning, pruned.scores)
    )
    costs = [
        [("parameters", format_count(network.cost.params)), ("MACs", format_count(network.cost.macs))]
        for network in (dense, pruned)
    ]
    return [
        Step("Train", filters([(width, width) for width, _ in widths]), [*costs[0], ("accuracy", before)]),
        Step("Prune", filters(widths), [*costs[1], ("accuracy", cut)]),
        Step(
            "Fine-tune", curve(history), [("epochs", str(len(history))), ("MACs", costs[1][1][1]), ("accuracy", after)]
        ),
    ]


def export_step(result: Result) -> Step:
    files = {file.label: file for file in result.files}
    sizes = {name: files[name].bytes or 0 for name in ("dense float32", "dense int8", "pruned float32", "pruned int8")}
    figures = [(name, format_bytes(sizes[name])) for name in ("dense int8", "pruned int8")]
    return Step(
        "Export", bars(sizes), [*figures, ("accuracy", format_percent(files["pruned int8"].scores.accuracy, 1))]
    )


def device_step(boards: Sequence[Measurement]) -> Step:
    dense, shipped = boards
    figures = [
        ("instructions", format_count(shipped.median)),
        ("RAM", format_bytes(shipped.peak_ram_bytes)),
        ("flash", format_bytes(shipped.detail["flash_bytes"])),
    ]
    return Step("Cortex-M4", bars({"dense (emulated)": dense.median, "pruned": shipped.median}), figures)


def filters(widths: Sequence[tuple[int, int]]) -> str:
    """A square a filter, in the accent's colour where it stays; each layer begins a row, and a row holds 16."""
    squares = []
    for layer, (before, after) in enumerate(widths):
        for number in range(before):
            x, y = 9 * (number % 16), 24 * layer + 9 * (number // 16)
            kept = "accent" if number < after else "line"
            squares.append(f'<rect x="{x}" y="{y}" width="6" height="6" class="{kept}"/>')
    return "".join(squares)


def curve(shares: Sequence[float]) -> str:
    """Accuracy on validation clips by epoch; the whole height is 100 %."""
    points = [
        f"{INNER * epoch / (len(shares) - 1):.1f},{DRAWN * (1 - share):.1f}" for epoch, share in enumerate(shares)
    ]
    axis = f'<path d="M0 0V{DRAWN}H{INNER}" class="axis"/>'
    return f'{axis}<polyline points="{" ".join(points)}" class="curve"/>'


def bars(values: dict[str, float]) -> str:
    """A bar with its name for each value, the last in the accent's colour; a name stands behind a short bar."""
    pitch, drawn = DRAWN / len(values), []
    for row, (name, value) in enumerate(values.items()):
        y, width = pitch * row, INNER * value / max(values.values())
        colour, x = "accent" if row == len(values) - 1 else "line", 5 if width > INNER / 2 else width + 5
        drawn.append(f'<rect y="{y:.1f}" width="{width:.1f}" height="{0.85 * pitch:.1f}" class="{colour}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{y + 0.43 * pitch + 4:.1f}" class="small ink">{name}</text>')
    return "".join(drawn)


def card(step: Step) -> str:
    lines = []
    for row, (name, figure) in enumerate(step.figures):
        y = FIGURES + LINE * row
        lines.append(f'<text y="{y}" class="muted">{escape(name)}</text>')
        lines.append(f'<text x="{INNER}" y="{y}" text-anchor="end" class="ink bold">{escape(figure)}</text>')
    return (
        f'<rect width="{CARD}" height="{CARD_HEIGHT}" rx="8" class="card"/>'
        f'<g transform="translate({PADDING} 0)"><text y="28" class="ink title">{step.name}</text>'
        f'<g transform="translate(0 {DRAWING})">{step.drawing}</g>{"".join(lines)}</g>'
    )


def picture(steps: Sequence[Step], colours: dict[str, str]) -> str:
    """The cards from left to right, with an arrow between two of them."""
    width, height = len(steps) * (CARD + GAP) - GAP, CARD_HEIGHT
    style = "".join(f".{name}{{fill:{colour}}}" for name, colour in colours.items())
    style += ".axis,.curve,.arrow{fill:none;stroke-width:1.5}" + "".join(
        f".{name}{{stroke:{colours[colour]}}}"
        for name, colour in (("axis", "line"), ("curve", "accent"), ("arrow", "muted"))
    )
    style += "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif}.small{font-size:10.5px}"
    style += ".bold,.title{font-weight:600}.title{font-size:16px}"
    words = "; ".join(f"{step.name}: {', '.join(map(' '.join, step.figures))}" for step in steps)
    arrow = f'<path d="M{CARD + 6} {height / 2}h{GAP - 12}m-6 -5l6 5l-6 5" class="arrow"/>'
    cards = (
        f'<g transform="translate({place * (CARD + GAP)} 0)">{card(step)}{arrow if step is not steps[-1] else ""}</g>'
        for place, step in enumerate(steps)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
        f"<title>{escape(words)}</title><style>{style}</style>{''.join(cards)}</svg>\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
