"""The Lightning module: augmentation, loss, optimiser, and validation by clip."""

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.audio.layout import Layout, arrange
from edgeprune.recipe import Train
from edgeprune.training import augment


class SceneModule(lightning.LightningModule):
    """Trains a network of `[n, channels, height, width]` to logits `[n, classes]` on batches of `Patches`.

    With a teacher, the loss is `(1 - a) * cross-entropy + a * T^2 * KL(teacher || student)` at temperature T
    (Hinton et al., 2015), a = `train.distillation`. Of `independent` classes cross-entropy and KL are the binary ones
    of each class, and their mean over the classes counts.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Train,
        classes: int,
        layout: Layout,
        seed: int,
        teacher: nn.Module | None = None,
        independent: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = train
        self.classes = classes
        self.layout: Layout = layout
        self.seed = seed
        self.independent = independent
        # in a tuple, so that the teacher is neither trained nor saved with the student
        self._teacher: tuple[nn.Module, ...] = (teacher.eval(),) if teacher is not None else ()
        self.history: list[dict[str, float]] = []
        self._losses: list[Tensor] = []
        self._validation: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Logits of patches `[n, 1, mels, frames]` or images `[n, channels, height, width]`."""
        return self.model(arrange(x, self.layout))

    def on_train_epoch_start(self) -> None:
        # every epoch's augmentation and dropout follow from the seed alone: a resumed run repeats them exactly
        torch.manual_seed(self.seed * 100_003 + self.current_epoch + 7_919 * self.global_rank)
        self._losses.clear()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        x, labels, _clips = batch
        recipe = self.recipe
        targets = labels if self.independent else functional.one_hot(labels, self.classes).float()
        if recipe.label_smoothing:  # shared by the outcomes: all classes, or holding one and not
            outcomes = 2 if self.independent else self.classes
            targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / outcomes
        x, targets = self._augment(x, targets)
        logits = self(x).float()
        cross_entropy = functional.binary_cross_entropy_with_logits if self.independent else functional.cross_entropy
        loss = cross_entropy(logits, targets)
        if self._teacher and recipe.distillation:
            loss = (1 - recipe.distillation) * loss + recipe.distillation * self._soft_loss(x, logits)
        self._losses.append(loss.detach())
        return loss

    def _augment(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        recipe = self.recipe
        if recipe.time_roll:
            x = augment.time_roll(x)
        if recipe.flip:
            x = augment.flip(x)
        if recipe.shift:
            x = augment.shift(x, recipe.shift)
        if recipe.mixstyle and torch.rand(()) < recipe.mixstyle:
            x = augment.freq_mixstyle(x, recipe.mixstyle_alpha)
        if recipe.freq_mask:
            x = augment.mask(x, 2, recipe.freq_mask)
        if recipe.time_mask:
            x = augment.mask(x, 3, recipe.time_mask)
        if recipe.mixup:
            x, targets = augment.mixup(x, targets, recipe.mixup)
        return x, targets

    def _soft_loss(self, x: Tensor, logits: Tensor) -> Tensor:
        teacher = self._teacher[0].to(x.device)
        heat = self.recipe.temperature
        with torch.no_grad():
            teaching = teacher(arrange(x, self.layout)).float() / heat
        if self.independent:
            soft, student = (torch.stack([t, -t]) for t in (teaching, logits / heat))  # holding a class, and not
            divergence = functional.kl_div(
                functional.logsigmoid(student), functional.logsigmoid(soft), reduction="sum", log_target=True
            )
            return heat**2 * divergence / logits.numel()
        soft, student = (functional.log_softmax(t, dim=1) for t in (teaching, logits / heat))
        return heat**2 * functional.kl_div(student, soft, reduction="batchmean", log_target=True)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        x, labels, clips = batch
        logits = self(x).float()
        self._validation.append((logits.sigmoid() if self.independent else logits.softmax(1), labels, clips))

    def on_validation_epoch_end(self) -> None:
        loss, accuracy = self._clip_metrics()
        self._validation.clear()
        self.log("val_log_loss", loss, sync_dist=True)
        self.log("val_accuracy", accuracy, sync_dist=True, prog_bar=True)

    def _clip_metrics(self) -> tuple[Tensor, Tensor]:
        """Log loss and accuracy of clips: the mean of a clip's patch probabilities decides.

        Of independent classes a clip is right where all of them are, at a threshold of one half.
        """
        probabilities, labels, clips = map(torch.cat, zip(*self._validation, strict=True))
        known, row = clips.unique(return_inverse=True)
        total = probabilities.new_zeros(len(known), self.classes).index_add_(0, row, probabilities)
        if self.independent:
            mean = total / row.bincount()[:, None]
            holds = torch.zeros_like(mean, dtype=torch.bool)
            holds[row] = labels > 0.5
            loss = -torch.where(holds, mean, 1 - mean).clamp_min(1e-7).log().mean()
            return loss, ((mean >= 0.5) == holds).all(1).float().mean()
        mean = total / total.sum(1, keepdim=True)
        target = labels.new_zeros(len(known)).scatter_(0, row, labels)
        loss = functional.nll_loss(mean.clamp_min(1e-7).log(), target)
        return loss, (mean.argmax(1) == target).float().mean()

    def record_epoch(self) -> dict[str, float]:
        """Add the epoch that ends to `history`; the checkpoint written afterwards holds it."""
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items() if "val" in name}
        row = {"epoch": self.current_epoch, "train_loss": float(torch.stack(self._losses).mean()), **metrics}
        self.history.append(row)
        for logger in self.loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "epoch"}, self.current_epoch)
        return row

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimizer = torch.optim.Adam(
            self.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=self.trainer.precision == "32-true"
        )
        if recipe.schedule == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if recipe.schedule == "onecycle":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps)
        else:
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
