"""The table that closes a run, and the forms of a network that every table of a run shows."""

from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_count,
    format_significant,
)
from edgeprune.reporting.scores import SHORT
from edgeprune.reporting.table import Table
from edgeprune.results.result import KINDS, File, NetworkResult, Result

Form = File | NetworkResult
"""A network as a table shows it: an exported file, or the float network itself, which has no file."""


def forms(network: NetworkResult) -> list[Form]:
    """The network's files; the float network comes before them if there is no float32 file."""
    bare: list[Form] = [network] if "float32" not in network.files and network.has_figures else []
    return [*bare, *network.files.values()]


def all_forms(result: Result) -> list[Form]:
    """The dense network's forms, then the pruned one's."""
    return [form for network in result.networks.values() for form in forms(network)]


def shipped(result: Result) -> Form | None:
    """The form meant for the device: the pruned int8 file, else the first pruned form, else the first form."""
    pruned = forms(result.networks["pruned"])
    return result.networks["pruned"].files.get("int8") or next(iter([*pruned, *all_forms(result)]), None)


def reference(result: Result) -> Form | None:
    """The form that the shipped one is compared with: the dense float32 file, else the dense network."""
    return next(iter(forms(result.networks["dense"])), None)


def summary_table(result: Result) -> Table:
    """A row for each form of both networks.

    Size and scores are the file's own. Latency is the median on one thread. All latencies come from one
    device, so that rows compare; measured ones are preferred to emulated ones, and those to estimated ones.
    """
    device, latency = _latency_of_one_device(result)
    rows = []
    for network in result.networks.values():
        costs = format_count(network.cost.params), format_count(network.cost.macs)
        for form in forms(network):
            size, timing = (
                (format_bytes(form.bytes), latency.get(form.name)) if isinstance(form, File) else (None, None)
            )
            scores = (column.show(form.scores) for column in SHORT[result.task])
            rows.append((form.label, *costs, size or MISSING, *scores, timing or MISSING))
    columns = ("network", "parameters", "MACs", "file", *(column.name for column in SHORT[result.task]))
    return Table((*columns, f"latency, {device}" if device else "latency"), tuple(rows))


def print_summary(result: Result) -> None:
    """Print the closing table to standard output."""
    summary_table(result).print(result.name)


def _latency_of_one_device(result: Result) -> tuple[str, dict[str, str]]:
    """The device, and `1.23 ms (measured)` by file name; both empty where no device timed a file."""
    names = {file.name for file in result.files}
    by_device: dict[tuple[str, str], dict[str, str]] = {}
    for timing in result.latency:
        if timing.median_ms is not None and timing.file in names and timing.threads == 1:
            kind = timing.kind or "kind unknown"
            cells = by_device.setdefault((kind, timing.device), {})
            cells.setdefault(timing.file, f"{format_significant(timing.median_ms)} ms ({kind})")
    if not by_device:
        return "", {}
    kind, device = min(by_device, key=lambda key: (kind_rank(key[0]), -len(by_device[key])))
    return device, by_device[kind, device]


def kind_rank(kind: str | None) -> int:
    """Place of a kind of timing, the most trusted first."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)
