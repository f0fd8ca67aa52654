"""Data-set cards, read from TOML: classes, sources and the official lists that split a data set."""

import re
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from edgeprune.errors import EdgepruneError, nearest
from edgeprune.files import from_plain, read_toml, share_folder
from edgeprune.recipe import Data

T = TypeVar("T")
MIXTURES = "synthetic_mixtures"
SYNTHETIC = ("synthetic", MIXTURES)
"""Cards whose clips are made where they are missing."""


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        md5: 32 hex digits, or "" where the publisher gives none.
        bytes: size, None where unknown.
        confirmed: an independent source confirms the URL and the MD5.
        into: folder under the data set's root for the contents.
    """

    name: str
    url: str
    md5: str = ""
    bytes: int | None = None
    confirmed: bool = False
    into: str = ""


@dataclass(frozen=True)
class SplitLayout:
    """The files of a split on disk; `{fold}` in a path stands for the fold's number.

    They are two lists of clips (`train`, and in `test` the files to try in order), or one `table` with a column `fold`
    (or `split`: train, test). With `{label}` in it, as in `{label}/*.wav`, `train` stands for the clips in a folder of
    each class that are not in the list `test`.

    Attributes:
        where: rows of the table to keep, as {column: value}.
        rows: published number of rows (train, test) by fold.
    """

    train: str = ""
    test: tuple[str, ...] = ()
    table: str = ""
    where: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFiles:
    """Files of a card of kind `images`, under the root.

    Attributes:
        train, test: images, then labels, of each part: two idx files, plain or .gz; with `npz`, two arrays in it.
            Images are unsigned bytes `[images, height, width]` or `[images, height, width, channels]`, labels
            `[images]` are places in the card's `classes`.
        npz: NumPy archive that holds the four arrays; "": idx files.
    """

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    npz: str = ""


@dataclass(frozen=True)
class Card:
    """A data set.

    Attributes:
        kind: `scenes` (clips of sound, split by `layouts`) or `images` (split by `images`).
        classes: labels in the order of the network's outputs; empty: the labels of the user's table, sorted.
        several_labels: a clip may hold several classes, written `dog;rain`, or none of them, written `none`. Lists
            with a semicolon in a label need not say so.
        sample_rate: Hz, as published; 0: that of each file.
        channels: as published; 0: those of each file.
        clip_s: nominal length of a clip in seconds; 0: that of each file.
        audio: folder of the clips under the root, for lists that name clips without a folder.
        name_pattern: regular expression of a clip's name without folder and suffix; its named groups `city` and
            `device` fill those columns.
        group: format over the named groups of `name_pattern`, for the identity that stays on one side of a
            validation cut; "": every clip is its own group unless its table has groups.
        top_folder: folder inside the archives that is stripped when they are unpacked.
        folds: the folds that exist; empty: those of the user's table.
        layouts: tried in order.
        subsets: official reduced training lists, by name.
        images: files of a card of kind `images`.
    """

    name: str
    title: str
    licence: str
    layouts: tuple[SplitLayout, ...] = ()
    kind: str = "scenes"
    classes: tuple[str, ...] = ()
    several_labels: bool = False
    source: str = ""
    citation: str = ""
    sample_rate: int = 0
    channels: int = 0
    clip_s: float = 0.0
    audio: str = "audio"
    name_pattern: str = ""
    group: str = ""
    top_folder: str = ""
    folds: tuple[int, ...] = ()
    subsets: dict[str, SplitLayout] = field(default_factory=dict)
    images: ImageFiles | None = None
    archives: tuple[Archive, ...] = ()
    notes: str = ""

    def content(self) -> dict[str, Any]:
        """The fields that define clips, labels and groups, for hashing, without prose and URLs."""
        prose = {"title", "licence", "source", "citation", "notes", "archives"}
        if self.images is None:
            prose |= {"kind", "images"}  # not in the keys of feature caches made before there were images
        prose |= {"several_labels"}  # features do not depend on it
        content = {key: value for key, value in asdict(self).items() if key not in prose}
        return content | {"archives": [(archive.name, archive.md5) for archive in self.archives]}


def load_card(name_or_path: str | Path) -> Card:
    """Load one of the project's cards by name, or a user's own from a path that ends in .toml."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _read(path)
    names = card_names()
    if str(name_or_path) in names:
        return _read(share_folder("datasets") / f"{name_or_path}.toml")
    near = get_close_matches(str(name_or_path), names, n=3)
    hint = f"perhaps you meant {' or '.join(near)}" if near else f"choose one of {', '.join(names)}"
    raise EdgepruneError(f"data set '{name_or_path}': no such card; {hint}, or give the path of your own .toml card.")


def has_images(data: Data) -> bool:
    """Whether a data set holds images rather than clips."""
    return load_card(data.name).kind == "images"


def list_cards() -> list[Card]:
    """All cards of the project, by name."""
    return [load_card(name) for name in card_names()]


def card_names() -> list[str]:
    """Names of the project's cards, sorted."""
    return sorted(path.stem for path in share_folder("datasets").glob("*.toml"))


def _read(path: Path) -> Card:
    where = f"card {path}"
    raw = read_toml(path, where)
    if "images" in raw:
        raw["images"] = _build(ImageFiles, "images", raw["images"], where)
    for key, kind in (("layouts", list), ("archives", list), ("subsets", dict)):
        if not isinstance(raw.setdefault(key, kind()), kind):
            raise EdgepruneError(f"{where}: '{key}' must be written as [[{key}]] or [{key}.NAME] tables.")
    raw["layouts"] = [_layout(layout, where) for layout in raw["layouts"]]
    raw["subsets"] = {name: _layout(layout, where) for name, layout in raw["subsets"].items()}
    raw["archives"] = [_build(Archive, "archive", archive, where) for archive in raw["archives"]]
    card = _build(Card, "card", raw, where)
    _check(card, where)
    return card


def _layout(raw: Any, where: str) -> SplitLayout:
    layout = _build(SplitLayout, "layout", raw, where)
    for pair in layout.rows.values():
        if len(pair) != 2 or not all(isinstance(count, int) for count in pair):
            raise EdgepruneError(f"{where}: 'rows' must give two numbers for a fold, as in rows = {{ 1 = [90, 30] }}.")
    if bool(layout.train) == bool(layout.table) or bool(layout.train) != bool(layout.test):
        raise EdgepruneError(f"{where}: a layout needs either 'train' and 'test' or 'table'.")
    values = {column: str(value) for column, value in layout.where.items()}
    return replace(layout, where=values, rows={fold: tuple(pair) for fold, pair in layout.rows.items()})


def _build(kind: type[T], noun: str, raw: Any, where: str) -> T:
    """Make a dataclass from a TOML table, refusing unknown keys and wrong types."""
    if not isinstance(raw, dict):
        raise EdgepruneError(f"{where}: expected a table for {noun}, not {raw!r}.")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            hint = nearest(key, known, f"the keys are {', '.join(known)}")
            raise EdgepruneError(f"{where}: unknown key '{key}'; {hint}.")
    for key in ("name", "title", "licence", "url"):
        if key in known and not raw.get(key):
            raise EdgepruneError(f"{where}: '{key}' is missing in {noun}; add it.")
    return from_plain(kind, raw, f"{where}: ")


def _check(card: Card, where: str) -> None:
    _check_kind(card, where)
    for key in ("classes", "folds"):
        values = getattr(card, key)
        if len(set(values)) != len(values):
            raise EdgepruneError(f"{where}: '{key}' has a value twice; remove one.")
    try:
        groups = re.compile(card.name_pattern).groupindex
    except re.error as error:
        raise EdgepruneError(f"{where}: 'name_pattern' is not a regular expression ({error}).") from error
    for _, name, spec, conversion in string.Formatter().parse(card.group):
        if spec or conversion:
            raise EdgepruneError(f"{where}: 'group' takes plain names in braces, as in \"{{city}}-{{location}}\".")
        if name is not None and name not in groups:
            raise EdgepruneError(f"{where}: 'group' uses {{{name}}}, which 'name_pattern' does not define.")
    for archive in card.archives:
        if archive.md5 and not re.fullmatch(r"[0-9a-f]{32}", archive.md5):
            raise EdgepruneError(f"{where}: archive {archive.name}: '{archive.md5}' is not an MD5 (32 hex digits).")
        if archive.confirmed and not archive.md5:
            raise EdgepruneError(f"{where}: archive {archive.name} is marked confirmed but has no MD5.")
        into = Path(archive.into)
        if Path(archive.name).name != archive.name or ".." in into.parts or into.is_absolute():
            raise EdgepruneError(f"{where}: archive {archive.name}: 'name' and 'into' must stay in the data folder.")


def _check_kind(card: Card, where: str) -> None:
    if card.kind == "scenes":
        if not card.layouts:
            raise EdgepruneError(f"{where}: has no [[layouts]]; say where the lists or the table of clips lie.")
        if card.images is not None:
            raise EdgepruneError(f'{where}: has [images] but is a card of clips; add kind = "images" or remove them.')
        return
    if card.kind != "images":
        raise EdgepruneError(f"{where}: 'kind' is '{card.kind}'; write scenes (clips of sound) or images.")
    if card.layouts or card.subsets or card.folds:
        raise EdgepruneError(f"{where}: a card of images has [images], and no layouts, subsets or folds.")
    parts = () if card.images is None else (card.images.train, card.images.test)
    if any(len(part) != 2 for part in parts) or not parts:
        raise EdgepruneError(
            f"{where}: [images] must name the images and the labels of each part, as "
            'train = ["images", "labels"] and test = ["images", "labels"].'
        )
    if len(card.classes) < 2 or card.several_labels:
        raise EdgepruneError(
            f"{where}: a card of images needs 'classes', two or more, in the order of the labels, one an image."
        )
