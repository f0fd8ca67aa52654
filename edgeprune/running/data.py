"""A run's data, in the layout its network takes."""

from edgeprune.data.load import RunData, load_data, refuse_unlabelled_test
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import entry
from edgeprune.recipe import Recipe


def load_run_data(recipe: Recipe) -> RunData:
    """The recipe's data, normalised by their own training part."""
    data = load_data(recipe.data, recipe.frontend, entry(recipe.model.name).layout, recipe.seed)
    refuse_unlabelled_test(data.card.name, data.test)
    return data


def load_data_of(recipe: Recipe, network: Checkpoint) -> RunData:
    """The recipe's data, normalised as a network of its run was trained."""
    return load_run_data(recipe).with_normalisation(network.normalisation)
