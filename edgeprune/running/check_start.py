"""Checks of a recipe against this machine, its data and its network: all that can be known before work begins."""

from importlib.util import find_spec

import torch

from edgeprune.convert.onnx_file import check_folder
from edgeprune.data.load import FoundData
from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import ModelSpec, entry
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.data import find_run_data
from edgeprune.running.prune_to_budget import given_profile, refuse_infeasible
from edgeprune.running.train_dense import adopt_dense, check_audioset_weights, dense_spec
from edgeprune.training.trackers import require

_PACKAGES = ("lightning", "onnx", "onnxscript", "onnxruntime", "tensorflow")
"""What training and the export import."""


def check_start(recipe: Recipe, folder: RunFolder) -> FoundData:
    """Read lists and the clips' headers and build the network's graph; no feature is computed.

    Args:
        folder: the run's, which need not exist.

    Returns:
        the recipe's data as they were found.

    Raises:
        EdgepruneError: this machine, the data or the network cannot be used.
        InfeasibleBudgetError: even the narrowest network exceeds the budget.
    """
    _check_machine(recipe)
    check_folder(folder.path)
    check_audioset_weights(recipe.model)
    needs_dense = not folder.checkpoint("dense").is_file()
    files = {"prune.profile": recipe.prune.profile}
    if needs_dense:
        files |= {"model.audioset-weights": recipe.model.audioset_weights, "dense-from": recipe.dense_from}
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise EdgepruneError(f"{path}: there is no such file; correct --{name}.")
    data = find_run_data(recipe)
    spec = dense_spec(recipe, data)
    _check_augmentation(recipe, spec)
    given_profile(recipe, spec)
    refuse_infeasible(recipe, spec)
    if recipe.dense_from is not None and needs_dense:
        adopt_dense(recipe, data, recipe.dense_from)
    return data


def _check_machine(recipe: Recipe) -> None:
    """Packages and the processor that training and export need."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise EdgepruneError(f"{', '.join(missing)}: not installed here, and a run needs it; pip install edgeprune.")
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    for part, train in (("train", recipe.train), ("finetune", recipe.finetune)):
        if train.accelerator == "gpu" and not has_gpu:
            raise EdgepruneError(f"{part}.accelerator: PyTorch sees no GPU here; leave it at cpu, or take auto.")
        if train.tensorboard:
            require("tensorboard")


def _check_augmentation(recipe: Recipe, spec: ModelSpec) -> None:
    """Refuse masks and shifts that could hide a whole patch or image."""
    _, height, width = spec.input_shape
    if entry(spec.name).layout == "frames_mels":
        height, width = width, height
    limits = (("freq_mask", height), ("time_mask", width), ("shift", min(height, width)))
    for part, train in (("train", recipe.train), ("finetune", recipe.finetune)):
        for name, size in limits:
            if (widest := getattr(train, name)) >= size:
                raise EdgepruneError(f"{part}.{name}: {widest} could hide a whole input; give less than {size}.")
