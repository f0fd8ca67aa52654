"""Figures of runs that are not in a comparison's means: widths, accuracy in parts, confusion matrices, files."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.load import predictions_of
from edgeprune.errors import EdgepruneError
from edgeprune.results.result import File

PARTS = ("class", "device", "city")


def widths(runs: Sequence[ComparedRun]) -> dict[str, tuple[int, ...]]:
    """Filters by layer, of each run that has the layer."""
    of_runs = [run.figures.widths for run in runs if run.figures]
    names = dict.fromkeys(name for layers in of_runs for name in layers)
    return {name: tuple(layers[name] for layers in of_runs if name in layers) for name in names}


def dense_widths(runs: Sequence[ComparedRun]) -> dict[str, int]:
    """Filters by layer before pruning, the most that any run has."""
    of_runs = [run.result.networks["dense"].widths for run in runs if run.result]
    names = dict.fromkeys(name for layers in of_runs for name in layers)
    return {name: max(layers.get(name, 0) for layers in of_runs) for name in names}


class Shift(NamedTuple):
    """A mean over runs, and its distance to the dense control's over the runs that share seed and fold."""

    mean: float
    change: float | None


def parts_of(run: ComparedRun, by: str, format: str) -> dict[str, float]:
    """Accuracy (of independent classes, average precision) of a run's file by class, device or city."""
    file = run.file(format)
    rows = file.scores.groups.get(by, {}) if file else {}
    return {name: scores.main for name, scores in rows.items() if scores.main is not None}


def shifts(runs: Sequence[ComparedRun], dense: Sequence[ComparedRun], by: str, format: str) -> dict[str, Shift]:
    """Accuracy by class, device or city: the mean over runs and its distance to the dense control's."""
    control = {(run.seed, run.fold): parts_of(run, by, format) for run in dense}
    values: defaultdict[str, list[float]] = defaultdict(list)
    changes: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        before = control.get((run.seed, run.fold), {})
        for name, accuracy in parts_of(run, by, format).items():
            values[name].append(accuracy)
            changes[name] += [accuracy - before[name]] if name in before else []
    return {
        name: Shift(statistics.fmean(row), statistics.fmean(changes[name]) if changes[name] else None)
        for name, row in values.items()
    }


def clips_of(runs: Sequence[ComparedRun], by: str, format: str) -> dict[str, int]:
    """Clips of the evaluation part by class, device or city, from the first run that has them."""
    files = [file for run in runs if (file := run.file(format))]
    rows = [row for file in files for row in file.scores.groups.get(by, {}).items()]
    known = [(name, scores.clips) for name, scores in rows if scores.clips is not None and scores.accuracy is not None]
    return dict(reversed(known))


class Confusion(NamedTuple):
    """Mean counts over `runs` runs, `[true classes, predicted classes]`."""

    classes: tuple[str, ...]
    counts: NDArray[np.float64]
    runs: int


def confusion(runs: Sequence[ComparedRun], format: str) -> Confusion | None:
    """The mean confusion matrix of the runs that have the same classes; None where no run has one.

    It comes from the predictions in the run's folder, else from the result there.
    """
    matrices = [matrix for run in runs if (matrix := _confusion_of(run, format)) is not None]
    if not matrices:
        return None
    classes = matrices[0][0]
    same = [counts for names, counts in matrices if names == classes]
    return Confusion(classes, np.mean(same, axis=0), len(same))


def _confusion_of(run: ComparedRun, format: str) -> tuple[tuple[str, ...], NDArray[np.float64]] | None:
    try:
        predictions = predictions_of(run, format)
        # The whole result: that of a comparison has no large parts.
        file = None if predictions is not None else run.folder.result().networks[run.network].files.get(format)
    except EdgepruneError:
        return None
    if predictions is not None and predictions.several:  # no clip is taken for another class
        return None
    if predictions is not None:
        place = {name: number for number, name in enumerate(predictions.classes)}
        counts = np.zeros((len(place), len(place)))
        for label, predicted in zip(predictions.labels, predictions.predicted, strict=True):
            if label:
                counts[place[label], place[predicted]] += 1
        return tuple(predictions.classes), counts
    if file is None:
        return None
    classes, counts = file.scores.classes, np.asarray(file.scores.confusion, dtype=np.float64)
    return (classes, counts) if classes and counts.shape == (len(classes), len(classes)) else None


class SharedFile(NamedTuple):
    """One exported file and the runs that hold it: all runs of a seed may share the dense network's."""

    file: File
    runs: tuple[ComparedRun, ...]


def files_of(runs: Sequence[ComparedRun]) -> list[SharedFile]:
    """Every exported file once, in the order of the runs; files without a hash are all different."""
    holders = defaultdict(list)
    for run in runs:
        if run.result is None or run.figures is None:
            continue
        # A run that stands for its unpruned network lists that network's files; the pruned ones follow with the run.
        for file in run.figures.files.values() if run.network == "dense" else run.result.files:
            holders[file.name or file.key, file.sha256 or str(run.folder.path)].append((file, run))
    return [SharedFile(held[0][0], tuple(run for _, run in held)) for held in holders.values()]
