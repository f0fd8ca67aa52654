"""From run folders to a comparison: variants, their figures, differences to the controls, fronts and notes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune.comparing import measures, notes, pareto
from edgeprune.comparing.comparison import Comparison, Difference, RunRecord, Variant
from edgeprune.comparing.dense import dense_groups
from edgeprune.comparing.load import FoundRun, load_runs, split_of
from edgeprune.comparing.paired import TEST, Pairs, difference, pair
from edgeprune.comparing.variants import Group, differing, group_runs, name_groups
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.recipe import FORMATS

ROLES = ("dense", "variant", "random", "scratch")
PREFERRED = ("int8", "float32", "int16x8", "dynamic", "float16")
"""Which format is compared where none is asked for: the first that all have."""


def compare(folders: Sequence[Path], format: str | None = None) -> Comparison:
    """Compare all runs in some folders.

    Args:
        folders: run folders, or folders that hold run folders at any depth.
        format: number format whose accuracy decides; None: int8 where all have it.

    Raises:
        EdgepruneError: a folder or every run is missing, no run has finished, or none has a file of the format.
    """
    runs, told = load_runs(folders)
    groups, more = group_runs(runs)
    told += more
    table, more = _Groups.of(groups)
    told += more
    format = choose_format(table.groups, format)
    variants, pairs = _variants(table, format)
    return Comparison(
        variants=variants,
        format=format,
        controls=tuple(variant.name for variant in variants if variant.role != "variant"),
        test=TEST,
        notes=(*told, *_notes(table, variants, pairs, format)),
    )


@dataclass(frozen=True)
class _Groups:
    """All groups, dense controls first, with their names and, by place, the controls each is compared with."""

    groups: list[Group]
    names: list[str]
    controls: dict[int, list[int]]

    @staticmethod
    def of(groups: Sequence[Group]) -> tuple["_Groups", list[str]]:
        dense, dense_of, told = dense_groups(groups)
        pruned = [(number, group) for number, group in enumerate(groups) if group.role != "dense"]
        pruned.sort(key=lambda item: ROLES.index(item[1].role))
        # Dense runs none of which has finished are no control, yet they are told.
        waiting = [g for g in groups if g.role == "dense" and not any(_within(g, control) for control in dense)]
        ordered = [*dense, *waiting, *(group for _, group in pruned)]
        controls: dict[int, list[int]] = {}
        for place, (number, group) in enumerate(pruned, start=len(dense) + len(waiting)):
            found = [dense_of[number]] if number in dense_of else []
            if group.role == "variant":
                found += [ordered.index(near) for near in _nearest(group, ordered)]
            controls[place] = found
        return _Groups(ordered, name_groups(ordered), controls), told


def _within(group: Group, control: Group) -> bool:
    return any(run is other for run in group.runs for other in control.runs)


def _nearest(group: Group, groups: Sequence[Group]) -> list[Group]:
    """The random and the scratch control with a group's budget and dense network that differ least from it."""
    found = []
    for role in ("random", "scratch"):
        rivals = [
            other
            for other in groups
            if other.role == role
            and other.budget() == group.budget()
            and other.dense_settings() == group.dense_settings()
        ]
        if rivals:
            found.append(min(rivals, key=lambda other: len(differing([group.settings, other.settings]))))
    return found


def choose_format(groups: Sequence[Group], format: str | None) -> str:
    """The number format to compare: the one asked for, or the first of `PREFERRED` that most groups have.

    Raises:
        EdgepruneError: no finished run has it, or none has any file.
    """
    if format is not None and format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    done = [found for group in groups if (found := measures.finished(group.runs))]
    if not done:
        reasons = notes.some(f"{run.folder} {run.reason}" for group in groups for run in group.runs)
        raise EdgepruneError(f"No run has a result yet ({reasons}); finish one first.")
    counts = {name: sum(name in measures.formats_of(runs) for runs in done) for name in PREFERRED}
    best = max(PREFERRED, key=lambda name: counts[name]) if format is None else format
    if not counts[best]:
        there = ", ".join(name for name in FORMATS if counts[name]) or "none"
        raise EdgepruneError(
            f"{format or 'any format'}: no run has such a file with an accuracy (there are: {there}); export it with "
            "--export.formats, or choose another --format."
        )
    return best


def _variants(table: _Groups, format: str) -> tuple[tuple[Variant, ...], dict[tuple[str, str], Pairs]]:
    fields = {
        name
        for dense in (True, False)
        for name in differing([group.settings for group in table.groups if (group.role == "dense") == dense])
    }
    seen = measures.processors([run for group in table.groups for run in group.runs], format)
    variants = [
        _variant(group, name, fields, format, seen) for group, name in zip(table.groups, table.names, strict=True)
    ]
    pairs: dict[tuple[str, str], Pairs] = {}
    for place, controls in table.controls.items():
        found: list[Difference] = []
        for control in controls:
            paired = pair(table.groups[place].runs, table.groups[control].runs, format)
            pairs[table.names[place], table.names[control]] = paired
            both = (difference(paired, table.names[control], metric, format) for metric in measures.METRICS)
            found += [one for one in both if one is not None]
        variants[place] = replace(variants[place], differences=tuple(found))
    fronts = pareto.fronts(variants, format)
    return tuple(replace(variant, pareto=fronts[variant.name]) for variant in variants), pairs


def _variant(group: Group, name: str, fields: Collection[str], format: str, seen: Mapping[str, set[str]]) -> Variant:
    done = measures.finished(group.runs)
    return Variant(
        name=name,
        role=group.role,
        settings={field: value for field, value in group.settings.items() if field in fields},
        cost=measures.costs(done, format),
        accuracy=measures.scores(done, "accuracy"),
        log_loss=measures.scores(done, "log_loss"),
        bytes=measures.file_bytes(done),
        latency=tuple(measures.latency_estimates(done, format, seen)),
        runs=tuple(_record(run, name) for run in group.runs),
    )


def _record(run: FoundRun, variant: str) -> RunRecord:
    return RunRecord(run.folder, variant, run.seed, run.fold, run.result, run.reason, run.stage)


def _notes(
    table: _Groups, variants: Sequence[Variant], pairs: Mapping[tuple[str, str], Pairs], format: str
) -> list[str]:
    runs = [run for group in table.groups for run in group.runs]
    splits: dict[int, set[str]] = {}
    for run in measures.finished(runs):
        splits.setdefault(run.fold, set()).add(split_of(run))
    return [
        *notes.without_result(variants),
        *notes.on_format(variants, format),
        *notes.on_splits(splits),
        *notes.on_spread(variants, format),
        *notes.on_pairs(pairs),
        *notes.on_p(found for variant in variants for found in variant.differences),
        *notes.on_latency(variants, measures.processors(runs, format)),
    ]
