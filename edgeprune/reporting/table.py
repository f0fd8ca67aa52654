"""A table of text, in which reports, cards and the command line show figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeprune.console import print_table


@dataclass(frozen=True)
class Table:
    """Column names and rows of text; the first cell of a row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    def print(self, title: str = "") -> None:
        """Print it to standard output."""
        print_table(title, self.columns, self.rows)

    def markdown(self) -> str:
        """As Markdown, numbers on the right."""
        lines: Iterable[Sequence[str]] = (self.columns, ("---", *("---:" for _ in self.columns[1:])), *self.rows)
        return "\n".join(f"| {' | '.join(map(markdown_text, line))} |" for line in lines)


def markdown_text(text: object) -> str:
    """Text that cannot break out of its line or its table's cell."""
    plain = " ".join(str(text).split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
