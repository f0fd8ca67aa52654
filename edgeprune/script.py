"""How a recipe reaches the command line without importing it."""

from collections.abc import Callable, Sequence
from typing import Any

Runner = Callable[[Any, Sequence[str]], int]
_runner: Runner | None = None


def set_runner(runner: Runner) -> None:
    """Set the function that runs a recipe with the flags of a command line and returns the exit code."""
    global _runner
    _runner = runner


def run(recipe: Any, args: Sequence[str]) -> int:
    """Run a recipe with flags; returns the exit code."""
    assert _runner is not None, "edgeprune/__init__.py sets it"
    return _runner(recipe, args)
