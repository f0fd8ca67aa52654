"""Recipes as files: by name, in a Python file or in a run's folder; written and read as JSON."""

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path
from runpy import run_path
from typing import Any

from edgeprune.errors import EdgepruneError, nearest
from edgeprune.files import from_plain, read_json, share_folder, write_json
from edgeprune.recipe import Recipe

RECIPE = "recipe.json"
"""The file of a run folder that holds its recipe."""


def load_recipe(text: str) -> Recipe:
    """A recipe by NAME, PATH.py, or from a run: its folder or its recipe.json (`out` is then that folder)."""
    path = Path(text)
    if path.is_dir() and (path / RECIPE).is_file():
        path = path / RECIPE
    if path.suffix == ".json":
        return replace(from_dict(read_json(path)), out=path.parent)
    if path.suffix == ".py":
        return _recipe_of_script(path)
    if Path(f"{text}.py").is_file() and text not in recipe_names():
        return _recipe_of_script(Path(f"{text}.py"))
    names = recipe_names()
    if text in names:
        return _recipe_of_script(share_folder("recipes") / f"{text}.py")
    alike = [name for name in names if name.startswith(text)] or [name for name in names if text and text in name]
    if alike:
        like = "begin so" if alike[0].startswith(text) else "have it in their names"
        raise EdgepruneError(
            f"recipe '{text}': no such recipe; these {like}: {', '.join(alike)} (`edgeprune recipes` tells more)."
        )
    hint = nearest(text, names, "`edgeprune recipes` lists them")
    raise EdgepruneError(f"recipe '{text}': no such recipe; {hint}, or give the path of a .py file or of a run folder.")


def recipe_names() -> list[str]:
    """Names of the recipes that come with edgeprune, sorted."""
    return sorted(path.stem for path in share_folder("recipes").glob("*.py"))


@dataclass(frozen=True)
class RecipeAbout:
    """What the file of a recipe says about it.

    Attributes:
        about: the first sentence of its docstring.
        time: how long a run takes and whether that is measured or estimated, from its line `Time:`; "" without one.
    """

    recipe: Recipe
    about: str
    time: str


def shipped_recipes() -> list[RecipeAbout]:
    """The recipes that come with edgeprune, by name."""
    found = []
    for name in recipe_names():
        path = share_folder("recipes") / f"{name}.py"
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        time = re.search(r"^Time: (.+)\.$", text, re.MULTILINE)
        found.append(RecipeAbout(_recipe_of_script(path), text.partition("\n")[0], time[1] if time else ""))
    return found


def _recipe_of_script(path: Path) -> Recipe:
    if not path.is_file():
        raise EdgepruneError(f"{path}: there is no such recipe file; check the path.")
    try:
        recipe = run_path(str(path), run_name=f"edgeprune_recipe_{path.stem}").get("recipe")
    except Exception as error:
        raise EdgepruneError(f"{path}: cannot be read as a recipe ({type(error).__name__}: {error}).") from error
    if not isinstance(recipe, Recipe):
        raise EdgepruneError(f"{path}: defines no 'recipe'; a recipe file holds `recipe = Recipe(name=...)`.")
    return recipe


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as JSON, its paths absolute: whoever reads it may work in another folder."""
    write_json(path, with_absolute_paths(recipe).to_dict())


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with its paths absolute, so that it means the same in any working directory."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    data, name = recipe.data, recipe.data.name
    name = str(Path(name).absolute()) if name.endswith(".toml") else name
    return replace(
        recipe,
        data=replace(data, name=name, root=absolute(data.root), cache=absolute(data.cache)),
        model=replace(recipe.model, audioset_weights=absolute(recipe.model.audioset_weights)),
        prune=replace(recipe.prune, profile=absolute(recipe.prune.profile)),
        dense_from=absolute(recipe.dense_from),
    )


def changed_fields(folder: Path, recipe: Recipe) -> list[str]:
    """Fields in which a recipe gives another result than the one in a run folder, as `train.epochs: 80 -> 40`."""
    stored = from_dict(read_json(folder / RECIPE))
    old, new = (identity(with_absolute_paths(each).to_dict()) for each in (stored, recipe))
    return differences(old, new)


def is_after_dense(field: str) -> bool:
    """Whether a field, named as by `differences`, leaves the dense network as it is."""
    return field.startswith(("budget.", "prune.", "finetune.", "export.", "bench.", "data.detect_recall:", "name:"))


_MACHINE_FIELDS = {"data": ("root", "cache", "workers"), "train": ("threads",), "finetune": ("threads",)}


def identity(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields that decide the result: not where the data lie, nor how many threads are used."""
    kept = {name: value for name, value in recipe.items() if name != "out"}
    for part, fields in _MACHINE_FIELDS.items():
        kept[part] = {name: value for name, value in kept[part].items() if name not in fields}
    return kept


def from_dict(value: dict[str, Any]) -> Recipe:
    """Build a recipe from `Recipe.to_dict`."""
    try:
        return from_plain(Recipe, value, "recipe: ")
    except (TypeError, AttributeError) as error:
        raise EdgepruneError(f"the recipe does not fit this version of edgeprune ({error}).") from error


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields that differ between two recipes' dicts, as `train.epochs: 80 -> 40`."""
    changes = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            changes += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            changes.append(f"{prefix}{name}: {before} -> {after}")
    return changes
