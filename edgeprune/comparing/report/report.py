"""The report of a comparison: one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgeprune.comparing.comparison import Comparison, Estimate, Variant
from edgeprune.comparing.pareto import front
from edgeprune.comparing.report import plots, runs
from edgeprune.comparing.report import tables as tabled
from edgeprune.comparing.report.tables import Entry
from edgeprune.comparing.table import quantity
from edgeprune.files import write_text
from edgeprune.reporting import tables
from edgeprune.reporting.numbers import format_bytes, format_exact, format_percent

_TEMPLATE, _SCRIPT = "comparison.html.jinja", "comparison.js"
_MOST_NAMES = 8  # a longer front is told by numbers alone
_MOST_CLASSES = 40  # a larger matrix is neither readable nor small; its most frequent mistakes are listed


def write_comparison(comparison: Comparison, path: Path | str) -> None:
    """Write the report of a comparison as one self-contained HTML file.

    It is readable without its script, which sorts tables and shows what a point of a plot stands for; a content
    security policy lets no other script run and nothing be loaded. Confusion matrices come from the predictions in
    the run folders where they are still there.

    Args:
        comparison: variants, runs and how they were compared; parts that results do not have are left out.
        path: the file to write, whole or not at all.

    Raises:
        EdgepruneError: a result has another schema or is malformed (its run folder is named), or the file cannot be
            written.
    """
    write_text(path, render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """The report of a comparison as HTML text; see `write_comparison`."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    room = files("edgeprune.reporting")
    source, script = (room.joinpath(name).read_text(encoding="utf-8") for name in (_TEMPLATE, _SCRIPT))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.from_string(source).render(**_context(comparison), script=script, script_hash=digest)
    return page + "\n"


def _breakable(text: str) -> Any:
    """Names of settings, which may break after an underscore rather than anywhere."""
    from markupsafe import Markup, escape

    return escape(text).replace("_", Markup("_<wbr>"))


def _context(comparison: Comparison) -> dict[str, Any]:
    """Everything the template shows, as text, tables and drawn SVG."""
    entries = [
        Entry(number, variant, runs.read_runs(variant, comparison.format))
        for number, variant in enumerate(comparison.variants, start=1)
    ]
    # The unpruned network of a run and the run itself are two records in one folder.
    readings = list({reading.record.folder: reading for entry in entries for reading in entry.readings}.values())
    grouping = _grouping(comparison.variants)
    file_grid, found_files = tabled.files_table(entries)
    data, warnings = tabled.data_table(readings)
    return {
        "title": _title(readings),
        "lead": _lead(entries, readings),
        "format": comparison.format,
        "synthetic": any(_data_name(reading) == "synthetic" for reading in readings),
        "facts": _facts(comparison, entries, readings),
        "notes": (*warnings, *_single_runs(entries, comparison.format), *comparison.notes),
        "test": _sentence(comparison.test) if any(entry.variant.differences for entry in entries) else "",
        "shipped": tabled.shipped_table(entries, comparison),
        "kinds": {kind for _, kind, _ in tabled.devices(entries)},
        "legend": _legend(entries, grouping),
        "plots": _plots(entries, comparison.format, grouping),
        "formats": tabled.formats_table(entries),
        "controls": tabled.controls_table(entries),
        "widths": tabled.widths_table(entries),
        "parts": [(by, told) for by in runs.PARTS if (told := tabled.parts_table(entries, by))],
        "confusions": _confusions(entries),
        "files": file_grid,
        "parity": _parity_sentence(found_files),
        "runs": tabled.runs_table(entries),
        "data": data,
        "versions": tabled.versions_table(readings),
        "common": _common_settings(readings),
    }


# What was compared, in words


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _data_name(reading: runs.Reading) -> str:
    data = reading.recipe.get("data")
    return str(reading.data.get("name") or (data.get("name") if isinstance(data, Mapping) else "") or "")


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _title(readings: Sequence[runs.Reading]) -> str:
    names = _distinct(reading.recipe.get("name") for reading in readings)
    return f"Comparison: {', '.join(names)}" if names else "Comparison of runs"


def _lead(entries: Sequence[Entry], readings: Sequence[runs.Reading]) -> str:
    controls = sum(entry.variant.role != "variant" for entry in entries)
    states = Counter(tabled.state_of(record) for entry in entries for record in entry.without)
    words = [_count(len(entries) - controls, "variant")]
    words += [_count(controls, "control")] if controls else []
    words.append(f"{_count(len(readings), 'run')} finished")
    words += [f"{number} {state}" for state, number in states.items()]
    data = _distinct(map(_data_name, readings))
    return ", ".join(words) + (f"; data: {', '.join(data)}" if data else "")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _facts(comparison: Comparison, entries: Sequence[Entry], readings: Sequence[runs.Reading]) -> list[tuple[str, str]]:
    """What was compared, as name and text."""
    records = [record for entry in entries for record in entry.variant.runs]
    networks = [reading.recipe.get("model") for reading in readings]
    named = [network.get("name") if isinstance(network, Mapping) else network for network in networks]
    differing = dict.fromkeys(name for entry in entries for name in entry.variant.settings)
    facts = (
        ("Network", ", ".join(_distinct(named))),
        ("Data set", ", ".join(_distinct(map(_data_name, readings)))),
        ("Folds", ", ".join(map(str, sorted({record.fold for record in records})))),
        ("Seeds", ", ".join(map(str, sorted({record.seed for record in records})))),
        ("Files compared", f"{comparison.format} TFLite files, each evaluated itself"),
        ("Controls", "; ".join(comparison.controls)),
        ("Settings that differ", ", ".join(differing)),
    )
    return [(name, value) for name, value in facts if value]


def _single_runs(entries: Sequence[Entry], chosen: str) -> list[str]:
    """A warning of variants that one run put on a front, where others had several."""
    counts = {entry.variant.name: found.n for entry in entries if (found := entry.variant.accuracy.get(chosen))}
    lucky = [entry.variant.name for entry in entries if entry.variant.pareto and counts.get(entry.variant.name) == 1]
    if not lucky or max(counts.values()) == 1:
        return []
    return [f"On a front by a single run, which may be a lucky one: {'; '.join(lucky)}."]


def _common_settings(readings: Sequence[runs.Reading]) -> tabled.Grid | None:
    """Recipe fields that all finished runs share."""
    told = [dict(tables.flatten(reading.recipe)) for reading in readings]
    if not any(told):
        return None
    shared = [(key, value) for key, value in told[0].items() if all(one.get(key) == value for one in told[1:])]
    rows = tuple(tabled.Row((tabled.Cell(key), tabled.Cell(value))) for key, value in shared)
    return tabled.Grid((tabled.Column("setting"), tabled.Column("value")), rows) if rows else None


def _parity_sentence(found: Sequence[runs.File]) -> str:
    """The worst of all files, so that nobody needs to read them all."""
    if not found:
        return ""
    worst = []
    for name, values, show in (
        ("largest error", [file.max_abs_error for file in found], lambda value: f"{value:#.2g}"),
        ("label flips at most", [file.label_flips for file in found], format_exact),
        ("transposes at most", [file.transposes for file in found], format_exact),
    ):
        known = [value for value in values if value is not None]
        worst += [f"{name} {show(max(known))}"] if known else []
    unknown = sum(file.max_abs_error is None for file in found)
    told = [f"Over {_count(len(found), 'file')}: {', '.join(worst)}."] if worst else []
    return " ".join([*told, f"Of {_count(unknown, 'file')} no parity is known." if unknown else ""]).strip()


# Plots


@dataclass(frozen=True)
class _Grouping:
    """The setting that gives variants their colours, and the colour of each of its values; no setting: one colour."""

    setting: str
    values: tuple[str, ...]

    def color_of(self, variant: Variant) -> int | None:
        if variant.role != "variant":
            return None
        value = str(variant.settings.get(self.setting))
        return self.values.index(value) if value in self.values else 0


def _grouping(variants: Sequence[Variant]) -> _Grouping:
    """The setting of names rather than numbers that tells a few groups of variants apart, one of pruning first."""
    plain = [variant for variant in variants if variant.role == "variant"]
    settings = dict.fromkeys(name for variant in plain for name in variant.settings if name != "name")
    for setting in sorted(settings, key=lambda name: not name.startswith("prune.")):
        values = [variant.settings.get(setting) for variant in plain]
        names = tuple(dict.fromkeys(map(str, values)))
        if 2 <= len(names) <= plots.GROUPS and any(isinstance(value, str) for value in values):
            return _Grouping(setting, names)
    return _Grouping("", ())


def _legend(entries: Sequence[Entry], grouping: _Grouping) -> list[tuple[str, str]]:
    """Markers and what they stand for."""
    roles = dict.fromkeys(entry.variant.role for entry in entries if entry.readings)
    legend = [(plots.swatch("variant", place), value) for place, value in enumerate(grouping.values)]
    if not grouping.values:
        legend.append((plots.swatch("variant", 0), "variant"))
    names = {"dense": "dense: not pruned", "scratch": "trained from scratch", "random": "random filters removed"}
    legend += [(plots.swatch(role, None), names.get(role, role)) for role in roles if role != "variant"]
    return [*legend, (plots.swatch("variant", 0, on=True), "filled: on the front")]


def _plots(entries: Sequence[Entry], chosen: str, grouping: _Grouping) -> list[dict[str, Any]]:
    """A plot for each cost that at least two variants have."""
    drawn = []
    for key in ("macs", "flash_bytes", "peak_ram_bytes", "params"):
        name, show = tabled.COSTS[key]
        costs = [(entry, entry.variant.cost.get(key)) for entry in entries]
        drawn.append(_plot(costs, chosen, grouping, name, show, pareto=key))
    files = [(entry, entry.variant.bytes.get(chosen)) for entry in entries]
    drawn.insert(1, _plot(files, chosen, grouping, f"size of the {chosen} file", format_bytes))
    for device, kind, unit in tabled.devices(entries):
        found = [(entry, tabled.latency_of(entry.variant, (device, kind, unit))) for entry in entries]
        timed = [(entry, one.estimate if one else None) for entry, one in found]
        drawn.append(_plot(timed, chosen, grouping, f"latency on {device}, {unit}", quantity, kind=kind))
    return [plot for plot in drawn if plot]


def _plot(
    costs: Sequence[tuple[Entry, Estimate | None]],
    chosen: str,
    grouping: _Grouping,
    axis: str,
    show: Callable[[Any], str],
    pareto: str = "",
    kind: str = "",
) -> dict[str, Any] | None:
    """A plot with its caption; `pareto`: the cost whose front the comparison tells, else it is found here."""
    there = [
        (entry, cost, accuracy)
        for entry, cost in costs
        if cost is not None and (accuracy := entry.variant.accuracy.get(chosen)) is not None
    ]
    if len(there) < 2:
        return None
    best = front({entry.variant.name: (accuracy.mean, cost.mean) for entry, cost, accuracy in there})
    points = [
        plots.Point(
            number=entry.number,
            role=entry.variant.role,
            group=grouping.color_of(entry.variant),
            x=cost,
            y=accuracy,
            front=(on := pareto in entry.variant.pareto if pareto else entry.variant.name in best),
            told=_told(entry.variant, f"{axis}: {show(cost.mean)}", accuracy, on),
        )
        for entry, cost, accuracy in there
    ]
    ordered = sorted((point for point in points if point.front), key=lambda point: point.x.mean)
    names = {entry.number: entry.variant.name for entry, _, _ in there}
    return {
        "svg": plots.pareto_plot(points, axis, show),
        "name": axis,
        "kind": kind,
        "front": [(point.number, names[point.number] if len(ordered) <= _MOST_NAMES else "") for point in ordered],
    }


def _told(variant: Variant, cost: str, accuracy: Estimate, front: bool) -> tuple[str, ...]:
    """What shows when a point is pointed at."""
    interval = tabled.ONE_RUN if accuracy.n == 1 else f"{tabled.percent_interval(accuracy)}, {accuracy.n} runs"
    lines = [variant.name, f"accuracy: {format_percent(accuracy.mean)} ({interval})", cost]
    for one in variant.differences:
        if one.metric == "accuracy":
            p = "" if one.p_value is None else f", {tabled.p_text(one.p_value)}"
            lines.append(f"{tabled.points(one.estimate.mean)} points to {one.against}{p}")
    return (*lines, "on the front") if front else tuple(lines)


# Confusion matrices


def _confusions(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Mean confusion matrices of the dense control and of those on a front, each cell with its share of the row."""
    shown = []
    for entry in entries:
        if entry.variant.role != "dense" and not entry.variant.pareto:
            continue
        found = runs.confusion(entry.readings)
        if found is None:
            continue
        small = len(found.classes) <= _MOST_CLASSES
        rows = [
            (name, [(_count_text(count), round(count / (sum(row) or 1.0), 2)) for count in row])
            for name, row in zip(found.classes, found.counts.tolist(), strict=True)
        ]
        totals = [[round(count * found.runs) for count in row] for row in found.counts.tolist()]
        shown.append(
            {
                "number": entry.number,
                "name": entry.variant.name,
                "runs": f"{found.runs} of {_count(len(entry.readings), 'run')}",
                "names": found.classes,
                "rows": rows if small else [],
                "pairs": tables.confused_pairs(found.classes, totals),
            }
        )
    return shown


def _count_text(count: float) -> str:
    return f"{count:.1f}".removesuffix(".0")
