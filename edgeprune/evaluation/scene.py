"""Metrics of acoustic scene classification: one scene a clip, as the DCASE challenges count them.

`labels` are the true scene names `[clips]`, `probabilities` what a system gave them `[clips, classes]`, and `classes`
names the columns. Every fraction is in [0, 1]; log loss is in nats. A clip is decided for the class of its highest
probability; in a tie, which 8-bit outputs often give, for the first of them in `classes`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.statistics import wilson_interval

EPSILON = 1e-15
"""Probabilities are clipped to [EPSILON, 1 - EPSILON] before the logarithm, then each row is divided by its sum."""


def validate(
    labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """True class numbers `[clips]` and probabilities `[clips, classes]` as float64.

    Refused are no clips, no or repeated classes, a wrong shape, a label that is not a class, and a row that is not
    finite, leaves [0, 1] or sums to less than 0.5 or more than 1.5. These wide bounds leave room for 8-bit softmax
    outputs, whose rounded rows do not sum to one, and still catch logits.
    """
    rows = check_probabilities(len(labels), probabilities, classes)
    column = {name: number for number, name in enumerate(classes)}
    for index, label in enumerate(labels):
        if label not in column:
            raise EdgepruneError(f"labels: clip {index} is labelled {label!r}; use one of {', '.join(classes)}.")
    inside = ((rows >= 0) & (rows <= 1 + 1e-6)).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) <= 0.5)
    if not inside.all():
        index = int(np.argmin(inside))
        raise EdgepruneError(
            f"probabilities: clip {index} runs from {rows[index].min():.4g} to {rows[index].max():.4g} and sums to "
            f"{rows[index].sum():.4g}; apply softmax if these are logits."
        )
    return np.asarray([column[label] for label in labels], dtype=np.int64), rows


def check_probabilities(clips: int, probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    """Probabilities as float64 `[clips, classes]`.

    Refused are no clips, no or repeated classes, a wrong shape and values that are not finite.
    """
    if not classes or len(set(classes)) != len(classes):
        raise EdgepruneError(f"classes: {list(classes)} is empty or names a class twice; name every column once.")
    try:
        rows = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EdgepruneError(f"probabilities: not a table of numbers ({error}); give [clips, classes].") from error
    if clips == 0 or rows.shape != (clips, len(classes)):
        raise EdgepruneError(
            f"probabilities: shape {rows.shape} for {clips} labels and {len(classes)} classes; "
            "give [clips, classes] with at least one clip."
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise EdgepruneError(f"probabilities: clip {int(np.argmin(finite))} holds NaN or infinity; check the system.")
    return rows


def accuracy(labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]) -> float:
    """Fraction of the clips decided rightly (micro average)."""
    truth, rows = validate(labels, probabilities, classes)
    return float(np.mean(rows.argmax(axis=1) == truth))


def macro_accuracy(labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]) -> float:
    """Mean over the classes present in `labels` of the fraction of their clips decided rightly.

    This is the accuracy that DCASE task 1 ranks by (Mesaros et al., "A multi-device dataset for urban acoustic scene
    classification", DCASE 2018).
    """
    table = np.asarray(confusion(labels, probabilities, classes))
    clips = table.sum(axis=1)
    return float(np.mean(table.diagonal()[clips > 0] / clips[clips > 0]))


def log_loss(labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]) -> float:
    """Multi-class cross-entropy: minus the mean natural logarithm of the true class's probability.

    Clipping at `EPSILON` and the division by the row's sum after it are those of the DCASE 2021 and 2022 baselines (the
    default of scikit-learn before 1.2), so that a probability of exactly zero costs 34.5 nats. Exported files of
    integers give none: `TFLiteModel.probabilities` reads their zeros as half a step, before anything is written.
    """
    truth, rows = validate(labels, probabilities, classes)
    return float(np.mean(_clip_losses(truth, rows)))


def confusion(labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.int64]:
    """Clip counts `[classes, classes]`: row the true class, column the decision."""
    from sklearn.metrics import confusion_matrix

    truth, rows = validate(labels, probabilities, classes)
    table: NDArray[np.int64] = confusion_matrix(truth, rows.argmax(axis=1), labels=np.arange(len(classes)))
    return table


def per_class(
    labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """`{class: {accuracy, log_loss, clips}}` in the order of `classes`; None and 0 where no clip has the class.

    The accuracy of a class is the fraction of its own clips decided rightly (its recall).
    """
    groups = per_group(labels, probabilities, classes, labels)
    absent: dict[str, float | int | None] = {"accuracy": None, "log_loss": None, "clips": 0}
    return {name: groups.get(name, dict(absent)) for name in classes}


def per_group(
    labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str], values: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """`{value: {accuracy, log_loss, clips}}`, sorted by value, for one value a clip (its device, its city)."""
    truth, rows = validate(labels, probabilities, classes)
    return group_rows(rows.argmax(axis=1) == truth, _clip_losses(truth, rows), values)


def group_rows(
    right: NDArray[np.bool_], losses: NDArray[np.float64], values: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """The same of clips that are known to be decided rightly or not, with the loss of each, `[clips]`."""
    if len(values) != len(right):
        raise EdgepruneError(f"group values: {len(values)} for {len(right)} clips; give one a clip.")
    for index, value in enumerate(values):
        if not isinstance(value, str):  # a table gives NaN for an empty cell
            raise EdgepruneError(f"group values: clip {index} has {value!r}; give text for every clip.")
    names = np.asarray(values)
    result: dict[str, dict[str, float | int | None]] = {}
    for name in np.unique(names):
        mine = names == name
        result[str(name)] = {
            "accuracy": float(right[mine].mean()),
            "log_loss": float(losses[mine].mean()),
            "clips": int(mine.sum()),
        }
    return result


def evaluate(
    labels: Sequence[str],
    probabilities: ArrayLike,
    classes: Sequence[str],
    devices: Sequence[str] | None = None,
    cities: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of this module as plain numbers, lists and dictionaries, ready for JSON.

    `interval` is the 95 % Wilson interval `[low, high]` of `accuracy`; `per_class`, `per_device` and `per_city` are
    `{name: {accuracy, log_loss, clips}}`, empty where the data set does not say; `confusion` is a list of rows.
    """
    truth, rows = validate(labels, probabilities, classes)
    right = int(np.sum(rows.argmax(axis=1) == truth))
    return {
        "accuracy": accuracy(labels, rows, classes),
        "macro_accuracy": macro_accuracy(labels, rows, classes),
        "log_loss": log_loss(labels, rows, classes),
        "interval": list(wilson_interval(right, len(truth))),
        "per_class": per_class(labels, rows, classes),
        "per_device": {} if devices is None else per_group(labels, rows, classes, devices),
        "per_city": {} if cities is None else per_group(labels, rows, classes, cities),
        "confusion": confusion(labels, rows, classes).tolist(),
        "classes": list(classes),
        "clips": len(truth),
    }


def mean_patch_probabilities(probabilities: ArrayLike, clip_index: ArrayLike, clips: int) -> NDArray[np.float64]:
    """Probabilities of each clip, float64 `[clips, classes]`: the mean over its patches, of which it must have one.

    Args:
        probabilities: `[patches, classes]`.
        clip_index: the clip each patch was cut from, `[patches]`, integers from 0 to `clips - 1` in any order.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    owner = np.asarray(clip_index)
    if rows.ndim != 2 or owner.shape != rows.shape[:1] or (owner.size and not np.issubdtype(owner.dtype, np.integer)):
        raise EdgepruneError(
            f"patch probabilities: shape {rows.shape} with clip indices of shape {owner.shape} and type {owner.dtype}; "
            "give [patches, classes] and one integer a patch."
        )
    if owner.size and (owner.min() < 0 or owner.max() >= clips):
        raise EdgepruneError(f"clip indices: from {owner.min()} to {owner.max()}; keep them within 0 to {clips - 1}.")
    patches = np.bincount(owner.astype(np.int64), minlength=clips)
    if np.any(patches == 0):
        raise EdgepruneError(
            f"patch probabilities: clip {int(np.argmin(patches))} has no patch; give each at least one."
        )
    sums = np.zeros((clips, rows.shape[1]))
    np.add.at(sums, owner, rows)
    return sums / patches[:, None]


def _clip_losses(truth: NDArray[np.int64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross-entropy of each clip `[clips]`, in nats."""
    clipped = np.clip(rows, EPSILON, 1 - EPSILON)
    likelihood = clipped[np.arange(len(truth)), truth] / clipped.sum(axis=1)
    return -np.log(likelihood)
