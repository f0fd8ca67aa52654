"""`edgeprune run`: train, prune, fine-tune, export, evaluate and measure as a recipe says, or resume that."""

from edgeprune.cli.output import only_results, print_json
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
    return run_with_flags(load_recipe(args[0]), args[1:])


def run_with_flags(recipe: Recipe, args: list[str]) -> int:
    """Run a recipe with flags, and print its result."""
    wants_json, args = take_flag("--json", args)
    recipe = parse_flags(recipe, args)
    from edgeprune.reporting.summary import print_summary
    from edgeprune.running.run import run

    with only_results():
        result = run(recipe)
    if wants_json:
        print_json(result.to_json())
        return 0
    print_summary(result)
    report = recipe.folder() / "report.html"
    print(f"report: {report}" if report.is_file() else f"run folder: {recipe.folder()}")
    return 0
