"""A folder of clips looked at: what is labelled how, which table says so, and how fast and long the clips are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.audio.decode import rate_and_seconds
from edgeprune.data.cards import Card, SplitLayout
from edgeprune.data.clip_finder import is_audio
from edgeprune.data.labels import rarest
from edgeprune.data.lists import read_rows
from edgeprune.data.splits import Split, column_of, load_split
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_text

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("clips.csv", "meta.csv")
"""Tables that the card `folder` reads."""
FOLDS = 5
_PARTS = {
    **dict.fromkeys(("train", "training", "val", "valid", "validation", "dev"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluate", "evaluation"), "test"),
}
"""Folders that are parts of a split rather than classes."""


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        table: name of the table under the root, with a column `fold` or `split`.
        source: where labels and split are from, in words.
        written: whether the table was written just now.
        fold: the fold that is tested.
        grouped: whether the table names recordings, places or speakers.
        rates: clips by their sample rate in Hz.
        seconds: length of each clip.
    """

    root: Path
    table: str
    source: str
    written: bool
    fold: int
    split: Split
    grouped: bool
    rates: Counter[int]
    seconds: tuple[float, ...]

    def forget(self) -> None:
        """Remove the table if it was written just now."""
        if self.written:
            (self.root / self.table).unlink()


def survey(root: Path, table: str = "", new_table: str = "clips.csv") -> Survey:
    """Look at a folder; write a table of folds where none says what is trained on and what is tested.

    Labels are those of `table`, of a `clips.csv` or `meta.csv` in the folder, or else the names of its sub-folders.

    Args:
        new_table: name of the table that is written if there is a table without folds.
    """
    if not root.is_dir():
        raise EdgepruneError(f"{root}: there is no such folder; correct --root.")
    name = table or next((each for each in TABLES if (root / each).is_file()), "")
    rows = read_rows(root / name) if name else _rows_of_folders(root)
    has_split = bool({"fold", "split"} & set(rows.columns))
    source = name or ("the sub-folders, which say what is tested too" if has_split else "the sub-folders")
    written = not (name and has_split)
    if written:
        if not has_split:
            rows = rows.assign(fold=_folds(root / name, rows))
            source += ", and folds drawn by chance, each with nearly the same share of every class"
        name = new_table if name else "clips.csv"
        if (root / name).exists():
            raise EdgepruneError(f"{root / name}: is in the way of the table with folds; rename or remove it.")
        write_text(root / name, rows.drop(columns="row", errors="ignore").to_csv(index=False))
    try:
        return _survey(root, name, source, written, rows)
    except EdgepruneError:
        if written:
            (root / name).unlink()
        raise


def _survey(root: Path, table: str, source: str, written: bool, rows: pd.DataFrame) -> Survey:
    card = Card("clips", "Clips", "yours", layouts=(SplitLayout(table=table),))
    folds = sorted(int(fold) for fold in set(rows.get("fold", ())) if str(fold).isdigit())
    fold = 1 if 1 in folds or not folds else folds[0]
    split = load_split(card, root, fold)
    headers = [rate_and_seconds(root / name) for part in (split.train, split.test) for name in part["filename"]]
    rates = Counter(rate for rate, _ in headers)
    seconds = tuple(length for _, length in headers)
    return Survey(root, table, source, written, fold, split, column_of(rows, "group") is not None, rates, seconds)


def _rows_of_folders(root: Path) -> pd.DataFrame:
    """Clips labelled by the folder they lie in; a folder within it is their group."""
    import pandas as pd

    paths = sorted(path.relative_to(root) for path in root.rglob("*") if is_audio(path.name) and path.is_file())
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if not paths:
        raise EdgepruneError(f"{root}: holds no clips (wav, flac, ogg, mp3, aiff); correct --root.")
    tops = {path.parts[0].lower() for path in paths}
    in_parts = tops <= _PARTS.keys() and all(len(path.parts) > 2 for path in paths)
    below = 1 if in_parts else 0
    loose = [path for path in paths if len(path.parts) < below + 2]
    if loose:
        raise EdgepruneError(
            f"{root}: {loose[0]} lies in no sub-folder that names its class; move it, or write a clips.csv with the "
            "columns filename and label."
        )
    columns = {"filename": [path.as_posix() for path in paths], "label": [path.parts[below] for path in paths]}
    rows = pd.DataFrame(columns, dtype=str)
    if all(len(path.parts) > below + 2 for path in paths):
        rows["group"] = ["/".join(path.parts[below:-1]) for path in paths]
    if in_parts:
        rows["split"] = [_PARTS[path.parts[0].lower()] for path in paths]
    return rows


def _folds(where: Path, rows: pd.DataFrame) -> Sequence[int]:
    """Five folds, fewer where a class has fewer clips; a group is in one fold."""
    import pandas as pd
    from sklearn.model_selection import StratifiedGroupKFold

    cells = column_of(rows, "label")
    if cells is None:
        raise EdgepruneError(f"{where}: has no column label (or scene_label, category); add it.")
    labels = rarest(pd.Series(cells))
    groups = pd.Series(column_of(rows, "group") or rows["filename"].tolist())
    groups = groups.where(groups != "", rows["filename"].tolist())
    least = groups.groupby(labels).nunique().sort_values()
    if least.iloc[0] < 2:
        raise EdgepruneError(
            f"{where}: '{least.index[0]}' has one clip or one group alone, so none could be tested; add more or leave "
            "it out."
        )
    folds = pd.Series(0, index=range(len(rows)))
    drawn = StratifiedGroupKFold(min(FOLDS, int(least.iloc[0])), shuffle=True, random_state=0)
    for number, (_, tested) in enumerate(drawn.split(labels, labels, groups), 1):
        folds.iloc[tested] = number
    return folds.tolist()
