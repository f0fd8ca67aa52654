"""Which scores tables show, by what a network tells of a clip."""

from collections.abc import Callable
from dataclasses import dataclass

from edgeprune.reporting.numbers import (
    MISSING,
    format_decimal,
    format_exact,
    format_interval,
    format_percent,
    format_significant,
)
from edgeprune.reporting.table import Table
from edgeprune.results.figures import DetectionFigures, Scores
from edgeprune.results.result import File, NetworkResult, Result


@dataclass(frozen=True)
class ScoreColumn:
    """A score by its name, and how it is shown."""

    name: str
    show: Callable[[Scores], str]


_ACCURACY = ScoreColumn("accuracy", lambda scores: format_percent(scores.accuracy))
_INTERVAL = ScoreColumn("95 % interval", lambda scores: format_interval(scores.interval))
_MACRO = ScoreColumn("macro accuracy", lambda scores: format_percent(scores.macro_accuracy))
_LOG_LOSS = ScoreColumn("log loss", lambda scores: format_decimal(scores.log_loss))
_PRECISION = ScoreColumn("mean average precision", lambda scores: format_percent(scores.mean_average_precision))
_D_PRIME = ScoreColumn("d-prime", lambda scores: format_decimal(scores.d_prime))
_RECALL = ScoreColumn("recall", lambda scores: format_percent(_of_detection(scores).recall))
_ALARMS = ScoreColumn("false alarms an hour", lambda scores: format_significant(_alarms(scores)))

SHORT = {
    "scenes": (_ACCURACY, _LOG_LOSS),
    "tags": (_PRECISION, _D_PRIME, _ACCURACY),
    "detection": (_RECALL, _ALARMS),
}
"""By task, the scores that sum a file up."""
LONG = {
    "scenes": (_ACCURACY, _INTERVAL, _MACRO, _LOG_LOSS),
    "tags": (_PRECISION, _D_PRIME, _ACCURACY, _INTERVAL, _MACRO, _LOG_LOSS),
    "detection": (ScoreColumn("average precision", _PRECISION.show), _D_PRIME, _ACCURACY, _INTERVAL, _LOG_LOSS),
}
"""By task, all scores of a file but those of a detector at its threshold."""
MAIN = {"scenes": "accuracy", "tags": "mean average precision", "detection": "average precision"}
"""By task, the name of `Scores.main`, by which runs are compared."""


def task_of(scores: Scores) -> str:
    """What the network whose scores these are tells of a clip."""
    if scores.detection is not None:
        return "detection"
    return "scenes" if scores.mean_average_precision is None else "tags"


def score_rows(scores: Scores) -> list[tuple[str, str]]:
    """All scores of a file, each with its name."""
    rows = [(column.name, column.show(scores)) for column in LONG[task_of(scores)]]
    if scores.detection is not None:
        rows += list(zip(DETECTION_COLUMNS, detection_cells(scores.detection), strict=True))
    return rows


DETECTION_COLUMNS = (
    "threshold", "recall", "precision", "missed", "false alarms", "in hours", "an hour", "an hour, 95 % interval"
)  # fmt: skip


def detection_cells(figures: DetectionFigures) -> tuple[str, ...]:
    """What a detector gives at its threshold, by `DETECTION_COLUMNS`."""
    low, high = (MISSING, MISSING) if figures.interval is None else map(format_significant, figures.interval)
    return (
        format_decimal(figures.threshold),
        format_percent(figures.recall, digits=1),
        format_percent(figures.precision, digits=1),
        format_exact(figures.misses),
        format_exact(figures.false_alarms),
        format_significant(figures.hours_without),
        format_significant(figures.false_alarms_per_hour),
        f"{low} to {high}",
    )


def threshold_note(network: NetworkResult) -> str:
    """How a detector's threshold came about; "" of other networks."""
    chosen = network.threshold
    if chosen is None:
        return ""
    return (
        f"The threshold of the {network.name} network, {format_decimal(chosen.threshold)}, is the highest at which "
        f"{format_percent(chosen.asked_recall, digits=0)} of the sounds are found in validation clips: there it finds "
        f"{format_percent(chosen.recall, digits=1)}, with {format_significant(chosen.false_alarms_per_hour)} false "
        "alarms an hour. All its files use it."
    )


def detection_table(result: Result) -> Table:
    """A row for each network and file with a threshold, on the evaluation part; no rows of other tasks."""
    forms: list[File | NetworkResult] = []
    for network in result.networks.values():
        forms += [network, *network.files.values()]
    rows = [(form.label, *detection_cells(form.scores.detection)) for form in forms if form.scores.detection]
    return Table(("network", *DETECTION_COLUMNS), tuple(rows))


def _of_detection(scores: Scores) -> DetectionFigures:
    return scores.detection or DetectionFigures()


def _alarms(scores: Scores) -> float | None:
    return _of_detection(scores).false_alarms_per_hour
