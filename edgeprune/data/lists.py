"""Lists and tables of clips as people and programs write them: read, or refused with what to do."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    import pandas as pd

_FILENAME = ("filename", "file", "path", "file_name")
"""Headers of the column of clips; the first of them that a table has is it."""
_OTHER_COLUMNS = {"label", "scene_label", "category", "fold", "split"}
"""Headers by which a first row without a clip is known as one."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""The line that Excel writes and reads above a table."""
_WHOLE_NUMBER = re.compile(r"(\d+)(?:\.0*)?")
_MOST_BYTES = 1 << 28
"""Bytes of the longest list, unpacked; the longest published ones have some 20 million."""
_MOST_NAME_BYTES = 255
"""Bytes of a file's or folder's name that file systems take."""


def read_rows(path: Path) -> pd.DataFrame:
    """Read a list or table, plain or .gz: every cell a stripped string, and a column `row` with the line number.

    The separator is a tab, semicolon or comma; empty rows and columns without a header are left out. A header may name
    the clips `filename`, `file`, `path` or `file_name`, in any column; the column is then `filename`. Without a header
    the columns are filename and label. Folds written 1.0 are 1.
    """
    import pandas as pd

    text = _text(path)
    separator, skipped = "", 0
    if line := _SEPARATOR_LINE.match(text):
        separator, skipped, text = line[1], 1, text[line.end() :]
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = separator or ("\t" if "\t" in first else max(";,", key=first.count))
    lines = _cells(path, text, separator, skipped)
    columns = _header(path, lines[0][1] if lines else [], separator)
    headed = columns is not None
    columns = columns or ["filename", "label"]
    body = lines[1:] if headed else lines
    for number, cells in body:
        if (headed and len(cells) < len(columns)) or any(cells[len(columns) :]):
            raise EdgepruneError(
                f"{path}: row {number} has {len(cells)} columns where {len(columns)} are expected; correct it."
            )
    width = min([len(columns), *(len(cells) for _, cells in body)])
    frame = pd.DataFrame([cells[:width] for _, cells in body], columns=columns[:width], dtype=str)
    frame = frame.loc[:, [name != "" for name in frame.columns]]
    frame["row"] = [number for number, _ in body]
    _check_names(path, frame)
    if "fold" in frame:
        frame["fold"] = [_without_decimals(fold) for fold in frame["fold"]]
    return frame


def find_list(root: Path, name: str) -> Path | None:
    """The list `name` under `root`, or the same with .gz, or None."""
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _text(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise EdgepruneError(
            f"{path}: cannot be read as a list of clips ({error}); fetch or write it again."
        ) from error
    if len(data) > _MOST_BYTES:
        raise EdgepruneError(f"{path}: is longer than {_MOST_BYTES:,} bytes, so it is no list of clips; check it.")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1:,} is no {'UTF-16' if wide else 'UTF-8'}"
        raise EdgepruneError(
            f"{path}: cannot be read as a list of clips ({where}); save it as UTF-8, in Excel as 'CSV UTF-8'."
        ) from error
    if "\0" in text:
        raise EdgepruneError(f"{path}: cannot be read as a list of clips (it holds zero bytes); save it as UTF-8 text.")
    return text


def _cells(path: Path, text: str, separator: str, skipped: int) -> list[tuple[int, list[str]]]:
    """The stripped cells of each row that is not empty, with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = []
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            if any(cells):
                rows.append((reader.line_num + skipped, cells))
    except csv.Error as error:
        raise EdgepruneError(
            f"{path}: row {reader.line_num + skipped} is no row of a table ({error}); look there for a quotation mark "
            "that is not closed."
        ) from error
    return rows


def _header(path: Path, cells: Sequence[str], separator: str) -> list[str] | None:
    """The names of the columns, the clips' being `filename`; None where the first row is a clip."""
    names = [cell.lower() for cell in cells]
    clips = next((name for name in _FILENAME if name in names), None)
    if clips is None:
        if _OTHER_COLUMNS & set(names) or (len(cells) > 1 and separator != "\t"):
            raise EdgepruneError(
                f"{path}: its first row ({separator.join(cells)[:80]}) has no column filename; name the column of the "
                "clips so."
            )
        return None
    twice = [name for name, times in Counter(names).items() if name and times > 1]
    if twice:
        raise EdgepruneError(f"{path}: has two columns '{twice[0]}'; remove or rename one.")
    return ["filename" if name == clips else name for name in names]


def _check_names(path: Path, frame: pd.DataFrame) -> None:
    for number, name in zip(frame["row"], frame["filename"], strict=True):
        longest = max(len(part.encode("utf-8", "replace")) for part in re.split(r"[/\\]", name))
        if longest > _MOST_NAME_BYTES:
            raise EdgepruneError(
                f"{path}: row {number} names a file of {longest} bytes, {name[:40]}..., and file systems take "
                f"{_MOST_NAME_BYTES}; correct it."
            )


def _without_decimals(fold: str) -> str:
    whole = _WHOLE_NUMBER.fullmatch(fold)
    return fold if whole is None else str(int(whole[1][:18]))
