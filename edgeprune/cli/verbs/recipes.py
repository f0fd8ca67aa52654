"""`edgeprune recipes`: the recipes that come with edgeprune: data, network and time."""

from dataclasses import dataclass

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.recipe import Recipe


@dataclass(frozen=True)
class RecipesCommand:
    """List the recipes that come with edgeprune, each with its data, network and time.

    Times are of one run on cores of an AMD EPYC, as measured, or estimated from the MACs of the training: 40 G a second
    on two cores, a fifth of that with depthwise convolutions.
    """

    json: bool = False
    """Print JSON: name, about, data, network, input, time."""

    def __call__(self) -> int:
        from edgeprune.recipe_files import shipped_recipes

        found = [
            {
                "name": each.recipe.name,
                "about": each.about,
                "data": each.recipe.data.name,
                "network": _network(each.recipe),
                "input": _input(each.recipe),
                "time": each.time,
            }
            for each in shipped_recipes()
        ]
        if self.json:
            print_json(found)
            return 0
        columns = ("name", "data", "network", "input", "time")
        print_table("", columns, [[row[column] for column in columns] for row in found])
        print("edgeprune run NAME [--data.root FOLDER]; the data: edgeprune data list")
        return 0


def _network(recipe: Recipe) -> str:
    return recipe.model.name + ("" if recipe.model.width == 1 else f", width {recipe.model.width:g}")


def _input(recipe: Recipe) -> str:
    """What a network input is, as `10 s at 44.1 kHz`."""
    from edgeprune.data.cards import has_images

    if has_images(recipe.data):
        return "an image"
    frontend = recipe.frontend
    return f"{frontend.patch_s:.3g} s at {frontend.sample_rate / 1000:g} kHz"
