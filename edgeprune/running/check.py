"""Checks of a recipe before hours of work."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from edgeprune.convert.tflite_export import check_formats
from edgeprune.data.cards import has_images
from edgeprune.devices.find import check_device
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.frontend_budget import left_for_network
from edgeprune.models.registry import entry, make_spec
from edgeprune.pruning.allocation.objective import check_objective
from edgeprune.pruning.scores import criterion
from edgeprune.recipe import Budget, Data, Recipe


def check(recipe: Recipe) -> None:
    """Raise EdgepruneError for a recipe that cannot be run, InfeasibleBudgetError for a budget nothing can meet."""
    _check_numbers(recipe)
    entry(recipe.model.name)
    if criterion(recipe.prune.criterion).needs == "batch_norm":
        _check_batch_norm(recipe)
    check_formats(recipe.export.formats)
    if recipe.export.dense_formats:
        check_formats(recipe.export.dense_formats)
    thread_counts(recipe)
    recipe.frontend.check()
    recipe.prune.check()
    check_objective(recipe.prune.objective)
    network_budget(recipe)
    limit = recipe.budget.latency()
    if limit is not None and limit[1] != "host" and recipe.prune.profile is None:
        raise EdgepruneError(
            f"budget.latency_ms: device '{limit[1]}' cannot be profiled in a run; give its table with --prune.profile."
        )
    _check_devices(recipe)
    _check_training(recipe)
    if recipe.export.calibration_clips < 1:
        raise EdgepruneError(f"export.calibration_clips: {recipe.export.calibration_clips}; give at least 1.")
    if recipe.bench.runs < 1:
        raise EdgepruneError(f"bench.runs: {recipe.bench.runs}; give at least 1 (50 for a figure to publish).")


def network_budget(recipe: Recipe) -> Budget:
    """The part of the budget that is left for the network beside its front-end."""
    return left_for_network(recipe.budget, None if has_images(recipe.data) else recipe.frontend)


def thread_counts(recipe: Recipe) -> list[int]:
    """`bench.threads` as numbers."""
    for text in recipe.bench.threads:
        if not re.fullmatch("[1-9][0-9]{0,3}", text):
            raise EdgepruneError(f"bench.threads: '{text}' is no number of threads; write 1 or 1,2,4.")
    return [int(text) for text in recipe.bench.threads]


def _check_numbers(part: Any, where: str = "") -> None:
    """Refuse numbers that no field means and JSON cannot hold."""
    for name in (field.name for field in fields(part)):
        value = getattr(part, name)
        if is_dataclass(value):
            _check_numbers(value, f"{where}{name}.")
        elif isinstance(value, int | float) and not abs(value) < 2**53:  # NaN too
            raise EdgepruneError(f"{where}{name}: {value} is out of range; give a finite number.")


def _check_batch_norm(recipe: Recipe) -> None:
    from edgeprune.graph.cost import graph_of  # PyTorch's tracer takes seconds to import

    graph = graph_of(make_spec(recipe.model.name, width=0.1))
    layers = {path for group in graph.prunable(recipe.prune.dense_layers).values() for path in group.layers}
    bare = [operator.name for operator in graph.operators if operator.path in layers and not operator.norm]
    if bare:
        raise EdgepruneError(
            f"prune.criterion {recipe.prune.criterion}: no batch norm follows {', '.join(bare)} of "
            f"{recipe.model.name}; choose another criterion."
        )


def _check_devices(recipe: Recipe) -> None:
    """Refuse a device that cannot be used; whether a board answers is seen when it is measured."""
    bench = recipe.bench
    if not bench.timeout_s > 0:
        raise EdgepruneError(f"bench.timeout_s: {bench.timeout_s:g}; give seconds above 0.")
    for name in bench.devices:
        check_device(name)
        if name != "host" and "int8" not in recipe.export.formats:
            raise EdgepruneError(f"bench.devices: {name} takes the int8 file; put int8 among --export.formats.")


def _check_detection(data: Data, images: bool) -> None:
    if not 0 < data.detect_recall <= 1:
        raise EdgepruneError(f"data.detect_recall: {data.detect_recall:g}; give a share above 0 and at most 1.")
    if data.detect and images:
        raise EdgepruneError(f"data.detect: {data.name} holds images; detection is of sounds in clips.")
    if data.detect and not data.validation:
        raise EdgepruneError("data.detect: the threshold is set on validation clips; give --data.validation above 0.")


_TRAINING_RULES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (
        ("epochs", "weight_decay", "mixup", "freq_mask", "time_mask", "shift", "patience", "threads"),
        lambda value: value >= 0,
        "0 or more",
    ),
    (("batch_size", "devices"), lambda value: value >= 1, "1 or more"),
    (("lr", "temperature", "mixstyle_alpha"), lambda value: value > 0, "more than 0"),
    (("label_smoothing", "mixstyle", "distillation"), lambda value: 0 <= value <= 1, "a share from 0 to 1"),
)
"""Fields of `Train`, and which values they take."""


def _check_training(recipe: Recipe) -> None:
    images = has_images(recipe.data)
    _check_detection(recipe.data, images)
    for part, train in (("train", recipe.train), ("finetune", recipe.finetune)):
        for names, fits, rule in _TRAINING_RULES:
            for name in names:
                if not fits(value := getattr(train, name)):
                    raise EdgepruneError(f"{part}.{name}: {value:g}; give {rule}.")
        if images and train.epochs and train.time_roll:
            raise EdgepruneError(
                f"{part}.time_roll: rolls clips in time, and {recipe.data.name} holds images; turn it off with "
                f"--{part}.no-time-roll."
            )
