"""Which variants are hardly better than chance, so that differences between them say little."""

import statistics
from collections.abc import Sequence

from edgeprune.comparing.comparison import ComparedRun, Variant

NEAR = 0.1
"""A score that went less than this share of the way from chance to 1 is near chance."""


def near_chance(variants: Sequence[Variant], format: str) -> dict[str, float]:
    """Names of the variants most of whose runs are near chance, with the score of chance."""
    found = {}
    for variant in variants:
        files = [run for run in variant.finished if run.score("accuracy", format) is not None]
        levels = [level for run in files if _is_near(run, format) and (level := chance_of(run, format)) is not None]
        if 2 * len(levels) > len(files):
            found[variant.name] = statistics.fmean(levels)
    return found


def chance_of(run: ComparedRun, format: str) -> float | None:
    """What no learning reaches; None where the clips of the classes are not known.

    For accuracy it is the share of the largest class, which an answer that is always the same gets. For mean average
    precision it is the mean share of clips that hold a class, which a random order gets.
    """
    file = run.file(format)
    if file is None or not file.scores.clips:
        return None
    clips = [group.clips for group in file.scores.groups.get("class", {}).values() if group.clips]
    shares = [number / file.scores.clips for number in clips]
    if not shares:
        return None
    return max(shares) if file.scores.mean_average_precision is None else statistics.fmean(shares)


def _is_near(run: ComparedRun, format: str) -> bool:
    """Whether a score is close to chance, or an accuracy that chance gives by its clips once in 40 times."""
    chance, score, file = chance_of(run, format), run.score("accuracy", format), run.file(format)
    if chance is None or score is None or file is None or chance >= 1:
        return False
    if score - chance < NEAR * (1 - chance):
        return True
    if file.scores.mean_average_precision is not None or not file.scores.clips:
        return False
    from scipy.special import bdtrc  # scipy.stats takes a second to import

    # The probability of at least as many right decisions by guessing.
    return bool(bdtrc(round(score * file.scores.clips) - 1, file.scores.clips, chance) > 0.025)
