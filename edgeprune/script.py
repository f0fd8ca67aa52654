"""The door from a recipe to the command line: a recipe knows nothing of what runs it."""

from collections.abc import Callable, Sequence
from typing import Any

Runner = Callable[[Any, Sequence[str]], int]
_runner: Runner | None = None


def set_runner(runner: Runner) -> None:
    """Say what runs a recipe with the flags of a command line and gives the exit code."""
    global _runner
    _runner = runner


def run(recipe: Any, args: Sequence[str]) -> int:
    """Run a recipe with flags; returns the exit code."""
    assert _runner is not None, "edgeprune/__init__.py sets it"
    return _runner(recipe, args)
