"""How each network of the evidence grid is made, on one fold with one seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeprune.console import say
from edgeprune.data.load import score_batches
from edgeprune.data.scene_data import SceneData
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predict import file_probabilities, torch_probabilities
from edgeprune.evaluation.predictions import write_predictions
from edgeprune.graph.cost import graph_of
from edgeprune.graph.surgery import remove_filters
from edgeprune.models import checkpoint
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.pruning.allocation.allocate import allocate
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.pruning.reconstruction import reconstruct
from edgeprune.recipe import Budget, Prune, Recipe, Train
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.export_files import export_network
from edgeprune.running.train_dense import train_dense
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.training.fit import fit

Network = tuple[nn.Module, ModelSpec]


@dataclass(frozen=True)
class Workplace:
    """The recipe of one fold and seed, its data, and the folder of its networks and their predictions."""

    recipe: Recipe
    data: SceneData
    folder: Path

    def make(self, name: str) -> None:
        """Make one network of the grid, keep it, and keep its predictions on the evaluation part."""
        patches = self.data.patches(self.data.test)
        if name.endswith("-int8"):
            self._keep_predictions(name, file_probabilities(TFLiteModel(self._int8_file(name)), patches))
            return
        if name == "dense":
            model = train_dense(self.recipe, self.data, RunFolder(self.folder)).model
        else:
            model, spec = self._network(name)
            checkpoint.save(self._checkpoint(name), spec, model, self.data.describe())
        self._keep_predictions(name, torch_probabilities(model, patches))

    def _network(self, name: str) -> Network:
        """Any network but the dense one, by its name in the grid."""
        if name == "dense-continued":
            return self._trained(name, (self._load("dense").model, self.dense.spec), self.recipe.finetune)
        share, kind, *treatment = name.split("-")
        if kind in ("scratch", "distilled_scratch"):
            return self._from_scratch(name, float(share), distilled=kind == "distilled_scratch")
        return self._pruned(name, float(share), kind, treatment[0])

    @cached_property
    def dense(self) -> Checkpoint:
        return self._load("dense")

    def _checkpoint(self, name: str) -> Path:
        return self.folder / f"{name}.ckpt"

    def _load(self, name: str) -> Checkpoint:
        path = self._checkpoint(name)
        if not path.is_file():
            raise EdgepruneError(f"{path}: is missing; add the stage that makes it.")
        return checkpoint.load(path)

    def _int8_file(self, name: str) -> Path:
        network, folder = self._load(name.removesuffix("-int8")), RunFolder(self.folder / "files" / name)
        return export_network(self.recipe, self.data, network, ("int8",), "pruned", folder)["int8"]

    def _pruned(self, name: str, share: float, criterion: str, treatment: str) -> Network:
        graph, dense = graph_of(self.dense.spec), self.dense.model
        torch.manual_seed(100 * self.recipe.seed + self.recipe.data.fold)  # for the criterion `random`
        scores = score_groups(dense, graph, criterion, batches=self._batches(criterion))
        kept = choose_filters(scores, self._widths(share))
        model, spec = remove_filters(dense, self.dense.spec, kept)
        if not treatment.startswith("cut"):
            reconstruct(dense, model, kept, graph, self._batches("reconstruction"))
        if treatment in ("cut", "reconstructed"):
            return model, spec
        settings = self.recipe.finetune
        if treatment == "finetuned_quarter":
            settings = replace(settings, epochs=max(1, settings.epochs // 4))
        return self._trained(name, (model, spec), settings)

    def _from_scratch(self, name: str, share: float, distilled: bool) -> Network:
        """The same widths from random weights, for the epochs of dense training and fine-tuning together."""
        dense, settings = self.dense.spec, self.recipe.train
        spec = replace(dense, widths={**dense.widths, **self._widths(share)})
        torch.manual_seed(1000 + self.recipe.seed)
        weight = self.recipe.finetune.distillation if distilled else 0.0
        settings = replace(settings, epochs=settings.epochs + self.recipe.finetune.epochs, distillation=weight)
        return self._trained(name, (build(spec), spec), settings)

    def _widths(self, share: float) -> dict[str, int]:
        """Filters each layer keeps. Without a budget the scores play no part, and all criteria give the same widths."""
        graph = graph_of(self.dense.spec)
        equal = {name: [1.0] * group.filters for name, group in graph.prunable().items()}
        return allocate(graph, Budget(), Prune(keep=share), equal).widths

    def _batches(self, purpose: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Training clips: network inputs and labels."""
        return score_batches(self.data, self.recipe.prune.clips, purpose)

    def _trained(self, name: str, network: Network, settings: Train) -> Network:
        """Train in place, with the dense network as teacher where the settings ask for distillation."""
        model, spec = network
        training = self.folder / "training" / name
        fit(
            model,
            (self.data.patches(self.data.train), None),
            settings,
            seed=self.recipe.seed,
            folder=training,
            title=self._title(name),
            teacher=self._load("dense").model if settings.distillation else None,  # training moves it to its device
        )
        for state in training.glob("*.ckpt"):
            state.unlink()
        return model, spec

    def _keep_predictions(self, name: str, probabilities: NDArray[np.floating]) -> None:
        clips, path = self.data.test, self.folder / f"{name}.csv"
        write_predictions(path, list(clips["filename"]), list(clips["label"]), probabilities, self.data.classes)
        right = (np.asarray(self.data.classes)[probabilities.argmax(1)] == clips["label"].to_numpy()).mean()
        say(f"{self._title(name)}: {100 * right:.1f} %")

    def _title(self, name: str) -> str:
        return f"{self.recipe.data.name} seed {self.recipe.seed} fold {self.recipe.data.fold} {name}"
