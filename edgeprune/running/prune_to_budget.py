"""Stage: the dense network without the filters the budget has no room for, fine-tuned."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from edgeprune import console
from edgeprune.data.load import RunData, labelled_batches, score_batches, sensitivity_batches
from edgeprune.devices import profiling
from edgeprune.devices.fit_program import fit_program, with_smallest_program
from edgeprune.devices.latency_profile import LatencyProfile
from edgeprune.evaluation.clips import evaluate_clips
from edgeprune.evaluation.predict import torch_probabilities
from edgeprune.graph import surgery
from edgeprune.graph.cost import cost, graph_of
from edgeprune.models import checkpoint
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.pruning.allocation.allocate import allocate_within, narrowest
from edgeprune.pruning.allocation.limits import COSTS, BudgetLimits
from edgeprune.pruning.allocation.pruning_steps import PruningStep, pruning_steps
from edgeprune.pruning.prune import score_filters
from edgeprune.pruning.reconstruction import reconstruct
from edgeprune.pruning.scores import criterion
from edgeprune.recipe import Recipe, Train
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.check import network_budget
from edgeprune.running.data import load_trained
from edgeprune.running.export_files import export_network
from edgeprune.running.program import program_costs
from edgeprune.running.train_dense import forget_training_state, network_facts, train_network
from edgeprune.training.threads import use_threads


def prune_to_budget(recipe: Recipe, data: RunData, dense: Checkpoint, folder: RunFolder) -> Checkpoint:
    """The run's `pruned.ckpt`, made where it is missing, in one step or several."""
    use_threads(recipe.finetune.threads)
    last = folder.checkpoint("pruned")
    if last.is_file():
        forget_training_state(folder.training("finetune"))  # a kill may have come before it was forgotten
        return load_trained(last, data)
    table = _latency_table(recipe, data, dense, folder)
    groups = graph_of(dense.spec).prunable(recipe.prune.dense_layers)
    filters = {name: group.filters for name, group in groups.items()}
    epochs = _finetuning(recipe).epochs
    network = dense
    for step in pruning_steps(
        _dense_costs(recipe, dense, table), filters, network_budget(recipe), recipe.prune, epochs
    ):
        path = last if step.last else folder.step_checkpoint(step.number)
        part = folder.training("finetune" if step.last else f"finetune_{step.number}")
        if not path.is_file():
            model, spec, facts = _prune(recipe, data, network, step, table)
            finetuning = replace(_finetuning(recipe), epochs=step.epochs)
            history = train_network(model, data, finetuning, recipe.seed, part, dense.model)
            earlier = [] if step.number == 1 else network.extra["history"]
            facts |= network_facts(recipe, data, model, [*earlier, *history])
            checkpoint.save(path, spec, model, facts)
        forget_training_state(part)
        network = load_trained(path, data)
    return network


def _dense_costs(recipe: Recipe, dense: Checkpoint, table: LatencyProfile | None) -> dict[str, float]:
    """What the dense network takes, by limit."""
    figures, program = cost(dense.spec), program_costs(recipe, dense.spec)
    costs: dict[str, float] = {name: getattr(figures, field) for name, field in COSTS.items()}
    if program is not None:
        costs |= program.of({})
    if table is not None:
        groups = graph_of(dense.spec).prunable(recipe.prune.dense_layers)
        widths = [[group.filters for group in groups.values()]]
        costs["latency_ms"] = float(table.latency_ms(widths, list(groups))[0])
    return costs


def _latency_table(recipe: Recipe, data: RunData, dense: Checkpoint, folder: RunFolder) -> LatencyProfile | None:
    """The recipe's profile, or else one measured with the dense network's int8 file and kept in the run folder.

    None where the budget does not limit latency.
    """
    limit = recipe.budget.latency()
    if limit is None:
        return None
    given = given_profile(recipe, dense.spec)
    if given is not None:
        return given
    path, device = folder.profile(limit[1]), limit[1]
    if not path.is_file():
        int8 = export_network(recipe, data, dense, ("int8",), "dense", folder)["int8"]
        profiling.profile(int8, graph_of(dense.spec), device).save(path)
    return LatencyProfile.load(path)


def given_profile(recipe: Recipe, spec: ModelSpec) -> LatencyProfile | None:
    """The recipe's profile of the device whose latency is limited; None where there is none."""
    limit, path = recipe.budget.latency(), recipe.prune.profile
    if limit is None or path is None:
        return None
    return LatencyProfile.load(path).of(limit[1], graph_of(spec), path)


def refuse_infeasible(recipe: Recipe, spec: ModelSpec) -> None:
    """Raise InfeasibleBudgetError where even the narrowest network exceeds a limit.

    A limit on latency is left out: its profile may be measured with the trained network.
    """
    graph = graph_of(spec)
    groups = graph.prunable(recipe.prune.dense_layers)
    budget = replace(network_budget(recipe), latency_ms=None)
    equal = {name: [1.0] * group.filters for name, group in groups.items()}
    program = program_costs(recipe, spec)
    if program is not None:
        program = with_smallest_program(program, narrowest(equal, recipe.prune)) or program
    limits = BudgetLimits.of(graph, budget, None, program)
    allocate_within(limits, replace(recipe.prune, allocation="uniform"), equal)


def _finetuning(recipe: Recipe) -> Train:
    """How the network is trained after pruning: with weights drawn anew, as long as both trainings together."""
    if not recipe.prune.restart:
        return recipe.finetune
    return replace(recipe.train, epochs=recipe.train.epochs + recipe.finetune.epochs)


def _prune(
    recipe: Recipe, data: RunData, network: Checkpoint, step: PruningStep, table: LatencyProfile | None
) -> tuple[nn.Module, ModelSpec, dict[str, Any]]:
    """Score, allocate and cut: the network after one step, its spec, and the facts its checkpoint keeps."""
    torch.manual_seed(recipe.seed + step.number - 1)  # for the criterion `random`
    settings = recipe.prune
    batches = score_batches(data, settings.clips, settings.criterion) if criterion(settings.criterion).active else None
    loss_batches = sensitivity_batches(data, settings.clips)
    example = torch.zeros(1, *network.spec.input_shape)
    scored = score_filters(network.model, example, graph_of(network.spec), settings, batches, loss_batches)
    program = program_costs(recipe, network.spec)
    fitted = None if program is None else fit_program(scored, step.budget, program, table, step.caps)
    allocation = scored.allocate(step.budget, table, step.caps) if fitted is None else fitted.allocation
    kept = scored.kept(allocation)
    model, spec = surgery.remove_filters(network.model, network.spec, kept)
    console.say(
        f"pruned by {settings.criterion}{'' if step.of == 1 else f', step {step.number} of {step.of}'}: "
        f"{_width_changes(network.spec.widths, allocation.widths)}; {allocation.cost.params:,} parameters, "
        f"{allocation.cost.macs:,} MACs"
    )
    scores = _scores(model, data, network.threshold)
    repaired: dict[str, Any] = {}
    if settings.reconstruct and not settings.restart and scored.cuts(allocation):
        repaired = {"reconstruction": {**_reconstruct(recipe, data, network, model, kept), "cut_only": scores}}
        scores = _scores(model, data, network.threshold)
    torch.manual_seed(recipe.seed + step.number)
    if settings.restart:
        console.say("its weights are drawn anew: the control that is trained from scratch")
        model = build(spec)
    facts = {
        "budget": {**allocation.to_dict(), "asked": asdict(step.budget)},
        "kept": kept,
        "before_finetuning": scores,
        **repaired,
    }
    return model, spec, facts


def _reconstruct(
    recipe: Recipe, data: RunData, network: Checkpoint, model: nn.Module, kept: Mapping[str, list[int]]
) -> dict[str, Any]:
    """Fit the cut network, in place, to the one it was cut from, on training clips; what that did, as plain values."""
    batches = labelled_batches(data, data.train, recipe.prune.clips, "reading clips")
    inputs = [x for x, _ in batches]
    report = reconstruct(network.model, model, kept, graph_of(network.spec), inputs)
    console.say(report.sentence())
    return report.to_dict()


def _scores(model: nn.Module, data: RunData, threshold: float | None) -> dict[str, Any]:
    """Metrics of the float network on the evaluation part."""
    return evaluate_clips(data.test, torch_probabilities(model, data.patches(data.test)), data.classes, threshold)


def _width_changes(before: Mapping[str, int], after: Mapping[str, int], most: int = 12) -> str:
    """Each width of a few, the sum of many."""
    if len(after) > most:
        return f"{sum(after.values()):,} of {sum(before[name] for name in after):,} filters stay in {len(after)} groups"
    return ", ".join(f"{name} {before[name]} -> {width}" for name, width in after.items())
