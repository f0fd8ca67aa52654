"""Tables of the page: text to read, and beside it the value that sorting goes by."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgeprune.comparing.comparison import Latency, MeanEstimate, PairedDifference
from edgeprune.reporting.numbers import MISSING, format_interval, format_quantity, format_signed

Show = Callable[[Any], str]
ONE_RUN = "one run: no interval"


@dataclass(frozen=True)
class PageCell:
    """A cell of two lines, `text` and `note`.

    Attributes:
        key: what sorting goes by; None sorts last.
        shade: -1 to 1, depth of the colour; a change for the worse is below 0.
        code: whether the text is to be copied, such as a command or a hash.
    """

    text: str
    note: str = ""
    key: float | str | None = None
    shade: float | None = None
    code: bool = False


@dataclass(frozen=True)
class PageColumn:
    """A column: its name, the `kind` of a latency, and whether the first sorting is `down`, largest on top."""

    name: str
    kind: str = ""
    down: bool = False


@dataclass(frozen=True)
class PageRow:
    """A row; the first cell is its heading.

    Attributes:
        number: of the variant the row is about; None for other rows.
        badges: the role of a control, and the state of runs without a result.
        front: whether the variant lies on a Pareto front.
    """

    cells: tuple[PageCell, ...]
    number: int | None = None
    badges: tuple[str, ...] = ()
    front: bool = False


@dataclass(frozen=True)
class PageTable:
    columns: Sequence[PageColumn]
    rows: Sequence[PageRow]


def columns(*names: str, down: Collection[str] = ()) -> list[PageColumn]:
    """Columns by name; those of `down` sort with the largest on top first."""
    return [PageColumn(name, down=name in down) for name in names]


NOTHING = PageCell(MISSING)


def value_cell(value: Any, show: Show = str, code: bool = False) -> PageCell:
    """A number or text that sorts by its own value; a dash where there is none."""
    return PageCell(show(value) if value is not None else MISSING, key=value, code=code)


def estimate_cell(
    value: MeanEstimate | None, show: Show, interval: Callable[[MeanEstimate], str] | None = None
) -> PageCell:
    """A mean; with `interval` its interval as the second line."""
    if value is None:
        return NOTHING
    note = "" if interval is None else ONE_RUN if value.n == 1 else interval(value)
    return PageCell(show(value.mean), note, value.mean)


def percent_interval(value: MeanEstimate) -> str:
    """`62.3 to 66.5 %`."""
    return "no interval" if value.low is None or value.high is None else format_interval((value.low, value.high))


def plain_interval(show: Show) -> Callable[[MeanEstimate], str]:
    """`1.08 to 1.12`; empty where all runs have the same value."""

    def text(value: MeanEstimate) -> str:
        return "" if value.low == value.high else f"{show(value.low)} to {show(value.high)}"

    return text


def difference_cell(difference: PairedDifference | None, with_p: bool = True) -> PageCell:
    """A difference with interval and p-value; of accuracies in percentage points."""
    if difference is None:
        return NOTHING
    value, show = difference.estimate, points if difference.metric == "accuracy" else partial(format_signed, digits=3)
    if value.n == 1:
        return PageCell(show(value.mean), "one pair: no interval", value.mean)
    notes = [] if value.low is None or value.high is None else [f"{show(value.low)} to {show(value.high)}"]
    notes += [p_text(difference.p_value)] if with_p and difference.p_value is not None else []
    return PageCell(show(value.mean), "; ".join(notes), value.mean)


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return format_signed(100 * value, 1)


def p_text(value: float) -> str:
    """`p 0.034`, `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p {value:.2g}"


def latency_cell(latency: Latency | None) -> PageCell:
    """A median latency."""
    if latency is None:
        return NOTHING
    note = "one run" if latency.estimate.n == 1 else plain_interval(format_quantity)(latency.estimate)
    return PageCell(format_quantity(latency.estimate.mean), note, latency.estimate.mean)


def plain_table(name: str, value: str, texts: Mapping[str, str]) -> PageTable:
    """A table of names and texts."""
    return PageTable(columns(name, value), [PageRow((PageCell(key), PageCell(text))) for key, text in texts.items()])
