"""What is odd about a data set and does not stop a run: labels and clips that are easily a mistake."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeprune.data.labels import names_in

if TYPE_CHECKING:
    import pandas as pd

    from edgeprune.data.feature_cache import Features

FEW = 5
"""Classes with fewer training clips are remarked on."""
_SHOWN = 5
"""Names in a sentence; the others are counted."""


def label_warnings(classes: Sequence[str], train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Classes that nothing trains, or too few clips; labels that differ in spelling alone.

    Args:
        train: all training clips, those held out for validation included.
    """
    trained, tested = (
        Counter(name for cell in part["label"] for name in names_in(cell) or [cell]) for part in (train, test)
    )
    alone = [name for name in classes if not trained[name] and tested[name]]
    absent = [name for name in classes if not trained[name] and not tested[name]]
    few = [f"{name} ({trained[name]})" for name in classes if 0 < trained[name] < FEW]
    sentences = [
        (alone, "classes in the evaluation part alone, whose clips the network cannot get right: "),
        (absent, "classes without a clip: "),
        (few, f"classes with fewer than {FEW} training clips: "),
    ]
    spellings = defaultdict(list)
    for name in classes:
        spellings[" ".join(name.casefold().replace("_", " ").replace("-", " ").split())].append(name)
    alike = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    sentences.append((alike, "labels that differ in spelling alone, but count as classes of their own: "))
    return [text + _some(names) for names, text in sentences if names]


def sound_warnings(features: Features) -> list[str]:
    """Clips that are silent, and clips whose channels cancel each other out in the mono mix."""
    levels = features.levels
    sentences = (
        (levels.silent, "silent clips: "),
        (levels.cancelled, "clips whose channels cancel out when they are mixed to mono: "),
    )
    names = list(features.rows)
    return [text + _some([names[row] for row in rows]) for rows, text in sentences if len(rows)]


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many there are more."""
    names = list(names)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
