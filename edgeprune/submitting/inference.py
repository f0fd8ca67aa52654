"""What DCASE 2025 asks of a system's Python package: its functions, on an exported file and its network.

The organisers' scripts call `predict`, `load_model`, `load_inputs` and `get_model_for_device` of the module that
`inference_package` writes. Their names and arguments: the README of github.com/CPJKU/dcase2025_task1_inference.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.audio.decode import load_clip
from edgeprune.convert.export_form import export_form
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.audio_files import audio_probabilities
from edgeprune.models import checkpoint
from edgeprune.tflite.description import Description
from edgeprune.tflite.metadata import read_description

FILE = "model.tflite"
NETWORK = "network.ckpt"


class DeviceModels(nn.Module):
    """The network under the name `model`, as the organisers' scripts expect it: one for all recording devices."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


class Inference:
    """A system in a folder: the exported file, which gives the predictions, and its network, which is counted."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        """`classes`: in the order in which the predictions are given."""
        self.folder = folder
        self.classes = list(classes)

    @cached_property
    def description(self) -> Description:
        return read_description(self.folder / FILE)

    def predict(
        self,
        file_paths: Sequence[str],
        device_ids: Sequence[str],
        model_file_path: str | None = None,
        use_cuda: bool = False,
    ) -> tuple[list[Tensor], list[str]]:
        """Logits `[classes]` of each recording by the exported file, and the classes; their softmax is what it gives.

        `model_file_path`: another exported file. A file runs on the CPU, and is the same for every device.
        """
        _check(file_paths, device_ids)
        path = self.folder / FILE if model_file_path is None else Path(model_file_path)
        probabilities = audio_probabilities(path, [Path(name) for name in file_paths], f"running {path.name}")
        order = [read_description(path).labels.index(name) for name in self.classes]
        logits = np.log(np.maximum(probabilities[:, order], 1e-12))
        return list(torch.from_numpy(logits).float()), list(self.classes)

    def load_model(self, model_file_path: str | None = None) -> DeviceModels:
        """The network behind the file, batch norm folded, its parameters of 16 bits.

        `model_file_path`: another checkpoint of edgeprune's.
        """
        path = self.folder / NETWORK if model_file_path is None else Path(model_file_path)
        return DeviceModels(export_form(checkpoint.load(path).model, output="logits").half())

    def load_inputs(self, file_paths: Sequence[str], device_ids: Sequence[str], model: nn.Module) -> list[Tensor]:
        """The network's inputs of each recording, `[patches, 1, height, width]`."""
        _check(file_paths, device_ids)
        rate = self.description.logmel.sample_rate
        clips = (self.description.patches(load_clip(Path(name), rate)) for name in file_paths)
        kind = next(model.parameters()).dtype
        return [torch.from_numpy(patches).permute(0, 3, 1, 2).to(kind) for patches in clips]

    def get_model_for_device(self, model: DeviceModels, device_id: str) -> nn.Module:
        """The network for a recording device: the same for all of them."""
        return model.model


def _check(file_paths: Sequence[str], device_ids: Sequence[str]) -> None:
    if len(file_paths) != len(device_ids):
        raise EdgepruneError(f"predict: {len(file_paths)} files but {len(device_ids)} devices; give one for each file.")
