"""A model card in Markdown: what a finished run's file is, what it may be used for, and what is known of it.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Every statement is read from the run,
its file or its data set's card.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

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
from edgeprune.reporting.scores import DETECTION_COLUMNS, LONG, detection_cells, threshold_note
from edgeprune.reporting.table import Table, markdown_text
from edgeprune.results.figures import GroupScores
from edgeprune.results.run_folder import RunFolder
from edgeprune.submitting.meta import augmentation, management, pipeline
from edgeprune.submitting.shipped import Shipped, open_run
from edgeprune.tflite.cost import cost_of_tflite

UNKNOWN = "not known"
_MEANS = "longer recordings the mean over patches is taken. It runs in TensorFlow Lite."


def write_card(run: Path, out: Path, format: str | None = None) -> Path:
    """Write the model card of a run folder's file to the Markdown file `out`, and return that path.

    `format` selects the file; None: int8, else the first the run made.
    """
    write_text(out, card_text(open_run(run, format)))
    return out


def card_of_model(model: Path) -> str | None:
    """The card of a finished run's folder, or of its file, as Markdown; None of any other file."""
    folder = model.parent if model.suffix == ".tflite" else model
    if not (folder / "result.json").is_file():
        return None
    if model == folder:
        return card_text(open_run(folder, "int8"))
    files = RunFolder.existing(folder).result().networks["pruned"].files.values()
    formats = [file.format for file in files if model.name in (file.name, f"{Path(file.name).stem}_waveform.tflite")]
    return card_text(open_run(folder, formats[0])) if formats else None


def card_text(shipped: Shipped) -> str:
    """The card of a file as Markdown."""
    title = f"# {markdown_text(shipped.recipe.name)}: {markdown_text(shipped.recipe.model.name)}, {shipped.format}"
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


# The sections; each is empty if the run lacks its figures


def _use(shipped: Shipped) -> str:
    names, seconds = ", ".join(map(markdown_text, shipped.labels)), f"{shipped.recipe.frontend.patch_s:.3g} s of sound"
    task, threshold = shipped.result.task, format_decimal(shipped.threshold)
    if task == "scenes":
        use = f"Names which of {len(shipped.labels)} acoustic scenes a recording is of, from {seconds} at a time"
        return f"{use}: {names}. The file gives a probability for each scene; for {_MEANS}"
    if task == "detection":
        use = f"Tells whether {names} is heard, from {seconds} at a time. The file gives its probability; "
        return f"{use}it counts as heard from {threshold} on. For {_MEANS}"
    use = f"Tells which of {len(shipped.labels)} classes are heard, from {seconds} at a time: {names}. "
    return f"{use}Each has a probability of its own and counts as heard from {threshold} on; for {_MEANS}"


def _data(shipped: Shipped) -> str:
    card, data = shipped.card, shipped.result.data
    clips, parts = data.clips, {"train": "to train", "validation": "to validate", "test": "to evaluate"}
    counts = ", ".join(f"{format_exact(clips.get(name))} {word}" for name, word in parts.items() if clips.get(name))
    lines = [
        f"- Data set: {markdown_text(card.title)}" + (f" ({card.source})" if card.source else ""),
        f"- Split: {markdown_text(data.split or UNKNOWN)}; clips: {counts or UNKNOWN}",
        f"- Licence of the data: {markdown_text(card.licence)}",
        f"- Cite: {markdown_text(card.citation)}" if card.citation else "",
        "- The network started from AudioSet weights." if shipped.recipe.model.audioset_weights is not None else "",
        "- Validation was cut out of the training part; the run chose no epoch and no threshold on the evaluation part."
        if clips.get("validation")
        else "- Nothing was held out for validation: the last epoch counts.",
    ]
    return _list(lines)


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
    recipe, before = shipped.recipe, shipped.dense.widths
    rows = [
        (name, format_exact(before.get(name)), format_exact(after)) for name, after in shipped.pruned.widths.items()
    ]
    how = recipe.prune
    text = _list(
        [
            f"- Architecture: {markdown_text(recipe.model.name)}",
            f"- Stages: {pipeline(shipped)}",
            f"- Kept small by: {management(shipped) or 'nothing'}",
            f"- Filters judged by {markdown_text(how.criterion)}, widths chosen by "
            + ("the same share of every layer" if how.allocation == "uniform" else f"the objective {how.objective}")
            + (f", in {how.steps} steps" if how.steps > 1 else ""),
            f"- Epochs: {recipe.train.epochs} of training, {recipe.finetune.epochs} of fine-tuning",
            f"- Augmentation: {augmentation(recipe) or 'none'}",
        ]
    )
    return f"{text}\n\n{_markdown(('layer', 'filters before', 'after'), rows)}" if rows else text


def _cost(shipped: Shipped) -> str:
    cost, dense = cost_of_tflite(shipped.path), shipped.dense.cost
    rows = [
        ("parameters", format_exact(dense.params), format_exact(cost.params)),
        ("MACs, one patch", format_exact(dense.macs), format_exact(cost.macs)),
        ("int8 weights and biases", format_bytes(dense.flash_bytes), format_bytes(cost.flash_bytes)),
        ("arena of TFLite Micro, int8", format_bytes(dense.arena_bytes), format_bytes(cost.arena_bytes)),
        ("lower bound of any arena", format_bytes(dense.peak_bound_bytes), format_bytes(cost.peak_ram_bytes)),
        ("the file", MISSING, format_bytes(shipped.path.stat().st_size)),
    ]
    shown = _markdown(("figure", "before pruning", "this file"), rows)
    return f"{shown}\n\nRead from the file. The front-end is not among these."


def _accuracy(shipped: Shipped) -> str:
    scores = shipped.file.scores
    if scores.clips is None:
        return ""
    reference = shipped.dense.files.get("float32", shipped.dense)
    kinds = "Wilson's" if scores.detection is None else "Wilson's (of false alarms, those of a Poisson count)"
    rows = [
        (name, *(column.show(of) for column in LONG[shipped.result.task]))
        for name, of in (("this file", scores), ("before pruning, float32", reference.scores))
    ]
    text = [
        f"Of {scores.clips:,} clips of the evaluation part, by this very file; one training, seed "
        f"{shipped.recipe.seed}.",
        _markdown(("network", *(column.name for column in LONG[shipped.result.task])), rows),
        *_detection(shipped),
        f"The intervals are {kinds} and take clips as independent; where many come from one recording they are too "
        "narrow. They do not cover the spread over seeds.",
    ]
    for by, groups in scores.groups.items():
        first = "accuracy" if shipped.result.task == "scenes" or by != "class" else "recall"
        columns = (by, "clips", first, "95 % interval", "log loss")
        text.append(_markdown(columns, [_group_row(name, group) for name, group in groups.items()]))
    return "\n\n".join(text)


def _detection(shipped: Shipped) -> list[str]:
    """What a detector finds at its threshold, and how that was set; nothing of other networks."""
    figures = shipped.file.scores.detection
    if figures is None:
        return []
    rows = [("this file", *detection_cells(figures))]
    return [_markdown(("network", *DETECTION_COLUMNS), rows), threshold_note(shipped.pruned)]


def _group_row(name: str, scores: GroupScores) -> tuple[str, ...]:
    interval = None
    if scores.clips and scores.accuracy is not None:
        interval = wilson_interval(round(scores.accuracy * scores.clips), scores.clips)
    cells = (format_exact(scores.clips), format_percent(scores.accuracy, 1), format_interval(interval))
    return (name, *cells, format_decimal(scores.log_loss))


def _parity(shipped: Shipped) -> str:
    parity = shipped.file.parity
    if parity.max_abs_error is None:
        return ""
    return (
        f"{shipped.format} against the float network in PyTorch, on {format_exact(parity.clips)} patches of the "
        f"evaluation part: largest difference of a probability {format_significant(parity.max_abs_error)}, "
        f"{format_exact(parity.label_flips)} patches named otherwise."
    )


def _latency(shipped: Shipped) -> str:
    rows = []
    for timing in shipped.result.latency:
        if timing.file == shipped.file.name:
            kind, unit = timing.kind or UNKNOWN, timing.unit or UNKNOWN
            figures = map(format_significant, (timing.median, timing.p5, timing.p95))
            about = (timing.detail.get(name) for name in ("cpu", "cpu_features", "runtime"))
            machine = [str(value) for value in about if value]
            machine.append(f"{timing.threads} thread{'s' if timing.threads != 1 else ''}")
            rows.append((timing.device, kind, *figures, unit, format_exact(timing.runs), ", ".join(machine)))
    if not rows:
        return ""
    columns = ("device", "kind", "median or size", "5 %", "95 %", "unit", "runs", "on")
    return (
        f"{_markdown(columns, rows)}\n\nmeasured: timed on the device; emulated: counted in an emulator, and "
        "instructions are no cycles; estimated: computed by a model of the device. The front-end is not in these."
    )


def _limits(shipped: Shipped) -> str:
    card, scores = shipped.card, shipped.file.scores
    accuracy, classes = scores.accuracy, scores.groups.get("class", {})
    worst = sorted((group.accuracy, name) for name, group in classes.items() if group.accuracy is not None)
    evaluated = {by: ", ".join(scores.groups[by]) for by in ("device", "city") if by in scores.groups}
    least_sure = ", ".join(f"{markdown_text(name)} ({format_percent(value, 0)})" for value, name in worst[:3])
    lines = [
        "- It answers with one of its scenes whatever it hears: there is none for anything else, and a high "
        "probability is no proof of having heard it."
        if shipped.result.task == "scenes"
        else "- A high probability is no proof of having heard a sound: others that it never met may raise it too.",
        f"- About {100 * (1 - accuracy):.0f} of 100 clips like those it was evaluated on are decided wrongly; it must "
        "not decide anything where such an error does harm."
        if accuracy is not None
        else "",
        f"- Least sure: {least_sure}." if len(worst) > 1 else "",
        "- Domain shift: figures hold for recordings like the data set's. Other microphones, gains, places and codecs "
        "were not evaluated"
        + "".join(f"; evaluated by {by}: {markdown_text(names)}" for by, names in evaluated.items())
        + ".",
        f"- It was trained on data under this licence, which may bind its use too: {markdown_text(card.licence)}.",
    ]
    return _list(lines)


def _files(shipped: Shipped) -> str:
    rows = [(shipped.path.name, "SHA-256", f"`{shipped.file.sha256}`")]
    if shipped.result.data.sha256:
        rows.append(("data, split and front-end's clips", "SHA-256", f"`{shipped.result.data.sha256}`"))
    return _markdown(("what", "", "hash"), rows)


def _reproduce(shipped: Shipped) -> str:
    versions = shipped.result.versions
    lines = [
        f"    edgeprune run {RECIPE} --data.root FOLDER --out NEW_FOLDER",
        f"with the run's `{RECIPE}`, which holds every setting; seed {shipped.recipe.seed}.",
    ]
    if shipped.recipe.dense_from is not None:
        lines.append("The unpruned network was not trained in this run; it was taken from another one's checkpoint.")
    if versions:
        lines.append("Made with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return "\n\n".join(lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _markdown(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return Table(columns, tuple(rows)).markdown()
