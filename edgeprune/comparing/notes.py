"""Sentences on what limits a comparison."""

from collections import Counter
from collections.abc import Mapping, Sequence

from edgeprune.comparing.comparison import Variant
from edgeprune.comparing.paired import Pairs
from edgeprune.comparing.statistics import smallest_p
from edgeprune.comparing.words import count, some


def without_result(variants: Sequence[Variant]) -> list[str]:
    """Runs that failed, have not finished or are damaged, each with its reason."""
    runs = [run for variant in variants for run in variant.unfinished]
    if not runs:
        return []
    reasons = some((f"{run.folder.path} {run.problem}" for run in runs), most=10)
    return [f"{count(len(runs), 'run')} without a result {'is' if len(runs) == 1 else 'are'} left out: {reasons}."]


def on_format(variants: Sequence[Variant], format: str) -> list[str]:
    """Variants, or some of their runs, that have no file in the format compared."""
    none = [variant.name for variant in variants if format not in variant.accuracy and variant.finished]
    incomplete = [
        f"{variant.name} ({variant.accuracy[format].n} of {len(variant.finished)})"
        for variant in variants
        if format in variant.accuracy and variant.accuracy[format].n < len(variant.finished)
    ]
    notes = [f"No accuracy of a file in {format}: {some(none)}."] if none else []
    return notes + ([f"Not all runs have a file in {format}: {some(incomplete)}."] if incomplete else [])


def on_spread(variants: Sequence[Variant], format: str) -> list[str]:
    """What the intervals cover, and which variants have none."""
    counts = {variant.name: variant.accuracy[format].n for variant in variants if format in variant.accuracy}
    several_folds = any(len({run.fold for run in variant.finished}) > 1 for variant in variants)
    single = [name for name, runs in counts.items() if runs == 1]
    notes = []
    if single:
        names = "every variant" if len(single) == len(counts) else some(single)
        notes.append(f"One run only ({names}): its spread is not known, so there is no interval and no p.")
    if len(single) < len(counts) and several_folds:
        notes.append(
            "The training sets of several folds overlap, so their runs are not independent and a plain t interval "
            "would be too narrow. 95 % intervals over folds are Nadeau and Bengio's corrected t intervals; p ignores "
            "the overlap and is too small."
        )
    elif len(single) < len(counts):
        notes.append(
            "The intervals (95 %, t) show how much the seeds vary on the same evaluation clips, not how much other "
            "clips would."
        )
    return notes


def on_pairs(pairs: Mapping[tuple[str, str], Pairs]) -> list[str]:
    """Runs without a counterpart, by variant and control."""
    missing = [
        f"{' against '.join(names)} ({row.missing} of {len(row.runs) + row.missing + row.elsewhere})"
        for names, row in pairs.items()
        if row.missing
    ]
    elsewhere = [f"{' against '.join(names)} ({row.elsewhere})" for names, row in pairs.items() if row.elsewhere]
    notes = []
    if missing:
        notes.append(f"Runs without a counterpart of the same seed and fold are in no difference: {some(missing)}.")
    if elsewhere:
        text = "Runs whose counterpart was evaluated on another split of the data are in no difference"
        notes.append(f"{text}: {some(elsewhere)}.")
    return notes


def on_p(variants: Sequence[Variant]) -> list[str]:
    """The smallest p that so few pairs can give, where it is above 0.05."""
    differences = [difference for variant in variants for difference in variant.differences]
    counts = sorted({difference.estimate.n for difference in differences if difference.p_value is not None})
    few = [f"{pairs} pairs {smallest_p(pairs):g}" for pairs in counts if smallest_p(pairs) > 0.05]
    return [f"So few pairs cannot give a small p; the smallest: {', '.join(few)}."] if few else []


def on_splits(variants: Sequence[Variant]) -> list[str]:
    """Folds whose runs were evaluated on more than one split."""
    splits = {(run.fold, run.split) for variant in variants for run in variant.finished}
    mixed = [str(fold) for fold, number in sorted(Counter(fold for fold, _ in splits).items()) if number > 1]
    if not mixed:
        return []
    return [
        f"Not all runs of fold {', '.join(mixed)} were trained and evaluated on the same split or data set; accuracies "
        "on different clips do not compare."
    ]


def on_latency(variants: Sequence[Variant], processors: Mapping[str, set[str]]) -> list[str]:
    """Which latencies do not compare, and how far the others do."""
    notes = []
    for device, names in sorted(processors.items()):
        if len(names) > 1:
            listed = some(sorted(name or "one that is not known" for name in names))
            notes.append(f"{device} was more than one processor ({listed}); compare latencies within one.")
    if len(variants) > 1 and any(latency.kind == "measured" for variant in variants for latency in variant.latency):
        notes.append(
            "Measured latencies come from separate runs; for a fair race time the files together with "
            "`edgeprune bench`."
        )
    return notes
