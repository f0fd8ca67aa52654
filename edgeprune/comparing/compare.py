"""Compare runs: variants, their figures, differences to the controls, fronts and notes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edgeprune.comparing import measures, notes, pareto
from edgeprune.comparing.answer import TOLERANCE, find_answer
from edgeprune.comparing.comparison import METRICS, ComparedRun, Comparison, Variant
from edgeprune.comparing.dense import dense_groups
from edgeprune.comparing.load import load_runs
from edgeprune.comparing.paired import TEST, Pairs, difference, pair
from edgeprune.comparing.variants import RunGroup, differing, group_runs, name_groups
from edgeprune.comparing.words import some
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.recipe import FORMATS

ROLES = ("dense", "variant", "random", "scratch")
PREFERRED = ("int8", "float32", "int16x8", "dynamic", "float16")
"""The format compared by default is the first of these that most variants have."""


def compare(
    runs: Path | str | Iterable[Path | str], format: str | None = None, tolerance: float = TOLERANCE
) -> Comparison:
    """Compare runs: which file to ship, means over seeds and folds, paired differences to controls, and Pareto fronts.

        comparison = edgeprune.compare("sweeps/tut2017")
        comparison.answer.sentence
        comparison.table()[["variant", "accuracy", "accuracy_minus_dense"]]

    Args:
        runs: one or several run folders, or folders that hold run folders at any depth.
        format: number format whose accuracy decides; None: int8 where all have it.
        tolerance: how much lower than the dense network's score that of the file to ship may be, a fraction.

    Raises:
        EdgepruneError: a folder is missing or holds no run, no run has finished, none has a file of the format, or the
            tolerance is not from 0 to 1.
    """
    paths = [runs] if isinstance(runs, Path | str) else runs
    loaded, load_notes = load_runs(map(Path, paths))
    groups, group_notes = group_runs(loaded)
    ordered = _order(groups)
    format, score = choose_format(ordered.groups, format), compared_score(loaded)
    processors = measures.processors([run for group in ordered.groups for run in group.runs], format)
    variants, pairs = _compared(ordered, format, _variants(ordered, format, processors))
    return Comparison(
        variants=variants,
        format=format,
        controls=tuple(variant.name for variant in variants if variant.role != "variant"),
        test=TEST,
        notes=(
            *load_notes,
            *group_notes,
            *ordered.notes,
            *notes.without_result(variants),
            *notes.on_format(variants, format),
            *notes.on_splits(variants),
            *notes.on_spread(variants, format),
            *notes.on_pairs(pairs),
            *notes.on_p(variants),
            *notes.on_latency(variants, processors),
        ),
        score=score,
        answer=find_answer(variants, format, score.replace("_", " "), tolerance),
    )


def compared_score(runs: Sequence[ComparedRun]) -> str:
    """`mean_average_precision` where all runs with a result tell several classes or detect one, else `accuracy`."""
    one = {run.folder.path: run.result.task == "scenes" for run in runs if run.result}
    if len(set(one.values())) > 1:
        scenes, other = (next(path for path, scene in one.items() if scene is kind) for kind in (True, False))
        raise EdgepruneError(
            f"{scenes} tells one class a clip and {other} several or none; their scores do not compare, so compare "
            "runs of one task."
        )
    return "mean_average_precision" if False in one.values() else "accuracy"


def choose_format(groups: Sequence[RunGroup], format: str | None) -> str:
    """The number format to compare: `format`, or the first of `PREFERRED` that most groups have."""
    if format is not None and format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if not any(group.finished for group in groups):
        reasons = some(f"{run.folder.path} {run.problem}" for group in groups for run in group.runs)
        raise EdgepruneError(f"No run has a result yet ({reasons}); finish one first.")
    formats = [measures.formats_of(group.finished) for group in groups]
    counts = {name: sum(name in names for names in formats) for name in PREFERRED}
    best = format or max(PREFERRED, key=lambda name: counts[name])
    if not counts[best]:
        available = ", ".join(name for name in FORMATS if counts[name]) or "none"
        missing = f"{format or 'any format'}: no run has such a file with an accuracy (there are: {available})"
        raise EdgepruneError(f"{missing}; export it with --export.formats, or choose another --format.")
    return best


class _Ordered(NamedTuple):
    """All groups with their names, dense controls first, and the positions of each group's controls by its own."""

    groups: list[RunGroup]
    names: list[str]
    controls: dict[int, list[int]]
    notes: list[str]


def _order(groups: Sequence[RunGroup]) -> _Ordered:
    dense, dense_of, dense_notes = dense_groups(groups)
    # A dense group without a finished run is no control, but still a row of the table.
    ids = {id(run) for control in dense for run in control.runs}
    waiting = [group for group in groups if group.role == "dense" and not group.finished]
    waiting = [group for group in waiting if ids.isdisjoint(map(id, group.runs))]
    pruned = [(position, group) for position, group in enumerate(groups) if group.role != "dense"]
    pruned.sort(key=lambda item: ROLES.index(item[1].role))
    ordered = [*dense, *waiting, *(group for _, group in pruned)]
    controls = {}
    for place, (position, group) in enumerate(pruned, start=len(dense) + len(waiting)):
        own = [dense_of[position]] if position in dense_of else []
        controls[place] = own + (_nearest_controls(group, ordered) if group.role == "variant" else [])
    return _Ordered(ordered, name_groups(ordered), controls, dense_notes)


def _nearest_controls(group: RunGroup, groups: Sequence[RunGroup]) -> list[int]:
    """Positions of the random and the scratch control of the same budget and dense network that differ least."""

    def distance(position: int) -> int:
        return len(differing([group.settings, groups[position].settings]))

    budget, dense_settings, nearest = group.budget(), group.dense_settings(), []
    for role in ("random", "scratch"):
        same_budget = [place for place, other in enumerate(groups) if other.role == role and other.budget() == budget]
        rivals = [place for place in same_budget if groups[place].dense_settings() == dense_settings]
        nearest += [min(rivals, key=distance)] if rivals else []
    return nearest


def _variants(ordered: _Ordered, format: str, processors: Mapping[str, set[str]]) -> list[Variant]:
    """The variants with figures of their own, not yet compared."""
    dense = [group.settings for group in ordered.groups if group.role == "dense"]
    pruned = [group.settings for group in ordered.groups if group.role != "dense"]
    fields = {*differing(dense), *differing(pruned)}
    return [
        Variant(
            name=name,
            role=group.role,
            settings={field: value for field, value in group.settings.items() if field in fields},
            cost=measures.costs(group.finished, format),
            accuracy=measures.scores(group.finished, "accuracy"),
            log_loss=measures.scores(group.finished, "log_loss"),
            bytes=measures.file_bytes(group.finished),
            latency=tuple(measures.latency_estimates(group.finished, format, processors)),
            runs=group.runs,
        )
        for group, name in zip(ordered.groups, ordered.names, strict=True)
    ]


def _compared(
    ordered: _Ordered, format: str, variants: list[Variant]
) -> tuple[tuple[Variant, ...], dict[tuple[str, str], Pairs]]:
    """The variants with differences and fronts, and the pairs of runs by the names of variant and control."""
    pairs: dict[tuple[str, str], Pairs] = {}
    for position, controls in ordered.controls.items():
        differences = []
        for control in controls:
            name, against = ordered.names[position], ordered.names[control]
            paired = pair(ordered.groups[position].runs, ordered.groups[control].runs, format)
            pairs[name, against] = paired
            differences += [difference(paired, against, metric, format) for metric in METRICS]
        known = tuple(one for one in differences if one is not None)
        variants[position] = replace(variants[position], differences=known)
    fronts = pareto.fronts(variants, format)
    return tuple(replace(variant, pareto=fronts[variant.name]) for variant in variants), pairs
