"""The verbs of the command line."""

from collections.abc import Sequence

from edgeprune.recipe import Recipe


def run_recipe(recipe: Recipe, args: Sequence[str]) -> int:
    """Parse the flags and run the recipe; returns the exit code."""
    from edgeprune import __version__

    parsed = recipe.parse(args)
    raise SystemExit(f"edgeprune {__version__}: recipe '{parsed.name}' cannot be run by this version yet.")


def main() -> None:
    from edgeprune import __version__

    print(f"edgeprune {__version__}")
