"""What a MODEL on the command line stands for: a registry name, a run folder, a checkpoint or a file."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.console import say
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel, Recipe
from edgeprune.recipe_files import load_recipe
from edgeprune.results.result import NetworkName
from edgeprune.results.run_folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeprune.firmware.stream_costs import StreamCosts
    from edgeprune.graph.cost import Cost
    from edgeprune.models.checkpoint import Checkpoint
    from edgeprune.models.registry import ModelSpec


@dataclass(frozen=True)
class ModelArgument:
    """A network: the checkpoint at `path`, or one of the registry with random weights, without a path."""

    spec: "ModelSpec"
    path: Path | None = None
    checkpoint: "Checkpoint | None" = None

    def model(self) -> "nn.Module":
        """The network in evaluation mode; a warning says that weights are random, which are the same each time."""
        if self.checkpoint is not None:
            return self.checkpoint.model
        import torch

        from edgeprune.models.registry import build

        say(f"warning: {self.spec.name} is a registry name, so its weights, and all scores of them, are random")
        torch.manual_seed(0)
        return build(self.spec).eval()

    def describe(self) -> dict[str, Any]:
        """Where it came from and what it takes, for JSON."""
        shape = list(self.spec.input_shape)
        checkpoint = None if self.path is None else str(self.path)
        return {"model": self.spec.name, "checkpoint": checkpoint, "input_shape": shape, "classes": self.spec.classes}

    def input_s(self) -> float | None:
        """Seconds of audio a network input holds; None for images and for registry names."""
        frontend = None if self.checkpoint is None else self.frontend()
        return frontend.patch_s if frontend else None

    def frontend(self) -> LogMel | None:
        """Its log-mel front-end; the preset of a registry name; None for images."""
        if self.checkpoint is not None:
            stored = self.checkpoint.extra.get("frontend")
            return LogMel.from_dict(stored) if stored else None
        from edgeprune.models.registry import entry

        network = entry(self.spec.name)
        if not network.frontend:
            return None
        preset: LogMel = getattr(LogMel, network.frontend)()
        frames = self.spec.input_shape[1 if network.layout == "frames_mels" else 2]
        return replace(preset, patch_frames=frames, patch_hop_frames=frames)

    def stream_costs(self, with_frontend: bool) -> "StreamCosts":
        """What its program of streaming C takes by its widths, without or with its front-end."""
        import torch

        from edgeprune.firmware.stream_costs import stream_costs
        from edgeprune.graph.cost import graph_of
        from edgeprune.models.registry import build, entry

        with torch.device("meta"):  # no memory for the weights
            model = build(self.spec)
        frontend = self.frontend()
        layout = None if frontend is None else entry(self.spec.name).layout
        graph = graph_of(self.spec)
        return stream_costs(model, graph, self.spec.input_shape, layout, frontend if with_frontend else None)

    def title(self) -> str:
        """One line for the head of a table."""
        shape = "x".join(str(size) for size in self.spec.input_shape)
        where = f" ({self.path})" if self.path else ""
        return f"{self.spec.name}{where}, input {shape}, {self.spec.classes} classes"

    def run_data(self, why: str) -> tuple[Recipe, Any]:
        """The recipe and the data of the run that the checkpoint lies in."""
        from edgeprune.running.data import load_data_of

        if self.path is None or self.checkpoint is None or not RunFolder(self.path.parent).is_run:
            raise EdgepruneError(f"{why}; give a run folder, whose recipe says which.")
        recipe = load_recipe(str(self.path.parent))
        return recipe, load_data_of(recipe, self.checkpoint)

    def score_batches(self, criteria: Sequence[str]) -> Callable[[str], Any]:
        """A function that gives a criterion fresh training clips, or None to a criterion that needs no clips."""
        from edgeprune.data.load import score_batches
        from edgeprune.pruning.scores import criterion

        active = [name for name in criteria if criterion(name).active]
        if not active:
            return lambda _: None
        recipe, data = self.run_data(f"{active[0]}: judges filters by what training clips make of them")
        return lambda name: score_batches(data, recipe.prune.clips, name) if name in active else None

    def scores(self, criteria: Sequence[str], dense_layers: bool = False) -> dict[str, dict[str, list[float]]]:
        """Scores by criterion of the filters of each layer (or layers that belong together) that may be pruned."""
        import torch

        from edgeprune.graph.cost import graph_of
        from edgeprune.pruning.group_scores import score_groups

        # a wrong name, or missing data, is refused before a large network is made
        batches = self.score_batches(criteria)
        model, graph = self.model(), graph_of(self.spec)
        scores = {}
        for name in criteria:
            torch.manual_seed(0)  # for the criterion `random`, whatever was scored before it
            by_layer = score_groups(model, graph, name, dense_layers, batches(name))
            scores[name] = {layer: values.tolist() for layer, values in by_layer.items()}
        return scores


def resolve_model(
    model: str,
    stages: Sequence[NetworkName],
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> ModelArgument:
    """Resolve a registry name, a run folder or a checkpoint.

    Of a run folder the first checkpoint of `stages` that is there is taken. The input `(channels, height, width)` and
    the classes are of a registry's network; a checkpoint has its own.
    """
    from edgeprune.models import checkpoint, registry

    path = Path(model)
    if model not in registry.ENTRIES and (path.is_dir() or path.suffix == ".ckpt"):
        path = _checkpoint_of(path, stages) if path.is_dir() else path
        if shape is not None or classes is not None:
            raise EdgepruneError(
                f"{path}: a checkpoint has its own input and classes; leave out --input and --classes."
            )
        loaded = checkpoint.load(path)
        return ModelArgument(loaded.spec, path, loaded)
    if path.suffix in (".onnx", ".tflite"):
        raise EdgepruneError(
            f"{model}: filters are scored and pruned in a network, not in a file; give the run folder or the .ckpt it "
            "is from."
        )
    if path.exists() or path.parent != Path("."):
        raise EdgepruneError(f"{model}: is no run folder and no .ckpt file; give one of these or a registry name.")
    return ModelArgument(registry.make_spec(model, 10 if classes is None else classes, shape))


def _checkpoint_of(folder: Path, stages: Sequence[NetworkName]) -> Path:
    paths = [RunFolder(folder).checkpoint(stage) for stage in stages]
    for path in paths:
        if path.is_file():
            return path
    names = " nor ".join(path.name for path in paths)
    missing = f"neither {names}" if len(paths) > 1 else f"no {names}"
    raise EdgepruneError(f"{folder}: holds {missing}; give a run folder whose training has finished.")


def cost_of(
    model: "nn.Module | os.PathLike[str] | str",
    example_input: "Tensor | tuple[Tensor, ...] | None" = None,
    classes: int | None = None,
) -> "Cost":
    """Cost of a module, or of what a MODEL on the command line may be; see `edgeprune.cost`."""
    if not isinstance(model, os.PathLike | str):
        from edgeprune.graph.cost import count
        from edgeprune.graph.trace import trace

        if example_input is None:
            raise EdgepruneError("cost: a module needs an example of its input, as torch.zeros(1, 1, 40, 51).")
        if classes is not None:
            raise EdgepruneError("cost: a module has its own classes; leave out classes.")
        return count(trace(model, example_input))
    path = Path(model)
    if path.suffix in (".onnx", ".tflite"):
        if example_input is not None or classes is not None:
            raise EdgepruneError(f"{path}: a file has its own input and classes; leave these out.")
        return cost_of_file(path)
    from edgeprune.graph.cost import cost

    if isinstance(example_input, tuple):
        raise EdgepruneError(f"{model}: takes one input, not {len(example_input)}.")
    shape = None if example_input is None else tuple(example_input.shape[1:])
    if shape is not None and len(shape) != 3:
        raise EdgepruneError(f"{model}: its input is [n, channels, height, width].")
    return cost(resolve_model(str(path), ("pruned", "dense"), shape, classes).spec)


def cost_of_file(path: Path) -> "Cost":
    """Cost of an .onnx or .tflite file."""
    if path.suffix == ".onnx":
        from edgeprune.convert.onnx_graph import cost_of_onnx

        return cost_of_onnx(path)
    from edgeprune.tflite.cost import cost_of_tflite
    from edgeprune.tflite.sidecar import check_unchanged

    check_unchanged(path)
    return cost_of_tflite(path)
