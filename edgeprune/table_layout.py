"""Tables that fit a width: empty columns go, names wrap, rows become paragraphs; figures are never cut."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_NOTHING = ("", "-", "\N{EN DASH}")
"""Cells that hold no figure and no name."""
_BORDERS, _GAP = 3, 2
"""Characters a column takes beside its text, in a table with borders and in one without."""
_PIECE_LENGTH = 14
"""Characters of a name without a mark that every column has room for; a longer one may be cut anywhere."""
_FIGURE = re.compile(r"[(<>~+\-\N{MINUS SIGN}\N{PLUS-MINUS SIGN}]*\d")
_BREAK = re.compile(r"(?<=[_/\\@:])|(?<=[.-])(?!\d)")
"""Where a name may break: after its marks, but not within a number that it holds."""
_INDENT = "  "


@dataclass(frozen=True)
class TableLayout:
    """A table's cells with line breaks in them, and whether it has the room for borders; `names` stands above it."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bordered: bool = True

    def width(self) -> int:
        """Characters of the longest line."""
        return sum(self.widths()) + (_BORDERS * len(self.names) + 1 if self.bordered else _GAP * (len(self.names) - 1))

    def widths(self) -> list[int]:
        """Characters of the longest line of each column."""
        return [max(_lines_length(cell) for cell in column) for column in zip(self.names, *self.rows, strict=True)]


def fit(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> TableLayout | None:
    """The table within this many characters, as close to one line a row as they allow; None where none fits.

    Only spaces, and marks within names, are where lines break: a number stays whole.
    """
    whole = TableLayout(tuple(names), tuple(tuple(row) for row in rows))
    for table in (whole, replace(whole, bordered=False), replace(_without_empty(whole), bordered=False)):
        if table.width() <= width:
            return table
    most = width - _GAP * (len(table.names) - 1)
    columns = list(zip(table.names, *table.rows, strict=True))
    least = [max(1, *(_length(word) for word in name.split()), *map(_least, cells)) for name, *cells in columns]
    if sum(least) > most:
        return None
    widths = _shared(most, least, table.widths())
    wrapped = [["\n".join(wrap(cell, size)) for cell in column] for column, size in zip(columns, widths, strict=True)]
    head, *body = zip(*wrapped, strict=True)
    return TableLayout(head, tuple(body), bordered=False)


def paragraphs(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Lines of at most `width` characters: for each row its first cell, then a line for each of the others."""
    label_width = min(max((_length(name) for name in names[1:]), default=0), width // 2)
    for row in rows:
        yield from wrap(row[0], width) or [""]
        for name, cell in zip(names[1:], row[1:], strict=True):
            if not cell:
                continue
            labels = wrap(name, label_width)
            values = wrap(cell, max(1, width - label_width - 2 * len(_INDENT)))
            for number in range(max(len(labels), len(values))):
                label, value = (lines[number] if number < len(lines) else "" for lines in (labels, values))
                padding = " " * (label_width - _length(label))
                yield f"{_INDENT}{label}{padding}{_INDENT}{value}".rstrip()


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` characters, broken at spaces, then at marks within names."""
    lines: list[str] = []
    for word in text.split():
        parts = [word] if _length(word) <= width else _cut(word, width)
        if lines and _length(lines[-1]) + 1 + _length(parts[0]) <= width:
            lines[-1] += f" {parts[0]}"
        else:
            lines.append(parts[0])
        lines += parts[1:]
    return lines


def _cut(word: str, width: int) -> list[str]:
    """A word that is too long in parts of at most `width` characters, broken after marks where it has some."""
    from rich.cells import chop_cells

    parts = [""]
    for piece in _BREAK.split(word):
        if _length(parts[-1]) + _length(piece) <= width:
            parts[-1] += piece
        else:
            parts += chop_cells(piece, width)
    return [part for part in parts if part]


def _least(text: str) -> int:
    """Characters of the narrowest column that cuts no figure of a text, and no short name."""
    return max((_least_of_word(word) for word in text.split()), default=1)


def _least_of_word(word: str) -> int:
    if _FIGURE.match(word):
        return _length(word)
    return max(min(_length(piece), _PIECE_LENGTH) for piece in _BREAK.split(word))


def _without_empty(table: TableLayout) -> TableLayout:
    """The table without columns that hold nothing; the first one names the rows and stays."""
    columns = list(zip(table.names, *table.rows, strict=True))
    kept = [columns[0], *(column for column in columns[1:] if any(cell not in _NOTHING for cell in column[1:]))]
    head, *body = zip(*kept, strict=True)
    return TableLayout(head, tuple(body))


def _shared(most: int, least: Sequence[int], wished: Sequence[int]) -> list[int]:
    """Widths that add up to at most `most`: each has its least, and what is left is shared alike, up to its wish."""
    widths, left = list(least), most - sum(least)
    order = sorted(range(len(widths)), key=lambda column: wished[column] - least[column])
    for place, column in enumerate(order):
        more = min(wished[column] - least[column], left // (len(order) - place))
        widths[column] += more
        left -= more
    return widths


def _lines_length(cell: str) -> int:
    return max(map(_length, cell.split("\n")))


def _length(text: str) -> int:
    """Characters that a terminal takes for a text."""
    from rich.cells import cell_len

    return cell_len(text)
