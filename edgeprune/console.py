"""What the user sees while work goes on: plain lines, tables and progress bars (rich), silent with `--quiet`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

T = TypeVar("T")
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
    with path.open("a", encoding="utf-8") as _log:
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


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output; every column but the first is right-aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    terminal = Console().is_terminal
    Console(highlight=False, markup=False, width=None if terminal else 160).print(table)


def shows_progress() -> bool:
    """Whether progress bars are shown: on a terminal, and in a notebook that has ipywidgets, unless silenced."""
    in_notebook = _errors().is_jupyter and find_spec("ipywidgets") is not None
    return not _quiet and (_errors().is_terminal or in_notebook)
