"""What a MODEL on the command line stands for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.console import say
from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeprune.graph.cost import Cost
    from edgeprune.models.checkpoint import Checkpoint
    from edgeprune.models.registry import ModelSpec
    from edgeprune.recipe import LogMel
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Network:
    """What a MODEL on the command line stands for; `path` is None for a registry name, whose weights are random."""

    spec: "ModelSpec"
    path: Path | None
    checkpoint: "Checkpoint | None" = None

    def model(self) -> "nn.Module":
        """The network in evaluation mode; random weights are the same each time, and are said to be random."""
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
        """Seconds of audio a network input holds; None where it is not known, or images."""
        from edgeprune.recipe import LogMel

        stored = None if self.checkpoint is None else self.checkpoint.extra.get("frontend")
        return LogMel(**stored).patch_s if stored else None

    def frontend(self) -> "LogMel | None":
        """Its log-mel front-end, of a registry's network the preset; None for images."""
        from edgeprune.models.registry import entry
        from edgeprune.recipe import LogMel

        if self.checkpoint is not None:
            described = self.checkpoint.extra.get("frontend")
            return LogMel(**described) if described else None
        found = entry(self.spec.name)
        if not found.frontend:
            return None
        preset: LogMel = getattr(LogMel, found.frontend)()
        frames = self.spec.input_shape[1 if found.layout == "frames_mels" else 2]
        return replace(preset, patch_frames=frames, patch_hop_frames=frames)

    def title(self) -> str:
        """One line for the head of a table."""
        shape = "x".join(str(size) for size in self.spec.input_shape)
        where = f" ({self.path})" if self.path else ""
        return f"{self.spec.name}{where}, input {shape}, {self.spec.classes} classes"


def find_network(
    model: str, stages: Sequence[str], shape: tuple[int, int, int] | None = None, classes: int | None = None
) -> Network:
    """Resolve a registry name, a run folder or a checkpoint.

    Args:
        stages: which checkpoint of a run folder to take, the first that is there: `pruned`, `dense`.
        shape: input of a registry's network, `(channels, height, width)`; a checkpoint has its own.
        classes: outputs of a registry's network; a checkpoint has its own.

    Raises:
        EdgepruneError: there is no such model, or it is a file that is not read here.
    """
    from edgeprune.models import checkpoint, registry

    path = Path(model)
    if model not in registry.ENTRIES and (path.is_dir() or path.suffix == ".ckpt"):
        path = _checkpoint_of(path, stages) if path.is_dir() else path
        if shape is not None or classes is not None:
            raise EdgepruneError(
                f"{path}: a checkpoint has its own input and classes; leave out --input and --classes."
            )
        found = checkpoint.load(path)
        return Network(found.spec, path, found)
    if path.suffix in (".onnx", ".tflite"):
        raise EdgepruneError(
            f"{model}: filters are scored and pruned in a network, not in a file; give the run folder or the .ckpt it "
            "is from."
        )
    if path.exists() or path.parent != Path("."):
        raise EdgepruneError(f"{model}: is no run folder and no .ckpt file; give one of these or a registry name.")
    return Network(registry.make_spec(model, 10 if classes is None else classes, shape), None)


def _checkpoint_of(folder: Path, stages: Sequence[str]) -> Path:
    found = [folder / f"{stage}.ckpt" for stage in stages if (folder / f"{stage}.ckpt").is_file()]
    if not found:
        names = [f"{stage}.ckpt" for stage in stages]
        missing = f"neither {' nor '.join(names)}" if len(names) > 1 else f"no {names[0]}"
        raise EdgepruneError(f"{folder}: holds {missing}; give a run folder whose training has finished.")
    return found[0]


def score_batches_of(network: Network, criteria: Sequence[str]) -> Callable[[str], Any]:
    """For each criterion anew, training clips of the run a checkpoint lies in; None for those that need no clips."""
    from edgeprune.data.load import score_batches
    from edgeprune.pruning.scores import criterion

    active = [name for name in criteria if criterion(name).active]
    if not active:
        return lambda _: None
    recipe, data = data_of(network, f"{active[0]}: judges filters by what training clips make of them")
    return lambda name: score_batches(data, recipe.prune.clips, name) if criterion(name).active else None


def data_of(network: Network, why: str) -> tuple[Any, Any]:
    """Recipe and data of the run a checkpoint lies in.

    Raises:
        EdgepruneError: it lies in none; the sentence begins with `why` data are needed.
    """
    from edgeprune.recipe_files import load_recipe
    from edgeprune.running.data import load_data_of

    path = network.path
    if path is None or network.checkpoint is None or not (path.parent / "recipe.json").is_file():
        raise EdgepruneError(f"{why}; give a run folder, whose recipe says which.")
    recipe = load_recipe(str(path.parent))
    return recipe, load_data_of(recipe, network.checkpoint)


def cost_of(
    model: "nn.Module | Path | str",
    example_input: "Tensor | tuple[Tensor, ...] | None" = None,
    classes: int | None = None,
) -> "Cost":
    """Cost of a module, or of what a MODEL on the command line may be; see `edgeprune.cost`."""
    if not isinstance(model, Path | str):
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
        if path.suffix == ".onnx":
            from edgeprune.convert.onnx_graph import cost_of_onnx

            return cost_of_onnx(path)
        from edgeprune.tflite.cost import cost_of_tflite

        return cost_of_tflite(path)
    from edgeprune.graph.cost import cost

    if isinstance(example_input, tuple):
        raise EdgepruneError(f"{model}: takes one input, not {len(example_input)}.")
    shape = None if example_input is None else tuple(example_input.shape[1:])
    if shape is not None and len(shape) != 3:
        raise EdgepruneError(f"{model}: its input is [n, channels, height, width].")
    return cost(find_network(str(model), ("pruned", "dense"), shape, classes).spec)
