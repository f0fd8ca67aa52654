"""Metrics of tagging: a clip may hold several classes, one or none, and each class has a probability of its own.

`labels` are the true names of each clip as lists write them (`dog;rain`, `none`), `probabilities` what a system gave
them `[clips, classes]`, and `classes` names the columns. Every fraction is in [0, 1]; log loss is in nats. A clip is
decided to hold the classes whose probability is at least the threshold.

Average precision, the area under the ROC curve and d-prime need no threshold. They are those of AudioSet's evaluations
(Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.data.labels import membership
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.scene import EPSILON, check_probabilities, group_rows
from edgeprune.evaluation.statistics import wilson_interval

THRESHOLD = 0.5


def validate(
    labels: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which clips hold which classes, and probabilities as float64, both `[clips, classes]`.

    Refused are no clips, no or repeated classes, a wrong shape, a clip without a known label, and a row that is not
    finite or leaves [0, 1].
    """
    rows = check_probabilities(len(labels), probabilities, classes)
    if "" in labels:
        raise EdgepruneError(f"labels: clip {list(labels).index('')} has none; write the classes it holds, or none.")
    outside = ((rows < 0) | (rows > 1 + 1e-6)).any(axis=1)
    if outside.any():
        index = int(np.argmax(outside))
        raise EdgepruneError(
            f"probabilities: clip {index} runs from {rows[index].min():.4g} to {rows[index].max():.4g}; apply sigmoid "
            "if these are logits."
        )
    return membership(labels, classes), rows


def average_precision(holds: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Mean precision at the rank of each clip that holds a class, over `[clips]`; None where no clip holds it.

    Clips of equal probability share one rank, the lowest of theirs, as in scikit-learn.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(holds, scores)) if holds.any() else None


def roc_auc(holds: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Probability that a clip with the class scores above one without it; ties count half.

    None where all clips of `[clips]` hold the class, or none does.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(holds, scores)) if holds.any() and not holds.all() else None


def d_prime(auc: float | None) -> float | None:
    """Distance of the two normal distributions of variance 1 that have this area under their ROC curve.

    It is `sqrt(2)` times the inverse normal of the area; None where the area is unknown, 0 or 1.
    """
    from scipy.stats import norm

    return None if auc is None or not 0 < auc < 1 else float(math.sqrt(2.0) * norm.ppf(auc))


def log_losses(holds: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Binary cross entropy of each clip and class, nats, `[clips, classes]`; clipped as in `scene`."""
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    losses: NDArray[np.float64] = -np.log(np.where(holds, clipped, 1 - clipped))
    return losses


def evaluate(
    labels: Sequence[str],
    probabilities: ArrayLike,
    classes: Sequence[str],
    threshold: float = THRESHOLD,
    devices: Sequence[str] | None = None,
    cities: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of this module as plain numbers, lists and dictionaries, ready for JSON.

    - `mean_average_precision`, `auc`: means over the classes that have them; `d_prime` is that of the mean area.
    - `accuracy`: fraction of the clips whose classes are all decided rightly, with its 95 % Wilson `interval`.
    - `macro_accuracy`: mean over the classes of the fraction of their clips in which they are found (recall).
    - `log_loss`: binary cross entropy, mean over clips and classes.
    - `per_class`: `{class: {accuracy, average_precision, d_prime, log_loss, clips}}`, of the clips that hold the class
      the accuracy; of all clips the others.
    - `per_device`, `per_city`: `{name: {accuracy, log_loss, clips}}`, empty where the data set does not say.
    """
    holds, rows = validate(labels, probabilities, classes)
    right = ((rows >= threshold) == holds).all(axis=1)
    losses = log_losses(holds, rows)
    by_class = {name: _of_class(holds[:, n], rows[:, n], threshold, losses[:, n]) for n, name in enumerate(classes)}
    areas = [roc_auc(holds[:, place], rows[:, place]) for place in range(len(classes))]
    auc = _mean(areas)
    groups = {
        f"per_{kind}": {} if values is None else group_rows(right, losses.mean(axis=1), values)
        for kind, values in (("device", devices), ("city", cities))
    }
    return {
        "mean_average_precision": _mean([each["average_precision"] for each in by_class.values()]),
        "auc": auc,
        "d_prime": d_prime(auc),
        "accuracy": float(right.mean()),
        "macro_accuracy": _mean([each["accuracy"] for each in by_class.values()]),
        "log_loss": float(losses.mean()),
        "interval": list(wilson_interval(int(right.sum()), len(right))),
        "threshold": threshold,
        "per_class": by_class,
        **groups,
        "classes": list(classes),
        "clips": len(right),
    }


def _of_class(
    holds: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float, losses: NDArray[np.float64]
) -> dict[str, Any]:
    """Metrics of one class over all clips `[clips]`."""
    return {
        "accuracy": float((scores[holds] >= threshold).mean()) if holds.any() else None,
        "average_precision": average_precision(holds, scores),
        "d_prime": d_prime(roc_auc(holds, scores)),
        "log_loss": float(losses.mean()),
        "clips": int(holds.sum()),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
