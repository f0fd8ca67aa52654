"""A run's data, in the layout its network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune.data.load import load_data, refuse_unlabelled_test
from edgeprune.models.registry import entry
from edgeprune.recipe import Recipe

if TYPE_CHECKING:
    from edgeprune.data.load import RunData
    from edgeprune.models.checkpoint import Checkpoint


def load_run_data(recipe: Recipe) -> RunData:
    """The recipe's data, normalised by their own training part."""
    data = load_data(recipe.data, recipe.frontend, entry(recipe.model.name).layout, recipe.seed)
    refuse_unlabelled_test(data.card.name, data.test)
    return data


def load_data_of(recipe: Recipe, network: Checkpoint) -> RunData:
    """The recipe's data, normalised as a network of its run was trained."""
    return load_run_data(recipe).with_normalisation(network.normalisation)
