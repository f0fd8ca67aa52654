"""Stage: the unpruned network, trained or taken from another run."""

from pathlib import Path
from typing import Any

import torch

from edgeprune import console
from edgeprune.data.load import RunData
from edgeprune.errors import EdgepruneError
from edgeprune.models import checkpoint, cnn14, vggish
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build, make_spec
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.training import forget_training_state, network_facts, train_network
from edgeprune.training.fit import use_threads


def train_dense(recipe: Recipe, data: RunData, folder: RunFolder) -> Checkpoint:
    """The run's `dense.ckpt`, made where it is missing: trained, or copied from the recipe's `dense_from`."""
    use_threads(recipe.train.threads)
    path = folder.checkpoint("dense")
    if path.is_file():
        return checkpoint.load(path)
    if recipe.dense_from is not None:
        dense = _adopt(recipe, data, recipe.dense_from)
        checkpoint.save(path, dense.spec, dense.model, dense.extra)
        return dense
    spec = dense_spec(recipe, data)
    torch.manual_seed(recipe.seed)
    model = build(spec)
    if recipe.model.audioset_weights is not None:
        load_audioset_weights(model, spec.name, recipe.model.audioset_weights, data)
    history = train_network(model, data, recipe.train, recipe.seed, folder.training("dense"))
    checkpoint.save(path, spec, model, network_facts(data, history))
    forget_training_state(folder.training("dense"))
    return checkpoint.load(path)


def dense_spec(recipe: Recipe, data: RunData) -> ModelSpec:
    """The spec of the recipe's unpruned network for these classes and patches or images."""
    return make_spec(recipe.model.name, len(data.classes), data.input_shape, recipe.model.width)


def load_audioset_weights(model: Any, name: str, path: Path, data: RunData) -> None:
    """Start a network from AudioSet weights."""
    if name == "vggish":
        layers = vggish.load_audioset_weights(model, path)
    elif name == "cnn14":
        layers = cnn14.load_panns_weights(model, path, data.normalisation.mean, data.normalisation.std)
    else:
        raise EdgepruneError(
            f"model.audioset_weights: only vggish and cnn14 can start from AudioSet weights, not {name}."
        )
    console.say(f"AudioSet weights loaded: {', '.join(layers)}")


def _adopt(recipe: Recipe, data: RunData, path: Path) -> Checkpoint:
    """The dense network of another run, if it was trained on this split with this front-end."""
    dense = checkpoint.load(path)
    frontends = [{**described["frontend"], "patch_hop_frames": 0} for described in (dense.extra, data.describe())]
    if dense.spec != dense_spec(recipe, data) or frontends[0] != frontends[1]:
        raise EdgepruneError(f"{path}: is a network of another kind, input or front-end than the recipe's; train one.")
    if dense.extra["data_sha256"] != data.sha256:
        raise EdgepruneError(
            f"{path}: was trained on another split, which may hold this one's evaluation clips; train one on this."
        )
    return dense
