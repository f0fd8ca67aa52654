"""Small pieces of the sentences of a comparison."""

from collections.abc import Iterable


def some(names: Iterable[object], most: int = 3) -> str:
    """A few names, and how many more there are."""
    texts = [str(name) for name in names]
    return "; ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
