"""The report of a run: one HTML file that needs nothing but itself, made from `result.json`."""

from collections.abc import Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgeprune.files import write_text
from edgeprune.reporting import plots, tables
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_change,
    format_count,
    format_exact,
    format_percent,
    format_points,
)
from edgeprune.reporting.tables import Table, Variant, number, part

_TEMPLATE = "report.html.jinja"
_MOST_CLASSES = 60  # a larger matrix is neither readable nor small; its most frequent mistakes are listed
_STAGES = {"dense": "dense network", "finetune": "fine-tuning"}


def write_report(result: dict[str, Any], path: Path | str) -> None:
    """Write the report of a run as one self-contained HTML file: no script, no outside resource.

    Args:
        result: the content of `result.json`; parts it does not have are left out of the report.
        path: the file to write, whole or not at all.

    Raises:
        EdgepruneError: the result has another schema or is malformed, or the file cannot be written.
    """
    write_text(path, render_report(result))


def render_report(result: Mapping[str, Any]) -> str:
    """The report of a run as HTML text; see `write_report`."""
    from jinja2 import Environment, StrictUndefined

    tables.check_schema(result)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("edgeprune.reporting").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(_context(result)) + "\n"


def _context(result: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template shows, as text, tables and drawn SVG."""
    recipe = part(result, "recipe")
    columns, rows = tables.summary_rows(result)
    latency, after = tables.latency_table(result), tables.shipped(result)
    return {
        "title": str(recipe.get("name") or "edgeprune run"),
        "lead": _lead(result),
        "synthetic": _data_name(result) == "synthetic",
        "tiles": _tiles(result),
        "shipped": after.label if after else "",
        "summary": Table(tuple(columns), tuple(map(tuple, rows))),
        "budget": tables.budget_table(result) if part(result, "budget") else None,
        "allocation": tables.allocation_notes(result),
        "formats": tables.format_table(result),
        "formats_plot": _accuracy_plot(result),
        "confusion": _confusion(result),
        "breakdowns": [tables.breakdown_table(result, by) for by in ("class", "device", "city")],
        "layers": _layers(result),
        "latency": latency,
        "frontend": tables.frontend_table(result),
        "latency_kinds": {row[2] for row in latency.rows},
        "curves": _curves(result),
        "files": tables.file_table(result),
        "facts": _facts(result),
        "versions": Table(("package", "version"), tuple(tables.flatten(part(result, "versions")))),
        "settings": Table(("setting", "value"), tuple(tables.flatten(recipe))),
    }


def _data_name(result: Mapping[str, Any]) -> str:
    return str(part(result, "recipe", "data").get("name") or part(result, "data").get("name") or "")


def _model_name(result: Mapping[str, Any]) -> str:
    model = part(result, "recipe").get("model")
    return str((model.get("name") if isinstance(model, Mapping) else model) or "")


def _lead(result: Mapping[str, Any]) -> str:
    """One line under the title: network, data, fold and seed."""
    fold, seed = part(result, "recipe", "data").get("fold"), _seed(result)
    words = [_model_name(result)]
    words.append(f"on {_data_name(result)}" if _data_name(result) else "")
    words.append(f"fold {fold}" if fold is not None else "")
    words.append(f"seed {seed}" if seed is not None else "")
    return ", ".join(" ".join(filter(None, group)) for group in (words[:2], words[2:3], words[3:]) if any(group))


def _seed(result: Mapping[str, Any]) -> Any:
    return result.get("seed", part(result, "recipe").get("seed"))


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run and on what, as name and text."""
    data, recipe = part(result, "data"), part(result, "recipe")
    facts = (
        ("Network", _model_name(result)),
        ("Data set", _data_name(result)),
        ("Fold", part(recipe, "data").get("fold")),
        ("Split", data.get("split")),
        ("Clips", _clips(data.get("clips"))),
        ("SHA-256 of the data", data.get("sha256")),
        ("Pruning criterion", part(recipe, "prune").get("criterion")),
        ("Seed", _seed(result)),
    )
    return [(name, str(value)) for name, value in facts if value not in (None, "", MISSING)]


def _clips(clips: Any) -> str:
    """A count, or counts by part of the split."""
    if isinstance(clips, Mapping):
        return ", ".join(f"{name} {format_exact(count)}" for name, count in clips.items())
    return format_exact(clips)


def _tiles(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """The four numbers that sum the run up: dense, then shipped, then the change."""
    before, after = tables.reference(result), tables.shipped(result)
    if before is None or after is None or before == after:
        return []
    tiles = []
    for name, key, show in (("Parameters", "params", format_count), ("MACs", "macs", format_count)):
        old, new = before.cost.get(key), after.cost.get(key)
        tiles.append({"name": name, "old": show(old), "new": show(new), "change": format_change(new, old)})
    old, new = before.artefact.get("bytes"), after.artefact.get("bytes")
    change = format_change(new, old)
    tiles.append({"name": "File", "old": format_bytes(old), "new": format_bytes(new), "change": change})
    tiles.append(_accuracy_tile(before, after))
    return [tile for tile in tiles if tile["new"] != MISSING]


def _accuracy_tile(before: Variant, after: Variant) -> dict[str, str]:
    old, new = before.accuracy.get("accuracy"), after.accuracy.get("accuracy")
    points = format_points(new, old, digits=2)
    return {
        "name": "Accuracy",
        "old": format_percent(old),
        "new": format_percent(new),
        "change": MISSING if points == MISSING else f"{points} points",
    }


def _accuracy_plot(result: Mapping[str, Any]) -> str:
    rows = []
    for variant in tables.variants(result):
        accuracy = number(variant.accuracy.get("accuracy"))
        if accuracy is not None:
            rows.append((variant.label, accuracy, tables.interval_of(variant.accuracy)))
    return plots.accuracy_plot(rows) if len(rows) > 1 else ""


def _confusion(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The matrix with each cell's share of its row, and the most frequent mistakes."""
    found = tables.confusion_of(result)
    if found is None:
        return None
    variant, names, counts = found
    shown = zip(names, counts, strict=True) if len(names) <= _MOST_CLASSES else ()
    rows = [(name, [(count, round(count / max(sum(row), 1), 3)) for count in row]) for name, row in shown]
    return {"label": variant.label, "names": names, "rows": rows, "pairs": tables.confused_pairs(names, counts)}


def _layers(result: Mapping[str, Any]) -> dict[str, Any]:
    found = tables.layers(result)
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
        for layer in found
    ]
    scored = any(layer.scores_kept is not None for layer in found)
    return {"rows": rows, "plot": plots.layer_plot(found), "scored": scored}


def _curves(result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each recorded stage of training: its name, and its plots with captions."""
    history = part(result, "history")
    stages = []
    for key in history:
        rows, name = _in_one_line(tables.records(history, key)), _STAGES.get(key, str(key))
        drawn = (
            (plots.loss_plot(rows, name), f"Loss, {name}."),
            (plots.validation_plot(rows, name), f"Validation accuracy, {name}."),
        )
        found = [(svg, caption) for svg, caption in drawn if svg]
        if found:
            stages.append((name, found))
    return stages


def _in_one_line(history: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Epochs numbered through where each of several steps begins with its own first one."""
    epochs = [number(row.get("epoch")) for row in history]
    restarts = any(before is not None and before >= (after or 0) for before, after in pairwise(epochs))
    return [{**row, "epoch": place} for place, row in enumerate(history)] if restarts else history
