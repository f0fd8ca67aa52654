"""The probability from which a network of independent classes counts a class as heard."""

from typing import Any

from torch import nn

from edgeprune.data.labels import membership
from edgeprune.data.load import RunData
from edgeprune.evaluation import detection, tags
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.recipe import Recipe


def threshold_facts(recipe: Recipe, data: RunData, model: nn.Module) -> dict[str, Any]:
    """What a checkpoint holds of the network's threshold; nothing where one class a clip is told.

    One half for tags. A detector's is set for the recipe's recall on validation clips, and
    `threshold_on_validation` holds what it gives there. The files of a network share its threshold.
    """
    if data.task == "scenes":
        return {}
    if data.task == "tags" or data.validation is None:
        return {"threshold": tags.THRESHOLD}
    clips, wanted = data.validation, recipe.data.detect_recall
    probabilities = torch_probabilities(model, data.patches(clips))[:, 0]
    holds = membership(list(clips["label"]), data.classes)[:, 0]
    threshold = detection.choose_threshold(holds, probabilities, wanted)
    reached = detection.evaluate(holds, probabilities, list(clips["seconds"]), threshold)
    return {"threshold": threshold, "threshold_on_validation": {"asked_recall": wanted, **reached}}
