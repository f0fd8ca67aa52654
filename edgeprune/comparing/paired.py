"""Differences between two variants over the runs of the same seed and fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from edgeprune.comparing.comparison import ComparedRun, MeanEstimate, PairedDifference
from edgeprune.comparing.measures import clip_ratio
from edgeprune.comparing.statistics import estimate, sign_flip_test

TEST = (
    "p is that of the exact two-sided sign-flip permutation test of the mean difference over runs of the same seed and "
    "fold (all sign patterns of up to 16 pairs, 10,000 random ones of more), not corrected for how many are compared"
)


@dataclass(frozen=True)
class Pairs:
    """Runs of a variant with their counterparts in a control, of the same seed, fold and split.

    Attributes:
        missing: number of the variant's runs without a counterpart of the same seed and fold.
        elsewhere: number of the variant's runs whose counterpart has another split, so that the clips differ.
    """

    runs: tuple[tuple[ComparedRun, ComparedRun], ...]
    missing: int
    elsewhere: int


def pair(runs: Sequence[ComparedRun], control: Sequence[ComparedRun], format: str) -> Pairs:
    """Pair the runs that have an accuracy in a number format."""
    partners = {(run.seed, run.fold): run for run in control if run.score("accuracy", format) is not None}
    pairs, missing, elsewhere = [], 0, 0
    for run in (run for run in runs if run.score("accuracy", format) is not None):
        partner = partners.get((run.seed, run.fold))
        if partner is None:
            missing += 1
        elif partner.split != run.split:
            elsewhere += 1
        else:
            pairs.append((run, partner))
    return Pairs(tuple(pairs), missing, elsewhere)


def difference(pairs: Pairs, against: str, metric: str, format: str) -> PairedDifference | None:
    """Variant minus control in `accuracy` or `log_loss`; None where no pair has both."""
    mean = mean_difference(pairs, metric, format)
    if mean is None:
        return None
    _, values = _both(pairs, metric, format)
    return PairedDifference(against, metric, mean, sign_flip_test(values))


def mean_difference(pairs: Pairs, metric: str, format: str) -> MeanEstimate | None:
    """The mean of the paired differences and its interval; None where no pair has the metric on both sides."""
    used, values = _both(pairs, metric, format)
    most = 1.0 if metric == "accuracy" else inf  # two shares differ by 1 at most
    return estimate(values, clip_ratio(used), (-most, most)) if values else None


def _both(pairs: Pairs, metric: str, format: str) -> tuple[list[ComparedRun], list[float]]:
    """The variant's runs whose pair has the metric on both sides, and its differences."""
    scores = [(run, run.score(metric, format), partner.score(metric, format)) for run, partner in pairs.runs]
    both = [(run, own - other) for run, own, other in scores if own is not None and other is not None]
    return [run for run, _ in both], [change for _, change in both]
