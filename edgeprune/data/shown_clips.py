"""A few clips of each class with their log-mel, to be looked at before a network is trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from edgeprune.audio.decode import load_clip
from edgeprune.audio.logmel import Frontend
from edgeprune.console import say
from edgeprune.data.cards import load_card
from edgeprune.data.labels import membership
from edgeprune.data.scene_data import data_root, evenly, read_split
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.recipe import Data, LogMel

MOST_CLASSES = 12
"""Classes that are shown where none are named."""


@dataclass(frozen=True)
class ShownClip:
    """A clip as a network hears it.

    Attributes:
        label: the class it is shown for; it may hold others too.
        logmel: `[frames, mels]`, natural logarithms.
    """

    label: str
    filename: str
    logmel: NDArray[np.float32]


def shown_clips(data: Data, frontend: LogMel, per_class: int = 2, classes: Sequence[str] = ()) -> list[ShownClip]:
    """At most `per_class` training clips of each class, evenly spaced; by default of the first `MOST_CLASSES`."""
    if per_class < 1:
        raise EdgepruneError(f"clips: {per_class} of each class; show 1 or more.")
    card = load_card(data.name)
    if card.kind == "images":
        raise EdgepruneError(f"{card.name}: holds images, which have no log-mel; name a data set of clips.")
    frontend_of = Frontend(frontend)
    root = data_root(card, data, frontend)
    split = read_split(card, root, replace(data, detect=""), frontend)
    for name in classes:
        if name not in split.classes:
            raise unknown_name("class", name, split.classes)
    if not classes and len(split.classes) > MOST_CLASSES:
        say(f"{card.name}: the first {MOST_CLASSES} of {len(split.classes)} classes are shown; others by name")
    shown = []
    for name in classes or split.classes[:MOST_CLASSES]:
        holds = membership(list(split.train["label"]), (name,))[:, 0]
        for filename in evenly(split.train[holds], per_class)["filename"]:
            samples = torch.from_numpy(load_clip(root / filename, frontend.sample_rate))
            shown.append(ShownClip(name, filename, frontend_of(samples).numpy()))
    if not shown:
        raise EdgepruneError(f"{card.name}: no training clip has a label, so there is none to show.")
    return shown
