"""The few errors edgeprune raises on purpose; each carries the exit code the command line ends with."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_MESSAGE = 500
"""Characters of a message; nobody reads more."""


class EdgepruneError(Exception):
    """Wrong input: one sentence naming the thing, what was wrong with it and what to do (exit code 2)."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(readable(message))


class InfeasibleBudgetError(EdgepruneError):
    """No network inside the search space meets the budget (exit code 3)."""

    exit_code = 3


class CheckFailedError(EdgepruneError):
    """A check failed: parity, an accuracy floor, a checksum of something already built (exit code 4)."""

    exit_code = 4


def readable(message: str) -> str:
    """A message on one line, whatever it quotes: control characters are escaped, and a long one lacks its middle."""
    line = printable(message)
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:320]} ... {line[-170:]}"


def printable(text: str) -> str:
    """The text on one line, with control characters and line breaks escaped as Python would."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """The hint in an error about an unknown name: the nearest known one, or `otherwise` where none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"perhaps you meant '{near[0]}'" if near else otherwise


def first_line(error: Exception) -> str:
    """The first line of an error's message, to be quoted inside a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> EdgepruneError:
    """The error for a name that is not known; it suggests the nearest name, or lists all of them."""
    names = list(known)
    hint = nearest(name, names, f"known: {', '.join(names)}")
    return EdgepruneError(f"{kind} '{name}' is unknown; {hint}.")
