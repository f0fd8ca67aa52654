"""Tables of a comparison: text to read, and beside it the value that sorting goes by."""

import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune.comparing.comparison import Comparison, Difference, Estimate, Latency, RunRecord, Variant
from edgeprune.comparing.report import runs
from edgeprune.comparing.report.runs import Reading, Shift
from edgeprune.comparing.table import quantity, signed
from edgeprune.reporting import tables
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_count,
    format_decimal,
    format_exact,
    format_interval,
    format_percent,
)

ONE_RUN = "one run: no interval"
COSTS = {
    "params": ("parameters", format_count),
    "macs": ("MACs", format_count),
    "flash_bytes": ("flash", format_bytes),
    "peak_ram_bytes": ("RAM", format_bytes),
}
"""Costs of a network: the name in a table and how a value is written."""
FULL_SHADE = 0.20  # a change of accuracy by this much has the deepest colour
MOST_PARTS = 40  # more columns nobody reads; those that change most are shown

Show = Callable[[Any], str]


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        text, note: first and second line.
        key: what sorting goes by; None where there is no value, which is sorted last.
        shade: -1 to 1, how deep the cell is coloured: of a change for the worse, below 0.
        code: whether the text is to be copied, such as a command or a hash.
    """

    text: str
    note: str = ""
    key: float | str | None = None
    shade: float | None = None
    code: bool = False


@dataclass(frozen=True)
class Column:
    """Name of a column; `kind` of a latency; `down`: whether the first sorting puts the largest on top."""

    name: str
    kind: str = ""
    down: bool = False


@dataclass(frozen=True)
class Row:
    """Cells of a row, its heading first.

    Attributes:
        number: of the variant the row is about, None of others.
        badges: role of a control, and `failed` and the like.
        front: whether the variant lies on a Pareto front.
    """

    cells: tuple[Cell, ...]
    number: int | None = None
    badges: tuple[str, ...] = ()
    front: bool = False


@dataclass(frozen=True)
class Grid:
    """Columns and rows; each row has a cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


NOTHING = Cell(MISSING)


@dataclass(frozen=True)
class Entry:
    """A variant, its number in the comparison (from 1) and its finished runs."""

    number: int
    variant: Variant
    readings: Sequence[Reading]

    @property
    def without(self) -> list[RunRecord]:
        """Runs that have no result."""
        return [record for record in self.variant.runs if record.result is None]

    @property
    def badges(self) -> tuple[str, ...]:
        role = () if self.variant.role == "variant" else (self.variant.role,)
        return role if self.readings else (*role, *dict.fromkeys(map(state_of, self.without)))

    def row(self, *cells: Cell, reasons: bool = False) -> Row:
        """A row about this variant, named by number and name; with `reasons`, why runs have no result."""
        told = dict.fromkeys(map(reason_of, self.without)) if reasons else ()
        head = Cell(self.variant.name, "; ".join(told), key=float(self.number))
        return Row((head, *cells), self.number, self.badges, bool(self.variant.pareto))


def state_of(record: RunRecord) -> str:
    """`failed`, `unfinished` or `damaged`, of a run without a result."""
    return {"has not": "unfinished", "is dama": "damaged"}.get(record.reason[:7], "failed")


def reason_of(record: RunRecord) -> str:
    """Why a run has no result, less what its state says already."""
    return record.reason.removeprefix("failed: ") or "for no known reason"


# Cells


def estimate_cell(value: Estimate | None, show: Show, interval: Callable[[Estimate], str] | None = None) -> Cell:
    """A mean; with `interval` a second line that says how sure it is."""
    if value is None:
        return NOTHING
    note = ""
    if interval is not None:
        note = ONE_RUN if value.n == 1 else interval(value)
    return Cell(show(value.mean), note, value.mean)


def percent_interval(value: Estimate) -> str:
    if value.low is None or value.high is None:
        return "no interval"
    return format_interval((value.low, value.high))


def plain_interval(show: Show) -> Callable[[Estimate], str]:
    """`1.08 to 1.12`; nothing where all runs have the same value."""

    def text(value: Estimate) -> str:
        if value.low is None or value.high is None:
            return ""
        return "" if value.low == value.high else f"{show(value.low)} to {show(value.high)}"

    return text


def difference_cell(found: Difference | None, with_p: bool = True) -> Cell:
    """A difference with interval and p-value: of accuracies in percentage points."""
    if found is None:
        return NOTHING
    show = points if found.metric == "accuracy" else _decimal
    value = found.estimate
    if value.n == 1:
        return Cell(show(value.mean), "one pair: no interval", value.mean)
    note = "" if value.low is None or value.high is None else f"{show(value.low)} to {show(value.high)}"
    told = [note, p_text(found.p_value)] if with_p and found.p_value is not None else [note]
    return Cell(show(value.mean), "; ".join(filter(None, told)), value.mean)


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return signed(100 * value, 1)


def _decimal(value: float) -> str:
    return signed(value, 3)


def p_text(value: float | None) -> str:
    if value is None:
        return MISSING
    return "p < 0.001" if value < 0.001 else f"p {value:.2g}"


def latency_cell(found: Latency | None) -> Cell:
    if found is None:
        return NOTHING
    note = "one run" if found.estimate.n == 1 else plain_interval(quantity)(found.estimate)
    return Cell(quantity(found.estimate.mean), note, found.estimate.mean)


# Tables of variants


def devices(entries: Sequence[Entry]) -> list[tuple[str, str, str]]:
    """Device, kind and unit of every latency, measured ones first."""
    found = {(one.device, one.kind, one.unit): None for entry in entries for one in entry.variant.latency}
    ranks = {kind: place for place, kind in enumerate(tables.KINDS)}
    return sorted(found, key=lambda key: ranks.get(key[1], len(ranks)))


def latency_of(variant: Variant, device: tuple[str, str, str]) -> Latency | None:
    return next((one for one in variant.latency if (one.device, one.kind, one.unit) == device), None)


def dense_controls(entries: Sequence[Entry]) -> dict[str, Entry]:
    """The unpruned networks, by name."""
    return {entry.variant.name: entry for entry in entries if entry.variant.role == "dense"}


def _difference_to(variant: Variant, controls: Collection[str], metric: str) -> Difference | None:
    """The difference to that one of some controls with which the variant was compared."""
    return next((one for one in variant.differences if one.against in controls and one.metric == metric), None)


def shipped_table(entries: Sequence[Entry], comparison: Comparison) -> Grid:
    """Every variant in the format compared: accuracy, what it is worth against the dense control, and every cost."""
    chosen, timed = comparison.format, devices(entries)
    dense = dense_controls(entries)
    columns = [Column("variant"), Column("runs"), Column("accuracy", down=True), Column("log loss")]
    columns += [Column("points to dense", down=True)] if dense else []
    columns += [Column(name) for name, _ in COSTS.values()] + [Column("file")]
    columns += [Column(f"{device}, {unit}", kind) for device, kind, unit in timed]
    columns.append(Column("Pareto front of", down=True))
    rows = []
    for entry in entries:
        variant = entry.variant
        cells = [
            _runs_cell(entry),
            estimate_cell(variant.accuracy.get(chosen), format_percent, percent_interval),
            estimate_cell(variant.log_loss.get(chosen), format_decimal, plain_interval(format_decimal)),
        ]
        cells += [difference_cell(_difference_to(variant, dense, "accuracy"))] if dense else []
        cells += [estimate_cell(variant.cost.get(key), show) for key, (_, show) in COSTS.items()]
        cells.append(estimate_cell(variant.bytes.get(chosen), format_bytes))
        cells += [latency_cell(latency_of(variant, device)) for device in timed]
        rows.append(entry.row(*cells, _pareto_cell(variant), reasons=True))
    return Grid(tuple(columns), tuple(rows))


def _runs_cell(entry: Entry) -> Cell:
    counts = Counter(map(state_of, entry.without))
    return Cell(
        str(len(entry.readings)),
        ", ".join(f"{number} {state}" for state, number in counts.items()),
        float(len(entry.readings)),
    )


def _pareto_cell(variant: Variant) -> Cell:
    names = [COSTS[key][0] if key in COSTS else key for key in variant.pareto]
    return Cell(", ".join(names), key=float(len(names))) if names else Cell(MISSING, key=0.0)


def formats_table(entries: Sequence[Entry]) -> Grid | None:
    """Accuracy and file by number format; None where there is but one."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.variant.accuracy))
    if len(names) < 2:
        return None
    columns = [Column("variant")]
    for name in names:
        columns += [Column(f"{name}, accuracy", down=True), Column(f"{name}, file")]
    rows = []
    for entry in entries:
        cells = []
        for name in names:
            cells.append(estimate_cell(entry.variant.accuracy.get(name), format_percent, percent_interval))
            cells.append(estimate_cell(entry.variant.bytes.get(name), format_bytes))
        rows.append(entry.row(*cells))
    return Grid(tuple(columns), tuple(rows))


def controls_table(entries: Sequence[Entry]) -> Grid | None:
    """Every variant minus each control it was compared with, accuracy and log loss; None without a difference."""
    columns = (
        Column("variant"),
        Column("minus"),
        Column("pairs"),
        Column("accuracy, points", down=True),
        Column("p"),
        Column("log loss"),
        Column("p"),
    )
    rows = []
    for entry in entries:
        for against in dict.fromkeys(one.against for one in entry.variant.differences):
            both = [_difference_to(entry.variant, (against,), metric) for metric in ("accuracy", "log_loss")]
            pairs = max(one.estimate.n for one in both if one)
            cells = [Cell(against, key=against), Cell(str(pairs), key=float(pairs))]
            for one in both:
                p = one.p_value if one else None
                cells += [difference_cell(one, with_p=False), Cell(p_text(p).removeprefix("p "), key=p)]
            rows.append(entry.row(*cells))
    return Grid(columns, tuple(rows)) if rows else None


# Widths, and accuracy in parts


def widths_table(entries: Sequence[Entry]) -> Grid | None:
    """Filters by layer, shaded by the share of the dense network's that stays; None where no run tells."""
    means = {entry.number: runs.mean_widths(entry.readings) for entry in entries}
    layers = list(dict.fromkeys(name for widths in means.values() for name in widths))
    whole: dict[str, float] = {}
    for entry in entries:
        for reading in entry.readings:
            for name, width in reading.dense_widths.items():
                whole[name] = max(whole.get(name, 0.0), width)
    rows = []
    for entry in entries:
        if widths := means[entry.number]:
            rows.append(entry.row(*(_width_cell(widths.get(name), whole.get(name)) for name in layers)))
    return Grid((Column("variant"), *map(Column, layers)), tuple(rows)) if rows else None


def _width_cell(width: float | None, whole: float | None) -> Cell:
    if width is None:
        return NOTHING
    share = min(width / whole, 1.0) if whole else None
    note = "" if share is None else format_percent(share, digits=0)
    return Cell(f"{width:.1f}".removesuffix(".0"), note, width, share)


def parts_table(entries: Sequence[Entry], by: str) -> tuple[Grid, int] | None:
    """Accuracy by class, device or city, with its change from the dense control.

    Returns:
        The table, and how many of the parts it leaves out; None where no run tells.
    """
    dense = dense_controls(entries)
    found = {entry.number: runs.shifts(entry.readings, _dense_readings(entry, dense), by) for entry in entries}
    names = list(dict.fromkeys(name for shifts in found.values() for name in shifts))
    if not names:
        return None
    shown = set(sorted(names, key=lambda name: -_largest_change(name, found.values()))[:MOST_PARTS])
    clips = runs.clips_of([reading for entry in entries for reading in entry.readings], by)
    columns = [Column("variant")]
    for name in (name for name in names if name in shown):
        count = f" ({clips[name]:.0f})" if name in clips else ""
        columns.append(Column(f"{name}{count}", down=True))
    rows = []
    for entry in entries:
        if shifts := found[entry.number]:
            plain = entry.variant.role == "dense"
            cells = [_shift_cell(shifts.get(name), plain) for name in names if name in shown]
            rows.append(entry.row(*cells))
    return Grid(tuple(columns), tuple(rows)), len(names) - len(shown)


def _dense_readings(entry: Entry, dense: Mapping[str, Entry]) -> Sequence[Reading]:
    """Runs of the unpruned network that a variant was compared with; the only one there is where none is named."""
    against = _difference_to(entry.variant, dense, "accuracy")
    if against is not None:
        return dense[against.against].readings
    return next(iter(dense.values())).readings if len(dense) == 1 else ()


def _largest_change(name: str, found: Any) -> float:
    changes = (abs(shifts[name].change or 0.0) for shifts in found if name in shifts)
    return max(changes, default=0.0)


def _shift_cell(shift: Shift | None, plain: bool) -> Cell:
    if shift is None:
        return NOTHING
    text = format_percent(shift.mean, digits=1).removesuffix(" %")
    if plain or shift.change is None:
        return Cell(text, key=shift.mean)
    shade = max(-1.0, min(1.0, shift.change / FULL_SHADE))
    return Cell(text, points(shift.change), shift.mean, shade)


# Runs and files


def runs_table(entries: Sequence[Entry]) -> Grid:
    """Every run: seed, fold, what became of it, and the command that repeats it."""
    columns = [Column("variant"), Column("seed"), Column("fold"), Column("accuracy", down=True), Column("command")]
    rows = []
    for entry in entries:
        readings = {id(reading.record): reading for reading in entry.readings}
        for record in entry.variant.runs:
            command = f"edgeprune run {shlex.quote(str(record.folder / 'recipe.json'))}"
            told_of = "the unpruned network of this run" if record.stage == "dense" else ""
            rows.append(
                Row(
                    (
                        Cell(
                            entry.variant.name,
                            told_of if record.result is not None else reason_of(record),
                            float(entry.number),
                        ),
                        Cell(str(record.seed), key=float(record.seed)),
                        Cell(str(record.fold), key=float(record.fold)),
                        _accuracy_cell(readings.get(id(record))),
                        Cell(command, key=command, code=True),
                    ),
                    entry.number,
                    (state_of(record),) if record.result is None else (),
                )
            )
    return Grid(tuple(columns), tuple(rows))


def _accuracy_cell(reading: Reading | None) -> Cell:
    accuracy = tables.number(reading.form.accuracy.get("accuracy")) if reading and reading.form else None
    return Cell(format_percent(accuracy), key=accuracy)


def files_table(entries: Sequence[Entry]) -> tuple[Grid, list[runs.File]]:
    """Every file once, with its parity and hash."""
    names = ("variant", "seed", "fold", "file", "bytes", "largest error", "label flips", "transposes", "SHA-256")
    files = runs.files_of([reading for entry in entries for reading in entry.readings])
    numbers = {id(record): entry.number for entry in entries for record in entry.variant.runs}
    rows = []
    for file in files:
        first, more = file.runs[0], len(file.runs) - 1
        error = MISSING if file.max_abs_error is None else f"{file.max_abs_error:#.2g}"
        number = numbers[id(first)]
        rows.append(
            Row(
                (
                    Cell(first.variant, f"and {more} more with the same file" if more else "", float(number)),
                    Cell(str(first.seed), key=float(first.seed)),
                    Cell(str(first.fold), key=float(first.fold)),
                    Cell(file.name, key=file.name),
                    Cell(format_exact(file.bytes), key=file.bytes),
                    Cell(error, key=file.max_abs_error),
                    Cell(format_exact(file.label_flips), key=file.label_flips),
                    Cell(format_exact(file.transposes), key=file.transposes),
                    Cell(file.sha256 or MISSING, key=file.sha256 or None, code=True),
                ),
                number,
            )
        )
    return Grid(tuple(map(Column, names)), tuple(rows)), files


def data_table(readings: Sequence[Reading]) -> tuple[Grid | None, list[str]]:
    """The data the runs were made on, once each, and a sentence for each fold whose data are not the same."""
    found: dict[tuple[str, ...], int] = {}
    kinds: dict[tuple[str, str], set[str]] = {}
    for reading in readings:
        data = reading.data
        name, digest = str(data.get("name") or MISSING), str(data.get("sha256") or MISSING)
        row = (name, str(data.get("split") or MISSING), clips_text(data.get("clips")), digest)
        found[row] = found.get(row, 0) + 1
        if digest != MISSING:
            kinds.setdefault((name, str(reading.record.fold)), set()).add(digest)
    told = [
        f"The runs on {name}, fold {fold}, did not use the same data: {len(digests)} different hashes."
        for (name, fold), digests in kinds.items()
        if len(digests) > 1
    ]
    if not found:
        return None, told
    columns = tuple(map(Column, ("data set", "split", "clips", "runs", "SHA-256")))
    rows = [
        Row((Cell(name), Cell(split), Cell(clips), Cell(str(count), key=float(count)), Cell(digest, code=True)))
        for (name, split, clips, digest), count in found.items()
    ]
    return Grid(columns, tuple(rows)), told


def clips_text(clips: Any) -> str:
    """A count, or counts by part of the split."""
    if isinstance(clips, Mapping):
        return ", ".join(f"{name} {format_exact(count)}" for name, count in clips.items())
    return format_exact(clips)


def versions_table(readings: Sequence[Reading]) -> Grid | None:
    """Packages, each version once with the number of runs where they differ."""
    found: dict[str, dict[str, int]] = {}
    for reading in readings:
        for name, version in reading.versions.items():
            counts = found.setdefault(str(name), {})
            counts[str(version)] = counts.get(str(version), 0) + 1
    rows = []
    for name, counts in found.items():
        differ = len(counts) > 1
        rows.append(Row((Cell(name), Cell(", ".join(f"{v} ({n} runs)" if differ else v for v, n in counts.items())))))
    return Grid((Column("package"), Column("version")), tuple(rows)) if rows else None
