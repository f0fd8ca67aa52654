"""A model card: what a finished run's file is, what it may be used for, and what is known of it, in Markdown.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Nothing stands in it that the run,
its file or its data set's card do not say.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeprune.evaluation.statistics import wilson_interval
from edgeprune.files import write_text
from edgeprune.recipe_files import RECIPE
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_decimal,
    format_exact,
    format_interval,
    format_percent,
    format_significant,
)
from edgeprune.reporting.tables import number, part, records
from edgeprune.results.figures import Scores
from edgeprune.submitting.meta import augmentation, management, pipeline
from edgeprune.submitting.shipped import Shipped, open_run

UNKNOWN = "not known"


def write_card(run: Path, out: Path, format: str | None = None) -> Path:
    """Write the model card of a finished run's file.

    Args:
        run: run folder.
        out: the Markdown file to write.
        format: of the file that is described; None: int8, else the first the run made.

    Returns:
        `out`.

    Raises:
        EdgepruneError: no finished run on sound, or it has no such file.
        CheckFailedError: the file is not the one that was evaluated.
    """
    write_text(out, card_text(open_run(run, format)))
    return out


def card_text(shipped: Shipped) -> str:
    """The card of a file as Markdown."""
    title = f"# {_cell(shipped.recipe.name)}: {_cell(shipped.described['model']['name'])}, {shipped.format}"
    sections = {
        "Intended use": _use(shipped),
        "Data and licence": _data(shipped),
        "Front-end": _frontend(shipped),
        "Network and pruning": _network(shipped),
        "Cost": _cost(shipped),
        "Accuracy": _accuracy(shipped),
        "Quantisation and parity": _parity(shipped),
        "Latency": _latency(shipped),
        "Limits": _limits(shipped),
        "Files": _files(shipped),
        "How to reproduce": _reproduce(shipped),
    }
    written = [title, *(f"## {name}\n\n{text}" for name, text in sections.items() if text)]
    return "\n\n".join(written) + "\n"


# Sections; each is empty where the run does not know


def _use(shipped: Shipped) -> str:
    labels = shipped.described["labels"]
    spec = shipped.recipe.frontend
    seconds = spec.patch_frames * spec.hop_samples / spec.sample_rate
    return (
        f"Names which of {len(labels)} acoustic scenes a recording is of, from {seconds:.3g} s of sound at a time: "
        f"{', '.join(_cell(label) for label in labels)}. The file gives a probability a scene; of "
        "longer recordings the mean over patches is taken. It runs in TensorFlow Lite."
    )


def _data(shipped: Shipped) -> str:
    card, data = shipped.card, part(shipped.result, "data")
    clips = part(data, "clips")
    counts = ", ".join(f"{format_exact(clips.get(name))} {word}" for name, word in _PARTS.items() if clips.get(name))
    lines = [
        f"- Data set: {_cell(card.title)}" + (f" ({card.source})" if card.source else ""),
        f"- Split: {_cell(data.get('split', UNKNOWN))}; clips: {counts or UNKNOWN}",
        f"- Licence of the data: {_cell(card.licence)}",
        f"- Cite: {_cell(card.citation)}" if card.citation else "",
        "- The network started from AudioSet weights." if shipped.recipe.model.audioset_weights is not None else "",
        "- Validation was cut out of the training part; the run chose no epoch and no threshold on the evaluation part."
        if clips.get("validation")
        else "- Nothing was held out for validation: the last epoch counts.",
    ]
    return _list(lines)


_PARTS = {"train": "to train", "validation": "to validate", "test": "to evaluate"}


def _frontend(shipped: Shipped) -> str:
    spec = shipped.recipe.frontend
    low, high = spec.band_limits
    return (
        f"Log-mel: {spec.sample_rate:,} Hz, mono; frames of {1000 * spec.window_s:g} ms every {1000 * spec.hop_s:g} "
        f"ms, {spec.window} window, {spec.fft_size}-point FFT; {spec.mels} {spec.mel_scale} bands of the "
        f"{spec.spectrum}, {low:g} to {high:g} Hz; log(x + {spec.log_offset:g}); patches of {spec.patch_frames} "
        f"frames every {spec.patch_hop_frames}. Each band is normalised by mean and deviation "
        "of the training clips, which the file carries."
    )


def _network(shipped: Shipped) -> str:
    recipe, widths = shipped.recipe, part(shipped.result, "widths")
    dense, pruned = part(widths, "dense"), part(widths, "pruned")
    rows = [(name, format_exact(dense.get(name)), format_exact(width)) for name, width in pruned.items()]
    how = recipe.prune
    text = _list(
        [
            f"- Architecture: {_cell(recipe.model.name)}",
            f"- Stages: {pipeline(shipped)}",
            f"- Kept small by: {management(shipped) or 'nothing'}",
            f"- Filters judged by {_cell(how.criterion)}, widths chosen by "
            + ("the same share of every layer" if how.allocation == "uniform" else f"the objective {how.objective}")
            + (f", in {how.steps} steps" if how.steps > 1 else ""),
            f"- Epochs: {recipe.train.epochs} of training, {recipe.finetune.epochs} of fine-tuning",
            f"- Augmentation: {augmentation(recipe) or 'none'}",
        ]
    )
    return f"{text}\n\n{_table(('layer', 'filters before', 'after'), rows)}" if rows else text


def _cost(shipped: Shipped) -> str:
    from edgeprune.tflite.cost import cost_of_tflite

    cost, dense = cost_of_tflite(shipped.path), part(shipped.result, "dense", "cost")
    rows = [
        ("parameters", format_exact(dense.get("params")), format_exact(cost.params)),
        ("MACs, one patch", format_exact(dense.get("macs")), format_exact(cost.macs)),
        ("int8 weights and biases", format_bytes(dense.get("flash_bytes")), format_bytes(cost.flash_bytes)),
        (
            "int8 activations in memory at once",
            format_bytes(dense.get("peak_ram_bytes")),
            format_bytes(cost.peak_ram_bytes),
        ),
        ("arena of TFLite Micro's planner", format_bytes(dense.get("arena_bytes")), format_bytes(cost.arena_bytes)),
        ("the file", MISSING, format_bytes(shipped.path.stat().st_size)),
    ]
    shown = _table(("figure", "before pruning", "this file"), rows)
    return f"{shown}\n\nRead from the file. The front-end is not among these."


def _accuracy(shipped: Shipped) -> str:
    scores = part(shipped.artefact, "accuracy")
    clips = number(scores.get("clips"))
    if not scores or clips is None:
        return ""
    before = part(shipped.result, "artefacts", "dense_float32", "accuracy") or part(shipped.result, "dense", "accuracy")
    rows = [
        ("this file", *_scores(scores)),
        ("before pruning, float32", *_scores(before)),
    ]
    text = [
        f"Of {clips:,.0f} clips of the evaluation part, by this very file; one training, seed {shipped.recipe.seed}.",
        _table(("network", "accuracy", "95 % interval", "macro accuracy", "log loss"), rows),
        "The intervals are Wilson's and take clips as independent: where many come from one recording the truth is "
        "wider. They say nothing of how another seed would do.",
    ]
    for by in ("class", "device", "city"):
        groups = part(scores, f"per_{by}")
        if groups:
            text.append(_table((by, "clips", "accuracy", "95 % interval", "log loss"), _group_rows(groups)))
    return "\n\n".join(text)


def _scores(scores: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        format_percent(scores.get("accuracy")),
        format_interval(Scores.from_json(scores).interval),
        format_percent(scores.get("macro_accuracy")),
        format_decimal(scores.get("log_loss")),
    )


def _group_rows(groups: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, scores in groups.items():
        clips, accuracy = number(scores.get("clips")), number(scores.get("accuracy"))
        whole = None
        if clips and accuracy is not None:
            whole = wilson_interval(round(accuracy * clips), int(clips))
        cells = (format_exact(clips), format_percent(accuracy, 1), format_interval(whole))
        rows.append((name, *cells, format_decimal(scores.get("log_loss"))))
    return rows


def _parity(shipped: Shipped) -> str:
    parity = part(shipped.artefact, "parity")
    if not parity:
        return ""
    return (
        f"{shipped.format} against the float network in PyTorch, on {format_exact(parity.get('clips'))} patches of the "
        "evaluation part: largest difference of a probability "
        f"{format_significant(parity.get('max_abs_error'))}, "
        f"{format_exact(parity.get('label_flips'))} patches named otherwise."
    )


def _latency(shipped: Shipped) -> str:
    rows = []
    for row in records(shipped.result, "latency"):
        if Path(str(row.get("model"))).name != shipped.path.name:
            continue
        unit = str(row.get("unit"))
        cells = [format_significant(row.get(name)) for name in ("median", "p5", "p95")]
        rows.append(
            (str(row.get("device")), str(row.get("kind")), *cells, unit, format_exact(row.get("runs")), _machine(row))
        )
    if not rows:
        return ""
    columns = ("device", "kind", "median", "5 %", "95 %", "unit", "runs", "on")
    return (
        f"{_table(columns, rows)}\n\nmeasured: timed on the device; emulated: counted in an emulator, and instructions "
        "are no cycles; estimated: reckoned. The front-end is not in these."
    )


def _machine(row: Mapping[str, Any]) -> str:
    detail = part(row, "detail")
    found = [str(detail[name]) for name in ("cpu", "runtime") if detail.get(name)]
    threads = number(row.get("threads"))
    return ", ".join([*found, f"{threads:.0f} thread{'s' if threads != 1 else ''}"] if threads else found) or MISSING


def _limits(shipped: Shipped) -> str:
    scores = part(shipped.artefact, "accuracy")
    accuracy, card = number(scores.get("accuracy")), shipped.card
    worst = sorted(
        (value, name)
        for name, value in ((name, number(each.get("accuracy"))) for name, each in part(scores, "per_class").items())
        if value is not None
    )
    heard = {by: ", ".join(part(scores, f"per_{by}")) for by in ("device", "city")}
    lines = [
        "- It answers with one of its scenes whatever it hears: there is none for anything else, and a high "
        "probability is no proof of having heard it.",
        f"- About {100 * (1 - accuracy):.0f} of 100 clips like those it was evaluated on are named wrongly; it must "
        "not decide anything where such an error does harm."
        if accuracy is not None
        else "",
        f"- Least sure: {', '.join(f'{_cell(name)} ({format_percent(value, 0)})' for value, name in worst[:3])}."
        if len(worst) > 1
        else "",
        "- Domain shift: figures hold for recordings like the data set's. Other microphones, gains, places and codecs "
        "were not evaluated"
        + "".join(f"; {by}s evaluated: {_cell(names)}" for by, names in heard.items() if names)
        + ".",
        f"- It was trained on data under this licence, which may bind its use too: {_cell(card.licence)}.",
    ]
    return _list(lines)


def _files(shipped: Shipped) -> str:
    rows = [(shipped.path.name, "SHA-256", f"`{shipped.artefact['sha256']}`")]
    split = part(shipped.result, "data").get("sha256")
    if split:
        rows.append(("data, split and front-end's clips", "SHA-256", f"`{split}`"))
    return _table(("what", "", "hash"), rows)


def _reproduce(shipped: Shipped) -> str:
    versions = part(shipped.result, "versions")
    lines = [
        f"    edgeprune run {RECIPE} --data.root FOLDER --out NEW_FOLDER",
        f"with the run's `{RECIPE}`, which holds every setting; seed {shipped.recipe.seed}.",
    ]
    if shipped.recipe.dense_from is not None:
        lines.append("The unpruned network was not trained in this run; it was taken from another one's checkpoint.")
    if versions:
        lines.append("Made with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return "\n\n".join(lines)


# Markdown


def _list(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: object) -> str:
    """Text that cannot break out of its line or its table's cell."""
    plain = " ".join(str(text).split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
