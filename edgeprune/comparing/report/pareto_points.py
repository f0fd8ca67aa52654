"""What a plot of accuracy against a cost shows of a comparison: its points, their colours and words."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgeprune.comparing.comparison import Comparison, MeanEstimate, Variant
from edgeprune.comparing.pareto import SHIPPED, front
from edgeprune.comparing.report import plots, variant_tables
from edgeprune.comparing.report.page_table import ONE_RUN, p_text, percent_interval, points
from edgeprune.reporting.numbers import format_bytes, format_percent, format_quantity


class Quantity(NamedTuple):
    """A cost on the horizontal axis: its name, how a value is written, the `kind` of a latency, and its estimates."""

    name: str
    show: Callable[[Any], str]
    kind: str
    of: Callable[[Variant], MeanEstimate | None]


def quantities(comparison: Comparison) -> dict[str, Quantity]:
    """The costs a comparison has: `macs`, `bytes` (of the file), `flash_bytes` ..., and the device of each latency."""

    def cost(key: str) -> Quantity:
        return Quantity(*variant_tables.COSTS[key], "", lambda variant: variant.cost.get(key))

    found = {key: cost(key) for key in ("macs", "flash_bytes", "peak_ram_bytes", "params")}
    size = Quantity(
        f"size of the {comparison.format} file",
        format_bytes,
        "",
        lambda variant: variant.bytes.get(comparison.format),
    )
    found = {"macs": found.pop("macs"), "bytes": size, **found}
    for key in variant_tables.devices(comparison):
        device, kind, unit = key
        name = f"latency on {device}, {unit}"

        def latency(variant: Variant, key: tuple[str, str, str] = key) -> MeanEstimate | None:
            timed = variant.latency_of(key)
            return timed.estimate if timed else None

        found[device if device not in found else f"{device} {kind}"] = Quantity(name, format_quantity, kind, latency)
    return found


def pareto_points(comparison: Comparison, quantity: Quantity, coloring: "Coloring") -> list[plots.Point]:
    """A point for each variant that has the cost and an accuracy."""
    known = [
        (number, variant, cost, accuracy)
        for number, variant in enumerate(comparison.variants, start=1)
        if (cost := quantity.of(variant)) is not None
        and (accuracy := variant.accuracy.get(comparison.format)) is not None
    ]
    shipped = [one for one in known if one[1].role in SHIPPED]
    best = front({variant.name: (accuracy.mean, cost.mean) for _, variant, cost, accuracy in shipped})
    return [
        plots.Point(
            number=number,
            role=variant.role,
            color=coloring.color_of(variant),
            x=cost,
            y=accuracy,
            front=variant.name in best,
            lines=(
                variant.name,
                _score_line(comparison.score_name, accuracy),
                *_point_lines(variant, f"{quantity.name}: {quantity.show(cost.mean)}", variant.name in best),
            ),
        )
        for number, variant, cost, accuracy in known
    ]


def _score_line(name: str, score: MeanEstimate) -> str:
    interval = ONE_RUN if score.n == 1 else f"{percent_interval(score)}, {score.n} runs"
    return f"{name}: {format_percent(score.mean)} ({interval})"


def _point_lines(variant: Variant, cost: str, on_front: bool) -> tuple[str, ...]:
    """The lines after name and score that show when a point is pointed at."""
    lines = [cost]
    for difference in [one for one in variant.differences if one.metric == "accuracy"]:
        p = "" if difference.p_value is None else f", {p_text(difference.p_value)}"
        lines.append(f"{points(difference.estimate.mean)} points to {difference.against}{p}")
    return (*lines, "on the front") if on_front else tuple(lines)


class Coloring(NamedTuple):
    """The setting that gives variants their colours, and its values; all have one colour where there is none."""

    setting: str
    values: tuple[str, ...]

    def color_of(self, variant: Variant) -> int | None:
        if variant.role != "variant":
            return None
        value = str(variant.settings.get(self.setting))
        return self.values.index(value) if value in self.values else 0


def coloring_of(variants: Sequence[Variant]) -> Coloring:
    """Colours by a setting with a few textual values, preferably one of pruning."""
    plain = [variant for variant in variants if variant.role == "variant"]
    settings = dict.fromkeys(name for variant in plain for name in variant.settings if name != "name")
    for setting in sorted(settings, key=lambda name: not name.startswith("prune.")):
        values = [variant.settings.get(setting) for variant in plain]
        names = tuple(dict.fromkeys(map(str, values)))
        if 2 <= len(names) <= plots.COLORS and any(isinstance(value, str) for value in values):
            return Coloring(setting, names)
    return Coloring("", ())
