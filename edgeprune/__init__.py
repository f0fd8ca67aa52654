"""edgeprune: train, prune, export and measure audio networks that must fit a device.

This is the public API; everything else may change. Results show themselves as tables in a notebook, and `.table()`
gives a pandas DataFrame. Importing it is quick: what a function needs is imported when it is called.
"""

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune import script
from edgeprune.version import __version__ as __version__

if TYPE_CHECKING:
    from typing import Unpack

    from torch import Tensor, nn

    from edgeprune import plots as plots
    from edgeprune.comparing.compare import compare as compare
    from edgeprune.devices.bench import bench as bench
    from edgeprune.graph.cost import Cost
    from edgeprune.pruning.allocation.allocate import Allocation
    from edgeprune.recipe import Bench as Bench
    from edgeprune.recipe import Budget as Budget
    from edgeprune.recipe import Data as Data
    from edgeprune.recipe import Export as Export
    from edgeprune.recipe import LogMel as LogMel
    from edgeprune.recipe import Model as Model
    from edgeprune.recipe import Prune as Prune
    from edgeprune.recipe import Recipe as Recipe
    from edgeprune.recipe import Train as Train
    from edgeprune.results.run_folder import load as load
    from edgeprune.running.evaluate import evaluate as evaluate
    from edgeprune.running.export_module import ExportedNetwork, ExportSettings
    from edgeprune.running.network_file import load_tflite as load_tflite
    from edgeprune.running.run import run as run

_HOMES = {
    "bench": "devices.bench",
    "compare": "comparing.compare",
    "evaluate": "running.evaluate",
    "load": "results.run_folder",
    "load_tflite": "running.network_file",
    "run": "running.run",
    **dict.fromkeys(("Bench", "Budget", "Data", "Export", "LogMel", "Model", "Prune", "Recipe", "Train"), "recipe"),
}
"""Where each public name comes from that is not defined here; it is imported when it is first used."""

__all__ = [
    "Bench",
    "Budget",
    "Data",
    "Export",
    "LogMel",
    "Model",
    "Prune",
    "Recipe",
    "Train",
    "bench",
    "compare",
    "cost",
    "deploy",
    "evaluate",
    "export",
    "load",
    "load_tflite",
    "plots",
    "prune",
    "run",
    "score",
]


def cost(
    model: "nn.Module | os.PathLike[str] | str",
    example_input: "Tensor | tuple[Tensor, ...] | None" = None,
    *,
    classes: int | None = None,
) -> "Cost":
    """Parameters, MACs, flash and RAM of a network, in all and layer by layer.

        edgeprune.cost("dcase21").macs
        edgeprune.cost(my_module, torch.zeros(1, 1, 40, 51)).table()

    Args:
        model: a module; or a registry name, a run folder (its pruned network, else its dense one), a .ckpt, .onnx or
            .tflite file.
        example_input: a module's input `[n, channels, ...]`, or a tuple of its inputs; a registry name's input.
        classes: outputs of a registry's network (default: 10).

    Raises:
        EdgepruneError: there is no such model, it cannot be read or traced, or an argument does not apply to it.
    """
    from edgeprune.cli.model_argument import cost_of

    return cost_of(model, example_input, classes)


def score(weight: "Tensor", criterion: str = "operator_norm") -> "Tensor":
    """Score the filters of one layer; those with the lowest scores are pruned first.

    Args:
        weight: `[filters, channels, *kernel]`.
        criterion: a criterion that looks at weights alone; `operator_norm` is Singh & Plumbley's, "Efficient CNNs via
            Passive Filter Pruning", TASLP 2025.

    Returns:
        `[filters]`, float64.

    Raises:
        EdgepruneError: the criterion is unknown, the weight is no layer's, or it holds NaN or infinite values.
    """
    from edgeprune.pruning.scores import score as score_layer

    return score_layer(weight, criterion)


def prune(
    model: "nn.Module",
    example_input: "Tensor | tuple[Tensor, ...]",
    budget: "Budget | None" = None,
    settings: "Prune | None" = None,
    batches: "Iterable[Tensor | tuple[Tensor | tuple[Tensor, ...], Tensor]] | None" = None,
) -> "tuple[nn.Module, Allocation]":
    """Prune whole filters of any network until it fits a budget; fine-tune it afterwards as you trained it.

        slim, allocation = edgeprune.prune(model, clips[:1], Budget(macs="10M", params="30k"), batches=clips.split(20))

    Layers that depend on each other (residual sums, depthwise convolutions, concatenations) stay consistent. A grouped
    convolution loses whole groups. A layer keeps all filters where they reach the network's output, or where a filter
    that is zero would still change the output.

    Args:
        model: any network that `torch.export` can trace; it is left as it is.
        example_input: `[n, channels, ...]`, or a tuple of the network's inputs; its size decides MACs and memory.
        budget: limits; None where `settings.keep` alone says how much stays.
        settings: criterion, objective, share to keep, fewest filters a layer, multiples, whether hidden dense layers
            are pruned, whether the layers that remain are fitted anew (`reconstruct`), latency profile.
        batches: some hundred training clips, as network inputs `[n, ...]` or as pairs of them and labels `[n]`. The
            layers that remain are fitted on them; criteria that look at data need them, and `taylor` and the objective
            `sensitivity` their labels. Without clips the network stays as the cut leaves it, and a warning says so.

    Returns:
        the pruned copy, on the model's device and in evaluation mode; and the allocation: widths, cost, limits asked
        for and reached.

    Raises:
        EdgepruneError: the network cannot be traced or has nothing to prune, the criterion cannot judge it, or a
            setting does not apply (`steps` and `restart` need training).
        InfeasibleBudgetError: even the narrowest network exceeds the budget.
    """
    from edgeprune.pruning.prune import prune as prune_network

    limit = None if budget is None else budget.latency()
    profile = None
    if limit is not None and settings is not None and settings.profile is not None:
        from edgeprune.devices.latency_profile import LatencyProfile

        profile = LatencyProfile.load(settings.profile).on(limit[1], settings.profile)
    runtime = None
    if budget is not None and budget.limits_program:
        from edgeprune.firmware.stream_costs import costs_by_graph

        runtime = costs_by_graph(model, example_input)
    return prune_network(model, example_input, budget, settings, batches, profile, runtime)


def export(
    model: "nn.Module",
    example: "Tensor | tuple[Tensor, ...]",
    calibration: Any = None,
    **settings: "Unpack[ExportSettings]",
) -> "ExportedNetwork":
    """Write a module as ONNX and as TFLite files, each held to what the module computes.

        files = edgeprune.export(slim, mel, training_patches, labels=["dog", "rain"], output="softmax", out="files")
        files["int8"].bench("cortex-m4")

    Shapes without TRANSPOSE: a TFLite file has channels last, and whatever flattens or reshapes is brought into that
    order. Batch norm is folded, dropout removed. A file carries labels, front-end and normalisation, and has a sidecar.

    Args:
        model: any module that `torch.export` can trace, of one input; it is left as it is.
        example: an input `[n, channels, ...]`.
        calibration: inputs of the training split `[n, ...]`, as the module takes them: they set the ranges of int8 and
            int16x8, and the files are compared with the module on them. None: no format that needs them is written.
        labels: names of the classes (`labels=["dog", "rain"]`; default: `output 0` ...).
        frontend: the `LogMel` whose patches the module takes; without it no audio can be fed to the files.
        normalisation: mean and standard deviation, of each mel band or of all, that log-mel is normalised by before it
            enters the module.
        output: what is put behind the module: `softmax` (default) or `sigmoid`; or what it gives itself: `logits` of
            classes, or numbers of another kind (`none`).
        formats: of `float32`, `float16`, `dynamic`, `int8`, `int16x8` (default: all).
        name: of the files, `<name>.onnx` and `<name>_<format>.tflite` (default: model).
        out: folder to write to (default: the current one).

    Raises:
        EdgepruneError: the module cannot be traced, TFLite lacks an operator of it (named with the module it is in), or
            a setting does not fit what it gives.
        CheckFailedError: a file does not compute what the module does.
    """
    from edgeprune.running.export_module import export_module

    return export_module(model, example, calibration, settings)


def deploy(
    model: "os.PathLike[str] | str", target: str, out: "os.PathLike[str] | str", clips: "Sequence[Path | str]" = ()
) -> Path:
    """Write a bundle that builds into firmware or an app: the network, its front-end in C, test vectors.

        edgeprune.deploy(files["int8"], "c11", "firmware")

    Args:
        model: an int8 .tflite that carries labels and front-end, or a run folder.
        target: `c11`, `tflm`, `esp-idf`, `zephyr`, `arduino`, `android` or `web` (a page that listens).
        out: folder to write; it must be absent or empty.
        clips: audio for the test vectors (default: evaluation clips of the run, else synthetic scenes).

    Raises:
        EdgepruneError: there is no such file or target, the file is not int8 or describes no front-end.
    """
    from edgeprune.bundles.deployment import Deployment
    from edgeprune.bundles.targets import runtime_of, write_bundle
    from edgeprune.submitting.card import card_of_model

    card = card_of_model(Path(model)) if target == "web" else None
    deployment = Deployment(runtime=runtime_of(target, None), card=card)
    return write_bundle(Path(model), target, Path(out), [Path(clip) for clip in clips], deployment)


def _run_script(recipe: "Recipe", args: Sequence[str]) -> int:
    from edgeprune.cli.main import run_recipe

    return run_recipe(recipe, args)


script.set_runner(_run_script)


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("edgeprune.plots")
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"edgeprune.{_HOMES[name]}"), name)
    globals()[name] = value  # a module of the same name does not stand in its way
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
