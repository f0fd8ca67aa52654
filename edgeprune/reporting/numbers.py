"""Numbers as text for tables, pages and cards: one format for each kind of quantity, and a dash for a missing one."""

from typing import Any

from edgeprune.results.json_fields import number

MISSING = "\N{EN DASH}"


def format_count(value: Any) -> str:
    """46000 -> 46.0k, 286637800 -> 286.6M; below a thousand the number itself."""
    count = number(value)
    if count is None:
        return MISSING
    if abs(count) < 999.5:
        return f"{count:.0f}"
    # The limits sit where one decimal would round up to 1000.0.
    for limit, scale, suffix in ((999.95e3, 1e3, "k"), (999.95e6, 1e6, "M")):
        if abs(count) < limit:
            return f"{count / scale:.1f}{suffix}"
    return f"{count / 1e9:.1f}G"


def format_bytes(value: Any) -> str:
    """512 -> 512 B, 56100 -> 56.1 kB: decimal units."""
    text = format_count(value)
    if text == MISSING:
        return MISSING
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def format_exact(value: Any) -> str:
    """29203560 -> 29,203,560; four digits of what is not whole: 4.80123 -> 4.801."""
    count = number(value)
    if count is None:
        return MISSING
    return f"{count:,.0f}" if count.is_integer() else f"{count:,.4g}"


def format_percent(fraction: Any, digits: int = 2) -> str:
    """0.4858 -> 48.58 %."""
    value = number(fraction)
    return MISSING if value is None else f"{100 * value:.{digits}f} %"


def format_signed(value: float, digits: int = 2) -> str:
    """+1.20, \N{MINUS SIGN}0.40 or 0.00."""
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return (f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}").replace("-", "\N{MINUS SIGN}")


def format_points(after: Any, before: Any, digits: int = 1) -> str:
    """The change of a fraction in percentage points, signed: 0.47 after 0.48 -> \N{MINUS SIGN}1.0."""
    new, old = number(after), number(before)
    if new is None or old is None:
        return MISSING
    return format_signed(100 * (new - old), digits)


def format_change(after: Any, before: Any) -> str:
    """The relative change in whole percent, signed: 14 after 46 -> \N{MINUS SIGN}70 %."""
    new, old = number(after), number(before)
    if new is None or not old:
        return MISSING
    return f"{format_points(new / old, 1.0, digits=0)} %"


def format_decimal(value: Any, digits: int = 3) -> str:
    decimal = number(value)
    return MISSING if decimal is None else f"{decimal:.{digits}f}"


def format_significant(value: Any) -> str:
    """Three significant digits, and no exponent for common sizes: 0.0123, 1.23, 12.3, 1,234."""
    decimal = number(value)
    if decimal is None:
        return MISSING
    return f"{decimal:,.0f}" if abs(decimal) >= 99.95 else f"{decimal:#.3g}".removesuffix(".")


def format_interval(interval: tuple[float, float] | None) -> str:
    """(0.468, 0.504) -> 46.8 to 50.4 %."""
    return MISSING if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def format_quantity(value: Any) -> str:
    """Times with three digits; instructions and cycles, which run to millions, as 25.9M."""
    amount = number(value)
    return format_count(amount) if amount is not None and amount >= 1e5 else format_significant(amount)
