"""Labels of clips as lists write them: one name, or several as `dog;rain`, or `none` where no class is heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

Task = Literal["scenes", "tags", "detection"]
"""What a network tells of a clip: its one class (softmax); which classes it holds; whether it holds one sound.

The classes of `tags` and the one of `detection` have independent probabilities (sigmoid).
"""
SEPARATOR = ";"
NONE = "none"
"""Label of a clip that holds no class, where clips may hold several; "" is an unknown label."""


def names_in(cell: str) -> list[str]:
    """The names in a cell, in its order; none of `none` and of an empty cell."""
    names = [name.strip() for name in cell.split(SEPARATOR)]
    return [] if names == [NONE] else [name for name in names if name]


def cell_of(names: Sequence[str]) -> str:
    """The cell that holds some names: `dog;rain`, or `none`."""
    return SEPARATOR.join(names) or NONE


def membership(cells: Sequence[str], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Which clips hold which classes, `[clips, classes]`; names that are no class are left out."""
    rows = [set(names_in(cell)) for cell in cells]
    return np.array([[name in row for name in classes] for row in rows], dtype=np.bool_).reshape(-1, len(classes))


def check_cell(cell: str, classes: Sequence[str], where: str) -> None:
    """Raise EdgepruneError where a cell with several names names a class twice or one that is none."""
    names = names_in(cell)
    unknown = [name for name in names if name not in classes]
    if unknown or len(set(names)) != len(names):
        reason = f"names '{unknown[0]}', which is no class" if unknown else "names a class twice"
        raise EdgepruneError(
            f"{where}: the label '{cell}' {reason}; write some of {', '.join(classes)}, or {NONE}, as in a;b."
        )


def targets(labels: Mapping[str, str], classes: Sequence[str], task: Task) -> Tensor:
    """What a network should say of each clip; labels are by file name.

    Returns:
        int64 `[clips]`, places in `classes`; of independent classes float32 `[clips, classes]`, 1 where the clip holds
        the class. -1 where the label is unknown.
    """
    import torch

    if task == "scenes":
        number = {name: index for index, name in enumerate(classes)}
        for filename, label in labels.items():
            if label and label not in number:
                raise EdgepruneError(f"{filename}: label '{label}' is not one of the card's classes.")
        return torch.tensor([number.get(label, -1) for label in labels.values()], dtype=torch.int64)
    for filename, label in labels.items():
        check_cell(label, classes, filename)
    rows = torch.from_numpy(membership(list(labels.values()), classes)).float()
    rows[[label == "" for label in labels.values()]] = -1.0
    return rows


def rarest(cells: pd.Series) -> pd.Series:
    """Of each cell the name that the fewest cells hold, to draw clips of all classes; a single name is itself."""
    names = cells.map(lambda cell: names_in(cell) or [cell])
    counts = names.explode().value_counts()
    return names.map(lambda row: min(row, key=lambda name: (counts[name], name)))


def in_class_order(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The same clips labelled with those of their names that are classes, in that order; unknown stays unknown."""
    names = [set(names_in(cell)) for cell in table["label"]]
    cells = [cell_of([name for name in classes if name in row]) for row in names]
    return table.assign(label=[new if old else "" for old, new in zip(table["label"], cells, strict=True)])
