"""Figures of a variant over its runs: costs, accuracy by number format, latency by device."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from edgeprune.comparing.comparison import ComparedRun, Latency, MeanEstimate
from edgeprune.comparing.statistics import estimate, median_estimate
from edgeprune.recipe import FORMATS
from edgeprune.results.figures import Timing

_COSTS = {"params": "params", "macs": "macs", "flash_bytes": "flash_bytes", "peak_ram_bytes": "arena_bytes"}
"""Costs of a variant, and the fields of `CostFigures` they come from."""
_BOUNDS = {"accuracy": (0.0, 1.0), "log_loss": (0.0, inf)}
"""The least and the most that a metric can be."""


class TimedOn(NamedTuple):
    """What a latency was taken on; latencies compare where all fields are equal."""

    device: str
    kind: str
    unit: str
    processor: str
    threads: int

    def label(self, with_processor: bool = False) -> str:
        """`host`, `host, 2 threads` or `host (AMD EPYC)`."""
        name = f"{self.device} ({self.processor or 'processor not known'})" if with_processor else self.device
        return name if self.threads == 1 else f"{name}, {self.threads} threads"


def formats_of(runs: Sequence[ComparedRun]) -> list[str]:
    """Number formats in which any of the runs has an accuracy."""
    return [name for name in FORMATS if any(run.score("accuracy", name) is not None for run in runs)]


def clip_ratio(runs: Sequence[ComparedRun]) -> float:
    """Clips of the evaluation part divided by clips of the training part; 0 where all runs are of one fold.

    Clips held out for validation count as training clips, because they choose the epoch.
    """
    folds = len({run.fold for run in runs})
    if folds < 2:
        return 0.0
    counts = [run.result.data.clips for run in runs if run.result]
    parts = [(clips.get("train", 0) + clips.get("validation", 0), clips.get("test", 0)) for clips in counts]
    ratios = [test / train for train, test in parts if train and test]
    # Folds of unknown size count as the equal parts of a cross-validation.
    return sum(ratios) / len(ratios) if ratios else 1 / (folds - 1)


def costs(runs: Sequence[ComparedRun], format: str) -> dict[str, MeanEstimate]:
    """Parameters, MACs, flash and the arena: of the file in `format`, else of the network."""
    return _estimates({name: [_cost(run, figure, format) for run in runs] for name, figure in _COSTS.items()})


def _cost(run: ComparedRun, figure: str, format: str) -> int | None:
    file = run.file(format)
    of_file: int | None = getattr(file.cost, figure) if file else None
    return of_file if of_file is not None or run.figures is None else getattr(run.figures.cost, figure)


def scores(runs: Sequence[ComparedRun], metric: str) -> dict[str, MeanEstimate]:
    """A metric by number format, with the interval that folds and seeds give."""
    estimates = {}
    for format in formats_of(runs):
        used = [run for run in runs if run.score("accuracy", format) is not None]
        values = _known(run.score(metric, format) for run in used)
        if values:
            estimates[format] = estimate(values, clip_ratio(used), _BOUNDS[metric])
    return estimates


def file_bytes(runs: Sequence[ComparedRun]) -> dict[str, MeanEstimate]:
    """Sizes of the files by number format."""
    files = {format: [run.file(format) for run in runs] for format in formats_of(runs)}
    return _estimates({format: [file.bytes if file else None for file in row] for format, row in files.items()})


def _estimates(values: Mapping[str, Sequence[float | None]]) -> dict[str, MeanEstimate]:
    """Estimates of the entries that have a value; none can be below 0."""
    return {name: estimate(known, bounds=(0.0, inf)) for name, row in values.items() if (known := _known(row))}


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def all_latencies(runs: Sequence[ComparedRun], format: str) -> dict[TimedOn, list[float]]:
    """The runs' medians of one inference by what they were taken on; sizes that devices report are no latencies."""
    medians = defaultdict(list)
    for run in runs:
        file, of_run = run.file(format), dict[TimedOn, float]()
        for row in run.result.latency if run.result and file else ():
            if row.median is not None and file and row.file == file.name and not row.is_size:
                timed_on = TimedOn(row.device, str(row.kind), str(row.unit), _processor(row), row.threads)
                of_run.setdefault(timed_on, row.median)
        for key, median in of_run.items():
            medians[key].append(median)
    return medians


def _processor(row: Timing) -> str:
    """Its name and its features, since different processors of a cloud go by one name; "" where neither is known."""
    about = row.detail
    return ", ".join(
        str(part) for part in (about.get("cpu") or about.get("user_agent"), about.get("cpu_features")) if part
    )


def processors(runs: Sequence[ComparedRun], format: str) -> dict[str, set[str]]:
    """Processors the runs were timed on, by device."""
    names = defaultdict(set)
    for key in all_latencies(runs, format):
        names[key.device].add(key.processor)
    return names


def latency_estimates(
    runs: Sequence[ComparedRun], format: str, all_processors: Mapping[str, set[str]]
) -> Iterator[Latency]:
    """Median of the runs' medians by device; the label names the processor where a device was more than one."""
    for key, medians in all_latencies(runs, format).items():
        label = key.label(with_processor=len(all_processors.get(key.device, ())) > 1)
        yield Latency(label, key.kind, key.unit, median_estimate(medians))
