"""edgeprune: train, prune, export and measure audio networks that must fit a device."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from edgeprune import script
from edgeprune.version import __version__ as __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeprune.pruning.allocation.allocate import Allocation
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
    settings: "Prune | None" = None,
    batches: "Iterable[tuple[Tensor, Tensor]] | None" = None,
) -> "tuple[nn.Module, Allocation]":
    """Prune whole filters of any network until it fits a budget; fine-tune it afterwards as you trained it.

        slim, allocation = edgeprune.prune(model, torch.zeros(1, 1, 40, 51), Budget(macs=10_000_000, params=30_000))

    Layers that depend on each other (residual sums, depthwise convolutions, concatenations) stay consistent. What the
    network's input and output fix, and grouped convolutions, are left as they are.

    Args:
        model: any network that `torch.export` can trace; it is left as it is.
        example_input: `[n, channels, ...]`, or a tuple of the network's inputs; its size decides MACs and memory.
        budget: limits; None where `settings.keep` alone says how much stays.
        settings: criterion, objective, share to keep, fewest filters a layer, multiples, whether hidden dense layers
            are pruned, latency profile.
        batches: network inputs `[n, ...]` and labels `[n]`, for criteria that look at data and for the objective
            `sensitivity`.

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
        from edgeprune.errors import EdgepruneError

        profile = LatencyProfile.load(settings.profile)
        if profile.device != limit[1]:
            raise EdgepruneError(f"{settings.profile}: is a profile of {profile.device}, not of {limit[1]}.")
    return prune_network(model, example_input, budget, settings, batches, profile)


def __getattr__(name: str) -> Any:
    # the command line's `--help` must not wait for what it does not use
    if name in ("Budget", "Prune"):
        from edgeprune import recipe

        return getattr(recipe, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
