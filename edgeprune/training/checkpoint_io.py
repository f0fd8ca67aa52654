"""Lightning checkpoints that are either whole or absent."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from edgeprune.errors import EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.models.checkpoint import torch_bytes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames.

    Lightning's own writes to the system's temporary folder and moves: where that is another file system, the move is a
    copy, and a kill during it leaves neither the old checkpoint nor the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        write_bytes(path, torch_bytes(checkpoint))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, *args, **kwargs)
        except Exception as error:
            raise EdgepruneError(
                f"{path}: training cannot go on from it ({type(error).__name__}); delete it to start anew."
            ) from error


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch as `best.ckpt`, also after the run folder was moved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "best",
            monitor="val_log_loss",
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = str(Path(str(self.dirpath)) / "best.ckpt") if state_dict["best_model_path"] else ""
        scores = dict(zip([here], state_dict["best_k_models"].values(), strict=False))
        paths = {"dirpath": self.dirpath, "best_model_path": here, "kth_best_model_path": here}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores})


class Patience(EarlyStopping):
    """Early stopping that stays stopped when a training is resumed."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True
