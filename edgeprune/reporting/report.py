"""The report of a run: one self-contained HTML file, made from the run's result."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgeprune.data.cards import SYNTHETIC
from edgeprune.files import write_text
from edgeprune.reporting import plots, tables
from edgeprune.reporting.layers import layer_changes
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_change,
    format_count,
    format_exact,
    format_percent,
    format_points,
)
from edgeprune.reporting.scores import MAIN, detection_table, threshold_note
from edgeprune.reporting.summary import all_forms, reference, shipped, summary_table
from edgeprune.reporting.table import Table
from edgeprune.results.json_fields import mapping
from edgeprune.results.result import File, Result


def write_report(result: Result, path: Path | str) -> None:
    """Write the report of a run as one self-contained HTML file: no script, no outside resource.

    It leaves out parts that the result does not have, and is written whole or not at all.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("edgeprune.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
    write_text(path, environment.from_string(source).render(_context(result)) + "\n")


def _context(result: Result) -> dict[str, Any]:
    """All that the template shows, as text, tables and SVG."""
    latency, after = tables.latency_table(result.latency), shipped(result)
    model = result.recipe.get("model")
    model = str((model.get("name") if isinstance(model, Mapping) else model) or "")
    settings = mapping(result.recipe, "data")
    data, fold = str(settings.get("name") or result.data.name), settings.get("fold")
    subject = " ".join(filter(None, (model, f"on {data}" if data else "")))
    parts = ("" if fold is None else f"fold {fold}", "" if result.seed is None else f"seed {result.seed}")
    score, one_class = MAIN[result.task], result.task == "scenes"
    plotted = [
        (form.label, form.scores.main, form.scores.interval if one_class else None)
        for form in all_forms(result)
        if form.scores.main is not None
    ]
    return {
        "title": result.name or "edgeprune run",
        "lead": ", ".join(filter(None, (subject, *parts))),
        "synthetic": data in SYNTHETIC,
        "warnings": result.data.warnings,
        "tiles": _tiles(result),
        "shipped": after.label if after else "",
        "summary": summary_table(result),
        "budget": tables.budget_table(result) if result.budget else None,
        "allocation": tables.allocation_notes(result),
        "formats": tables.format_table(result),
        "formats_plot": plots.accuracy_plot(plotted, score) if len(plotted) > 1 else "",
        "score": score,
        "one_class": one_class,
        "detection": detection_table(result),
        "thresholds": " ".join(filter(None, map(threshold_note, result.networks.values()))),
        "confusion": _confusion(result),
        "breakdowns": [tables.breakdown_table(result, by) for by in ("class", "device", "city")],
        "layers": _layers(result),
        "latency": latency,
        "frontend": tables.frontend_table(result),
        "latency_kinds": {row[2] for row in latency.rows},
        "curves": _curves(result),
        "files": tables.file_table(result),
        "facts": _facts(result, model, data),
        "versions": Table(("package", "version"), tuple(tables.flatten(result.versions))),
        "settings": Table(("setting", "value"), tuple(tables.flatten(result.recipe))),
    }


def _facts(result: Result, model: str, data: str) -> list[tuple[str, str]]:
    """Network, data and settings of the run, each as name and text."""
    facts = (
        ("Network", model),
        ("Data set", data),
        ("Fold", mapping(result.recipe, "data").get("fold")),
        ("Split", result.data.split),
        ("Clips", ", ".join(f"{name} {format_exact(count)}" for name, count in result.data.clips.items())),
        ("SHA-256 of the data", result.data.sha256),
        ("Pruning criterion", mapping(result.recipe, "prune").get("criterion")),
        ("Seed", result.seed),
        ("Computed with", ", then with ".join(map(str, filter(None, result.threads)))),
    )
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _tiles(result: Result) -> list[dict[str, str]]:
    """The four figures that sum up the run: dense, shipped, and the change."""
    before, after = reference(result), shipped(result)
    if before is None or after is None or before is after:
        return []
    dense, pruned = (result.networks[name].cost for name in ("dense", "pruned"))
    old_bytes, new_bytes = (form.bytes if isinstance(form, File) else None for form in (before, after))
    figures: tuple[tuple[str, Any, Any, Callable[[Any], str]], ...] = (
        ("Parameters", dense.params, pruned.params, format_count),
        ("MACs", dense.macs, pruned.macs, format_count),
        ("File", old_bytes, new_bytes, format_bytes),
    )
    tiles = [
        {"name": name, "old": show(old), "new": show(new), "change": format_change(new, old)}
        for name, old, new, show in figures
    ]
    old, new = before.scores.main, after.scores.main
    points = format_points(new, old, digits=2)
    change = MISSING if points == MISSING else f"{points} points"
    name = MAIN[result.task].capitalize()
    tiles.append({"name": name, "old": format_percent(old), "new": format_percent(new), "change": change})
    return [tile for tile in tiles if tile["new"] != MISSING]


def _confusion(result: Result) -> dict[str, Any] | None:
    """The matrix with each cell's share of its row, and the most frequent mistakes."""
    matrix = tables.confusion_of(result)
    if matrix is None:
        return None
    form, names, counts = matrix
    # a matrix of more classes is neither readable nor small; its most frequent mistakes are listed
    shown = zip(names, counts, strict=True) if len(names) <= 60 else ()
    rows = [(name, [(count, round(count / max(sum(row), 1), 3)) for count in row]) for name, row in shown]
    return {"label": form.label, "names": names, "rows": rows, "pairs": tables.confused_pairs(names, counts)}


def _layers(result: Result) -> dict[str, Any]:
    changes = layer_changes(result)
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "filters": [format_exact(count) for count in layer.filters],
            "kept": layer.kept,
            "kept_text": format_percent(layer.kept, digits=0),
            "scores": format_percent(layer.scores_kept, digits=1),
            "params": [format_count(count) for count in layer.params],
            "macs": [format_count(count) for count in layer.macs],
        }
        for layer in changes
    ]
    scored = any(layer.scores_kept is not None for layer in changes)
    return {"rows": rows, "plot": plots.layer_plot(changes), "scored": scored}


def _curves(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each recorded stage of training: its name, and its plots with captions."""
    stages = []
    for name, rows in plots.stages(result):
        plotted = {
            f"Loss, {name}.": plots.loss_plot(rows, name),
            f"Validation accuracy, {name}.": plots.validation_plot(rows, name),
        }
        drawn = [(svg, caption) for caption, svg in plotted.items() if svg]
        if drawn:
            stages.append((name, drawn))
    return stages
