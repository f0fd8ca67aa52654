"""The metrics of a table of clips, by what the network tells of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from edgeprune.data.labels import membership
from edgeprune.evaluation import detection, scene, tags

if TYPE_CHECKING:
    import pandas as pd


def evaluate_clips(
    clips: "pd.DataFrame", probabilities: ArrayLike, classes: Sequence[str], threshold: float | None = None
) -> dict[str, Any]:
    """The metrics of `evaluation.scene`; with a threshold, where classes are independent, those of `evaluation.tags`.

    Devices and cities count where every clip has one. Where the table has `seconds`, one sound is detected, and
    `detection` holds what `evaluation.detection` gives.

    Args:
        probabilities: `[clips, classes]`.
    """
    labels = list(clips["label"])
    groups = {kind: list(clips[kind]) if clips[kind].ne("").all() else None for kind in ("device", "city")}
    if threshold is None:
        return scene.evaluate(labels, probabilities, classes, groups["device"], groups["city"])
    _, rows = tags.validate(labels, probabilities, classes)
    metrics = tags.evaluate(labels, rows, classes, threshold, groups["device"], groups["city"])
    if "seconds" not in clips:
        return metrics
    holds = membership(labels, classes)[:, 0]
    return {**metrics, "detection": detection.evaluate(holds, rows[:, 0], list(clips["seconds"]), threshold)}
