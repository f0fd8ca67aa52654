"""Checking a data set on disk against its lists for missing, unknown and unreadable clips."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgeprune.audio.decode import check_clip
from edgeprune.console import say, track
from edgeprune.cores import cores
from edgeprune.data.cards import Card
from edgeprune.data.clip_finder import ClipFinder, is_audio
from edgeprune.data.feature_cache import outdated
from edgeprune.data.lists import find_list, read_rows
from edgeprune.data.splits import load_split
from edgeprune.errors import EdgepruneError
from edgeprune.files import md5_file


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        missing, extra: listed clips that are absent; audio in no list.
        corrupt: (clip, fault) pairs.
        clips: how many listed clips could be read.
        outdated: folders of cached features that were computed from earlier clips; they are not used any more.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    corrupt: tuple[tuple[str, str], ...]
    clips: int
    outdated: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Every listed clip is there and can be read; extra files do no harm."""
        return not self.missing and not self.corrupt


def verify(card: Card, root: Path | str, cache: Path | None = None) -> VerifyReport:
    """Check every clip of a data set; paths of clips in the report are relative to `root`.

    The clips are those of all folds on disk and those of a `meta*.csv` in the root, which in TAU 2019 also lists clips
    of no fold. Each is decoded from start to end. Where such a table has a column that starts with `md5`, the MD5 of
    the file is compared as well. `cache` is the folder of cached features (default: the user's).
    """
    root = Path(root)
    finder = ClipFinder(root, card.audio)
    listed, known = _listed(card, root, finder)
    places = {name: finder.find(name) for name in sorted(listed)}
    present = {place: listed[name] for name, place in places.items() if place is not None}
    folder = root / card.audio if (root / card.audio).is_dir() else root
    audio = sorted(path for path in folder.rglob("*") if is_audio(path.name) and path.is_file())
    extra = [name for path in audio if (name := path.relative_to(root).as_posix()) not in present.keys() | known]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        reasons = pool.map(lambda item: _fault(root / item[0], item[1]), present.items())
        faults = list(track(reasons, f"verifying {card.name}", len(present)))
    corrupt = [(name, fault) for name, fault in zip(present, faults, strict=True) if fault]
    missing = [name for name, place in places.items() if place is None]
    older = tuple(map(str, outdated(root, cache)))
    return VerifyReport(tuple(missing), tuple(extra), tuple(corrupt), len(present) - len(corrupt), older)


def _listed(card: Card, root: Path, finder: ClipFinder) -> tuple[dict[str, str], set[str]]:
    """Every clip of the data set with its MD5, "" where no table has one, and the known clips outside the data set."""
    tables = {path: layout for layout in card.layouts if (path := find_list(root, layout.table or "-"))}
    rows = {path: read_rows(path) for path in (*tables, *root.glob("meta*.csv"), *root.glob("meta*.csv.gz"))}
    folds = {int(fold) for path in tables for fold in rows[path].get("fold", ()) if fold.isdigit()}
    listed = _clips_of_folds(card, root, sorted(card.folds or folds) or [1])
    known: set[str] = set()
    for path, table in rows.items():
        md5 = next((column for column in table if str(column).startswith("md5")), None)
        for name, digest in zip(table["filename"], table[md5] if md5 else [""] * len(table), strict=True):
            name = name.replace("\\", "/").removeprefix("./")
            place = finder.find(name) or finder.published(name)
            if path in tables and tables[path].where:
                known.add(place)
            elif not listed.get(place):
                # The MD5 is for the file as listed, not for a copy in another format.
                listed[place] = digest.lower() if place.endswith(name) else ""
    return listed, known


def _clips_of_folds(card: Card, root: Path, folds: list[int]) -> dict[str, str]:
    """The clips of the folds on disk; raises the first fold's error if there is none."""
    listed: dict[str, str] = {}
    failures: list[EdgepruneError] = []
    for fold in folds:
        try:
            split = load_split(card, root, fold, check_files=False)
        except EdgepruneError as error:
            failures.append(error)
        else:
            for warning in split.warnings:
                say(f"warning: {warning}")
            listed |= dict.fromkeys([*split.train["filename"], *split.test["filename"]], "")
    if not listed:
        raise failures[0]
    return listed


def _fault(path: Path, md5: str) -> str:
    """The fault of a file, "" for none."""
    try:
        if md5 and md5_file(path) != md5:
            return "has another MD5 than its list gives"
        check_clip(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except EdgepruneError as error:
        return str(error).removeprefix(f"{path}: ").rstrip(".")
    return ""
