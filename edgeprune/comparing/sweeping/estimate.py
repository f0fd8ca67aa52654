"""An estimate of how long a sweep takes: from its finished runs, or from a few training steps on this machine."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgeprune.comparing.sweeping.grid import Cell
from edgeprune.comparing.sweeping.plan import SweepPlan
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Recipe

STEPS = 3
"""Training steps that are timed."""
EXPORT_S = 20.0
"""Seconds a number format takes (conversion, parity, evaluation): a round figure, not measured."""


@dataclass(frozen=True)
class Shape:
    """What decides how long an epoch takes.

    Attributes:
        input_shape: a network input's, `[channels, mels, frames]`, or of an image `[channels, height, width]`.
        patches: network inputs of an epoch.
    """

    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    patches: int


@dataclass(frozen=True)
class Estimate:
    """Seconds a run of one kind takes, how many such runs are not done, and what the estimate rests on."""

    kind: str
    runs: int
    seconds: float
    how: str


def kind_of(cell: Cell) -> str:
    """`dense`, `scratch` or `pruned`: runs of one kind take about as long as each other."""
    return cell.role if cell.role in ("dense", "scratch") else "pruned"


def estimates(plan: SweepPlan, cells: Sequence[Cell], threads: int) -> list[Estimate]:
    """An estimate for each kind of the cells."""
    seconds, kinds, epoch = plan.seconds(), [], None
    for kind in dict.fromkeys(kind_of(cell) for cell in cells):
        of_kind = [cell for cell in cells if kind_of(cell) == kind]
        times = [seconds[cell.folder] for cell in plan.recipes if kind_of(cell) == kind and cell.folder in seconds]
        if times:
            how = f"mean of {len(times)} finished run{'s' if len(times) > 1 else ''}"
            kinds.append(Estimate(kind, len(of_kind), statistics.fmean(times), how))
            continue
        recipe = plan.recipes[of_kind[0]]
        if epoch is None:
            shape = shape_of(recipe)
            epoch = shape.patches, step_seconds(recipe, shape, threads)
        patches, step_s = epoch
        train = recipe.finetune if kind == "pruned" else recipe.train
        epochs = train.epochs + (recipe.finetune.epochs if kind == "scratch" else 0)
        steps = math.ceil(patches / train.batch_size) * epochs
        export_s = EXPORT_S * len(recipe.export.formats)
        how = (
            f"{steps:,} steps at {1000 * step_s:.0f} ms, which {STEPS} of the dense network took here, and "
            f"{export_s:.0f} s assumed for export and evaluation"
        )
        kinds.append(Estimate(kind, len(of_kind), steps * step_s + export_s, how))
    return kinds


def total_seconds(kinds: Sequence[Estimate], slots: int) -> float:
    """Seconds all runs take, `slots` at a time; at least those of a dense run and of one that waits for it."""
    dense = max((one.seconds for one in kinds if one.kind == "dense"), default=0.0)
    others = max((one.seconds for one in kinds if one.kind != "dense"), default=0.0)
    return max(dense + others, sum(one.runs * one.seconds for one in kinds) / slots)


def step_seconds(recipe: Recipe, shape: Shape, threads: int) -> float:
    """Seconds a training step of the dense network takes here: the median of `STEPS` steps after one more.

    A step is the forward pass, the backward pass and the optimiser's, on random inputs, without augmentation and
    without the teacher of a distillation.
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
    """Count classes and patches by the split's lists and the first clip; no features are computed, no data made."""
    from edgeprune.audio.decode import probe_clip
    from edgeprune.audio.logmel import Frontend, patch_starts
    from edgeprune.data import synthetic
    from edgeprune.data.cards import MIXTURES, SYNTHETIC, load_card
    from edgeprune.data.image_data import load_images
    from edgeprune.data.scene_data import patch_shape
    from edgeprune.data.splits import load_split
    from edgeprune.models.registry import entry

    data, frontend = recipe.data, recipe.frontend
    card = load_card(data.name)
    if card.kind == "images":
        images = load_images(data)
        return Shape(images.classes, images.input_shape, len(images.train))
    if card.name in SYNTHETIC:
        clip_s = min(10.0, max(1.0, round(frontend.patch_frames * frontend.hop_s, 1)))
        planned = synthetic.plan_mixtures if card.name == MIXTURES else synthetic.plan
        classes, samples = card.classes, round(clip_s * frontend.sample_rate)
        clips = sum(not clip.held_out for clip in planned(data.clips_per_scene))
    elif data.root is None:
        raise EdgepruneError(f"{card.name}: say where the data set lies, as --data.root FOLDER.")
    else:
        split = load_split(card, data.root, data.fold, data.subset, check_files=False)
        samples = probe_clip(data.root / str(split.train["filename"].iloc[0]), frontend.sample_rate)
        classes, clips = split.classes, len(split.train)
    classes = (data.detect,) if data.detect else classes
    patches = len(patch_starts(Frontend(frontend).frames(samples), frontend.patch_frames, frontend.patch_hop_frames))
    share = data.train_share * (1 - data.validation)
    input_shape = patch_shape(frontend, entry(recipe.model.name).layout)
    return Shape(classes, input_shape, round(clips * share) * patches)
