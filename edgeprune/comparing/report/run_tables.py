"""Tables of the page about runs: commands, files, data, versions, settings."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.report.page_table import PageCell, PageRow, PageTable, columns, plain_table, value_cell
from edgeprune.comparing.report.runs import SharedFile
from edgeprune.comparing.report.variant_tables import NumberedVariant
from edgeprune.reporting.numbers import MISSING, format_exact, format_percent
from edgeprune.reporting.tables import flatten


def runs_table(entries: Sequence[NumberedVariant], format: str, score: str) -> PageTable:
    """Every run: seed, fold, state, and the command that repeats it."""
    rows = []
    for entry in entries:
        for run in entry.variant.runs:
            note = "the unpruned network of this run" if run.network == "dense" else ""
            cells = (
                PageCell(entry.variant.name, run.failure or run.problem or note, entry.number),
                value_cell(run.seed),
                value_cell(run.fold),
                value_cell(run.score("accuracy", format), format_percent),
                value_cell(f"edgeprune run {shlex.quote(str(run.folder.recipe_file))}", code=True),
            )
            rows.append(PageRow(cells, entry.number, () if run.result else (run.state.value,)))
    return PageTable(columns("variant", "seed", "fold", score, "command", down=(score,)), rows)


def files_table(entries: Sequence[NumberedVariant], files: Sequence[SharedFile]) -> PageTable:
    """Every file once, with its parity and hash."""
    names = ("variant", "seed", "fold", "file", "bytes", "largest error", "label flips", "transposes", "SHA-256")
    entry_of = {id(run): entry for entry in entries for run in entry.variant.runs}
    rows = []
    for file, (first, *others) in files:
        entry = entry_of[id(first)]
        cells = (
            PageCell(entry.variant.name, f"and {len(others)} more with the same file" if others else "", entry.number),
            value_cell(first.seed),
            value_cell(first.fold),
            value_cell(file.name or file.key),
            value_cell(file.bytes, format_exact),
            value_cell(file.parity.max_abs_error, lambda error: f"{error:#.2g}"),
            value_cell(file.parity.label_flips, format_exact),
            value_cell(file.parity.transposes, format_exact),
            value_cell(file.sha256, code=True),
        )
        rows.append(PageRow(cells, entry.number))
    return PageTable(columns(*names), rows)


def data_table(runs: Sequence[ComparedRun]) -> PageTable:
    """The data of the runs, once each."""
    counts: Counter[tuple[str, ...]] = Counter()
    for data in (run.result.data for run in runs if run.result):
        clips = ", ".join(f"{part} {format_exact(clips)}" for part, clips in data.clips.items())
        counts[data.name or MISSING, data.split or MISSING, clips or MISSING, data.sha256 or MISSING] += 1
    rows = [
        PageRow((PageCell(name), PageCell(split), PageCell(clips), value_cell(count), PageCell(sha256, code=True)))
        for (name, split, clips, sha256), count in counts.items()
    ]
    return PageTable(columns("data set", "split", "clips", "runs", "SHA-256"), rows)


def versions_table(runs: Sequence[ComparedRun]) -> PageTable:
    """Versions of each package, with the number of runs where they differ."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, version in (item for run in runs if run.result for item in run.result.versions.items()):
        counts[name][str(version)] += 1
    texts = {
        name: ", ".join(
            f"{version} ({number} runs)" if len(versions) > 1 else version for version, number in versions.items()
        )
        for name, versions in counts.items()
    }
    return plain_table("package", "version", texts)


def settings_table(runs: Sequence[ComparedRun]) -> PageTable:
    """Recipe fields that all runs share."""
    settings = [dict(flatten(run.recipe)) for run in runs] or [{}]
    shared = {key: value for key, value in settings[0].items() if all(one.get(key) == value for one in settings)}
    return plain_table("setting", "value", shared)
