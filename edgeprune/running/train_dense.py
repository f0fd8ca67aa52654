"""Stage: the unpruned network, trained or taken from another run; and training as the pruned one has it too."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeprune import console
from edgeprune.data.load import FoundData, RunData
from edgeprune.errors import EdgepruneError
from edgeprune.models import checkpoint, cnn14, vggish
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build, entry, make_spec
from edgeprune.recipe import Model, Recipe, Train
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.data import load_trained
from edgeprune.running.threshold import threshold_facts
from edgeprune.training.threads import use_threads


def train_dense(recipe: Recipe, data: RunData, folder: RunFolder) -> Checkpoint:
    """The run's `dense.ckpt`, made where it is missing: trained, or copied from the recipe's `dense_from`."""
    use_threads(recipe.train.threads)
    path = folder.checkpoint("dense")
    if path.is_file():
        forget_training_state(folder.training("dense"))  # a kill may have come before it was forgotten
        return load_trained(path, data)
    if recipe.dense_from is not None:
        dense = adopt_dense(recipe, data, recipe.dense_from)
        of_validation = threshold_facts(recipe, data.with_normalisation(dense.normalisation), dense.model)
        checkpoint.save(path, dense.spec, dense.model, {**dense.extra, **of_validation})
        return load_trained(path, data)
    spec = dense_spec(recipe, data)
    torch.manual_seed(recipe.seed)
    model = build(spec)
    if recipe.model.audioset_weights is not None:
        load_audioset_weights(model, spec.name, recipe.model.audioset_weights, data)
    history = train_network(model, data, recipe.train, recipe.seed, folder.training("dense"))
    checkpoint.save(path, spec, model, network_facts(recipe, data, model, history))
    forget_training_state(folder.training("dense"))
    return load_trained(path, data)


def dense_spec(recipe: Recipe, data: FoundData) -> ModelSpec:
    """The spec of the recipe's unpruned network for these classes and patches or images."""
    return make_spec(recipe.model.name, len(data.classes), data.input_shape, recipe.model.width)


def check_audioset_weights(model: Model) -> None:
    """Refuse AudioSet weights for a network that nobody published any for."""
    if model.audioset_weights is not None and entry(model.name).name not in ("vggish", "cnn14"):
        raise EdgepruneError(
            f"model.audioset_weights: only vggish and cnn14 can start from AudioSet weights, not {model.name}."
        )


def load_audioset_weights(model: Any, name: str, path: Path, data: RunData) -> None:
    """Start VGGish or CNN14 from AudioSet weights."""
    if name == "vggish":
        layers = vggish.load_audioset_weights(model, path)
    else:
        layers = cnn14.load_panns_weights(model, path, data.normalisation.mean, data.normalisation.std)
    console.say(f"AudioSet weights loaded: {', '.join(layers)}")


def train_network(
    model: nn.Module, data: RunData, settings: Train, seed: int, folder: Path, teacher: nn.Module | None = None
) -> list[dict[str, float]]:
    """Train a network in place; returns its history, empty where the settings ask for no epochs.

    Where a teacher (the dense network) is given, the training is called fine-tuning.
    """
    if settings.epochs == 0:
        model.eval()
        return []
    from edgeprune.training.fit import fit  # imports Lightning, which takes seconds

    validation = None if data.validation is None else data.patches(data.validation)
    return fit(
        model,
        (data.patches(data.train), validation),
        settings,
        seed,
        folder,
        title="training" if teacher is None else "fine-tuning",
        teacher=teacher if settings.distillation else None,
    )


def forget_training_state(folder: Path) -> None:
    """Remove the states a killed training resumes from, which are large; the history stays."""
    for path in folder.glob("*.ckpt"):
        path.unlink()


def network_facts(recipe: Recipe, data: RunData, model: nn.Module, history: list[dict[str, float]]) -> dict[str, Any]:
    """What a checkpoint holds of the data and the training."""
    threshold = threshold_facts(recipe, data, model)
    return {**data.describe(), "data_sha256": data.sha256, "history": history, **threshold}


def adopt_dense(recipe: Recipe, data: FoundData, path: Path) -> Checkpoint:
    """The dense network of another run, if it was trained on this split with this front-end."""
    dense = checkpoint.load(path)
    own = {} if data.frontend is None else asdict(data.frontend)
    frontends = [{**frontend, "patch_hop_frames": 0} for frontend in (dense.extra["frontend"], own)]
    if dense.spec != dense_spec(recipe, data) or frontends[0] != frontends[1]:
        raise EdgepruneError(f"{path}: is a network of another kind, input or front-end than the recipe's; train one.")
    if dense.extra["data_sha256"] != data.sha256:
        raise EdgepruneError(
            f"{path}: was trained on another split, which may hold this one's evaluation clips; train one on this."
        )
    return dense
