"""What the user sees while work goes on: plain lines, tables and progress bars (rich), silent when asked."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

T = TypeVar("T")
_err = Console(stderr=True, highlight=False)
_quiet = False
_log: TextIO | None = None


def set_quiet(quiet: bool) -> None:
    global _quiet
    _quiet = quiet


def say(text: str) -> None:
    """One line about what is happening, to standard error, so that standard output stays for results."""
    if _log is not None:
        with suppress(OSError):  # a full disk is reported by whoever writes what matters
            _log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n")
            _log.flush()
    if not _quiet:
        _err.print(text, markup=False, soft_wrap=True)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Also append what is said, with the time, to the file at `path`."""
    global _log
    with path.open("a", encoding="utf-8") as _log:
        try:
            yield
        finally:
            _log = None


@contextmanager
def progress(description: str, total: int) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere; call `.advance(bar.task_ids[0])` on what it yields."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_err,
        transient=True,
        disable=_quiet or not _err.is_terminal,
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


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output; every column but the first is right-aligned."""
    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    terminal = Console().is_terminal
    Console(highlight=False, markup=False, width=None if terminal else 160).print(table)


def is_terminal() -> bool:
    """Whether progress bars are shown."""
    return _err.is_terminal and not _quiet
