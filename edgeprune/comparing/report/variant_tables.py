"""Tables of the page with a row a variant."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeprune.comparing.comparison import METRICS, Comparison, Variant
from edgeprune.comparing.report import runs
from edgeprune.comparing.report.page_table import (
    NOTHING,
    PageCell,
    PageColumn,
    PageRow,
    PageTable,
    Show,
    columns,
    difference_cell,
    estimate_cell,
    latency_cell,
    p_text,
    percent_interval,
    plain_interval,
    points,
    value_cell,
)
from edgeprune.reporting.numbers import MISSING, format_bytes, format_count, format_decimal, format_percent
from edgeprune.results.result import KINDS

COSTS: dict[str, tuple[str, Show]] = {
    "params": ("parameters", format_count),
    "macs": ("MACs", format_count),
    "flash_bytes": ("flash", format_bytes),
    "peak_ram_bytes": ("RAM", format_bytes),
}
"""Costs of a network: the name in a table and how a value is written."""
FULL_SHADE = 0.20  # a change of accuracy by this much has the deepest colour
MOST_PARTS = 40  # nobody reads more columns; those that change most are shown


@dataclass(frozen=True)
class NumberedVariant:
    """A variant and its number in the comparison, from 1."""

    number: int
    variant: Variant

    def row(self, *cells: PageCell, note: str = "") -> PageRow:
        """A row about this variant; `note` stands below its name.

        Badges are the role of a control and, where no run has a result, the states of the runs.
        """
        variant = self.variant
        badges = [variant.role] if variant.role != "variant" else []
        badges += dict.fromkeys(run.state.value for run in variant.unfinished if not variant.finished)
        head = PageCell(variant.name, note, key=float(self.number))
        return PageRow((head, *cells), self.number, tuple(badges), bool(variant.pareto))


def devices(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Device, kind and unit of every latency, measured ones first."""
    ranks = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(comparison.devices(), key=lambda key: ranks.get(key[1], len(ranks)))


def shipped_table(entries: Sequence[NumberedVariant], comparison: Comparison) -> PageTable:
    """Every variant in the format compared: accuracy, difference to the dense control, and every cost."""
    format, timed, dense = comparison.format, devices(comparison), comparison.of_role("dense")
    difference = ["points to dense"] if dense else []
    score = comparison.score_name
    names = ["variant", "runs", score, "log loss", *difference, *(name for name, _ in COSTS.values()), "file"]
    heads = columns(*names, down=(score, "points to dense"))
    heads += [PageColumn(f"{device}, {unit}", kind) for device, kind, unit in timed]
    heads += columns("Pareto front of", down=("Pareto front of",))
    rows = []
    for entry in entries:
        variant = entry.variant
        states = Counter(run.state.value for run in variant.unfinished)
        note = ", ".join(f"{number} {state}" for state, number in states.items())
        cells = [
            PageCell(str(len(variant.finished)), note, len(variant.finished)),
            estimate_cell(variant.accuracy.get(format), format_percent, percent_interval),
            estimate_cell(variant.log_loss.get(format), format_decimal, plain_interval(format_decimal)),
        ]
        cells += [difference_cell(variant.difference(dense, "accuracy"))] if dense else []
        cells += [estimate_cell(variant.cost.get(key), show) for key, (_, show) in COSTS.items()]
        cells.append(estimate_cell(variant.bytes.get(format), format_bytes))
        cells += [latency_cell(variant.latency_of(device)) for device in timed]
        fronts = [COSTS[key][0] for key in variant.pareto]
        cells.append(PageCell(", ".join(fronts) or MISSING, key=len(fronts)))
        reasons = dict.fromkeys(run.failure or run.problem for run in variant.unfinished)
        rows.append(entry.row(*cells, note="; ".join(reasons)))
    return PageTable(heads, rows)


def formats_table(entries: Sequence[NumberedVariant], score: str) -> PageTable | None:
    """The score compared and the file by number format; None for one format."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.variant.accuracy))
    heads, rows = columns("variant"), []
    for name in names:
        heads += columns(f"{name}, {score}", f"{name}, file", down=(f"{name}, {score}",))
    for entry in entries:
        cells = []
        for name in names:
            cells.append(estimate_cell(entry.variant.accuracy.get(name), format_percent, percent_interval))
            cells.append(estimate_cell(entry.variant.bytes.get(name), format_bytes))
        rows.append(entry.row(*cells))
    return PageTable(heads, rows) if len(names) > 1 else None


def controls_table(entries: Sequence[NumberedVariant], score: str) -> PageTable:
    """Every variant minus each control it was compared with, the score compared and log loss."""
    names = ("variant", "minus", f"{score}, points", "p", "log loss", "p", "pairs")
    rows = []
    for entry in entries:
        for against in dict.fromkeys(one.against for one in entry.variant.differences):
            both = [entry.variant.difference([against], metric) for metric in METRICS]
            cells = [value_cell(against)]
            for one in both:
                p = one.p_value if one else None
                cells += [difference_cell(one, with_p=False), value_cell(p, lambda p: p_text(p).removeprefix("p "))]
            pairs = value_cell(max(one.estimate.n for one in both if one))
            rows.append(entry.row(*cells, pairs))
    return PageTable(columns(*names, down=(f"{score}, points",)), rows)


def widths_table(entries: Sequence[NumberedVariant]) -> PageTable:
    """Filters by layer, shaded by the share of the dense network's that stays."""
    by_entry = {entry.number: runs.widths(entry.variant.finished) for entry in entries}
    layers = list(dict.fromkeys(name for widths in by_entry.values() for name in widths))
    dense = runs.dense_widths([run for entry in entries for run in entry.variant.finished])
    rows = [
        entry.row(*(_width_cell(widths.get(name), dense.get(name)) for name in layers))
        for entry in entries
        if (widths := by_entry[entry.number])
    ]
    return PageTable(columns("variant", *layers), rows)


def _width_cell(widths: Sequence[int] | None, dense: int | None) -> PageCell:
    """One width where all runs have the same, else that of each run; no network has the mean of them."""
    if not widths:
        return NOTHING
    least, most, mean = min(widths), max(widths), statistics.fmean(widths)
    text = str(least) if least == most else ", ".join(map(str, widths))
    if not dense:
        return PageCell(text, key=mean)
    shares = [format_percent(width / dense, digits=0) for width in (least, most)]
    note = shares[0] if least == most else f"{shares[0].removesuffix(' %')} to {shares[1]}"
    return PageCell(text, note, mean, min(mean / dense, 1.0))


def parts_table(entries: Sequence[NumberedVariant], by: str, comparison: Comparison) -> tuple[PageTable, int]:
    """Accuracy by class, device or city, with its change from the dense control, and how many parts are left out."""
    format = comparison.format
    dense = {entry.variant.name: entry.variant for entry in entries if entry.variant.role == "dense"}
    shifts = {
        entry.number: runs.shifts(entry.variant.finished, _dense_runs(entry.variant, dense), by, format)
        for entry in entries
    }
    names = list(dict.fromkeys(name for row in shifts.values() for name in row))

    def largest_change(name: str) -> float:
        return max(abs(row[name].change or 0.0) for row in shifts.values() if name in row)

    most_changed = sorted(names, key=largest_change, reverse=True)[:MOST_PARTS]
    shown = [name for name in names if name in most_changed]
    clips = runs.clips_of([run for entry in entries for run in entry.variant.finished], by, format)
    titles = [f"{name} ({clips[name]})" if name in clips else name for name in shown]
    rows = []
    for entry in entries:
        if row := shifts[entry.number]:
            plain = entry.variant.role == "dense"
            rows.append(entry.row(*(_shift_cell(row.get(name), plain) for name in shown)))
    return PageTable(columns("variant", *titles, down=titles), rows), len(names) - len(shown)


def _dense_runs(variant: Variant, dense: Mapping[str, Variant]) -> Sequence[runs.ComparedRun]:
    """Runs of the dense control the variant was compared with; those of the only control where none is named."""
    difference = variant.difference(list(dense), "accuracy")
    if difference is not None:
        return dense[difference.against].finished
    return next(iter(dense.values())).finished if len(dense) == 1 else ()


def _shift_cell(shift: runs.Shift | None, plain: bool) -> PageCell:
    if shift is None:
        return NOTHING
    text = format_percent(shift.mean, digits=1).removesuffix(" %")
    if plain or shift.change is None:
        return PageCell(text, key=shift.mean)
    shade = max(-1.0, min(1.0, shift.change / FULL_SHADE))
    return PageCell(text, points(shift.change), shift.mean, shade)
