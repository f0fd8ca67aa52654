"""What the runs of a comparison tell beyond their means: files, widths, accuracy in parts, confusion matrices."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.comparing.comparison import RunRecord, Variant
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import read_predictions
from edgeprune.reporting import tables
from edgeprune.reporting.tables import number, part

PARTS = ("class", "device", "city")


@dataclass(frozen=True)
class Reading:
    """A finished run, read for one number format; everything is empty where the result does not say it.

    Attributes:
        record: the run.
        form: the network that the run stands for, as a file of that format; None without such a file.
        forms: every network that has a file.
        widths: filters by layer of the network that the run stands for.
        dense_widths: the same before pruning.
        parts: accuracies by `class`, `device` or `city`, then by name, as a fraction and the number of clips.
        predictions: the file that holds what `form` said of each clip, there or not.
        recipe, data, versions: those parts of the result.
    """

    record: RunRecord
    form: tables.Variant | None
    forms: tuple[tables.Variant, ...]
    widths: Mapping[str, float]
    dense_widths: Mapping[str, float]
    parts: Mapping[str, Mapping[str, tuple[float, float | None]]]
    predictions: Path
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, Any]

    @property
    def pair(self) -> tuple[int, int]:
        """Seed and fold: what runs of two variants must share to be compared."""
        return self.record.seed, self.record.fold


@dataclass(frozen=True)
class Shift:
    """A mean over runs, and how far it is from the dense control's over the runs that share seed and fold."""

    mean: float
    change: float | None


@dataclass(frozen=True)
class Confusion:
    """Mean counts over `runs` runs, `[true classes, predicted classes]`."""

    classes: tuple[str, ...]
    counts: NDArray[np.float64]
    runs: int


def read_runs(variant: Variant, number_format: str) -> list[Reading]:
    """The finished runs of a variant.

    Raises:
        EdgepruneError: a result has another schema, or a part of it is not what the schema says.
    """
    return [_read(record, number_format) for record in variant.runs if record.result is not None]


def _read(record: RunRecord, number_format: str) -> Reading:
    result = record.result or {}
    prefix = "dense_" if record.stage == "dense" else ""
    with _naming(record):
        tables.check_schema(result)
        forms = tables.variants(result)
        # A record of an unpruned network tells its figures in the places of the pruned one's.
        form = next((one for one in forms if (one.stage, one.format) == ("pruned", number_format)), None)
        return Reading(
            record=record,
            form=form,
            forms=tuple(one for one in forms if one.artefact),
            widths=_widths(result, "pruned"),
            dense_widths=_widths(result, "dense"),
            parts={by: _parts(form, by) for by in PARTS},
            predictions=record.folder / f"predictions_{prefix}{number_format}.csv",
            recipe=part(result, "recipe"),
            data=part(result, "data"),
            versions=part(result, "versions"),
        )


@contextmanager
def _naming(record: RunRecord) -> Iterator[None]:
    """Say whose result is not what it should be."""
    try:
        yield
    except EdgepruneError as error:
        raise EdgepruneError(f"{record.folder}: {error}") from error


def _widths(result: Mapping[str, Any], stage: str) -> dict[str, float]:
    told = {str(name): number(width) for name, width in part(result, "widths", stage).items()}
    if not told:
        rows = tables.records(part(result, stage, "cost"), "by_layer")
        told = {
            str(row.get("name")): number(row.get("filters")) for row in rows if row.get("kind") in ("conv", "dense")
        }
    return {name: width for name, width in told.items() if width is not None}


def _parts(form: tables.Variant | None, by: str) -> dict[str, tuple[float, float | None]]:
    found = {}
    told = part(form.accuracy, f"per_{by}") if form else {}
    for name in told:
        accuracy = number(part(told, name).get("accuracy"))
        if accuracy is not None:
            found[str(name)] = (accuracy, number(part(told, name).get("clips")))
    return found


# Means over runs


def mean_widths(readings: Sequence[Reading]) -> dict[str, float]:
    """Filters by layer, mean over the runs that have the layer."""
    names = dict.fromkeys(name for reading in readings for name in reading.widths)
    return {name: statistics.fmean(one.widths[name] for one in readings if name in one.widths) for name in names}


def shifts(readings: Sequence[Reading], dense: Sequence[Reading], by: str) -> dict[str, Shift]:
    """Accuracy by class, device or city: the mean over runs and its distance to the dense control's."""
    control = {one.pair: one.parts[by] for one in dense}
    names = dict.fromkeys(name for reading in readings for name in reading.parts[by])
    found = {}
    for name in names:
        here = [(one.pair, one.parts[by][name][0]) for one in readings if name in one.parts[by]]
        gaps = [value - control[pair][name][0] for pair, value in here if name in control.get(pair, {})]
        found[name] = Shift(statistics.fmean(value for _, value in here), statistics.fmean(gaps) if gaps else None)
    return found


def clips_of(readings: Sequence[Reading], by: str) -> dict[str, float]:
    """Clips of the evaluation part by class, device or city, as the first run that tells has them."""
    found: dict[str, float] = {}
    for reading in readings:
        for name, (_, clips) in reading.parts[by].items():
            if clips is not None:
                found.setdefault(name, clips)
    return found


def confusion(readings: Sequence[Reading]) -> Confusion | None:
    """The mean confusion matrix of the runs that tell the same classes; None where no run tells.

    From the predictions file in the run's folder where there is a whole one, else from the result.
    """
    found = [told for reading in readings if (told := _counts(reading)) is not None]
    if not found:
        return None
    classes = found[0][0]
    same = [counts for names, counts in found if names == classes]
    return Confusion(classes, np.mean(same, axis=0), len(same))


def _counts(reading: Reading) -> tuple[tuple[str, ...], NDArray[np.float64]] | None:
    try:
        predictions = read_predictions(reading.predictions)
    except EdgepruneError:
        return _told_counts(reading)
    place = {name: number for number, name in enumerate(predictions.classes)}
    counts = np.zeros((len(place), len(place)))
    for label, said in zip(predictions.labels, predictions.predicted, strict=True):
        if label:
            counts[place[label], place[said]] += 1
    return tuple(predictions.classes), counts


def _told_counts(reading: Reading) -> tuple[tuple[str, ...], NDArray[np.float64]] | None:
    told = reading.form.accuracy if reading.form else {}
    with _naming(reading.record):
        names = tuple(str(name) for name in tables.items(told, "classes"))
        rows = [[number(count) or 0.0 for count in row] for row in tables.items(told, "confusion")]
    if not rows or any(len(row) != len(names) for row in rows) or len(rows) != len(names):
        return None
    return names, np.asarray(rows)


# Files


@dataclass(frozen=True)
class File:
    """One exported file and the runs that hold it: the dense network's is the same in every run of a seed."""

    name: str
    sha256: str
    bytes: float | None
    max_abs_error: float | None
    label_flips: float | None
    transposes: float | None
    runs: tuple[RunRecord, ...]


def files_of(readings: Sequence[Reading]) -> list[File]:
    """Every exported file once, in the order of the runs; files without a hash are never taken for the same."""
    holders: dict[tuple[str, str], list[tuple[Reading, tables.Variant]]] = {}
    for reading in readings:
        for form in reading.forms:
            name = form.file_name or form.label
            digest = str(form.artefact.get("sha256") or "")
            held = holders.setdefault((name, digest or str(reading.record.folder)), [])
            # A record of an unpruned network tells of its file twice.
            if not any(other.record is reading.record for other, _ in held):
                held.append((reading, form))
    return [_file(held) for held in holders.values()]


def _file(held: Sequence[tuple[Reading, tables.Variant]]) -> File:
    reading, form = held[0]
    with _naming(reading.record):
        parity = part(form.artefact, "parity")
    return File(
        name=PurePath(form.file_name or form.label).name,
        sha256=str(form.artefact.get("sha256") or ""),
        bytes=number(form.artefact.get("bytes")),
        max_abs_error=number(parity.get("max_abs_error")),
        label_flips=number(parity.get("label_flips")),
        transposes=number(parity.get("transposes")),
        runs=tuple(one.record for one, _ in held),
    )
