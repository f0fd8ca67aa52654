"""The plot beside the answer: each network's paired difference to the dense one against the budget it was given."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from edgeprune.comparing.comparison import Comparison, MeanEstimate, Variant
from edgeprune.comparing.report import plots
from edgeprune.comparing.report.page_table import ONE_RUN, points
from edgeprune.reporting.numbers import format_bytes, format_count, format_percent, format_signed
from edgeprune.results.json_fields import mapping

_LIMITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "params": ("parameters", format_count),
    "macs": ("MACs", format_count),
    "peak_ram": ("RAM", format_bytes),
    "flash": ("flash", format_bytes),
    "latency_ms": ("latency, ms", lambda limit: str(limit).partition("@")[0]),
    "keep": ("share of filters kept", lambda share: format_percent(share, 0)),
}
"""Limits of a recipe: the name on the axis and how a value is written."""


def difference_figure(comparison: Comparison, color_of: Callable[[Variant], int | None]) -> dict[str, str] | None:
    """The plot and its words; None where nothing has a difference to the dense network."""
    answer = comparison.answer
    if answer is None or answer.dense is None:
        return None
    gaps = {one.name: one.difference for one in answer.contenders}
    for variant in comparison.variants:  # the controls, which do not ship
        difference = variant.difference([answer.dense], "accuracy")
        if variant.name not in gaps and difference is not None:
            gaps[variant.name] = difference.estimate
    shown = [(place, one) for place, one in enumerate(comparison.variants, start=1) if one.name in gaps]
    if not shown:
        return None
    limit = _varied_limit([variant for _, variant in shown])
    name, show = _LIMITS[limit]
    values = sorted({_limit_of(one, limit) for _, one in shown}, key=lambda value: (value is None, _size(value)))
    drawn = []
    for column, value in enumerate(values):
        members = [(place, one) for place, one in shown if _limit_of(one, limit) == value]
        for offset, (place, one) in zip(_offsets(len(members)), members, strict=True):
            gap = gaps[one.name]
            drawn.append(
                plots.Point(
                    number=place,
                    role=one.role,
                    color=color_of(one),
                    x=MeanEstimate(column + offset, 1),
                    y=gap,
                    front=one.name == answer.ship,
                    lines=(one.name, f"{points(gap.mean)} points to {answer.dense} ({_interval(gap)})"),
                )
            )
    labels = ["none" if value is None else show(value) for value in values]
    return {
        "svg": plots.difference_plot(drawn, name, labels, answer.tolerance, comparison.score_name),
        "name": f"{comparison.score_name} minus that of dense, by budget of {name}",
        "caption": f"Bars are 95 % intervals. Dashed: {format_signed(-100 * answer.tolerance)} points, the tolerance. "
        "Filled: what ships.",
    }


def _varied_limit(variants: Sequence[Variant]) -> str:
    """The limit with most values among the variants; of equals the first that most have."""
    values = {limit: Counter(_limit_of(one, limit) for one in variants) for limit in _LIMITS}
    return max(_LIMITS, key=lambda limit: (len(values[limit]), -values[limit][None]))


def _limit_of(variant: Variant, limit: str) -> Any:
    part = "prune" if limit == "keep" else "budget"
    value = mapping(variant.runs[0].recipe, part).get(limit) if variant.runs else None
    return value if isinstance(value, int | float | str) else None


def _size(value: Any) -> float:
    """What a limit sorts by; that of a latency is written as `5@host`."""
    text = value.partition("@")[0] if isinstance(value, str) else value
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _offsets(members: int) -> list[float]:
    """Places of points of one budget beside each other, in columns of width 1."""
    step = min(0.16, 0.8 / members)
    return [(place - (members - 1) / 2) * step for place in range(members)]


def _interval(gap: MeanEstimate) -> str:
    return ONE_RUN if gap.low is None or gap.high is None else f"{points(gap.low)} to {points(gap.high)}"
