"""Training as the stages of a run use it, and what their checkpoints hold beside the weights."""

from pathlib import Path
from typing import Any

from torch import nn

from edgeprune.data.load import RunData
from edgeprune.recipe import Train
from edgeprune.training.fit import fit


def train_network(
    model: nn.Module, data: RunData, settings: Train, seed: int, folder: Path, teacher: nn.Module | None = None
) -> list[dict[str, float]]:
    """Train a network in place; returns its history, empty where the settings ask for no epochs.

    Args:
        folder: of the training (see `RunFolder.training`).
        teacher: the dense network; given, the training is called fine-tuning.
    """
    if settings.epochs == 0:
        model.eval()
        return []
    validation = None if data.validation is None else data.patches(data.validation)
    return fit(
        model,
        (data.patches(data.train), validation),
        settings,
        seed,
        folder,
        title="training" if teacher is None else "fine-tuning",
        teacher=teacher if settings.distillation else None,
    )


def forget_training_state(folder: Path) -> None:
    """Remove the states a killed training resumes from, which are large; the history stays."""
    for path in folder.glob("*.ckpt"):
        path.unlink()


def network_facts(data: RunData, history: list[dict[str, float]]) -> dict[str, Any]:
    """What a checkpoint holds of the data and the training."""
    return {**data.describe(), "data_sha256": data.sha256, "history": history}
