"""Figures of a variant over its runs: costs, accuracy by number format, latency by device."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgeprune.comparing.comparison import Estimate, Latency
from edgeprune.comparing.load import FoundRun
from edgeprune.comparing.statistics import estimate, median_estimate
from edgeprune.recipe import FORMATS
from edgeprune.reporting.tables import number, part, records

METRICS = ("accuracy", "log_loss")
_COSTS = {"params": "params", "macs": "macs", "flash_bytes": "flash_bytes", "peak_ram_bytes": "arena_bytes"}
DeviceKey = tuple[str, str, str, str, int]
"""Device, kind, unit, processor and threads: latencies compare where all are equal."""


def finished(runs: Sequence[FoundRun]) -> list[FoundRun]:
    return [run for run in runs if run.result is not None]


def artefact(run: FoundRun, format: str) -> Mapping[str, Any]:
    """What `result.json` says about the file of a number format; empty where there is none."""
    return part(run.result or {}, "artefacts", format)


def score(run: FoundRun, metric: str, format: str) -> float | None:
    """Accuracy (a fraction) or log loss (nats) of a file on the evaluation part."""
    return number(part(artefact(run, format), "accuracy").get(metric))


def formats_of(runs: Sequence[FoundRun]) -> list[str]:
    """Number formats in which any of the runs has an accuracy."""
    return [name for name in FORMATS if any(score(run, "accuracy", name) is not None for run in runs)]


def clip_ratio(runs: Sequence[FoundRun]) -> float:
    """Clips of the evaluation part by those of the training part, where the runs come from several folds; else 0.

    Clips held out for validation count as training: they choose the epoch.
    """
    if len({run.fold for run in runs}) < 2:
        return 0.0
    ratios = []
    for run in runs:
        clips = part(run.result or {}, "data", "clips")
        train = (number(clips.get("train")) or 0) + (number(clips.get("validation")) or 0)
        test = number(clips.get("test")) or 0
        if train and test:
            ratios.append(test / train)
    # Folds that do not tell their sizes are taken as the equal parts of a cross-validation.
    return sum(ratios) / len(ratios) if ratios else 1 / (len({run.fold for run in runs}) - 1)


def costs(runs: Sequence[FoundRun], format: str) -> dict[str, Estimate]:
    """Parameters, MACs, flash and RAM (the arena), read from the file of `format` where there is one."""
    found = {}
    for name, field in _COSTS.items():
        values = _present(_cost(run, field, format) for run in runs)
        if values:
            found[name] = estimate(values)
    return found


def _cost(run: FoundRun, field: str, format: str) -> float | None:
    told = number(part(artefact(run, format), "cost").get(field))
    return told if told is not None else number(part(run.result or {}, "pruned", "cost").get(field))


def scores(runs: Sequence[FoundRun], metric: str) -> dict[str, Estimate]:
    """A metric by number format, with the interval that folds and seeds give."""
    found = {}
    for format in formats_of(runs):
        with_format = [run for run in runs if score(run, metric, format) is not None]
        values = _present(score(run, metric, format) for run in with_format)
        if values:
            found[format] = estimate(values, clip_ratio(with_format))
    return found


def file_bytes(runs: Sequence[FoundRun]) -> dict[str, Estimate]:
    """Sizes of the files by number format."""
    found = {}
    for format in formats_of(runs):
        values = _present(number(artefact(run, format).get("bytes")) for run in runs)
        if values:
            found[format] = estimate(values)
    return found


def _present(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def latencies(run: FoundRun, format: str) -> dict[DeviceKey, float]:
    """Median of an inference of a run's file, by what it was measured on; sizes that devices tell are no latencies."""
    name = artefact(run, format).get("path")
    found: dict[DeviceKey, float] = {}
    for row in records(run.result or {}, "latency"):
        median, unit = number(row.get("median")), str(row.get("unit"))
        if median is None or row.get("model") != name or unit.endswith("bytes"):
            continue
        threads = int(number(row.get("threads")) or 1)
        cpu = str(part(row, "detail").get("cpu") or "")
        found.setdefault((str(row.get("device")), str(row.get("kind")), unit, cpu, threads), median)
    return found


def processors(runs: Sequence[FoundRun], format: str) -> dict[str, set[str]]:
    """By device the processors that the runs were measured on."""
    found: dict[str, set[str]] = {}
    for device, _, _, cpu, _ in (key for run in runs for key in latencies(run, format)):
        found.setdefault(device, set()).add(cpu)
    return found


def latency_estimates(runs: Sequence[FoundRun], format: str, seen: Mapping[str, set[str]]) -> Iterator[Latency]:
    """Median of the runs' medians by device; a device seen with several processors is told with its own.

    Args:
        seen: processors by device, of all that is compared.
    """
    by_key: dict[DeviceKey, list[float]] = {}
    for run in runs:
        for key, median in latencies(run, format).items():
            by_key.setdefault(key, []).append(median)
    for key, medians in by_key.items():
        told = len(seen.get(key[0], ())) > 1
        yield Latency(device_name(key, told), key[1], key[2], median_estimate(medians))


def device_name(key: DeviceKey, with_processor: bool) -> str:
    """`host`, `host, 2 threads` or `host (AMD EPYC)`."""
    device, _, _, cpu, threads = key
    words = f"{device} ({cpu or 'processor not known'})" if with_processor else device
    return words if threads == 1 else f"{words}, {threads} threads"
