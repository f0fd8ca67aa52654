"""What a reader of a comparison must know, in sentences."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeprune.comparing.comparison import Difference, Variant
from edgeprune.comparing.statistics import smallest_p

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeprune.comparing.paired import Pairs


def some(names: Iterable[object], most: int = 3) -> str:
    """A few names, and how many more there are."""
    told = [str(name) for name in names]
    return "; ".join(told[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")


def without_result(variants: Sequence[Variant]) -> list[str]:
    """Runs that failed, have not finished or are damaged, each with its reason."""
    runs = [run for variant in variants for run in variant.runs if run.result is None]
    if not runs:
        return []
    told = some((f"{run.folder} {run.reason}" for run in runs), most=10)
    return [f"{_count(len(runs), 'run')} without a result {'is' if len(runs) == 1 else 'are'} left out: {told}."]


def on_format(variants: Sequence[Variant], format: str) -> list[str]:
    """Variants, or some of their runs, that have no file in the format compared."""
    notes = []
    none = [variant.name for variant in variants if format not in variant.accuracy and _finished(variant)]
    part = [
        f"{variant.name} ({variant.accuracy[format].n} of {_finished(variant)})"
        for variant in variants
        if format in variant.accuracy and variant.accuracy[format].n < _finished(variant)
    ]
    if none:
        notes.append(f"No accuracy of a file in {format}: {some(none)}.")
    if part:
        notes.append(f"Not all runs have a file in {format}: {some(part)}.")
    return notes


def on_spread(variants: Sequence[Variant], format: str) -> list[str]:
    """What the intervals cover, and which variants have none."""
    notes = []
    counts = {variant.name: variant.accuracy[format].n for variant in variants if format in variant.accuracy}
    single = [name for name, runs in counts.items() if runs == 1]
    if single:
        who = "every variant" if len(single) == len(counts) else some(single)
        notes.append(f"One run only ({who}): its spread is not known, so there is no interval and no p.")
    if len(single) == len(counts):
        return notes
    if any(len(_folds(variant)) > 1 for variant in variants):
        notes.append(
            "The training sets of several folds overlap, so that their runs are not independent and a plain t interval "
            "would be too narrow: 95 % intervals over folds are Nadeau and Bengio's corrected t intervals; p does not "
            "know of the overlap and is too small."
        )
    else:
        notes.append(
            "The intervals (95 %, t) tell how much the seeds vary on the same evaluation clips, not how much other "
            "clips would."
        )
    return notes


def on_pairs(pairs: "Mapping[tuple[str, str], Pairs]") -> list[str]:
    """Runs without a counterpart, by variant and control."""
    notes = []
    missing = [(names, found) for names, found in pairs.items() if found.missing > found.elsewhere]
    if missing:
        told = some(
            f"{variant} against {control} ({found.missing - found.elsewhere} of {len(found.runs) + found.missing})"
            for (variant, control), found in missing
        )
        notes.append(f"Runs without a counterpart of the same seed and fold are in no difference: {told}.")
    elsewhere = [(names, found) for names, found in pairs.items() if found.elsewhere]
    if elsewhere:
        told = some(f"{variant} against {control} ({found.elsewhere})" for (variant, control), found in elsewhere)
        notes.append(f"Runs whose counterpart was evaluated on another split of the data are in no difference: {told}.")
    return notes


def on_p(differences: Iterable[Difference]) -> list[str]:
    """The smallest p that so few pairs can give, where that is no proof of anything."""
    counts = sorted({found.estimate.n for found in differences if found.p_value is not None})
    few = [pairs for pairs in counts if smallest_p(pairs) > 0.05]
    if not few:
        return []
    told = ", ".join(f"{pairs} pairs {smallest_p(pairs):g}" for pairs in few)
    return [f"So few pairs cannot give a small p; the smallest: {told}."]


def on_splits(splits: "Mapping[int, set[str]]") -> list[str]:
    """Folds whose runs were evaluated on more than one split.

    Args:
        splits: by fold the hashes of the splits.
    """
    torn = [fold for fold, hashes in sorted(splits.items()) if len(hashes) > 1]
    if not torn:
        return []
    told = ", ".join(map(str, torn))
    return [
        f"Not all runs of fold {told} were trained and evaluated on the same split or data set; accuracies of "
        "different clips do not compare."
    ]


def on_latency(variants: Sequence[Variant], processors: "Mapping[str, set[str]]") -> list[str]:
    """What to keep in mind of latencies."""
    notes = []
    for device, names in sorted(processors.items()):
        if len(names) > 1:
            told = some(sorted(name or "one that is not known" for name in names))
            notes.append(f"{device} was more than one processor ({told}); compare latencies within one.")
    if len(variants) > 1 and any(latency.kind == "measured" for variant in variants for latency in variant.latency):
        notes.append(
            "Measured latencies come from separate runs; for a fair race time the files together with "
            "`edgeprune bench`."
        )
    return notes


def _finished(variant: Variant) -> int:
    return sum(run.result is not None for run in variant.runs)


def _folds(variant: Variant) -> set[int]:
    return {run.fold for run in variant.runs if run.result is not None}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
