"""Tables of a finished run, as text: what `result.json` says, one function a table, a dash where it says nothing.

Every function takes the content of `result.json` (schema 1) as a dict and leaves it as it is. Accuracies are fractions
there and percent here; sizes are decimal (1 kB = 1000 B); counts are 46.0k, 286.6M, 1.2G.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import PurePath
from typing import Any

from edgeprune.console import print_table
from edgeprune.errors import EdgepruneError
from edgeprune.flags import parse_latency
from edgeprune.recipe import FORMATS
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_count,
    format_decimal,
    format_exact,
    format_interval,
    format_percent,
    format_points,
    format_quantity,
    format_significant,
)

SCHEMA = 1
KINDS = ("measured", "emulated", "estimated")
_DENSE_PREFIX = "dense_"
_UNIT_IN_MS = {"ns": 1e-6, "us": 1e-3, "\N{MICRO SIGN}s": 1e-3, "ms": 1.0, "s": 1e3}
_BUDGET_NAMES = {
    "params": "parameters",
    "macs": "MACs",
    "peak_ram": "peak activation memory, int8",
    "flash": "weights and biases, int8",
    "latency_ms": "latency of an inference, by profile",
}


@dataclass(frozen=True)
class Table:
    """Column names and rows of text; the first cell of a row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Variant:
    """One form of the network: an exported file, or (`format` is None) the float network itself, which has no file."""

    stage: str
    format: str | None
    cost: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    artefact: Mapping[str, Any]

    @property
    def label(self) -> str:
        return self.stage if self.format is None else f"{self.stage} {self.format}"

    @property
    def file_name(self) -> str | None:
        path = self.artefact.get("path")
        return PurePath(str(path)).name if path else None


# Reading a result whose optional parts may be absent


def check_schema(result: Mapping[str, Any]) -> None:
    """Refuse a result of a later layout.

    Raises:
        EdgepruneError: `schema` is there and is not the one this version reads.
    """
    schema = result.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise EdgepruneError(
            f"result.json: its schema is {schema!r} and this edgeprune reads {SCHEMA}; use the version that wrote it."
        )


def part(result: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The object under `keys`, empty where it is absent or null.

    Raises:
        EdgepruneError: something that is not an object stands there.
    """
    value: Any = result
    for depth, key in enumerate(keys, start=1):
        value = value.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            where = ".".join(keys[:depth])
            raise EdgepruneError(
                f"result.json: {where} should be an object, not {type(value).__name__}; run the recipe again."
            )
    return value


def items(mapping: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The list under `key`, empty where it is absent or null.

    Raises:
        EdgepruneError: something that is not a list stands there.
    """
    value = mapping.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise EdgepruneError(f"result.json: {key} should be a list, not {type(value).__name__}; run the recipe again.")
    return value


def records(mapping: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of objects under `key`, empty where it is absent or null.

    Raises:
        EdgepruneError: something else stands there.
    """
    found = list(items(mapping, key))
    for entry in found:
        if not isinstance(entry, Mapping):
            kind = type(entry).__name__
            raise EdgepruneError(f"result.json: {key} should list objects, not {kind}; run the recipe again.")
    return found


def number(value: Any) -> float | None:
    """`value` (numpy's numbers too) as a finite float, or None where it is absent, not a number, infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def variants(result: Mapping[str, Any]) -> list[Variant]:
    """Every form of the network the run has, dense first, then by format; the bare network where no float32 file is."""
    artefacts = part(result, "artefacts")
    found = []
    for stage in ("dense", "pruned"):
        prefix = _DENSE_PREFIX if stage == "dense" else ""
        names = [name for name in artefacts if name.startswith(_DENSE_PREFIX) == bool(prefix)]
        formats = sorted((name.removeprefix(prefix) for name in names), key=_format_rank)
        cost = part(result, stage, "cost")
        if "float32" not in formats and part(result, stage):
            found.append(Variant(stage, None, cost, part(result, stage, "accuracy"), {}))
        for name in formats:
            artefact = part(artefacts, prefix + name)
            found.append(Variant(stage, name, cost, part(artefact, "accuracy"), artefact))
    return found


def _format_rank(name: str) -> int:
    return FORMATS.index(name) if name in FORMATS else len(FORMATS)


def shipped(result: Mapping[str, Any]) -> Variant | None:
    """The form meant for the device: the pruned int8 file, else the first pruned form, else the first form there is."""
    found = variants(result)
    pruned = [variant for variant in found if variant.stage == "pruned"]
    int8 = [variant for variant in pruned if variant.format == "int8"]
    return next(iter(int8 + pruned + found), None)


def reference(result: Mapping[str, Any]) -> Variant | None:
    """What the shipped form is compared with: the dense float32 file, else the dense network; None without either."""
    return next((variant for variant in variants(result) if variant.stage == "dense"), None)


def interval_of(accuracy: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of an accuracy as fractions `(low, high)`, None where it is not whole."""
    bounds = [number(bound) for bound in items(accuracy, "interval")]
    if len(bounds) != 2 or bounds[0] is None or bounds[1] is None:
        return None
    return bounds[0], bounds[1]


# The closing table


def summary_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The closing table: a row for each form of the network, dense first.

    `file` is the size of the file that ships, `accuracy` and `log loss` are that file's own on the evaluation part (the
    float network's where it has no file), `latency` is the median on one thread and says its kind. All latencies come
    from one device, so that rows compare: a measured one before an emulated or an estimated one.

    Returns:
        Column names, and rows of text with a dash for what the run does not have.

    Raises:
        EdgepruneError: the result has another schema, or a part of it is not what the schema says.
    """
    check_schema(result)
    found = variants(result)
    device, latency = _one_device_ms(result, {variant.file_name for variant in found})
    columns = ["network", "parameters", "MACs", "file", "accuracy", "log loss"]
    columns.append(f"latency, {device}" if device else "latency")
    rows = [
        [
            variant.label,
            format_count(variant.cost.get("params")),
            format_count(variant.cost.get("macs")),
            format_bytes(variant.artefact.get("bytes")),
            format_percent(variant.accuracy.get("accuracy")),
            format_decimal(variant.accuracy.get("log_loss")),
            latency.get(variant.file_name or "", MISSING),
        ]
        for variant in found
    ]
    return columns, rows


def print_summary(result: Mapping[str, Any]) -> None:
    """Print the closing table to standard output."""
    columns, rows = summary_rows(result)
    print_table(str(part(result, "recipe").get("name") or ""), columns, rows)


def _one_device_ms(result: Mapping[str, Any], files: set[str | None]) -> tuple[str, dict[str, str]]:
    """The device to compare on, and by file name `1.23 ms (measured)`; empty where nothing was timed."""
    timed: dict[tuple[str, str], dict[str, str]] = {}
    for row in records(result, "latency"):
        median, file = number(row.get("median")), PurePath(str(row.get("model") or "")).name
        scale = _UNIT_IN_MS.get(str(row.get("unit")))
        if median is None or scale is None or file not in files or row.get("threads", 1) not in (1, None):
            continue
        device, kind = str(row.get("device") or "device"), str(row.get("kind") or "kind unknown")
        cells = timed.setdefault((kind, device), {})
        cells.setdefault(file, f"{format_significant(median * scale)} ms ({kind})")
    if not timed:
        return "", {}
    best = min(timed, key=lambda key: (_kind_rank(key[0]), -len(timed[key])))
    return best[1], timed[best]


def _kind_rank(kind: str) -> int:
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


# The tables of the report


def budget_table(result: Mapping[str, Any]) -> Table:
    """What was asked, what the dense network needs, what was reached, and which limit stopped the pruning."""
    asked, reached = (_costs(part(result, "budget", key)) for key in ("asked", "reached"))
    dense = _costs(part(result, "dense", "cost"))
    # a limit on memory is one on the arena, which older results do not tell
    dense["peak_ram"] = dense.get("arena") or dense.get("peak_ram")
    binding = part(result, "budget").get("binding")
    stoppers = {binding} if isinstance(binding, str) else set(items(part(result, "budget"), "binding"))
    rows = []
    for key in dict.fromkeys((*asked, *reached)):
        limit, value = _limit(key, asked.get(key)), number(reached.get(key))
        if limit is None and value is None:
            continue
        show = {"latency_ms": _format_ms, "peak_ram": format_bytes, "flash": format_bytes}.get(key, format_count)
        used = format_percent(value / limit, digits=1) if value is not None and limit else MISSING
        asked_text = "no limit" if limit is None else show(limit)
        note = "binding" if stoppers & {key, f"{key}_bytes"} else ""
        rows.append((_BUDGET_NAMES.get(key, key), show(dense.get(key)), asked_text, show(value), used, note))
    return Table(("cost", "dense", "asked, at most", "reached", "of the limit", "note"), tuple(rows))


def _limit(key: str, asked: Any) -> float | None:
    """A limit as a number; that on latency is text, such as 0.8@host."""
    return parse_latency(asked)[0] if key == "latency_ms" and isinstance(asked, str) else number(asked)


def _format_ms(value: Any) -> str:
    text = format_significant(value)
    return text if text == MISSING else f"{text} ms"


def allocation_notes(result: Mapping[str, Any]) -> list[str]:
    """Sentences on how good the allocation is and where its costs come from; none for what a result does not tell."""
    budget, prune = part(result, "budget"), part(result, "recipe", "prune")
    asked, steps = part(budget, "asked").get("latency_ms"), number(prune.get("steps")) or 1
    step = " in the last step" if steps > 1 else ""
    notes = [f"Pruned in {steps:.0f} steps, scored again before each."] if steps > 1 else []
    value, gap = number(budget.get("value")), number(budget.get("gap"))
    if prune.get("allocation") == "uniform":
        notes.append("Every layer keeps the same share of its filters, the largest within the limits.")
    elif value is not None:
        objective = prune.get("objective") or "the objective"
        if budget.get("proven") is True:
            notes.append(f"No allocation within the limits has a higher {objective} ({value:.4f}){step}: proven.")
        elif gap is not None:
            notes.append(
                f"{objective} {value:.4f}{step}; no allocation within the limits can have more than "
                f"{value + gap:.4f}, {gap:.4f} above."
            )
    if budget.get("read_from"):
        notes.append(f"What is reached was read from {budget['read_from']}.")
    if isinstance(asked, str):
        notes.append(f"Latency is that of the profile of {parse_latency(asked)[1]}, whose stages were measured.")
    return notes


def _costs(costs: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe says `peak_ram` where a cost says `peak_ram_bytes`: one name for both."""
    return {key.removesuffix("_bytes"): value for key, value in costs.items()}


def format_table(result: Mapping[str, Any]) -> Table:
    """Accuracy of every form on the evaluation part, and how far each file is from the float network it came from."""
    base = reference(result)
    base_accuracy = base.accuracy.get("accuracy") if base else None
    rows = []
    for variant in variants(result):
        scores, parity = variant.accuracy, part(variant.artefact, "parity")
        if not scores and not parity:
            continue
        change = MISSING if variant == base else format_points(scores.get("accuracy"), base_accuracy, digits=2)
        error = number(parity.get("max_abs_error"))
        rows.append(
            (
                variant.label,
                format_percent(scores.get("accuracy")),
                format_interval(interval_of(scores)),
                change,
                format_percent(scores.get("macro_accuracy")),
                format_decimal(scores.get("log_loss")),
                MISSING if error is None else f"{error:#.2g}",
                format_exact(parity.get("label_flips")),
                format_exact(parity.get("transposes")),
            )
        )
    columns = ("network", "accuracy", "95 % interval", "points", "macro accuracy", "log loss")
    return Table((*columns, "largest error", "label flips", "transposes"), tuple(rows))


def breakdown_table(result: Mapping[str, Any], by: str) -> Table:
    """Accuracy of the dense and the shipped form by class, device or city.

    Args:
        by: `class`, `device` or `city`; rows come in the order of the result.
    """
    before, after = reference(result), shipped(result)
    if after is None:
        return Table((by,), ())
    if before == after:
        before = None
    old = part(before.accuracy, f"per_{by}") if before else {}
    new = part(after.accuracy, f"per_{by}")
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys((*old, *new)):
        was, now = part(old, name), part(new, name)
        clips = format_exact(now.get("clips", was.get("clips")))
        value = format_percent(now.get("accuracy"), digits=1)
        if before is None:
            rows.append((name, clips, value))
            continue
        change = format_points(now.get("accuracy"), was.get("accuracy"))
        rows.append((name, clips, format_percent(was.get("accuracy"), digits=1), value, change))
    columns = (by, "clips", after.label) if before is None else (by, "clips", before.label, after.label, "points")
    return Table(columns, tuple(rows))


def confusion_of(result: Mapping[str, Any]) -> tuple[Variant, list[str], list[list[int]]] | None:
    """The confusion matrix to show: the shipped file's, else the first one present.

    Returns:
        The form it belongs to, its class names and its counts `[true classes, predicted classes]`; None without one.
    """
    first = shipped(result)
    for variant in ([first] if first else []) + variants(result)[::-1]:
        counts = items(variant.accuracy, "confusion")
        if counts:
            names = [str(name) for name in items(variant.accuracy, "classes")]
            if len(names) != len(counts):
                names = [str(index) for index in range(len(counts))]
            return variant, names, [[int(number(count) or 0) for count in row] for row in counts]
    return None


def confused_pairs(names: Sequence[str], counts: Sequence[Sequence[int]], limit: int = 5) -> Table:
    """The most frequent mistakes: true class, predicted class, clips, and their share of the true class's clips."""
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    wrong.sort(key=lambda pair: -pair[0])
    rows = tuple(
        (names[true], names[predicted], str(count), format_percent(count / sum(counts[true]), digits=1))
        for count, true, predicted in wrong[:limit]
    )
    return Table(("true class", "taken for", "clips", "of the true class"), rows)


@dataclass(frozen=True)
class Layer:
    """One layer before and after pruning; None where the result does not say.

    `scores_kept` is the share of the scores that stays with the filters, by the last scoring there was.
    """

    name: str
    kind: str
    filters: tuple[float | None, float | None]
    params: tuple[float | None, float | None]
    macs: tuple[float | None, float | None]
    scores_kept: float | None = None

    @property
    def kept(self) -> float | None:
        """Share of the filters that stay."""
        before, after = self.filters
        return after / before if before and after is not None else None


def layers(result: Mapping[str, Any]) -> list[Layer]:
    """Layers with weights, in network order, dense against pruned."""
    stages = ("dense", "pruned")
    costs = [{str(row.get("name")): row for row in records(part(result, s, "cost"), "by_layer")} for s in stages]
    widths = [part(result, "widths", stage) for stage in stages]
    scores_kept = part(result, "budget", "kept_scores")
    found = []
    for name in dict.fromkeys((*costs[0], *costs[1], *widths[0], *widths[1])):
        rows = [part(cost, name) for cost in costs]
        filters = [number(width.get(name, row.get("filters"))) for width, row in zip(widths, rows, strict=True)]
        params = [number(row.get("params")) for row in rows]
        macs = [number(row.get("macs")) for row in rows]
        # Pools and flattens have neither; a widths entry alone is still a layer with filters.
        if not any((*params, *macs)) and not any(name in width for width in widths):
            continue
        kind = str(rows[0].get("kind") or rows[1].get("kind") or MISSING)
        pairs = ((filters[0], filters[1]), (params[0], params[1]), (macs[0], macs[1]))
        found.append(Layer(name, kind, *pairs, scores_kept=number(scores_kept.get(name))))
    return found


def latency_table(result: Mapping[str, Any]) -> Table:
    """Every timing with its kind and unit: median, 5th to 95th percentile, runs, threads and peak memory."""
    rows = []
    for row in sorted(records(result, "latency"), key=lambda row: _kind_rank(str(row.get("kind")))):
        low, high = number(row.get("p5")), number(row.get("p95"))
        spread = MISSING if low is None or high is None else f"{format_quantity(low)} to {format_quantity(high)}"
        rows.append(
            (
                str(row.get("model") or MISSING),
                str(row.get("device") or MISSING),
                str(row.get("kind") or MISSING),
                f"{format_quantity(row.get('median'))} {row.get('unit') or ''}".strip(),
                spread,
                format_exact(row.get("runs")),
                format_exact(row.get("threads")),
                format_bytes(row.get("peak_ram_bytes")),
                format_bytes(part(row, "detail").get("flash_bytes")),
            )
        )
    columns = ("file", "device", "kind", "median", "5th to 95th percentile", "runs", "threads", "peak memory", "flash")
    return Table(columns, tuple(rows))


def frontend_table(result: Mapping[str, Any]) -> Table:
    """What the log-mel front-end in C takes beside the network; no rows where the run does not tell."""
    found = part(result, "frontend")
    if not found:
        return Table(("", ""), ())
    rows = [("RAM", format_bytes(found.get("ram_bytes"))), ("flash", format_bytes(found.get("flash_bytes")))]
    hop_s = number(found.get("hop_s"))
    every = "" if hop_s is None else f" (every {format_significant(1e3 * hop_s)} ms)"
    rows += [
        (
            f"instructions a hop{every}, {row.get('board')}",
            f"{format_quantity(row.get('instructions_per_hop'))} (emulated)",
        )
        for row in records(found, "emulated")
    ]
    return Table(("log-mel front-end in C", ""), tuple(rows))


def detail_table(row: Mapping[str, Any]) -> Table:
    """What else a device told of a file: sizes, rates, versions; lists and nested values are left to the JSON."""
    rows = []
    for name, value in part(row, "detail").items():
        if isinstance(value, Mapping | list | tuple) or value is None:
            continue
        exact = isinstance(value, int) and not isinstance(value, bool)
        text = format_exact(value) if exact else format_significant(value) if isinstance(value, float) else str(value)
        rows.append((name.replace("_", " "), text))
    return Table(("", ""), tuple(rows))


def file_table(result: Mapping[str, Any]) -> Table:
    """Every exported file with its size in bytes and its SHA-256."""
    rows = tuple(
        (
            variant.file_name or variant.label,
            variant.label,
            format_exact(variant.artefact.get("bytes")),
            str(variant.artefact.get("sha256") or MISSING),
        )
        for variant in variants(result)
        if variant.artefact
    )
    return Table(("file", "network", "bytes", "SHA-256"), rows)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as dotted names and text, in order: `{"data": {"fold": 1}}` gives `("data.fold", "1")`."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(str(entry) for entry in value) or MISSING
        else:
            yield name, MISSING if value is None else str(value)
