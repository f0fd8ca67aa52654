"""edgeprune: train, prune, export and measure audio networks that must fit a device."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from edgeprune import script
from edgeprune.version import __version__ as __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeprune.pruning.allocation.plan import Plan
    from edgeprune.recipe import Budget, Prune, Recipe


def _run_script(recipe: "Recipe", args: Sequence[str]) -> int:
    from edgeprune.cli.main import run_recipe

    return run_recipe(recipe, args)


script.set_runner(_run_script)


def score(weight: "Tensor", criterion: str = "operator_norm") -> "Tensor":
    """Score the filters of one layer; those with the lowest scores are pruned first.

    Args:
        weight: `[filters, channels, *kernel]`.
        criterion: a name from `edgeprune.pruning.scores.CRITERIA`; `operator_norm` is Singh & Plumbley's, "Efficient
            CNNs via Passive Filter Pruning", TASLP 2025.

    Returns:
        `[filters]`, float64.

    Raises:
        EdgepruneError: the criterion is unknown, the weight is no layer's, or it holds NaN or infinite values.
    """
    # PyTorch takes seconds to import; whoever has a tensor has paid for it.
    from edgeprune.pruning.scores import score as score_layer

    return score_layer(weight, criterion)


def prune(
    model: "nn.Module",
    example_input: "Tensor | tuple[Tensor, ...]",
    budget: "Budget | None" = None,
    criterion: str = "operator_norm",
    rules: "Prune | None" = None,
    batches: "Iterable[tuple[Tensor, Tensor]] | None" = None,
) -> "tuple[nn.Module, Plan]":
    """Prune whole filters of any network until it fits a budget; fine-tune it afterwards as you trained it.

        slim, plan = edgeprune.prune(model, torch.zeros(1, 1, 40, 51), Budget(macs=10_000_000, params=30_000))

    Layers that depend on each other (residual sums, depthwise convolutions, concatenations) stay consistent. What the
    network's input and output fix, and grouped convolutions, are left as they are.

    Args:
        model: any network that `torch.export` can trace; left as it is.
        example_input: `[n, channels, ...]`, or a tuple of the network's inputs; its size decides MACs and memory.
        budget: limits; None where `rules` say how much to keep.
        criterion: a name from `edgeprune.pruning.scores.CRITERIA`.
        rules: share to keep, fewest filters a layer, multiples, objective, whether hidden dense layers are pruned.
        batches: network inputs `[n, ...]` and labels `[n]`, for criteria that look at data and the objective
            `sensitivity`.

    Returns:
        the pruned copy, on the model's device and in evaluation mode, and the plan: widths, costs, limits asked and
        reached.

    Raises:
        EdgepruneError: the network cannot be traced or holds nothing to prune, or the criterion cannot judge it.
        InfeasibleBudgetError: even the narrowest network exceeds the budget.
    """
    from edgeprune.pruning.prune import prune as prune_network

    limit = None if budget is None else budget.latency()
    latency = None
    if limit is not None:
        from edgeprune.devices.profile import Profile
        from edgeprune.errors import EdgepruneError
        from edgeprune.pruning.allocation.latency import LatencyLimit

        if rules is None or rules.profile is None:
            raise EdgepruneError("prune: a limit on latency needs a latency table; give rules=Prune(profile=FILE).")
        latency = LatencyLimit(limit[0], Profile.load(rules.profile))
    return prune_network(model, example_input, budget, criterion, rules, batches, latency)


def __getattr__(name: str) -> Any:
    # the command line's `--help` must not wait for what it does not use
    if name in ("Budget", "Prune"):
        from edgeprune import recipe

        return getattr(recipe, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
