"""Training and fine-tuning by one call, which resumes a killed training."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Sampler

from edgeprune import console
from edgeprune.data.patches import Patches
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_text
from edgeprune.recipe import Train
from edgeprune.training.checkpoint_io import AtomicCheckpointIO, BestCheckpoint, Patience
from edgeprune.training.module import SceneModule
from edgeprune.training.threads import use_threads
from edgeprune.training.trackers import loggers


class EpochSampler(Sampler[int]):
    """A permutation that follows from seed and epoch alone (Lightning calls `set_epoch`)."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(self.size, generator=generator).tolist())


class _Lines(Callback):
    """Writes the history as CSV after every epoch, and a plain line every 15 s for where no progress bar shows."""

    def __init__(self, title: str, history: Path) -> None:
        self.title, self.path = title, history
        self.began = self.last_line = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SceneModule)
        row = module.record_epoch()
        if not trainer.is_global_zero:
            return
        names = list(row)
        lines = [",".join(names)] + [",".join(f"{epoch.get(name, '')}" for name in names) for epoch in module.history]
        write_text(self.path, "\n".join(lines) + "\n")
        now = time.monotonic()
        if now - self.last_line > 15 or trainer.current_epoch + 1 == trainer.max_epochs:
            self.last_line = now
            shown = ", ".join(f"{name} {value:.3f}" for name, value in row.items() if name != "epoch")
            console.say(
                f"{self.title}: {trainer.current_epoch + 1}/{trainer.max_epochs}, {shown}, {now - self.began:.0f}s"
            )


class _EpochBar(Callback):
    """One rich progress bar over the epochs of a training, on terminals."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._open = ExitStack()  # stays empty when an error comes before the first epoch

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._bar = self._open.enter_context(console.progress(self.title, trainer.max_epochs or 0))
        self._bar.update(self._bar.task_ids[0], completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._bar.advance(self._bar.task_ids[0])

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._open.close()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, error: BaseException) -> None:
        self.on_train_end(trainer, module)


def fit(
    model: nn.Module,
    patches: tuple[Patches, Patches | None],
    recipe: Train,
    seed: int,
    folder: Path,
    title: str = "training",
    teacher: nn.Module | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place and leave it with the chosen epoch's weights, in evaluation mode.

    Args:
        patches: of the training part, and of the validation part where one was cut.
        folder: holds the state that a killed run resumes from, `history.csv`, and what `trackers` write.
        teacher: the dense network, for distillation.

    Returns:
        one row an epoch: epoch, train_loss and, with validation, val_log_loss and val_accuracy.
    """
    train_set, validation_set = patches
    if len(train_set) == 0 or bool((train_set.labels < 0).any()):
        raise EdgepruneError(
            "training needs clips, each with a label; the training split has none or an unlabelled one."
        )
    if recipe.devices < 1:
        raise EdgepruneError(f"train.devices: {recipe.devices}; give 1 or more.")
    _quieten()
    use_threads(recipe.threads)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classes, independent = len(train_set.classes), train_set.independent
    module = SceneModule(model, recipe, classes, train_set.layout, seed, teacher, independent)
    best, callbacks = _callbacks(recipe, folder, title, recipe.choose == "best" and validation_set is not None)
    trainer = _trainer(recipe, folder, callbacks)
    last = folder / "last.ckpt"
    _fit(
        trainer,
        module,
        _loader(train_set, recipe.batch_size, EpochSampler(len(train_set), seed)),
        _loader(validation_set, recipe.batch_size, None) if validation_set is not None else None,
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    if recipe.devices > 1:  # the spawned processes took their history with them
        module.history = list(torch.load(last, map_location="cpu", weights_only=True)["history"])
    if best is not None and best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)
    model.cpu().eval()
    return module.history


def _trainer(recipe: Train, folder: Path, callbacks: list[Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        # spawned, not the program started again: a second `edgeprune run` would find the run folder in use
        strategy="ddp_spawn" if recipe.devices > 1 else "auto",
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        max_epochs=recipe.epochs,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=loggers(recipe, folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        log_every_n_steps=10**9,
    )


def _fit(trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
    """`Trainer.fit` with Ctrl-C as KeyboardInterrupt; Lightning would end the process."""
    if trainer.num_devices > 1:  # tensors that share memory would hand a file descriptor over twice
        torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        trainer.fit(*args, **kwargs)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from error


def _callbacks(
    recipe: Train, folder: Path, title: str, use_best: bool
) -> tuple[ModelCheckpoint | None, list[Callback]]:
    callbacks: list[Callback] = [_Lines(title, folder / "history.csv")]
    if console.shows_progress():
        callbacks.append(_EpochBar(title))
    best = None
    if use_best:
        best = BestCheckpoint(folder)
        callbacks.append(best)
        if recipe.patience:
            callbacks.append(Patience("val_log_loss", patience=recipe.patience))
    last = ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    return best, [*callbacks, last]


def _loader(patches: Patches, batch_size: int, sampler: Sampler[int] | None) -> DataLoader[Any]:
    # a last batch of one patch would upset batch norm
    lonely = sampler is not None and len(patches) > batch_size and len(patches) % batch_size == 1
    # a loader draws a seed at each start, at other moments in a resumed run: not from the augmentation's generator
    own = torch.Generator()
    return DataLoader(patches, batch_size, sampler=sampler, collate_fn=_as_is, drop_last=lonely, generator=own)


def _as_is(batch: Any) -> Any:
    return batch


def _quieten() -> None:
    """Silence Lightning's remarks on hardware, workers and empty folders."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*exists and is not empty.*", ".*pin_memory.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning.*")
