"""Figures of runs, comparisons, networks and clips, each a `matplotlib.figure.Figure` on white.

    result = edgeprune.load("runs/quickstart-fold1-seed0")
    edgeprune.plots.history(result).savefig("history.pdf")

A notebook shows the figure that a cell ends with. The command line draws the same: `edgeprune plot`, `edgeprune score
--plot`, `edgeprune budget --plot` and `edgeprune data show`.
"""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from edgeprune.comparing.comparison import Comparison
    from edgeprune.recipe import Budget, Data, LogMel, Prune
    from edgeprune.results.result import Result

__all__ = ["clips", "confusion", "frontier", "history", "layer_costs", "pareto", "scores"]


def history(result: "Result") -> "Figure":
    """Loss and validation accuracy by epoch, of the dense network's training and of fine-tuning.

    Raises:
        EdgepruneError: the result holds no history.
    """
    from edgeprune.reporting.run_figures import history_figure

    return history_figure(result)


def confusion(result: "Result", form: str | None = None) -> "Figure":
    """Clips by true class (rows) and predicted class (columns); the shade is the share of the true class.

    Args:
        result: of a run that tells one class a clip.
        form: whose matrix, as `pruned int8` or `dense float32` (default: the file that ships).

    Raises:
        EdgepruneError: the result holds no such matrix.
    """
    from edgeprune.reporting.run_figures import confusion_figure

    return confusion_figure(result, form)


def layer_costs(result: "Result") -> "Figure":
    """MACs and parameters of each layer before and after pruning; of many layers, of the 16 costliest.

    Raises:
        EdgepruneError: the result holds no costs by layer.
    """
    from edgeprune.reporting.run_figures import layer_figure

    return layer_figure(result)


def pareto(comparison: "Comparison", cost: str = "macs") -> "Figure":
    """Accuracy against a cost: a point a variant with its 95 % intervals, and a line along the Pareto front.

    Args:
        comparison: what `edgeprune.compare` gives.
        cost: `macs`, `params`, `bytes` (of the file), `flash_bytes`, `peak_ram_bytes`, or a device whose latency is
            known, as `host`.

    Raises:
        EdgepruneError: there is no such cost, or no variant has it.
    """
    from edgeprune.comparing.report.pareto_figure import pareto_figure

    return pareto_figure(comparison, cost)


def scores(
    model: "nn.Module | os.PathLike[str] | str",
    criteria: Sequence[str] = ("operator_norm",),
    example_input: "Tensor | tuple[Tensor, ...] | None" = None,
    batches: "Iterable[tuple[Tensor, Tensor]] | None" = None,
) -> "Figure":
    """The sorted scores of the filters, a panel a layer and a line a criterion, as shares of the largest.

    Args:
        model: a run folder (its dense network, else its pruned one), a .ckpt file or a registry name; or a module.
        criteria: how filters are judged; those that look at data take the training clips of the run.
        example_input: a module's input `[n, channels, ...]`, or a tuple of its inputs.
        batches: of a module, inputs and labels for criteria that look at data.

    Raises:
        EdgepruneError: there is no such model or criterion, or a module comes without an example.
    """
    from edgeprune.reporting.network_figures import score_figure

    if isinstance(model, os.PathLike | str):
        from edgeprune.cli.model_argument import resolve_model

        return score_figure(resolve_model(str(model), ("dense", "pruned")).scores(criteria))
    from edgeprune.graph.trace import trace
    from edgeprune.pruning.group_scores import score_groups

    if example_input is None:
        raise EdgepruneError("scores: a module needs an example of its input, as torch.zeros(1, 1, 40, 51).")
    graph, seen = trace(model, example_input), None if batches is None else list(batches)
    by_criterion = {name: score_groups(model, graph, name, batches=seen) for name in criteria}
    return score_figure(
        {name: {layer: values.tolist() for layer, values in layers.items()} for name, layers in by_criterion.items()}
    )


def frontier(
    model: "nn.Module",
    example_input: "Tensor | tuple[Tensor, ...]",
    budget: "Budget",
    settings: "Prune | None" = None,
    batches: "Iterable[tuple[Tensor, Tensor]] | None" = None,
) -> "Figure":
    """The scores that the best allocation keeps over a range of budgets, beside the same share of every layer.

    Args:
        model: any network that `torch.export` can trace.
        example_input: `[n, channels, ...]`, or a tuple of the network's inputs.
        budget: limits on parameters, MACs, flash and RAM; the range is from a quarter of them to four times.
        settings: as of `edgeprune.prune`.
        batches: inputs and labels, for criteria that look at data and the objective `sensitivity`.

    Raises:
        EdgepruneError: the network cannot be traced, or the criterion cannot judge it.
        InfeasibleBudgetError: even four times the budget cannot be met.
    """
    from edgeprune.graph.trace import trace
    from edgeprune.pruning.frontier import frontier as over_budgets
    from edgeprune.pruning.prune import score_filters
    from edgeprune.recipe import Prune
    from edgeprune.reporting.network_figures import frontier_figure

    seen = None if batches is None else list(batches)
    rules = (settings or Prune()).check()
    scored = score_filters(model, example_input, trace(model, example_input), rules, seen, seen)
    return frontier_figure(over_budgets(scored, budget))


def clips(data: "Data", frontend: "LogMel", per_class: int = 2, classes: Sequence[str] = ()) -> "Figure":
    """The log-mel of a few clips of each class, as a network with this front-end hears them.

    Args:
        data: as in a recipe: name of the data set, its folder `root`, fold.
        frontend: as in a recipe.
        per_class: clips of each class, evenly spaced over the training part.
        classes: only these (default: all, up to 12).

    Raises:
        EdgepruneError: there is no such data set, a clip cannot be read, or the front-end does not take it.
    """
    from edgeprune.data.shown_clips import shown_clips
    from edgeprune.reporting.logmel_figure import logmel_figure

    return logmel_figure(shown_clips(data, frontend, per_class, classes), frontend)
