"""The report of a comparison: one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from edgeprune.comparing.comparison import ComparedRun, Comparison, Variant
from edgeprune.comparing.report import plots, run_tables, runs, variant_tables
from edgeprune.comparing.report.differences import difference_figure
from edgeprune.comparing.report.pareto_points import Coloring, coloring_of, pareto_points, quantities
from edgeprune.comparing.report.variant_tables import NumberedVariant
from edgeprune.comparing.words import count
from edgeprune.data.cards import SYNTHETIC
from edgeprune.files import write_text
from edgeprune.reporting.numbers import format_exact
from edgeprune.reporting.tables import confused_pairs

_MOST_NAMES = 8  # a longer front is listed by numbers alone
_MOST_CLASSES = 40  # a larger matrix is unreadable; its most frequent mistakes are listed
_ROLE_TITLES = {"dense": "dense: not pruned", "scratch": "trained from scratch", "random": "random filters removed"}


def write_comparison(comparison: Comparison, path: Path | str) -> None:
    """Write the report of a comparison as one self-contained HTML file.

    The page is readable without its script, which sorts tables and shows what a point of a plot stands for. A content
    security policy forbids other scripts and loading anything. Parts that no result has are left out. Confusion
    matrices come from the run folders.
    """
    write_text(path, render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """The report of a comparison as HTML text; see `write_comparison`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Names of settings may break after an underscore rather than anywhere.
    environment.filters["breakable"] = lambda text: escape(text).replace("_", Markup("_<wbr>"))
    folder = files("edgeprune.comparing.report")
    names = ("comparison.html.jinja", "comparison.js")
    source, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.from_string(source).render(**_context(comparison), script=script, script_hash=digest)
    return page + "\n"


def _context(comparison: Comparison) -> dict[str, Any]:
    """Everything the template shows, as text, tables and drawn SVG."""
    entries = [NumberedVariant(number, variant) for number, variant in enumerate(comparison.variants, start=1)]
    finished = [run for variant in comparison.variants for run in variant.finished]
    # A run and its unpruned network, as two variants' runs, lie in one folder.
    distinct = list({run.folder.path: run for run in finished}.values())
    names = _distinct(run.recipe.get("name") for run in distinct)
    coloring = coloring_of(comparison.variants)
    shared_files = runs.files_of(finished)
    parts = [(by, variant_tables.parts_table(entries, by, comparison)) for by in runs.PARTS]
    return {
        "title": f"Comparison: {names}" if names else "Comparison of runs",
        "lead": _lead(comparison, distinct),
        "format": comparison.format,
        "score": comparison.score_name,
        "answer": comparison.answer,
        "differences": difference_figure(comparison, coloring.color_of),
        "synthetic": any(_data_name(run) in SYNTHETIC for run in distinct),
        "facts": _facts(comparison, distinct),
        "notes": (*_single_runs(comparison), *comparison.notes),
        "test": f"{comparison.test}." if any(variant.differences for variant in comparison.variants) else "",
        "shipped": variant_tables.shipped_table(entries, comparison),
        "kinds": {kind for _, kind, _ in comparison.devices()},
        "legend": _legend(comparison.variants, coloring),
        "plots": _plots(comparison, coloring),
        "formats": variant_tables.formats_table(entries, comparison.score_name),
        "controls": variant_tables.controls_table(entries, comparison.score_name),
        "widths": variant_tables.widths_table(entries),
        "parts": [(by, part) for by, part in parts if part[0].rows],
        "confusions": _confusions(entries, comparison.format),
        "files": run_tables.files_table(entries, shared_files),
        "parity": _parity_sentence(shared_files),
        "runs": run_tables.runs_table(entries, comparison.format, comparison.score_name),
        "data": run_tables.data_table(distinct),
        "versions": run_tables.versions_table(distinct),
        "common": run_tables.settings_table(distinct),
    }


def _data_name(run: ComparedRun) -> str:
    return (run.result.data.name if run.result else "") or str(run.recipe.get("data", {}).get("name") or "")


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _lead(comparison: Comparison, finished: Sequence[ComparedRun]) -> str:
    variants = comparison.variants
    controls = sum(variant.role != "variant" for variant in variants)
    states = Counter(run.state.value for variant in variants for run in variant.unfinished)
    words = [count(len(variants) - controls, "variant")]
    words += [count(controls, "control")] if controls else []
    words.append(f"{count(len(finished), 'run')} finished")
    words += [f"{number} {state}" for state, number in states.items()]
    data = _distinct(map(_data_name, finished))
    return ", ".join(words) + (f"; data: {data}" if data else "")


def _facts(comparison: Comparison, finished: Sequence[ComparedRun]) -> list[tuple[str, str]]:
    """What was compared, as name and text."""
    all_runs = [run for variant in comparison.variants for run in variant.runs]
    facts = (
        ("Network", _distinct(run.recipe.get("model", {}).get("name") for run in finished)),
        ("Data set", _distinct(map(_data_name, finished))),
        ("Folds", _distinct(sorted({run.fold for run in all_runs}))),
        ("Seeds", _distinct(sorted({run.seed for run in all_runs}))),
        ("Files compared", f"{comparison.format} TFLite files, each evaluated itself"),
        ("Controls", "; ".join(comparison.controls)),
        ("Settings that differ", _distinct(name for variant in comparison.variants for name in variant.settings)),
    )
    return [(name, value) for name, value in facts if value]


def _single_runs(comparison: Comparison) -> list[str]:
    """A warning of variants that are on a front by one run, where others have several."""
    estimates = [(variant, variant.accuracy.get(comparison.format)) for variant in comparison.variants]
    lucky = [variant.name for variant, estimate in estimates if variant.pareto and estimate and estimate.n == 1]
    if not lucky or all(estimate.n == 1 for _, estimate in estimates if estimate):
        return []
    return [f"On a front by a single run, which may be a lucky one: {'; '.join(lucky)}."]


def _parity_sentence(shared_files: Sequence[runs.SharedFile]) -> str:
    """The largest deviations over all files."""
    parities = [shared.file.parity for shared in shared_files]
    worst = []
    for name, field, show in (
        ("largest error", "max_abs_error", lambda value: f"{value:#.2g}"),
        ("label flips at most", "label_flips", format_exact),
        ("transposes at most", "transposes", format_exact),
    ):
        known = [value for parity in parities if (value := getattr(parity, field)) is not None]
        worst += [f"{name} {show(max(known))}"] if known else []
    unknown = sum(parity.max_abs_error is None for parity in parities)
    sentences = [f"Over {count(len(parities), 'file')}: {', '.join(worst)}."] if worst else []
    sentences += [f"Of {count(unknown, 'file')} no parity is known."] if unknown else []
    return " ".join(sentences)


def _legend(variants: Sequence[Variant], coloring: Coloring) -> list[tuple[str, str, str]]:
    """Marker, colour and meaning of each kind of point."""
    circle = plots.SYMBOLS["variant"]
    legend = [(circle, plots.color_name(place), value) for place, value in enumerate(coloring.values or ("variant",))]
    for role in dict.fromkeys(variant.role for variant in variants if variant.finished and variant.role != "variant"):
        legend.append((plots.SYMBOLS.get(role, circle), plots.color_name(None), _ROLE_TITLES.get(role, role)))
    return [*legend, (plots.ON_FRONT, plots.color_name(0), "filled: on the front")]


def _plots(comparison: Comparison, coloring: Coloring) -> list[dict[str, Any]]:
    """A plot for each cost that at least two variants have."""
    drawn = []
    for quantity in quantities(comparison).values():
        points = pareto_points(comparison, quantity, coloring)
        if len(points) < 2:
            continue
        ordered = sorted((point for point in points if point.front), key=lambda point: point.x.mean)
        numbers = [point.number for point in ordered]
        names = [comparison.variants[number - 1].name if len(ordered) <= _MOST_NAMES else "" for number in numbers]
        drawn.append(
            {
                "svg": plots.pareto_plot(points, quantity.name, quantity.show, comparison.score_name),
                "name": quantity.name,
                "kind": quantity.kind,
                "front": list(zip(numbers, names, strict=True)),
            }
        )
    return drawn


def _confusions(entries: Sequence[NumberedVariant], format: str) -> list[dict[str, Any]]:
    """Mean confusion matrices of the dense control and of variants on a front, each cell with its share of the row."""
    shown = []
    for entry in entries:
        variant = entry.variant
        is_shown = variant.role == "dense" or variant.pareto
        confusion = runs.confusion(variant.finished, format) if is_shown else None
        if confusion is None:
            continue
        counts = confusion.counts.tolist()
        rows = [
            (name, [(f"{cell:.1f}".removesuffix(".0"), round(cell / (sum(row) or 1.0), 2)) for cell in row])
            for name, row in zip(confusion.classes, counts, strict=True)
        ]
        totals = (confusion.counts * confusion.runs).round().astype(int).tolist()
        shown.append(
            {
                "number": entry.number,
                "name": variant.name,
                "runs": f"{confusion.runs} of {count(len(variant.finished), 'run')}",
                "names": confusion.classes,
                "rows": rows if len(confusion.classes) <= _MOST_CLASSES else [],
                "pairs": confused_pairs(confusion.classes, totals),
            }
        )
    return shown
