"""How each network of the evidence grid is made, on one fold with one seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeprune.console import say
from edgeprune.data.load import score_batches
from edgeprune.data.scene_data import SceneData
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.evaluation.predictions import write_predictions
from edgeprune.graph.cost import graph_of
from edgeprune.graph.surgery import remove_filters
from edgeprune.models import checkpoint
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.pruning.allocation.allocate import allocate
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.recipe import Budget, Prune, Recipe, Train
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.train_dense import train_dense
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
        if name == "dense":
            model = train_dense(self.recipe, self.data, RunFolder(self.folder)).model
        else:
            model, spec = self._network(name)
            checkpoint.save(self.folder / f"{name}.ckpt", spec, model, self.data.describe())
        self._predict(name, model)

    def _network(self, name: str) -> Network:
        """Any network but the dense one, by its name in the grid."""
        if name == "dense-continued":
            return self._trained(name, (self._copy_of_dense(), self.dense.spec), self.recipe.finetune)
        share, kind, *treatment = name.split("-")
        if kind in ("scratch", "distilled_scratch"):
            return self._from_scratch(name, float(share), distilled=kind == "distilled_scratch")
        return self._pruned(name, float(share), kind, treatment[0])

    @cached_property
    def dense(self) -> Checkpoint:
        path = RunFolder(self.folder).checkpoint("dense")
        if not path.is_file():
            raise EdgepruneError(f"{path}: is missing; add the stage dense.")
        return checkpoint.load(path)

    def _copy_of_dense(self) -> nn.Module:
        return checkpoint.load(RunFolder(self.folder).checkpoint("dense")).model

    def _pruned(self, name: str, share: float, criterion: str, treatment: str) -> Network:
        graph, dense = graph_of(self.dense.spec), self.dense.model
        torch.manual_seed(100 * self.recipe.seed + self.recipe.data.fold)  # for the criterion `random`
        scores = score_groups(dense, graph, criterion, batches=self._batches(criterion))
        kept = choose_filters(scores, self._widths(share))
        model, spec = remove_filters(dense, self.dense.spec, kept)
        if not treatment.startswith("cut"):
            from edgeprune.pruning.reconstruction import reconstruct

            model = reconstruct(dense, model, kept, graph, self._batches("reconstruction"))
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
            title=f"{self.recipe.data.name} seed {self.recipe.seed} fold {self.recipe.data.fold} {name}",
            teacher=self.dense.model if settings.distillation else None,
        )
        for state in training.glob("*.ckpt"):
            state.unlink()
        return model, spec

    def _predict(self, name: str, model: Any) -> None:
        clips = self.data.test
        probabilities = torch_probabilities(model, self.data.patches(clips))
        path = self.folder / f"{name}.csv"
        write_predictions(path, list(clips["filename"]), list(clips["label"]), probabilities, self.data.classes)
        right = (np.asarray(self.data.classes)[probabilities.argmax(1)] == clips["label"].to_numpy()).mean()
        say(f"{self.recipe.data.name} seed {self.recipe.seed} fold {self.recipe.data.fold}: {name} {100 * right:.1f} %")
