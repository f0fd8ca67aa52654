"""A comparison as tables: for the console, as a data frame, as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from edgeprune.comparing.comparison import Comparison, Difference, Estimate, Latency, Variant
from edgeprune.comparing.pareto import QUANTITIES
from edgeprune.recipe import FORMATS
from edgeprune.reporting.numbers import MISSING, format_bytes, format_count, format_decimal, format_significant
from edgeprune.reporting.tables import Table, number

if TYPE_CHECKING:
    import pandas as pd

_SPREAD = ("n", "std", "low", "high")
_SHOW = {"params": format_count, "macs": format_count, "flash_bytes": format_bytes, "peak_ram_bytes": format_bytes}
STAR = "*"
LEGEND = f"{STAR} on the Pareto front of mean accuracy and this cost."


def to_frame(comparison: Comparison) -> "pd.DataFrame":
    """A row a variant and number format; a cell is empty (NaN) where nothing is known.

    Columns: `variant`, `role`, `format`, `runs`, `failed`; the fields that differ, by dotted name; `params`, `macs`,
    `flash_bytes`, `peak_ram_bytes`, `file_bytes` (means); `accuracy` (a fraction) and `log_loss` (nats), each with
    `_n`, `_std`, `_low` and `_high` (95 % interval). In the rows of the format compared also: of every role of control
    `accuracy_minus_<role>` and `log_loss_minus_<role>` with the same and `_p`, and `<role>_control`, its name;
    `pareto`, the costs on whose front the variant lies; and the median latency as `latency_<unit>, <device>, <kind>`.
    """
    import pandas as pd

    roles = {variant.name: variant.role for variant in comparison.variants}
    fields = dict.fromkeys(field for variant in comparison.variants for field in variant.settings)
    rows = []
    for variant in comparison.variants:
        formats = [name for name in FORMATS if name in variant.accuracy] or [""]
        for format in formats:
            row = _row(variant, format, list(fields))
            if format == comparison.format:
                row |= _compared(variant, roles)
            rows.append(row)
    return pd.DataFrame(rows)


def _row(variant: Variant, format: str, fields: Sequence[str]) -> dict[str, Any]:
    finished = sum(run.result is not None for run in variant.runs)
    row: dict[str, Any] = {
        "variant": variant.name,
        "role": variant.role,
        "format": format,
        "runs": finished,
        "failed": len(variant.runs) - finished,
        **{field: variant.settings.get(field) for field in fields},
    }
    for quantity in ("params", "macs", "flash_bytes", "peak_ram_bytes"):
        row[quantity] = _mean(variant.cost.get(quantity))
    row["file_bytes"] = _mean(variant.bytes.get(format))
    for metric, values in (("accuracy", variant.accuracy), ("log_loss", variant.log_loss)):
        row |= _spread(metric, values.get(format))
    return row


def _compared(variant: Variant, roles: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for found in variant.differences:
        role = roles[found.against]
        row[f"{role}_control"] = found.against
        row |= _spread(f"{found.metric}_minus_{role}", found.estimate)
        row[f"{found.metric}_minus_{role}_p"] = found.p_value
    row["pareto"] = " ".join(variant.pareto)
    for latency in variant.latency:
        row[f"latency_{latency.unit}, {latency.device}, {latency.kind}"] = latency.estimate.mean
    return row


def _spread(name: str, estimate: Estimate | None) -> dict[str, Any]:
    told = {name: _mean(estimate)}
    return told | {f"{name}_{key}": None if estimate is None else getattr(estimate, key) for key in _SPREAD}


def _mean(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.mean


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values for JSON; of each run its folder, seed, fold, accuracies and log losses."""
    told = []
    for variant in comparison.variants:
        runs = [
            {
                "folder": str(run.folder),
                "seed": run.seed,
                "fold": run.fold,
                "stage": run.stage,
                "reason": run.reason,
                "scores": _scores(run.result),
            }
            for run in variant.runs
        ]
        told.append({**asdict(replace(variant, runs=())), "runs": runs})
    return {**asdict(replace(comparison, variants=())), "variants": told}


def _scores(result: Mapping[str, Any] | None) -> dict[str, dict[str, float | None]] | None:
    if result is None:
        return None
    files = result.get("artefacts") or {}
    return {
        name: {metric: number((files[name].get("accuracy") or {}).get(metric)) for metric in ("accuracy", "log_loss")}
        for name in FORMATS
        if name in files
    }


# The console's tables


def main_table(comparison: Comparison) -> Table:
    """A row a variant: costs, accuracy, difference to the unpruned network, and latency where one device tells it."""
    shared = _devices(comparison)
    one = shared[0] if len(shared) == 1 else None
    columns = ["variant", "params", "MACs", "flash", "RAM", "accuracy, %", "to dense, points [95 %], p"]
    columns += [f"{one[0]}, {one[2]} ({one[1]})"] if one else []
    roles = {variant.name: variant.role for variant in comparison.variants}
    rows = []
    for variant in comparison.variants:
        row = [_titled(variant)]
        row += [_cost(variant, quantity) for quantity in ("params", "macs", "flash_bytes", "peak_ram_bytes")]
        row.append(_percent(variant.accuracy.get(comparison.format)))
        row.append(_difference(_of_role(variant, "dense", "accuracy", roles)))
        if one:
            row.append(_latency(variant, one))
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def latency_table(comparison: Comparison) -> Table | None:
    """Median latency by variant and device, where there are several."""
    devices = _devices(comparison)
    if len(devices) < 2:
        return None
    columns = tuple(f"{device}, {unit} ({kind})" for device, kind, unit in devices)
    rows = [(variant.name, *(_latency(variant, device) for device in devices)) for variant in comparison.variants]
    return Table(("variant", *columns), tuple(rows))


def controls_table(comparison: Comparison) -> Table | None:
    """All differences to controls, where there are others than the unpruned network; None where there are not."""
    roles = {variant.name: variant.role for variant in comparison.variants}
    found = [(variant, *pair) for variant in comparison.variants for pair in _by_control(variant)]
    if all(roles[against] == "dense" for _, against, _, _ in found):
        return None
    rows = [
        (variant.name, against, *_differences(accuracy), *_differences(loss, scale=1, digits=3))
        for variant, against, accuracy, loss in found
    ]
    columns = ("variant", "minus", "accuracy, points [95 %]", "p", "log loss [95 %]", "p")
    return Table(columns, tuple(rows))


def _by_control(variant: Variant) -> Iterator[tuple[str, Difference | None, Difference | None]]:
    for against in dict.fromkeys(found.against for found in variant.differences):
        both = {found.metric: found for found in variant.differences if found.against == against}
        yield against, both.get("accuracy"), both.get("log_loss")


def _of_role(variant: Variant, role: str, metric: str, roles: Mapping[str, str]) -> Difference | None:
    return next((f for f in variant.differences if f.metric == metric and roles[f.against] == role), None)


def _devices(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Device, kind and unit of all latencies."""
    return list(dict.fromkeys(_key(latency) for variant in comparison.variants for latency in variant.latency))


def _key(latency: Latency) -> tuple[str, str, str]:
    return latency.device, latency.kind, latency.unit


def _titled(variant: Variant) -> str:
    finished = sum(run.result is not None for run in variant.runs)
    return f"{variant.name} ({finished} of {len(variant.runs)})" if finished < len(variant.runs) else variant.name


def _cost(variant: Variant, quantity: str) -> str:
    estimate = variant.cost.get(quantity)
    if estimate is None:
        return MISSING
    return _SHOW[quantity](estimate.mean) + (f" {STAR}" if quantity in variant.pareto else "")


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return MISSING
    text = f"{100 * estimate.mean:.2f}"
    return text if estimate.high is None else f"{text} ± {100 * (estimate.high - estimate.mean):.2f}"


def _difference(found: Difference | None) -> str:
    change, p = _differences(found)
    return change if p == MISSING else f"{change}, p {p}"


def _differences(found: Difference | None, scale: float = 100, digits: int = 2) -> tuple[str, str]:
    """A difference with its interval, and its p."""
    if found is None:
        return MISSING, MISSING
    estimate = found.estimate
    text = signed(scale * estimate.mean, digits)
    if estimate.low is not None and estimate.high is not None:
        text += f" [{signed(scale * estimate.low, digits)}, {signed(scale * estimate.high, digits)}]"
    return text, MISSING if found.p_value is None else format_decimal(found.p_value)


def signed(value: float, digits: int = 2) -> str:
    """+1.20, \N{MINUS SIGN}0.40 or 0.00."""
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return (f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}").replace("-", "\N{MINUS SIGN}")


def _latency(variant: Variant, device: tuple[str, str, str]) -> str:
    found = next((latency for latency in variant.latency if _key(latency) == device), None)
    return MISSING if found is None else quantity(found.estimate.mean)


def quantity(value: float) -> str:
    """Times keep three digits; instructions and cycles run to millions and read better as 25.9M."""
    return format_count(value) if value >= 1e5 else format_significant(value)


def starred(variants: Sequence[Variant]) -> bool:
    """Whether any variant lies on a front."""
    return any(set(QUANTITIES) & set(variant.pareto) for variant in variants)
