"""How a recipe's fields are written as flags: sizes as 30k or 128kB, latencies as 0.8@host, names as a,b,c."""

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from edgeprune.errors import EdgepruneError
from edgeprune.units import format_size, parse_size


def _size(args: list[str]) -> int:
    try:
        return parse_size(args[0])
    except EdgepruneError as error:
        raise ValueError(str(error)) from error


def _limit(args: list[str]) -> int | None:
    return None if args[0].lower() == "none" else _size(args)


def _limit_text(value: int | None) -> list[str]:
    return ["none"] if value is None else [format_size(value)]


def parse_latency(text: str) -> tuple[float, str]:
    """Milliseconds and device of `0.8@host`; without a device, of the host.

    Raises:
        EdgepruneError: it is not written so, or the time is not above zero.
    """
    number, _, device = text.partition("@")
    try:
        limit_ms = float(number.strip().removesuffix("ms"))
    except ValueError:
        limit_ms = 0.0
    if not 0 < limit_ms < float("inf"):
        raise EdgepruneError(f"'{text}' is not a latency; write milliseconds and the device, as 0.8@host.")
    return limit_ms, device.strip() or "host"


def _latency(args: list[str]) -> str | None:
    if args[0].lower() == "none":
        return None
    try:
        parse_latency(args[0])
    except EdgepruneError as error:
        raise ValueError(str(error)) from error
    return args[0]


def _names(args: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in args[0].split(",") if name.strip())


# One type, not `Size | None`: of a union tyro reports how each of its members failed.
Limit = Annotated[
    int | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="SIZE",
        instance_from_str=_limit,
        is_instance=lambda value: value is None or isinstance(value, int),
        str_from_instance=_limit_text,
    ),
]
Latency = Annotated[
    str | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="MS@DEVICE",
        instance_from_str=_latency,
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [value or "none"],
    ),
]
Names = Annotated[
    tuple[str, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="A,B,...",
        instance_from_str=_names,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(value)],
    ),
]


def _shape(args: list[str]) -> tuple[int, int, int]:
    sizes = [int(part) for part in args[0].lower().split("x") if part.isdecimal()]
    if len(sizes) != 3 or min(sizes) < 1 or not re.fullmatch(r"\d+x\d+x\d+", args[0].lower()):
        raise ValueError(f"'{args[0]}' is not a shape; write channels x height x width, as 1x40x51.")
    return sizes[0], sizes[1], sizes[2]


def _counts(args: list[str]) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", args[0]):
        raise ValueError(f"'{args[0]}' is not a list of whole numbers; write it like 1,2,4.")
    return tuple(int(part) for part in args[0].split(","))


Shape = Annotated[
    tuple[int, int, int] | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="1x40x51",
        instance_from_str=_shape,
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda value: ["own" if value is None else "x".join(map(str, value))],
    ),
]
Counts = Annotated[
    tuple[int, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="1,2,...",
        instance_from_str=_counts,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    ),
]


def _hertz(args: list[str]) -> float | None:
    if args[0].lower() == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)Hz", args[0], flags=re.IGNORECASE)
    if not found or float(found[1]) <= 0:
        raise ValueError(f"'{args[0]}' is not a clock; write it like 80MHz.")
    return float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()]


Clock = Annotated[
    float | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="80MHz",
        instance_from_str=_hertz,
        is_instance=lambda value: value is None or isinstance(value, float),
        str_from_instance=lambda value: ["none" if value is None else f"{value / 1e6:g}MHz"],
    ),
]

PruneDense = Annotated[bool, arg(aliases=["--prune-dense"])]
Bits = Literal[8, 16, 32]
"""Bits a weight is stored in."""

R = TypeVar("R")
EVERYWHERE = "Beside these flags: --json (print the result as JSON), --quiet, --debug (show tracebacks)."


def parse_flags(recipe: R, args: Sequence[str]) -> R:
    """A recipe with the flags of a command line applied; a wrong flag ends the program with exit code 2."""
    import tyro

    kind: Any = type(recipe)
    program = None if sys.argv[0].endswith(".py") else "edgeprune run"
    about = f"Recipe '{recipe.name}'. {EVERYWHERE}"  # type: ignore[attr-defined]
    parsed: R = tyro.cli(kind, default=recipe, args=args, description=about, prog=program)
    return parsed
