"""Differences between two variants over the runs of the same seed and fold."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeprune.comparing.comparison import Difference
from edgeprune.comparing.load import FoundRun, split_of
from edgeprune.comparing.measures import clip_ratio, score
from edgeprune.comparing.statistics import estimate, sign_flip_test

TEST = (
    "p is that of the exact two-sided sign-flip permutation test of the mean difference over runs of the same seed and "
    "fold (all sign patterns of up to 16 pairs, 10,000 random ones of more), not corrected for how many are compared"
)


@dataclass(frozen=True)
class Pairs:
    """Runs of a variant with their counterparts in a control.

    Attributes:
        runs: a run of the variant and one of the control, of the same seed, fold and split.
        missing: runs of the variant that have no counterpart.
        elsewhere: those of them whose counterpart was made of another split of the data, so that clips differ.
    """

    runs: tuple[tuple[FoundRun, FoundRun], ...]
    missing: int
    elsewhere: int


def pair(runs: Sequence[FoundRun], control: Sequence[FoundRun], format: str) -> Pairs:
    """Pair the runs that have an accuracy in a number format."""
    with_format = [run for run in runs if score(run, "accuracy", format) is not None]
    partners = {(run.seed, run.fold): run for run in control if score(run, "accuracy", format) is not None}
    found, elsewhere = [], 0
    for run in with_format:
        partner = partners.get((run.seed, run.fold))
        if partner is not None and split_of(partner) == split_of(run):
            found.append((run, partner))
        elsewhere += partner is not None and split_of(partner) != split_of(run)
    return Pairs(tuple(found), len(with_format) - len(found), elsewhere)


def difference(pairs: Pairs, against: str, metric: str, format: str) -> Difference | None:
    """Variant minus control in `accuracy` or `log_loss`; None where no pair has both."""
    values, used = [], []
    for run, partner in pairs.runs:
        own, other = score(run, metric, format), score(partner, metric, format)
        if own is not None and other is not None:
            values.append(own - other)
            used.append(run)
    if not values:
        return None
    return Difference(against, metric, estimate(values, clip_ratio(used)), sign_flip_test(values))
