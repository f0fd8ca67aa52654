"""How fields are written as flags: sizes as 30k or 128kB, latencies as 0.8@host, lists as a,b,c."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from edgeprune.errors import EdgepruneError
from edgeprune.units import format_size, parse_size


def parse_latency(text: str) -> tuple[float, str]:
    """Milliseconds and device of `0.8@host`; without a device, of the host."""
    number, _, device = text.partition("@")
    try:
        limit_ms = float(number.strip().removesuffix("ms"))
    except ValueError:
        limit_ms = 0.0
    if not 0 < limit_ms < float("inf"):
        raise EdgepruneError(f"'{text}' is not a latency; write milliseconds and the device, as 0.8@host.")
    return limit_ms, device.strip() or "host"


def _flag(
    metavar: str, kind: type, read: Callable[[str], Any], write: Callable[[Any], str] = str, none: str = "none"
) -> PrimitiveConstructorSpec[Any]:
    """How tyro reads and shows a flag of one word; the word `none` stands for None.

    One such type, not `int | None`: tyro reports of a union how each of its members failed.
    """

    def from_words(words: list[str]) -> Any:
        try:
            return read(words[0])
        except EdgepruneError as error:
            raise ValueError(str(error)) from error

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=from_words,
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: [none if value is None else write(value)],
    )


def _list(metavar: str, read: Callable[[str], Any] = str, write: Callable[[Any], str] = str) -> Any:
    """A flag whose value is a list with commas; an empty word is an empty list."""
    return _flag(
        metavar,
        tuple,
        lambda text: tuple(read(part.strip()) for part in text.split(",") if part.strip()),
        lambda values: ",".join(map(write, values)),
    )


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


def _checked_latency(text: str) -> str:
    parse_latency(text)
    return text


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"0*[1-9]\d{0,8}(x0*[1-9]\d{0,8}){2}", text.lower()):
        raise EdgepruneError(f"'{text}' is not a shape; write channels x height x width, as 1x40x51.")
    return tuple(map(int, text.lower().split("x")))


def _hertz(text: str) -> float:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)\s*([kMG]?)Hz", text, flags=re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise EdgepruneError(f"'{text}' is not a clock; write it like 80MHz.")
    return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[2].lower()]


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise EdgepruneError(f"'{text}' is no whole number; write a list like 0,1,2.")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise EdgepruneError(f"'{text}' is no share; write a list like 0.5,0.25.") from error


Limit = Annotated[int | None, _flag("SIZE", int, _or_none(parse_size), format_size)]
Latency = Annotated[str | None, _flag("MS@DEVICE", str, _or_none(_checked_latency))]
Clock = Annotated[float | None, _flag("80MHz", float, _or_none(_hertz), lambda hertz: f"{hertz / 1e6:g}MHz")]
Shape = Annotated[
    tuple[int, int, int] | None, _flag("1x40x51", tuple, _shape, lambda sizes: "x".join(map(str, sizes)), none="own")
]
Names = Annotated[tuple[str, ...], _list("A,B,...")]
Numbers = Annotated[tuple[int, ...], _list("0,1,...", _whole)]
Sizes = Annotated[tuple[int, ...], _list("40k,20k,...", parse_size, format_size)]
Shares = Annotated[tuple[float, ...], _list("0.5,0.25,...", _share)]
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
