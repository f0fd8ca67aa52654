"""`predictions_<format>.csv`: the class probabilities of each clip, from which any metric can be computed again."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.data.labels import cell_of, check_cell, membership
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_text
from edgeprune.spreadsheet import as_text, from_text

LEADING = ("filename", "label", "predicted")
"""The columns before the probabilities, which are named by their classes."""
LEADING_OF_SEVERAL = ("filename", "labels", "predicted")
"""The same where a clip may hold several classes, written `dog;rain`, or `none`."""


@dataclass(frozen=True)
class Predictions:
    """The rows of a predictions file.

    `filenames`, `labels` and `predicted` are `[clips]`, `probabilities` is `[clips, classes]` (float64); a label is
    empty where the truth is not known. `several`: a clip may hold several classes, with independent probabilities.
    """

    filenames: list[str]
    labels: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float64]
    classes: list[str]
    several: bool = False


def write_predictions(
    path: Path | str,
    filenames: Sequence[str],
    labels: Sequence[str],
    probabilities: ArrayLike,
    classes: Sequence[str],
    threshold: float | None = None,
) -> None:
    """Write the file whole or not at all; reading gives the same probabilities bit for bit (see `Predictions`).

    `threshold`: see `decide`.
    """
    rows, several = np.asarray(probabilities, dtype=np.float64), threshold is not None
    decided = decide(rows, classes, threshold)
    predictions = Predictions(list(filenames), list(labels), decided, rows, list(classes), several)
    _check(predictions, str(path))
    text = io.StringIO()
    names = (*predictions.filenames, *predictions.labels, *classes)
    bare_return = any("\r" in name for name in names)  # ends a line, and Python before 3.13 does not quote it
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if bare_return else csv.QUOTE_MINIMAL)
    writer.writerow([*(LEADING_OF_SEVERAL if several else LEADING), *map(as_text, classes)])
    for filename, label, predicted, row in zip(
        predictions.filenames, predictions.labels, predictions.predicted, rows.tolist(), strict=True
    ):
        # repr of a float is the shortest text (at most 17 significant digits) that reads back as the same float.
        writer.writerow([*map(as_text, (filename, label, predicted)), *map(repr, row)])
    write_text(path, text.getvalue())


def read_predictions(path: Path | str, classes: Sequence[str] | None = None) -> Predictions:
    """Read a predictions file; `classes` are those it must have, in order (None: its own)."""
    try:
        table = list(csv.reader(io.StringIO(_whole_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise EdgepruneError(f"{path}: is not a CSV table ({error}); give a predictions file.") from error
    header, body = table[0], table[1:]
    names = [from_text(name) for name in header[len(LEADING) :]]
    leading = tuple(header[: len(LEADING)])
    if leading not in (LEADING, LEADING_OF_SEVERAL) or not names:
        raise EdgepruneError(f"{path}: its first line is not {','.join(LEADING)},CLASS,...; give a predictions file.")
    if classes is not None and names != list(classes):
        raise EdgepruneError(
            f"{path}: holds the classes {', '.join(names)}, not {', '.join(classes)}; use the same data."
        )
    values = np.empty((len(body), len(names)))
    for number, row in enumerate(body):
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns")
            values[number] = [float(cell) for cell in row[len(LEADING) :]]
        except ValueError as error:
            raise EdgepruneError(
                f"{path}: line {number + 2} does not hold {len(names)} probabilities; write the file again."
            ) from error
    filenames, labels, predicted = ([from_text(row[place]) for row in body] for place in range(len(LEADING)))
    predictions = Predictions(filenames, labels, predicted, values, names, leading == LEADING_OF_SEVERAL)
    _check(predictions, str(path))
    _check_decisions(predictions, str(path))
    return predictions


def decide(probabilities: ArrayLike, classes: Sequence[str], threshold: float | None = None) -> list[str]:
    """The class of the highest probability of each row of `[clips, classes]`; the first of them in a tie.

    With a threshold, the classes whose probability is at least that: `dog;rain`, or `none`.
    """
    rows = np.asarray(probabilities)
    if rows.ndim != 2 or rows.shape[1] != len(classes) or not len(classes):
        raise EdgepruneError(f"probabilities: shape {rows.shape} for {len(classes)} classes; give [clips, classes].")
    if threshold is not None:
        return [cell_of([name for name, heard in zip(classes, row, strict=True) if heard]) for row in rows >= threshold]
    return [classes[number] for number in rows.argmax(axis=1)]


def _check_decisions(predictions: Predictions, path: str) -> None:
    """Refuse predictions that do not follow from the probabilities."""
    rows, classes = predictions.probabilities, predictions.classes
    if predictions.several:
        heard = membership(predictions.predicted, classes)
        if rows[heard].min(initial=np.inf) <= rows[~heard].max(initial=-np.inf):
            raise EdgepruneError(f"{path}: no threshold gives its predictions; write the file again.")
        return
    for number, (stored, highest) in enumerate(zip(predictions.predicted, decide(rows, classes), strict=True)):
        if stored != highest:
            raise EdgepruneError(
                f"{path}: line {number + 2} predicts {stored!r} but {highest!r} has the highest probability; "
                "write the file again."
            )


def _whole_text(path: Path | str) -> str:
    try:
        # Bytes first: text mode would turn a line break inside a quoted name into another one.
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise EdgepruneError(f"{path}: cannot be read ({error.strerror}); give a predictions file.") from error
    except UnicodeDecodeError as error:
        raise EdgepruneError(f"{path}: is not UTF-8 text; give a predictions file.") from error
    # A number cut in the middle is still a number: only the last line break shows that the file is whole.
    if not text.endswith("\n"):
        raise EdgepruneError(f"{path}: is empty or cut off in its last line; write the file again.")
    return text


def _check(predictions: Predictions, path: str) -> None:
    """Refuse rows that must be neither written nor read."""
    classes, rows = predictions.classes, predictions.probabilities
    clips = len(predictions.filenames)
    leading = LEADING_OF_SEVERAL if predictions.several else LEADING
    if set(classes) & set(leading) or len(set(classes)) != len(classes) or "" in classes:
        raise EdgepruneError(f"{path}: the classes {', '.join(classes)} do not name each column once; rename them.")
    if clips == 0 or len(predictions.labels) != clips or len(rows) != clips:
        raise EdgepruneError(
            f"{path}: {clips} file names, {len(predictions.labels)} labels and {len(rows)} rows of probabilities; "
            "give one of each for every clip."
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise EdgepruneError(
            f"{path}: clip {int(np.argmin(finite))} has a probability that is not finite; check the system."
        )
    seen: set[str] = set()
    for number, (filename, label) in enumerate(zip(predictions.filenames, predictions.labels, strict=True)):
        if filename in seen or not filename:
            raise EdgepruneError(
                f"{path}: clip {number} has the file name {filename!r} again or none; name each clip once."
            )
        if predictions.several:
            check_cell(label, classes, f"{path}: clip {number}")
        elif label and label not in classes:
            raise EdgepruneError(f"{path}: clip {number} is labelled {label!r}, which is no class; check the labels.")
        seen.add(filename)
