"""The tables of a run's report; a dash stands for a figure that the result lacks.

Accuracies are fractions in a result and percent here. Sizes are decimal: 1 kB is 1000 B.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeprune.flags import parse_latency
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_count,
    format_exact,
    format_percent,
    format_points,
    format_quantity,
    format_significant,
)
from edgeprune.reporting.scores import LONG, MAIN
from edgeprune.reporting.summary import Form, all_forms, kind_rank, reference, shipped
from edgeprune.reporting.table import Table
from edgeprune.results.figures import GroupScores, Parity, Timing
from edgeprune.results.json_fields import mapping, number
from edgeprune.results.result import File, Result

_PROGRAM = (("peak_ram", "RAM"), ("flash", "flash"))


def budget_table(result: Result) -> Table:
    """For each limit: what the dense network takes, the limit, what was reached, and whether the limit is binding."""
    cost = result.networks["dense"].cost
    dense = {"params": cost.params, "macs": cost.macs, "peak_ram": cost.ram_bytes, "flash": cost.flash_bytes}
    labels = {
        "params": "parameters",
        "macs": "MACs",
        "peak_ram": "peak activation memory, int8",
        "flash": "weights and biases, int8",
        "latency_ms": "latency of an inference, by profile",
    }
    if result.budget.program_kind is not None:  # another thing than the dense network's activations and weights
        labels |= {name: f"{words} of the linked program, {result.budget.program_kind}" for name, words in _PROGRAM}
        dense |= dict.fromkeys(("peak_ram", "flash"))
    # some results have `peak_ram_bytes` for the field `peak_ram` of a budget
    limits, reached = (
        {name.removesuffix("_bytes"): value for name, value in costs.items()}
        for costs in (result.budget.asked, result.budget.reached)
    )
    binding = {name.removesuffix("_bytes") for name in result.budget.binding}
    rows = []
    for name in dict.fromkeys((*limits, *reached)):
        limit, value = limits.get(name), reached.get(name)
        # a limit on latency may be text, such as 0.8@host
        limit = parse_latency(limit)[0] if name == "latency_ms" and isinstance(limit, str) else number(limit)
        if limit is None and value is None:
            continue
        show = {"latency_ms": _format_ms, "peak_ram": format_bytes, "flash": format_bytes}.get(name, format_count)
        asked = "no limit" if limit is None else show(limit)
        share = format_percent(value / limit, digits=1) if value is not None and limit else MISSING
        note = "binding" if name in binding else ""
        rows.append((labels.get(name, name), show(dense.get(name)), asked, show(value), share, note))
    return Table(("cost", "dense", "asked, at most", "reached", "of the limit", "note"), tuple(rows))


def _format_ms(value: float | None) -> str:
    return MISSING if value is None else f"{format_significant(value)} ms"


def allocation_notes(result: Result) -> list[str]:
    """Sentences on how good the allocation is and where its costs come from, as far as the result knows."""
    budget, prune = result.budget, mapping(result.recipe, "prune")
    steps = number(prune.get("steps")) or 1
    step = " in the last step" if steps > 1 else ""
    notes = [f"Pruned in {steps:.0f} steps, scored again before each."] if steps > 1 else []
    if prune.get("allocation") == "uniform":
        notes.append("Every layer keeps the same share of its filters, the largest within the limits.")
    elif budget.value is not None:
        objective = prune.get("objective") or "the objective"
        if budget.proven:
            notes.append(
                f"No allocation within the limits has a higher {objective} ({budget.value:.4f}){step}: proven."
            )
        elif budget.gap is not None:
            notes.append(
                f"{objective} {budget.value:.4f}{step}; no allocation within the limits can have more than "
                f"{budget.value + budget.gap:.4f}, {budget.gap:.4f} above."
            )
    notes += reconstruction_notes(result)
    if budget.read_from:
        notes.append(f"What is reached was read from {budget.read_from}.")
    limit = budget.asked.get("latency_ms")
    if isinstance(limit, str):
        notes.append(f"Latency is that of the profile of {parse_latency(limit)[1]}, whose stages were measured.")
    return notes


def reconstruction_notes(result: Result) -> list[str]:
    """What was done after filters were cut: reconstruction, and whether training followed."""
    pruned, notes = result.networks["pruned"], []
    done = pruned.reconstruction
    if done is not None and done.kept:
        layers = "1 layer" if done.fitted == 1 else f"{done.fitted} layers"
        before, after = (format_percent(scores.main) for scores in (done.cut_only, pruned.before_finetuning))
        notes.append(
            f"Reconstruction fitted {layers} to the dense network's outputs on {format_exact(done.inputs)} inputs of "
            f"training clips, without labels: {MAIN[result.task]} {before} with the filters cut, {after} afterwards."
        )
    elif done is not None:
        notes.append("Reconstruction brought the outputs no closer to the dense network's; the weights stayed.")
    if mapping(result.recipe, "finetune").get("epochs") == 0 and pruned:
        notes.append("The pruned network was not trained.")
    return notes


def format_table(result: Result) -> Table:
    """Scores of every form on the evaluation part, and how far each file is from the float network it came from.

    Points are the change of the score that runs are compared by (`Scores.main`).
    """
    base, columns = reference(result), LONG[result.task]
    place = 2 if result.task == "scenes" else 1  # of the points: after the interval, or after the score they are of
    rows = []
    for form in all_forms(result):
        scores, parity = form.scores, form.parity if isinstance(form, File) else Parity()
        if not scores and parity == Parity():
            continue
        before = None if base is None or form is base else base.scores.main
        points = format_points(scores.main, before, digits=2)
        cells = [column.show(scores) for column in columns]
        error = MISSING if parity.max_abs_error is None else f"{parity.max_abs_error:#.2g}"
        counts = format_exact(parity.label_flips), format_exact(parity.transposes)
        rows.append((form.label, *cells[:place], points, *cells[place:], error, *counts))
    names = [column.name for column in columns]
    heads = ("network", *names[:place], "points", *names[place:], "largest error", "label flips", "transposes")
    return Table(heads, tuple(rows))


def breakdown_table(result: Result, by: str) -> Table:
    """Accuracy of the dense and the shipped form by `class`, `device` or `city`, in the order of the result.

    Of independent classes, each class has its average precision instead.
    """
    before, after = reference(result), shipped(result)
    if after is None:
        return Table((by,))
    new = after.scores.groups.get(by, {})
    if before is None or before is after:
        rows = [(name, format_exact(each.clips), format_percent(each.main, digits=1)) for name, each in new.items()]
        return Table((by, "clips", after.label), tuple(rows))
    old = before.scores.groups.get(by, {})
    compared = []
    for name in dict.fromkeys((*old, *new)):
        was, now = (scores.get(name, GroupScores(None, None, None)) for scores in (old, new))
        clips = format_exact(was.clips if now.clips is None else now.clips)
        percents = (format_percent(scores.main, digits=1) for scores in (was, now))
        compared.append((name, clips, *percents, format_points(now.main, was.main)))
    return Table((by, "clips", before.label, after.label, "points"), tuple(compared))


def confusion_of(result: Result, label: str | None = None) -> tuple[Form, list[str], Sequence[Sequence[int]]] | None:
    """The form whose confusion matrix to show, its class names and its counts `[true classes, predicted classes]`.

    It is the form with that label (`pruned int8`), or without one the shipped form, else the last one with a matrix;
    None where there is none.
    """
    first, forms = shipped(result), all_forms(result)
    chosen = [form for form in forms if form.label == label] if label else ([first] if first else []) + forms[::-1]
    for form in chosen:
        counts, names = form.scores.confusion, list(form.scores.classes)
        if counts:
            return form, names if len(names) == len(counts) else list(map(str, range(len(counts)))), counts
    return None


def confused_pairs(names: Sequence[str], counts: Sequence[Sequence[float]], limit: int = 5) -> Table:
    """The most frequent mistakes: true class, predicted class, clips, and their share of the true class's clips."""
    mistakes = [
        (count, names[true], names[predicted], format_percent(count / sum(row), digits=1))
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    mistakes.sort(key=lambda mistake: -mistake[0])
    rows = tuple((true, predicted, str(count), share) for count, true, predicted, share in mistakes[:limit])
    return Table(("true class", "taken for", "clips", "of the true class"), rows)


def latency_table(timings: Iterable[Timing]) -> Table:
    """Every timing with its kind and unit: median (of an arena its size), percentiles, runs, threads and memory."""
    rows = []
    for timing in sorted(timings, key=lambda timing: kind_rank(timing.kind)):
        ends = [format_quantity(end) for end in (timing.p5, timing.p95)]
        source = timing.file or MISSING, timing.device, timing.kind or MISSING
        timed = f"{format_quantity(timing.median)} {timing.unit or ''}".strip()
        figure = format_bytes(timing.median) if timing.is_size else timed
        spread = MISSING if MISSING in ends or timing.is_size else " to ".join(ends)
        counts = format_exact(timing.runs), format_exact(timing.threads)
        memory = format_bytes(timing.peak_ram_bytes), format_bytes(timing.detail.get("flash_bytes"))
        rows.append((*source, figure, spread, *counts, *memory))
    figures = ("median or size", "5th to 95th percentile", "runs", "threads", "peak memory", "flash")
    return Table(("file", "device", "kind", *figures), tuple(rows))


def detail_table(timing: Timing) -> Table:
    """A device's further figures of a file: sizes, rates, versions; lists and nested values stay in the JSON.

    Of an estimate the value is here, and what it assumes is in the JSON.
    """
    rows = []
    for name, value in timing.detail.items():
        if isinstance(value, Mapping) and "value" in value:
            value = value["value"]
        if isinstance(value, Mapping | list | tuple) or value is None:
            continue
        show = str if isinstance(value, str | bool) else format_exact if isinstance(value, int) else format_significant
        rows.append((name.replace("_", " "), show(value)))
    return Table(("", ""), tuple(rows))


def frontend_table(result: Result) -> Table:
    """What the log-mel front-end in C takes beside the network; no rows where the result has no figures of it."""
    figures = result.frontend
    if figures is None:
        return Table(("", ""))
    every = "" if figures.hop_s is None else f" (every {format_significant(1e3 * figures.hop_s)} ms)"
    emulated = (
        (f"instructions a hop{every}, {board}", f"{format_quantity(count)} (emulated)")
        for board, count in figures.instructions_per_hop.items()
    )
    sizes = (("RAM", format_bytes(figures.ram_bytes)), ("flash", format_bytes(figures.flash_bytes)))
    return Table(("log-mel front-end in C", ""), (*sizes, *emulated))


def file_table(result: Result) -> Table:
    """Every exported file with its size in bytes and its SHA-256."""
    rows = (
        (file.name or file.label, file.label, format_exact(file.bytes), file.sha256 or MISSING) for file in result.files
    )
    return Table(("file", "network", "bytes", "SHA-256"), tuple(rows))


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as dotted names and text, in order: `{"data": {"fold": 1}}` gives `("data.fold", "1")`."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value)) or MISSING
        else:
            yield name, MISSING if value is None else str(value)
