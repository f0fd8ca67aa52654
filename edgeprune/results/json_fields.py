"""Fields of `result.json` read with care: an absent one is None or empty, one of another kind is refused."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Real
from typing import Any

from edgeprune.errors import EdgepruneError


def number(value: Any) -> float | None:
    """`value` as a finite float; None where it is absent, not a number, infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """`value` as a whole number; None where `number` is."""
    amount = number(value)
    return None if amount is None else int(amount)


def numbers(value: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are finite numbers."""
    amounts = ((name, number(entry)) for name, entry in value.items())
    return {name: amount for name, amount in amounts if amount is not None}


def text(value: Any) -> str | None:
    """`value` as text; None where it is absent or empty."""
    return str(value) if value not in (None, "") else None


_READERS = {"float | None": number, "int | None": whole, "str | None": text}


def plain_fields(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and texts of a dataclass, each read by its annotation from the entry of its name."""
    return {field.name: _READERS[field.type](value.get(field.name)) for field in fields(kind) if field.type in _READERS}


def mapping(value: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    """The object under `key`, empty where it is absent or null."""
    inner = value.get(key)
    if inner is None:
        return {}
    if not isinstance(inner, Mapping):
        raise _wrong(f"{where}{key}", "be an object", inner)
    return inner


def sequence(value: Mapping[str, Any], key: str, where: str = "") -> Sequence[Any]:
    """The list under `key`, empty where it is absent or null."""
    inner = value.get(key)
    if inner is None:
        return ()
    if not isinstance(inner, list | tuple):
        raise _wrong(f"{where}{key}", "be a list", inner)
    return inner


def objects(value: Mapping[str, Any], key: str, where: str = "") -> list[Mapping[str, Any]]:
    """The list of objects under `key`, empty where it is absent or null."""
    rows = list(sequence(value, key, where))
    for row in rows:
        if not isinstance(row, Mapping):
            raise _wrong(f"{where}{key}", "list objects", row)
    return rows


def counts(value: Mapping[str, Any], key: str, where: str = "") -> tuple[tuple[int, ...], ...]:
    """The square table of counts under `key`, empty where it is absent or null; what is no number counts 0."""
    rows = sequence(value, key, where)
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != len(rows):
            raise _wrong(f"{where}{key}", "hold as many lists as each of them has numbers", row)
    return tuple(tuple(whole(count) or 0 for count in row) for row in rows)


def _wrong(where: str, should: str, value: Any) -> EdgepruneError:
    kind = type(value).__name__
    return EdgepruneError(f"result.json: {where} should {should}, not {kind}; run the recipe again.")
