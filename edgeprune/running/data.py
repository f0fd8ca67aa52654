"""A run's data, in the layout its network takes, and that they stay the same from its first stage to its last."""

from pathlib import Path

from edgeprune.data.load import FoundData, RunData, find_data, load_data, refuse_unlabelled_test
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.models import checkpoint
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import entry
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder


def find_run_data(recipe: Recipe) -> FoundData:
    """The recipe's data before any feature is computed."""
    data = find_data(recipe.data, recipe.frontend, entry(recipe.model.name).layout, recipe.seed)
    refuse_unlabelled_test(data.card.name, data.test)
    return data


def load_run_data(recipe: Recipe) -> RunData:
    """The recipe's data, normalised by their own training part."""
    data = load_data(recipe.data, recipe.frontend, entry(recipe.model.name).layout, recipe.seed)
    refuse_unlabelled_test(data.card.name, data.test)
    return data


def load_data_of(recipe: Recipe, network: Checkpoint) -> RunData:
    """The recipe's data, normalised as a network of its run was trained."""
    data = load_run_data(recipe)
    _check_split(network, data, recipe.folder())
    return data.with_normalisation(network.normalisation)


def check_same_data(data: RunData, folder: RunFolder) -> None:
    """Refuse to go on with a run whose clips, labels or audio changed since it was begun; keep their hashes there.

    Folders of earlier versions hold no hashes; their checkpoints are checked when they are loaded.
    """
    hashes, path = data.hashes(), folder.data_file
    if not path.is_file():
        write_json(path, hashes)
        return
    begun = read_json(path)
    if not isinstance(begun, dict):
        raise EdgepruneError(f"{path}: is damaged; delete it, or choose another --out.")
    changed = [name for name, value in hashes.items() if begun.get(name, value) != value]
    if changed:
        raise EdgepruneError(
            f"{folder.path}: the data changed since this run was begun ({', '.join(changed)}); restore them, or choose "
            "another --out."
        )


def load_trained(path: Path, data: RunData) -> Checkpoint:
    """A checkpoint of the run; refused where it was trained on another split than the data have now."""
    network = checkpoint.load(path)
    _check_split(network, data, path)
    return network


def _check_split(network: Checkpoint, data: RunData, where: Path) -> None:
    if network.extra.get("data_sha256", data.sha256) != data.sha256:
        raise EdgepruneError(
            f"{where}: was trained on other clips, labels or groups than the split has now; restore the data, or "
            "choose another --out."
        )
