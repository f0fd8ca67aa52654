"""How long a sweep will take, before it is begun: from its finished runs, or from a few training steps made here."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgeprune.comparing.sweeping.grid import Cell
from edgeprune.comparing.sweeping.plan import Plan
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Recipe

STEPS = 3
"""Training steps that are timed."""
EXPORT_S = 20.0
"""Seconds added to a run for each number format: conversion, parity and evaluation. A round figure, not measured."""


@dataclass(frozen=True)
class Shape:
    """What decides how long an epoch takes.

    Attributes:
        input_shape: channels, mels (height) and frames (width) of a network input.
        patches: network inputs of an epoch.
    """

    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    patches: int


@dataclass(frozen=True)
class Estimate:
    """Seconds a run of one kind takes.

    Attributes:
        kind: `dense`, `scratch` or `pruned`.
        runs: of this kind that are not done.
        how: what the estimate rests on, in one sentence.
    """

    kind: str
    runs: int
    seconds: float
    how: str


def kind_of(cell: Cell) -> str:
    """Runs of a kind take about as long as each other."""
    return cell.role if cell.role in ("dense", "scratch") else "pruned"


def estimates(plan: Plan, cells: Sequence[Cell], threads: int) -> list[Estimate]:
    """One estimate a kind of the cells.

    Raises:
        EdgepruneError: no run of a kind has finished yet, and the data are not there to count the clips.
    """
    known, found, timed = plan.seconds(), [], None
    for kind in dict.fromkeys(kind_of(cell) for cell in cells):
        of_kind = [cell for cell in cells if kind_of(cell) == kind]
        times = [known[cell.folder] for cell in plan.recipes if kind_of(cell) == kind and cell.folder in known]
        if times:
            how = f"mean of {len(times)} finished run{'s' if len(times) > 1 else ''}"
            found.append(Estimate(kind, len(of_kind), statistics.fmean(times), how))
            continue
        recipe = plan.recipes[of_kind[0]]
        if timed is None:
            shape = shape_of(recipe)
            timed = shape.patches, step_seconds(recipe, shape, threads)
        found.append(_from_steps(kind, len(of_kind), recipe, *timed))
    return found


def total_seconds(found: Sequence[Estimate], slots: int) -> float:
    """Of all runs, `slots` at a time; at least a dense run and one that waits for it."""
    dense = max((one.seconds for one in found if one.kind == "dense"), default=0.0)
    others = max((one.seconds for one in found if one.kind != "dense"), default=0.0)
    return max(dense + others, sum(one.runs * one.seconds for one in found) / slots)


def _from_steps(kind: str, runs: int, recipe: Recipe, patches: int, step_s: float) -> Estimate:
    train = recipe.finetune if kind == "pruned" else recipe.train
    epochs = train.epochs + (recipe.finetune.epochs if kind == "scratch" else 0)
    steps = math.ceil(patches / train.batch_size) * epochs
    export_s = EXPORT_S * len(recipe.export.formats)
    how = (
        f"{steps:,} steps at {1000 * step_s:.0f} ms, which {STEPS} of the dense network took here, and "
        f"{export_s:.0f} s assumed for export and evaluation"
    )
    return Estimate(kind, runs, steps * step_s + export_s, how)


def step_seconds(recipe: Recipe, shape: Shape, threads: int) -> float:
    """Seconds a training step of the dense network takes here, on random inputs: the median of `STEPS` after one more.

    Forward, backward and the optimiser; neither augmentation nor the teacher of a distillation is in it.
    """
    import torch
    from torch.nn import functional

    from edgeprune.models.registry import build, make_spec

    spec = make_spec(recipe.model.name, len(shape.classes), shape.input_shape, recipe.model.width)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = build(spec).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(model.parameters())
        x = torch.randn(recipe.train.batch_size, *spec.input_shape)
        labels = torch.arange(recipe.train.batch_size) % len(shape.classes)
        times = []
        for _ in range(STEPS + 1):
            began = time.perf_counter()
            functional.cross_entropy(model(x), labels).backward()
            optimiser.step()
            optimiser.zero_grad()
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])
    finally:
        torch.set_num_threads(before)


def shape_of(recipe: Recipe) -> Shape:
    """Counted from the lists of the split and the first clip; no features are computed, no data made.

    Raises:
        EdgepruneError: the data set is not where the recipe says.
    """
    from edgeprune.data.cards import load_card

    data, frontend = recipe.data, recipe.frontend
    card = load_card(data.name)
    if card.kind == "images":
        from edgeprune.data.image_data import load_images

        images = load_images(data)
        return Shape(images.classes, images.input_shape, len(images.train))
    classes, clips, samples = _counted(recipe)
    from edgeprune.audio.logmel import Frontend, patch_starts
    from edgeprune.data.scene_data import patch_shape
    from edgeprune.models.registry import entry

    frames = Frontend(frontend).frames(samples)
    patches = len(patch_starts(frames, frontend.patch_frames, frontend.patch_hop_frames))
    share = data.train_share * (1 - data.validation)
    input_shape = patch_shape(frontend, entry(recipe.model.name).layout)
    return Shape(classes, input_shape, round(clips * share) * patches)


def _counted(recipe: Recipe) -> tuple[tuple[str, ...], int, int]:
    """Classes, training clips before the validation cut, and samples of the first clip at the front-end's rate."""
    from edgeprune.audio.decode import probe_clip
    from edgeprune.data import synthetic
    from edgeprune.data.cards import load_card
    from edgeprune.data.splits import load_split

    data, frontend = recipe.data, recipe.frontend
    card = load_card(data.name)
    if card.name == "synthetic":
        clip_s = min(10.0, max(1.0, round(frontend.patch_frames * frontend.hop_s, 1)))
        clips = [clip for clip in synthetic.plan(data.clips_per_scene) if not clip.held_out]
        return card.classes, len(clips), round(clip_s * frontend.sample_rate)
    if data.root is None:
        raise EdgepruneError(f"{card.name}: say where the data set lies, as --data.root FOLDER.")
    split = load_split(card, data.root, data.fold, data.subset, check_files=False)
    samples = probe_clip(data.root / str(split.train["filename"].iloc[0]), frontend.sample_rate)
    return split.classes, len(split.train), samples
