"""Sizes as people write them: 30k, 29.2M, 128kB, 1MiB."""

import re

from edgeprune.errors import EdgepruneError

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"^\s*(\d[\d_]*(?:\.\d+)?|\.\d+)\s*(ki|mi|gi|k|m|g)?(b)?\s*$", re.IGNORECASE)
LARGEST = 10**15
"""Whole numbers up to it are exact as floats too."""


def parse_size(text: str) -> int:
    """Read a count or a number of bytes: `30k` 30,000; `29.2M` 29,200,000; `128kB` 128,000; `1MiB` 1,048,576."""
    match = _SIZE.match(text.replace(",", ""))
    if not match:
        raise EdgepruneError(f"'{text}' is not a size; write it like 30000, 30k, 29.2M, 128kB or 1MiB.")
    number, factor, _ = match.groups()
    size = float(number.replace("_", "")) * _FACTORS[(factor or "").lower()]
    if size > LARGEST:
        raise EdgepruneError(f"'{text}' is more than any device has; give at most {LARGEST:,}.")
    return round(size)


def format_size(value: int) -> str:
    """The shortest exact way to write `value` so that `parse_size` reads it back."""
    for suffix in ("G", "M", "k"):
        factor = _FACTORS[suffix.lower()]
        if value >= factor and value % (factor // 1000) == 0:
            return f"{value / factor:.3f}".rstrip("0").rstrip(".") + suffix
    return str(value)
