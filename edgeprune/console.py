"""What the user sees while work goes on: plain lines, tables and progress bars (rich), silent with `--quiet`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from edgeprune.plain_output import shown, without_controls

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from edgeprune.table_layout import TableLayout

T = TypeVar("T")
WIDTH = 160
"""Characters of a line that is not written to a terminal."""
_quiet = False
_log: TextIO | None = None


@cache
def _errors() -> "Console":
    """Standard error, or a notebook's cell; rich takes a tenth of a second to import, which `--help` need not wait."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def set_quiet(quiet: bool) -> None:
    global _quiet
    _quiet = quiet


def say(text: str) -> None:
    """One line about what is happening, to standard error, so that standard output stays for results."""
    text = without_controls(text)
    if _log is not None:
        with suppress(OSError):  # a full disk is reported by whoever writes what matters
            _log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n")
            _log.flush()
    if not _quiet:
        _errors().print(text, markup=False, soft_wrap=True)


def show(text: str, drawing: str = "") -> None:
    """What the user has to act on, to standard error, quiet or not; the drawing on a terminal alone, white on black."""
    _errors().print(text, markup=False, soft_wrap=True)
    if drawing and _errors().is_terminal:
        _errors().print(drawing, markup=False, soft_wrap=True, style="#ffffff on #000000")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append every line of `say` to the file at `path` too, with the time."""
    global _log
    with path.open("a", encoding="utf-8", errors="backslashreplace") as _log:
        try:
            yield
        finally:
            _log = None


@contextmanager
def progress(description: str, total: int) -> Iterator["Progress"]:
    """A progress bar on a terminal or in a notebook, nothing elsewhere; call `.advance(bar.task_ids[0])` on it."""
    from rich import progress as bars

    bar = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=_errors(),
        transient=True,
        disable=not shows_progress(),
    )
    with bar:
        bar.add_task(description, total=total)
        yield bar


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate over `items` under a progress bar."""
    with progress(description, total) as bar:
        for item in items:
            yield item
            bar.advance(bar.task_ids[0])


def print_line(text: str) -> None:
    """A line of results that quotes names of users, to standard output."""
    print(without_controls(text), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output, as wide as the terminal at most; every column but the first is right-aligned.

    Away from a terminal it may be `WIDTH` characters wide, or as many as the environment's COLUMNS says.
    """
    from rich.console import Console

    from edgeprune.table_layout import fit, paragraphs

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = WIDTH
    width = console.width
    names = [_one_line(column) for column in columns]
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if title:
        console.print(_one_line(title), style="italic", soft_wrap=True)
    layout = fit(names, cells, width)
    if layout is None:
        print(*paragraphs(names, cells, width), sep="\n")
    else:
        console.print(_drawn(layout))


def _one_line(cell: object) -> str:
    return shown(without_controls(" ".join(str(cell).split())))


def _drawn(layout: "TableLayout") -> "Table":
    from rich.box import HEAVY_HEAD, Box
    from rich.table import Table
    from rich.text import Text

    if layout.bordered:
        table = Table(box=HEAVY_HEAD)
    else:
        line_below_head = Box(f"    \n    \n -- \n{5 * f'{4 * chr(32)}{chr(10)}'}", ascii=True)
        table = Table(box=line_below_head, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.leading = int(any("\n" in row[0] for row in layout.rows))  # else a row's first line would not be seen
    for number, (name, width) in enumerate(zip(layout.names, layout.widths(), strict=True)):
        table.add_column(Text(name), justify="right" if number else "left", width=width, overflow="fold")
    for row in layout.rows:
        table.add_row(*map(Text, row))
    return table


def shows_progress() -> bool:
    """Whether progress bars are shown: on a terminal, and in a notebook that has ipywidgets, unless silenced."""
    in_notebook = _errors().is_jupyter and find_spec("ipywidgets") is not None
    return not _quiet and (_errors().is_terminal or in_notebook)
