"""`edgeprune run`: train, prune, fine-tune, export, evaluate and measure as a recipe says, or resume that."""

import shlex
from collections.abc import Sequence

from edgeprune.cli.output import only_results, print_json
from edgeprune.console import show
from edgeprune.errors import EdgepruneError
from edgeprune.exit_codes import take_flag
from edgeprune.flags import parse_flags
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import load_recipe


def main(args: list[str]) -> int:
    """`run TARGET [flags of its recipe]`."""
    if args and args[0] in ("-h", "--help"):
        print("usage: edgeprune run NAME|PATH.py|RUN|RUN/recipe.json [OPTIONS]\n")
        parse_flags(Recipe(name="NAME"), ["--help"])
    if not args or args[0].startswith("-"):
        raise EdgepruneError(
            "run: name the recipe first: edgeprune run NAME|PATH.py|RUN/recipe.json [--field VALUE ...]."
        )
    return run_with_flags(load_recipe(args[0]), args[1:], f"edgeprune run {shlex.quote(args[0])}")


def run_with_flags(recipe: Recipe, args: list[str], program: str) -> int:
    """Run a recipe with flags, and print its result; `program` is the command that the flags belong to."""
    flags = args
    wants_json, args = take_flag("--json", args)
    recipe = parse_flags(recipe, args)
    from edgeprune.reporting.summary import print_summary
    from edgeprune.results.run_folder import OtherRecipeError
    from edgeprune.running.run import run

    try:
        with only_results():
            result = run(recipe)
    except OtherRecipeError as error:
        if not error.flags:
            raise
        show(f"to go on from that network: {program} {shlex.join([*_without_folder(flags), *error.flags])}")
        raise EdgepruneError(f"{error.reason}; go on from that network with the line above.") from error
    if wants_json:
        print_json(result.to_json())
        return 0
    print_summary(result)
    report = recipe.folder() / "report.html"
    print(f"report: {report}" if report.is_file() else f"run folder: {recipe.folder()}")
    return 0


def _without_folder(flags: Sequence[str]) -> list[str]:
    """Flags without those that say where a run lies and where its dense network is from."""
    kept, skip = [], False
    for flag in flags:
        name, equals, _ = flag.replace("_", "-").partition("=")
        if name in ("--out", "--dense-from"):
            skip = not equals
        elif skip:
            skip = False
        else:
            kept.append(flag)
    return kept
