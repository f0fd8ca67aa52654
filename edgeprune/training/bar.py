"""One rich progress bar over the epochs of a training, on terminals."""

from contextlib import ExitStack

import lightning
from lightning.pytorch.callbacks import Callback

from edgeprune import console


class EpochBar(Callback):
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
