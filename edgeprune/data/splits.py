"""Official splits read from their published lists, and the validation cut that keeps groups together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.data.cards import Card, SplitLayout
from edgeprune.data.clip_finder import ClipFinder, stem
from edgeprune.data.labels import NONE, SEPARATOR, Task, check_cell, in_class_order, names_in, rarest
from edgeprune.data.lists import find_list, read_rows
from edgeprune.errors import EdgepruneError, nearest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["filename", "label", "group", "city", "device"]

_OUTSIDE = re.compile(r"^$|^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)")
_ALIASES = {
    "label": ("label", "scene_label", "category"),
    "group": ("group", "identifier"),
    "device": ("device", "source_label"),
    "city": ("city",),
}


@dataclass(frozen=True)
class Split:
    """One split of a data set.

    Attributes:
        train, test: a row for each clip in the published order, with string columns `filename` (posix, relative to
            the root), `label` ("" if unlabelled; `dog;rain` or `none` where clips may hold several), `group` (recording
            or place), `city` and `device` ("" if unknown).
        classes: labels in the order of the network's outputs.
        lists: the files the split was read from, relative to the root.
        task: `tags` where clips may hold several classes.
        warnings: sentences about what is odd in the lists.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    classes: tuple[str, ...]
    lists: tuple[str, ...]
    task: Task = "scenes"
    warnings: tuple[str, ...] = ()

    def detecting(self, sound: str) -> Split:
        """The same clips, labelled with whether they hold one sound."""
        if sound not in self.classes or sound == NONE:
            hint = nearest(sound, self.classes, f"the labels are {', '.join(self.classes)}")
            raise EdgepruneError(f"data.detect: '{sound}' is no label of the data; {hint}.")
        train, test = (in_class_order(part, (sound,)) for part in (self.train, self.test))
        for name, part in (("training", train), ("evaluation", test)):
            labels = set(part["label"])
            missing = {sound, NONE} - labels
            if missing and labels != {""}:  # a publisher's test list may have no labels
                kind = "with" if sound in missing else "without"
                raise EdgepruneError(f"data.detect: the {name} part has no clip {kind} '{sound}'; add some.")
        return replace(self, train=train, test=test, classes=(sound,), task="detection")


def load_split(card: Card, root: Path | str, fold: int = 1, subset: str = "", check_files: bool = True) -> Split:
    """Read a split as its publisher ships it.

    The card's layouts are tried in order: lists of clips (tab-separated, LF or CRLF, with or without a header, test
    lists with or without labels, plain or .gz), or a table with a column `fold` or `split`. A clip listed as .wav may
    lie there as .flac, .ogg or another audio file of the same name; `filename` is the name of the existing file.

    Args:
        subset: name of an official reduced training list, such as "5" for DCASE 2024's 5 %.
        check_files: refuse a split whose audio is absent; otherwise absent clips keep their published names.
    """
    root = Path(root)
    if not root.is_dir():
        raise EdgepruneError(f"{card.name}: the folder {root} does not exist; give the right one or fetch the data.")
    parts, lists, remarks = _read_parts(card, root, fold, subset)
    finder = ClipFinder(root, card.audio)
    train, test = (_clip_table(card, part, finder, check_files) for part in parts)
    for part, frame in zip(parts, (train, test), strict=True):
        if frame.empty:
            raise EdgepruneError(f"{card.name} fold {fold}: {part.where} leaves no clip for {part.name}; check it.")
        twice = frame["filename"][frame["filename"].duplicated()]
        if len(twice):
            raise EdgepruneError(f"{part.where}: {twice.iloc[0]} is listed twice; keep one row a clip.")
    remarks += _check_apart(card, fold, train, test)
    labels = {*train["label"], *test["label"]} - {""}
    if not card.several_labels and not any(SEPARATOR in label for label in labels):
        return Split(train, test, card.classes or tuple(sorted(labels)), lists, warnings=tuple(remarks))
    classes = card.classes or tuple(sorted({name for label in labels for name in names_in(label)}))
    train, test = (in_class_order(part, classes) for part in (train, test))
    return Split(train, test, classes, lists, "tags", tuple(remarks))


def split_validation(train: pd.DataFrame, fraction: float = 0.15, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut a validation part out of a training part, group by group, so that no recording or place is on both sides.

    scikit-learn's StratifiedGroupKFold proposes cuts, and the one whose validation part is nearest to `fraction` of
    every class is taken. Every class keeps at least one group for training. The same seed gives the same cut.

    `fraction` is the share of the clips to hold out, above 0 and at most 0.5; groups allow it only nearly. Returns the
    training and the validation part, rows in their order.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    if not 0 < fraction <= 0.5:
        raise EdgepruneError(f"validation fraction {fraction}: must be above 0 and at most 0.5.")
    if train.empty or (train["label"] == "").any():
        raise EdgepruneError("validation split: every training clip needs a label; check the training list.")
    groups = train["group"].to_numpy(dtype=object)
    names = train["label"].map(lambda cell: names_in(cell) or [cell])
    labels = sorted(set(names.explode()))
    holds = np.array([[label in row for label in labels] for row in names])  # [clips, labels]
    counts = holds.sum(axis=0)
    if len(set(groups)) < 2 or counts.max() < 2:
        raise EdgepruneError(
            f"validation split: {len(train)} training clips in {len(set(groups))} groups are too few to hold any out; "
            "add recordings, or name the recordings in a column group."
        )
    ratio = Fraction(fraction).limit_denominator(10) or Fraction(1, 10)
    folds = min(ratio.denominator, len(set(groups)), int(counts.max()))
    splitter = StratifiedGroupKFold(n_splits=max(folds, 2), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with fewer clips than folds is handled below
        held = [part for _, part in splitter.split(train, rarest(train["label"]), groups)]
    held_counts = np.stack([holds[part].sum(axis=0) for part in held])

    def distance(parts: tuple[int, ...]) -> tuple[int, float]:
        """Classes lost to training, and the squared distance from `fraction` over the classes."""
        share = held_counts[list(parts)].sum(axis=0) / counts
        return int((share == 1).sum()), float(((share - fraction) ** 2).sum())

    take = min(ratio.numerator, len(held) - 1)
    best = min(combinations(range(len(held)), take), key=distance)
    inside = np.zeros(len(train), dtype=bool)
    inside[np.concatenate([held[p] for p in best])] = True
    for mine in holds.T:  # a class lost to training gets one of its groups back
        if inside[mine].all():
            inside &= groups != min(groups[mine])
    if not inside.any():  # all groups went back; one group alone may still be held out
        spare = [name for name in sorted(set(groups)) if holds[groups != name].any(axis=0).all()]
        inside = groups == min(spare, key=lambda name: (groups == name).sum()) if spare else inside
    if not inside.any() or inside.all():
        raise EdgepruneError("validation split: too few groups a class to hold any out; add recordings.")
    return train[~inside].reset_index(drop=True), train[inside].reset_index(drop=True)


@dataclass(frozen=True)
class _Part:
    """Rows of the list `where` as published: every cell a string, and a column `row` with the line number."""

    name: str
    where: Path
    rows: pd.DataFrame


def _read_parts(card: Card, root: Path, fold: int, subset: str) -> tuple[list[_Part], tuple[str, ...], list[str]]:
    """The train and test rows of the first layout whose files exist, those files, and warnings."""
    if subset and subset not in card.subsets:
        have = ", ".join(card.subsets) or "none"
        raise EdgepruneError(f"{card.name}: has no subset '{subset}'; its subsets: {have}.")
    if card.folds and fold not in card.folds:
        have = ", ".join(map(str, card.folds))
        raise EdgepruneError(f"{card.name}: has no fold {fold}; its folds: {have}.")
    tried: list[str] = []
    for layout in [card.subsets[subset]] if subset else card.layouts:
        read = _read_folders if "{label}" in layout.train else _read_lists if layout.train else _read_table
        parts = read(card, layout, root, fold, tried)
        if parts:
            expected = layout.rows.get(str(fold))
            rows = tuple(len(part.rows) for part in parts)
            remarks = []
            if expected and rows != expected:
                remarks.append(f"{card.name} fold {fold}: {rows} rows for train and test, published {expected}")
            lists = dict.fromkeys(part.where.relative_to(root).as_posix() for part in parts)
            return parts, tuple(lists), remarks
    raise EdgepruneError(
        f"{card.name} fold {fold}: no split found in {root}; looked for {', then '.join(tried)}; "
        f"check the folder, or run `edgeprune data fetch {card.name} --root {root}`."
    )


def _read_lists(card: Card, layout: SplitLayout, root: Path, fold: int, tried: list[str]) -> list[_Part] | None:
    train, *tests = (name.replace("{fold}", str(fold)) for name in (layout.train, *layout.test))
    path = find_list(root, train)
    if path is None:
        tried.append(train)
        return None
    test = next(filter(None, (find_list(root, name) for name in tests)), None)
    if test is None:
        raise EdgepruneError(f"{card.name} fold {fold}: {train} is there but not {' or '.join(tests)}; add it.")
    parts = [_Part("training", path, read_rows(path)), _Part("testing", test, read_rows(test))]
    if column_of(parts[0].rows, "label") is None:
        raise EdgepruneError(f"{path}: has no labels to train on; it needs the columns filename and scene_label.")
    return parts


def _read_folders(card: Card, layout: SplitLayout, root: Path, fold: int, tried: list[str]) -> list[_Part] | None:
    """Clips in a folder for each class: those that a list of `layout.test` names test, the others train."""
    lists = [name.replace("{fold}", str(fold)) for name in layout.test]
    path = next(filter(None, (find_list(root, name) for name in lists)), None)
    if path is None:
        tried.extend(lists)
        return None
    test = read_rows(path).assign(label=lambda rows: rows["filename"].str.partition("/")[0])
    found = [
        clip.relative_to(root).as_posix()
        for label in card.classes
        for clip in sorted(root.glob(layout.train.replace("{label}", label)))
    ]
    tested = set(test["filename"])
    train = test.iloc[:0].reindex(columns=["filename", "label", "row"])
    train["filename"] = [name for name in found if name not in tested]
    train["label"] = train["filename"].str.partition("/")[0]
    train["row"] = range(1, len(train) + 1)
    return [_Part("training", path, train), _Part("testing", path, test)]


def _read_table(card: Card, layout: SplitLayout, root: Path, fold: int, tried: list[str]) -> list[_Part] | None:
    path = find_list(root, layout.table)
    rows = None if path is None else read_rows(path)
    if path is None or rows is None or not {"fold", "split"} & set(rows.columns):
        tried.append(f"{layout.table} with a column fold or split")
        return None
    if column_of(rows, "label") is None:
        raise EdgepruneError(f"{path}: has no column label (or scene_label, category); add it.")
    for column, value in layout.where.items():
        if column not in rows:
            raise EdgepruneError(f"{path}: has no column {column}, which {card.name} needs to choose its clips.")
        rows = rows[rows[column].str.lower() == value.lower()]
    if "fold" in rows:
        tested = rows["fold"] == str(fold)
        if not tested.any():
            have = ", ".join(sorted(set(rows["fold"]))) or "none"
            raise EdgepruneError(f"{path}: has no fold {fold}; its folds: {have}.")
    else:
        sides = rows["split"].str.lower()
        odd = rows[~sides.isin(["train", "test"])]
        if len(odd):
            raise EdgepruneError(
                f"{path}: row {odd['row'].iloc[0]} has the split '{odd['split'].iloc[0]}'; write train or test."
            )
        tested = sides == "test"
    return [_Part("training", path, rows[~tested]), _Part("testing", path, rows[tested])]


def column_of(rows: pd.DataFrame, kind: str) -> list[str] | None:
    """The column of a kind under any of its published names."""
    return next((rows[name].tolist() for name in _ALIASES[kind] if name in rows), None)


def _clip_table(card: Card, part: _Part, finder: ClipFinder, check_files: bool) -> pd.DataFrame:
    """Published rows as a table with the columns `COLUMNS`."""
    import pandas as pd

    lines = part.rows["row"].tolist()
    names = [name.replace("\\", "/").removeprefix("./") for name in part.rows["filename"].tolist()]
    for line, name in zip(lines, names, strict=True):
        if _OUTSIDE.search(name):
            raise EdgepruneError(
                f"{part.where}: row {line} names the clip '{name}'; give its path relative to the data folder."
            )
    listed = [finder.find(name) for name in names]
    if check_files and None in listed:
        absent = [name for name, place in zip(names, listed, strict=True) if place is None]
        others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise EdgepruneError(
            f"{card.name}: {absent[0]}{others} named in {part.where} but not in {finder.root}; "
            f"fetch the audio or run `edgeprune data verify {card.name} --root {finder.root}`."
        )
    places = [place or finder.published(name) for name, place in zip(names, listed, strict=True)]
    labels = column_of(part.rows, "label")
    for line, label in zip(lines, labels or (), strict=False):
        if card.several_labels or SEPARATOR in label:
            check_cell(label, card.classes or names_in(label), f"{part.where}: row {line}")
        elif label not in card.classes if card.classes else not label:
            hint = nearest(label, card.classes, f"the labels are {', '.join(card.classes) or 'any but empty'}")
            raise EdgepruneError(
                f"{part.where}: row {line} has the label '{label}', which is not a class of {card.name}; {hint}."
            )
    origins = _origins(card, part, places)
    columns = {"filename": places, "label": labels or [""] * len(places), **origins}
    return pd.DataFrame(columns, columns=COLUMNS, dtype=str)


def _origins(card: Card, part: _Part, places: list[str]) -> dict[str, list[str]]:
    """Group, city and device of every clip, from the table's columns, else from the clips' names."""
    pattern = re.compile(card.name_pattern)
    matches = [pattern.fullmatch(stem(place)) if card.name_pattern else None for place in places]
    parsed = [{} if match is None else match.groupdict(default="") for match in matches]
    origins = {kind: [fields.get(kind, "") for fields in parsed] for kind in ("city", "device")}
    if card.group and column_of(part.rows, "group") is None:
        if None in matches:
            raise EdgepruneError(
                f"{part.where}: the name {places[matches.index(None)]} does not follow {card.name}'s naming, so its "
                "recording is unknown; rename it or use a card of your own."
            )
        origins["group"] = [card.group.format(**fields) for fields in parsed]
    for kind in ("group", "city", "device"):
        origins[kind] = column_of(part.rows, kind) or origins.get(kind, places)
    # A clip without a group is a group of its own.
    origins["group"] = [group or place for group, place in zip(origins["group"], places, strict=True)]
    return origins


def _check_apart(card: Card, fold: int, train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Refuse a clip on both sides; a warning if a group is."""
    both = sorted(set(train["filename"]) & set(test["filename"]))
    if both:
        raise EdgepruneError(
            f"{card.name} fold {fold}: {both[0]}{_more(both)} in both train and test; remove it from one of the lists."
        )
    shared = sorted(set(train["group"]) & set(test["group"]))
    if not shared:
        return []
    return [
        f"{card.name} fold {fold}: group {shared[0]}{_more(shared)} in both train and test; "
        "the test score will flatter the network"
    ]


def _more(items: Iterable[str]) -> str:
    others = len(list(items)) - 1
    return f" and {others} more are" if others else " is"
