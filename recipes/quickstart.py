"""Quickstart: the built-in synthetic scenes, DCASE21_Net, half of every layer's filters gone."""

from edgeprune.recipe import Data, Prune, Recipe

recipe = Recipe(name="quickstart", data=Data(name="synthetic"), prune=Prune(keep=0.5))

if __name__ == "__main__":
    recipe.main()
