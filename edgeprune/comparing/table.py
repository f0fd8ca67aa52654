"""The console's tables of a comparison."""

from math import isclose

from edgeprune.comparing.comparison import COSTS, METRICS, Comparison, MeanEstimate, PairedDifference, Variant
from edgeprune.reporting.numbers import (
    MISSING,
    format_bytes,
    format_count,
    format_decimal,
    format_quantity,
    format_signed,
)
from edgeprune.reporting.tables import Table

_FORMATTERS = dict(zip(COSTS, (format_count, format_count, format_bytes, format_bytes), strict=True))
STAR = "*"
LEGEND = STAR + " on the Pareto front of {score} and this cost."


def main_table(comparison: Comparison) -> Table:
    """A row a variant: costs, accuracy, difference to the unpruned network, and latency if there is one device."""
    devices, dense = comparison.devices(), comparison.of_role("dense")
    only = devices[0] if len(devices) == 1 else None
    columns = ["variant", "params", "MACs", "flash", "RAM", f"{comparison.score_name}, %", "to dense, points [95 %], p"]
    columns += [_device_column(only)] if only else []
    rows = []
    for variant in comparison.variants:
        finished = f" ({len(variant.finished)} of {len(variant.runs)})" if variant.unfinished else ""
        row = [f"{variant.name}{finished}", *(_cost(variant, quantity) for quantity in _FORMATTERS)]
        row.append(_percent(variant.accuracy.get(comparison.format)))
        change, p = _difference(variant.difference(dense, "accuracy"))
        row.append(change if p == MISSING else f"{change}, p {p}")
        row += [_latency(variant, only)] if only else []
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def latency_table(comparison: Comparison) -> Table | None:
    """Median latency by variant and device; None for fewer than two devices."""
    devices = comparison.devices()
    if len(devices) < 2:
        return None
    rows = [(variant.name, *(_latency(variant, device) for device in devices)) for variant in comparison.variants]
    return Table(("variant", *map(_device_column, devices)), tuple(rows))


def controls_table(comparison: Comparison) -> Table | None:
    """All differences to controls; None where the unpruned network is the only control."""
    rows = []
    for variant in comparison.variants:
        for against in dict.fromkeys(one.against for one in variant.differences):
            accuracy, loss = (variant.difference([against], metric) for metric in METRICS)
            rows.append((variant.name, against, *_difference(accuracy), *_difference(loss, scale=1, digits=3)))
    if {row[1] for row in rows} <= set(comparison.of_role("dense")):
        return None
    return Table(
        ("variant", "minus", f"{comparison.score_name}, points [95 %]", "p", "log loss [95 %]", "p"), tuple(rows)
    )


def _device_column(key: tuple[str, str, str]) -> str:
    device, kind, unit = key
    return f"{device}, {unit} ({kind})"


def _cost(variant: Variant, quantity: str) -> str:
    estimate = variant.cost.get(quantity)
    if estimate is None:
        return MISSING
    return _FORMATTERS[quantity](estimate.mean) + (f" {STAR}" if quantity in variant.pareto else "")


def _percent(estimate: MeanEstimate | None) -> str:
    if estimate is None:
        return MISSING
    text, low, high = f"{100 * estimate.mean:.2f}", estimate.low, estimate.high
    if low is None or high is None:
        return text
    # An interval that ends at 0 or 100 % is not the same on both sides.
    symmetric = isclose(high - estimate.mean, estimate.mean - low, abs_tol=1e-9)
    return (
        f"{text} ± {100 * (high - estimate.mean):.2f}" if symmetric else f"{text} [{100 * low:.2f}, {100 * high:.2f}]"
    )


def _difference(difference: PairedDifference | None, scale: float = 100, digits: int = 2) -> tuple[str, str]:
    """A difference with its interval, and its p."""
    if difference is None:
        return MISSING, MISSING
    estimate = difference.estimate
    text = format_signed(scale * estimate.mean, digits)
    if estimate.low is not None and estimate.high is not None:
        text += f" [{format_signed(scale * estimate.low, digits)}, {format_signed(scale * estimate.high, digits)}]"
    return text, format_decimal(difference.p_value)


def _latency(variant: Variant, device: tuple[str, str, str]) -> str:
    latency = variant.latency_of(device)
    return MISSING if latency is None else format_quantity(latency.estimate.mean)
