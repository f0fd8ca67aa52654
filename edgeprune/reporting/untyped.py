"""A result's JSON taken apart without types; the comparison still reads it so."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import PurePath
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.recipe import FORMATS

SCHEMA = 1
_DENSE_PREFIX = "dense_"


@dataclass(frozen=True)
class Variant:
    """One form of the network: an exported file, or (`format` is None) the float network itself, which has no file."""

    stage: str
    format: str | None
    cost: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    artefact: Mapping[str, Any]

    @property
    def label(self) -> str:
        return self.stage if self.format is None else f"{self.stage} {self.format}"

    @property
    def file_name(self) -> str | None:
        path = self.artefact.get("path")
        return PurePath(str(path)).name if path else None


# Reading a result whose optional parts may be absent


def check_schema(result: Mapping[str, Any]) -> None:
    """Refuse a result of a later layout.

    Raises:
        EdgepruneError: `schema` is there and is not the one this version reads.
    """
    schema = result.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise EdgepruneError(
            f"result.json: its schema is {schema!r} and this edgeprune reads {SCHEMA}; use the version that wrote it."
        )


def part(result: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The object under `keys`, empty where it is absent or null.

    Raises:
        EdgepruneError: something that is not an object stands there.
    """
    value: Any = result
    for depth, key in enumerate(keys, start=1):
        value = value.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            where = ".".join(keys[:depth])
            raise EdgepruneError(
                f"result.json: {where} should be an object, not {type(value).__name__}; run the recipe again."
            )
    return value


def items(mapping: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The list under `key`, empty where it is absent or null.

    Raises:
        EdgepruneError: something that is not a list stands there.
    """
    value = mapping.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise EdgepruneError(f"result.json: {key} should be a list, not {type(value).__name__}; run the recipe again.")
    return value


def records(mapping: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of objects under `key`, empty where it is absent or null.

    Raises:
        EdgepruneError: something else stands there.
    """
    found = list(items(mapping, key))
    for entry in found:
        if not isinstance(entry, Mapping):
            kind = type(entry).__name__
            raise EdgepruneError(f"result.json: {key} should list objects, not {kind}; run the recipe again.")
    return found


def number(value: Any) -> float | None:
    """`value` (numpy's numbers too) as a finite float, or None where it is absent, not a number, infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def variants(result: Mapping[str, Any]) -> list[Variant]:
    """Every form of the network the run has, dense first, then by format; the bare network where no float32 file is."""
    artefacts = part(result, "artefacts")
    found = []
    for stage in ("dense", "pruned"):
        prefix = _DENSE_PREFIX if stage == "dense" else ""
        names = [name for name in artefacts if name.startswith(_DENSE_PREFIX) == bool(prefix)]
        formats = sorted((name.removeprefix(prefix) for name in names), key=_format_rank)
        cost = part(result, stage, "cost")
        if "float32" not in formats and part(result, stage):
            found.append(Variant(stage, None, cost, part(result, stage, "accuracy"), {}))
        for name in formats:
            artefact = part(artefacts, prefix + name)
            found.append(Variant(stage, name, cost, part(artefact, "accuracy"), artefact))
    return found


def _format_rank(name: str) -> int:
    return FORMATS.index(name) if name in FORMATS else len(FORMATS)
