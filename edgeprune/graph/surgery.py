"""Removing filters from a network, and the proof that it computes what it did with these filters silenced."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgeprune.errors import EdgepruneError
from edgeprune.graph.comparison import difference_of
from edgeprune.graph.cost import graph_of
from edgeprune.graph.cutting import PlainWeights, cut, entries_to_cut, silence
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import ModelSpec, build

TOLERANCE = 1e-5
"""The largest difference between the pruned and the silenced network, as a share of the largest output."""


class UnlikeSilencedError(EdgepruneError):
    """A network without some filters does not compute what it does with these filters silenced.

    Attributes:
        reasons: by group, what happened when it alone was pruned.
        runs: whether the network runs at all without these filters.
    """

    def __init__(self, message: str, reasons: Mapping[str, str], runs: bool = True) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)
        self.runs = runs


def remove(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], graph: Graph, kept: Mapping[str, Sequence[int]]
) -> nn.Module:
    """A copy of the network without the filters that are not kept, in evaluation mode on the CPU.

    Everything that depends on a filter goes with it: the same filter of the other layers in its group, its batch norm,
    its channel in the next layers, and its columns of the next dense layer after a flatten.

    Before it returns, the pruned network and the one in which the same filters are silenced (their weights and biases,
    and the scale and shift of the norm behind them, are zero) run on the example and on random inputs.

    `example` is the input `graph` was traced with; `kept` has the filters by group, and groups it lacks keep theirs.

    Raises:
        UnlikeSilencedError: the two differ by more than 1e-5 of the largest output, or the pruned network does not run.
    """
    _check(graph, kept)
    inputs = tuple(x.detach().cpu() for x in (example if isinstance(example, tuple) else (example,)))
    gone = {name: keep for name, keep in kept.items() if len(set(keep)) < graph.groups[name].filters}
    pruned, wrong = _pruned(model, inputs, graph, gone)
    if wrong:
        raise _unlike_silenced(model, inputs, graph, gone, wrong)
    return pruned


def _pruned(
    model: nn.Module, inputs: tuple[Tensor, ...], graph: Graph, kept: Mapping[str, Sequence[int]]
) -> tuple[nn.Module, str]:
    """The pruned copy, and what is wrong with it; "" if nothing is."""
    pruned = _copied(model, inputs)
    if not kept:
        return pruned, ""
    entries = entries_to_cut(graph, kept)
    plain = PlainWeights(pruned)
    wrong = difference_of(pruned, inputs, lambda: silence(pruned, entries), lambda: cut(pruned, entries), TOLERANCE)
    if wrong and "not run" not in wrong:  # single precision adds up in another order: is it only that?
        exact = _copied(model, inputs).double()
        PlainWeights(exact)
        doubled = tuple(x.double() if x.is_floating_point() else x for x in inputs)
        wrong = difference_of(exact, doubled, lambda: silence(exact, entries), lambda: cut(exact, entries), TOLERANCE)
    plain.restore()
    return pruned, wrong


def _copied(model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """A copy in evaluation mode on the CPU, without gradients."""
    try:
        copied = copy.deepcopy(model).cpu().eval()
    except RuntimeError:  # weights that `weight_norm` computed in training cannot be copied, those of inference can
        device = next(model.parameters()).device
        with torch.no_grad(), evaluating(model):
            model(*(x.to(device) for x in inputs))
        copied = copy.deepcopy(model).cpu().eval()
    copied.zero_grad(set_to_none=True)
    return copied


def _unlike_silenced(
    model: nn.Module, inputs: tuple[Tensor, ...], graph: Graph, kept: Mapping[str, Sequence[int]], wrong: str
) -> UnlikeSilencedError:
    """The error that names the groups which alone go wrong, or all of them where none does."""
    held = _held_by_a_function(model, inputs)
    if held:
        wrong = (
            f"still runs '{held}' of the network it was copied from, because a function of the network holds it (such "
            "as a lambda in __init__); make that function a method"
        )
        return UnlikeSilencedError(f"{type(model).__name__}: its copy {wrong}.", dict.fromkeys(kept, wrong))
    reasons = {name: _pruned(model, inputs, graph, {name: keep})[1] for name, keep in kept.items()}
    reasons = {name: reason for name, reason in reasons.items() if reason} or dict.fromkeys(kept, wrong)
    layers = ", ".join(f"'{name}'" for name in reasons)
    hint = "its forward counts on sizes, so take them from tensors" if "not run" in wrong else "report this network"
    runs = not all("not run" in reason for reason in reasons.values())
    return UnlikeSilencedError(f"{type(model).__name__}: {wrong}; layer {layers}: {hint}.", reasons, runs)


def _held_by_a_function(model: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """A module of the network that runs when a copy of the network runs; "" if there is none."""
    ran: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
        for path, module in model.named_modules()
    ]
    copied = _copied(model, inputs)
    for module in copied.modules():
        module._forward_pre_hooks.clear()  # the copies of these hooks
    try:
        ran.clear()
        with torch.no_grad(), suppress(Exception):
            copied(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return ran[0] if ran else ""


def _check(graph: Graph, kept: Mapping[str, Sequence[int]]) -> None:
    known = graph.prunable(dense_layers=True)
    for name, keep in kept.items():
        if name not in known:
            raise EdgepruneError(f"layer '{name}' cannot be pruned; those that can: {', '.join(known)}.")
        filters = known[name].filters
        if not keep:
            raise EdgepruneError(f"layer '{name}' would lose all its filters; keep at least one.")
        if min(keep) < 0 or max(keep) >= filters:
            raise EdgepruneError(f"layer '{name}' has filters 0 to {filters - 1}, not {min(keep)} to {max(keep)}.")


def remove_filters(model: nn.Module, spec: ModelSpec, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, ModelSpec]:
    """`remove` for a network of the registry; returns the copy and its spec."""
    pruned = remove(model, torch.zeros(1, *spec.input_shape), graph_of(spec), kept)
    slim = replace(spec, widths={**spec.widths, **{name: len(set(keep)) for name, keep in kept.items()}})
    fresh = build(slim)
    fresh.load_state_dict(pruned.state_dict())
    return fresh.eval(), slim
