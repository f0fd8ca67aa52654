"""Which file to ship: the smallest within a tolerance of the dense network, and what the data cannot tell from it.

The rule is that of a non-inferiority test: a variant is `within` the tolerance where the whole 95 % interval of its
paired difference to the dense network lies above minus the tolerance. A mean alone favours the lucky, so a variant
chosen by its mean is called that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from edgeprune.comparing.chance import near_chance
from edgeprune.comparing.comparison import Answer, Contender, MeanEstimate, Variant
from edgeprune.comparing.paired import mean_difference, pair
from edgeprune.comparing.pareto import SHIPPED
from edgeprune.comparing.words import count, some
from edgeprune.errors import EdgepruneError
from edgeprune.reporting.numbers import format_bytes, format_percent, format_signed

TOLERANCE = 0.01
FEWEST_PAIRS = 3
"""Fewer pairs of runs show nothing."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Question:
    """What decides, and in which words: the score, the number format and the tolerance, a fraction."""

    format: str
    score: str
    tolerance: float

    @property
    def limit(self) -> str:
        return f"{100 * self.tolerance:.2f} points of dense"


def find_answer(variants: Sequence[Variant], format: str, score: str, tolerance: float = TOLERANCE) -> Answer:
    """Say which variant to ship.

    Each variant is held to the dense network with the best mean score, over the runs of the same seed, fold and split.

    Args:
        score: the name of the score in sentences, such as `mean average precision`.
        tolerance: a fraction: 0.01 is one point.

    Raises:
        EdgepruneError: the tolerance is not from 0 to 1.
    """
    if not 0 <= tolerance <= 1:
        raise EdgepruneError(f"--tolerance {tolerance:g}: give a fraction of 0 to 1; 0.01 is one point of {score}.")
    question = _Question(format, score, tolerance)
    known = {variant.name: variant for variant in variants if variant.role in SHIPPED and format in variant.accuracy}
    dense_names = [name for name, variant in known.items() if variant.role == "dense"]
    if not dense_names:
        sentence = (
            f"No answer: no dense network has a score of its {format} file, so nothing can be held to it; add {format} "
            "to --export.dense-formats, or choose another --format."
        )
        return Answer(sentence, tolerance, warnings=tuple(_warnings([], variants, question)))
    dense = known[max(dense_names, key=lambda name: known[name].accuracy[format].mean)]
    others = [variant for variant in known.values() if variant is not dense]
    contenders = [
        Contender(variant.name, _bytes(variant, format), gap, _standing(gap, tolerance))
        for variant in others
        if (gap := _gap(variant, dense, format)) is not None
    ]
    apart = [variant.name for variant in others if variant.name not in {one.name for one in contenders}]
    warnings = (
        *(
            [f"Without a run of the seed, fold and clips of {dense.name}, and so left out: {some(apart)}."]
            if apart
            else []
        ),
        *_warnings(contenders, variants, question),
    )
    if not contenders:
        sentence = (
            f"No answer: no pruned network was evaluated in {format} on the seeds, folds and clips of {dense.name}, so "
            "there is nothing to choose from."
        )
        return Answer(sentence, tolerance, dense=dense.name, warnings=warnings)
    chosen, rule = _choose(contenders, dense, question)
    ship = dense if chosen is None else known[chosen.name]
    rivals = [dense, *(known[one.name] for one in contenders)]
    alike = [one.name for one in rivals if one is not ship and _cannot_be_told(_gap(one, ship, format))]
    sentence = f"{_verdict(ship, chosen, rule, contenders, question)} {_told_apart(alike, len(rivals) - 1)}"
    return Answer(
        sentence, tolerance, ship.name, _file(ship, format), rule, dense.name, tuple(alike), tuple(contenders), warnings
    )


def _gap(variant: Variant, other: Variant, format: str) -> MeanEstimate | None:
    """The score of one minus that of the other, over the pairs of runs; None where they have none."""
    return mean_difference(pair(variant.runs, other.runs, format), "accuracy", format)


def _bytes(variant: Variant, format: str) -> float | None:
    size = variant.bytes.get(format)
    return None if size is None else size.mean


def _standing(gap: MeanEstimate, tolerance: float) -> str:
    """`within` or `below` the tolerance by the whole interval, else `open`."""
    if gap.low is None or gap.high is None or gap.n < FEWEST_PAIRS:
        return "open"
    if gap.low >= -tolerance - _ROUNDING:
        return "within"
    return "below" if gap.high < -tolerance - _ROUNDING else "open"


def _cannot_be_told(gap: MeanEstimate | None) -> bool:
    """Whether a difference may be none."""
    if gap is None or gap.low is None or gap.high is None or gap.n < FEWEST_PAIRS:
        return True
    return gap.low <= 0 <= gap.high


def _choose(contenders: Sequence[Contender], dense: Variant, question: _Question) -> tuple[Contender | None, str]:
    """The variant to ship and the rule that chose it: `interval`, `mean`, or `dense` with no variant."""

    def size(contender: Contender) -> float:
        return inf if contender.bytes is None else contender.bytes

    dense_bytes = _bytes(dense, question.format) or inf
    smaller = [one for one in contenders if size(one) < dense_bytes or one.bytes is None]
    for rule, fits in (
        ("interval", lambda one: one.standing == "within"),
        ("mean", lambda one: one.difference.mean >= -question.tolerance - _ROUNDING),
    ):
        if fitting := [one for one in smaller if fits(one)]:
            return min(fitting, key=lambda one: (size(one), -one.difference.mean)), rule
    return None, "dense"


def _file(variant: Variant, format: str) -> str | None:
    """The file of the first fold and seed: the best of several would be chosen on the evaluation clips."""
    runs = sorted(variant.finished, key=lambda run: (run.fold, run.seed))
    files = [(run, file) for run in runs if (file := run.file(format)) is not None]
    return next((str(run.folder.path / file.name) for run, file in files), None)


def _verdict(
    ship: Variant, chosen: Contender | None, rule: str, contenders: Sequence[Contender], question: _Question
) -> str:
    file = _file(ship, question.format)
    where = f"{ship.name} ({file})" if file else ship.name
    if chosen is None:
        nearest = max(contenders, key=lambda one: one.difference.mean)
        return (
            f"Ship {where}: no smaller {question.format} file is within {question.limit}, not even by its mean "
            f"{question.score}; the nearest is {nearest.name}, {_change(nearest)}."
        )
    size = "" if chosen.bytes is None else f"{format_bytes(chosen.bytes)}, "
    if rule == "interval":
        return (
            f"Ship {where}: {size}the smallest {question.format} file whose {question.score} is shown to be within "
            f"{question.limit}, as the whole interval is ({_change(chosen)})."
        )
    return (
        f"Ship {where} on its mean alone: {size}the smallest {question.format} file whose mean {question.score} is "
        f"within {question.limit} ({_change(chosen)}). No file is shown to be: that takes the whole interval."
    )


def _change(contender: Contender) -> str:
    gap = contender.difference
    points = f"{format_signed(100 * gap.mean)} points"
    if gap.low is None or gap.high is None:
        return f"{points}, one pair of runs and so no interval"
    interval = f"{format_signed(100 * gap.low)} to {format_signed(100 * gap.high)}"
    return f"{points}, 95 % interval {interval} over {count(gap.n, 'pair')} of runs"


def _told_apart(alike: Sequence[str], rivals: int) -> str:
    if not alike:
        return f"The data tell {'it from all others' if rivals > 1 else 'the two apart'}."
    everything = "any of the others " if len(alike) == rivals > 1 else ""
    return f"The data cannot tell {everything}from it: {some(alike, most=5)}."


def _warnings(contenders: Sequence[Contender], variants: Sequence[Variant], question: _Question) -> list[str]:
    """What makes the answer weak: networks that learned little, and few runs."""
    shipped = [variant for variant in variants if variant.role in SHIPPED]
    near, warnings = near_chance(shipped, question.format), []
    if near:
        levels = sorted({format_percent(level, 1) for level in near.values()})
        warnings.append(
            f"Near chance ({question.score} {' or '.join(levels)}): {some(near)}. Differences between networks that "
            "learned little say little; train the dense network better first."
        )
    few = [f"{one.name} ({one.difference.n})" for one in contenders if one.difference.n < FEWEST_PAIRS]
    if few:
        warnings.append(
            f"Too few pairs of runs to show anything: {some(few)}. {FEWEST_PAIRS} seeds are the least for an interval, "
            "6 the least for a p below 0.05."
        )
    return warnings
