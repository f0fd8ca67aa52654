"""Finding recipes: by name, in a Python file, or in the folder of a run."""

from dataclasses import replace
from pathlib import Path

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, share_folder
from edgeprune.recipe import Recipe, from_dict

RECIPE = "recipe.json"
"""The file of a run folder that holds its recipe."""


def load_recipe(text: str) -> Recipe:
    """A recipe by NAME, PATH.py, or from a run: its folder or its recipe.json (`out` is then that folder).

    Raises:
        EdgepruneError: there is no such recipe, or it cannot be read.
    """
    path = Path(text)
    if path.is_dir() and (path / RECIPE).is_file():
        path = path / RECIPE
    if path.suffix == ".json":
        return replace(from_dict(read_json(path)), out=path.parent)
    if path.suffix != ".py":
        path = _named_recipe(text)
    return _recipe_of_script(path)


def recipe_names() -> list[str]:
    """Names of the recipes that come with edgeprune, sorted."""
    return sorted(path.stem for path in share_folder("recipes").glob("*.py"))


def _named_recipe(name: str) -> Path:
    from difflib import get_close_matches

    names = recipe_names()
    if name in names:
        return share_folder("recipes") / f"{name}.py"
    near = get_close_matches(name, names, n=1)
    hint = f"perhaps you meant '{near[0]}'" if near else f"there are {', '.join(names)}"
    raise EdgepruneError(f"recipe '{name}': no such recipe; {hint}, or give the path of a .py file or of a run folder.")


def _recipe_of_script(path: Path) -> Recipe:
    from importlib.util import module_from_spec, spec_from_file_location

    if not path.is_file():
        raise EdgepruneError(f"{path}: there is no such recipe file; check the path.")
    spec = spec_from_file_location(f"edgeprune_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise EdgepruneError(f"{path}: cannot be read as a recipe ({type(error).__name__}: {error}).") from error
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise EdgepruneError(f"{path}: defines no 'recipe'; a recipe file holds `recipe = Recipe(name=...)`.")
    return recipe
