"""The description of a network that travels with every file: labels, front-end, normalisation, layout.

Checkpoints, exported files (`edgeprune.json` inside the .tflite) and sidecars hold it as the same plain values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.layout import Layout, arrange
from edgeprune.data.labels import Task
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import from_plain
from edgeprune.models.registry import ModelSpec, entry
from edgeprune.recipe import LogMel

if TYPE_CHECKING:
    from edgeprune.audio.logmel import Frontend

Output = Literal["softmax", "sigmoid", "logits", "none"]
"""What a network gives: probabilities of classes that exclude each other, of classes each on its own, logits, or other
numbers."""
WAVEFORM = "waveform"
"""Value of the field `input` in a file whose front-end is inside."""


@dataclass(frozen=True, eq=False)
class Description:
    """What is needed to use a network on audio (or images).

    Attributes:
        labels: class names, in the order of the output.
        frontend: the log-mel settings the network was trained with; None for images.
        normalisation: mean and standard deviation of each mel band (or colour channel).
        spec: the network's name, classes, input shape and widths; the name is the registry's, or one's own.
        takes_waveform: whether samples enter the file rather than features.
        task: what its output says of a clip (see `data.labels.Task`).
        threshold: probability from which a clip counts as holding a class; None where each clip has one class.
        own_layout: order of mels and frames of a network of one's own; None: the registry's.
        own_output: what a network of one's own gives; None: what follows from the task.
    """

    labels: tuple[str, ...]
    frontend: LogMel | None
    normalisation: Normalisation
    spec: ModelSpec
    takes_waveform: bool = False
    task: Task = "scenes"
    threshold: float | None = None
    own_layout: Layout | None = None
    own_output: Output | None = None

    @property
    def output(self) -> Output:
        """What the file gives: what turns the network's logits into its probabilities, if anything does."""
        return self.own_output or ("softmax" if self.task == "scenes" else "sigmoid")

    @property
    def layout(self) -> Layout:
        return self.own_layout or entry(self.spec.name).layout

    @property
    def logmel(self) -> LogMel:
        if self.frontend is None:
            raise EdgepruneError(f"{self.spec.name}: takes images, or was described without its log-mel front-end.")
        return self.frontend

    def check_probabilities(self, path: Path) -> None:
        """Refuse a file whose outputs cannot be judged as probabilities."""
        if self.output in ("logits", "none"):
            raise EdgepruneError(f"{path}: gives no probabilities; export it with output='softmax' or 'sigmoid'.")

    def check_shapes(self, path: Path, input_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Refuse a file whose input is no patch of its front-end, or whose output is not one value for each label."""
        takes, spec = math.prod(input_shape[1:]), self.logmel
        gives = spec.patch_samples if self.takes_waveform else spec.mels * spec.patch_frames
        reshaped = self.spec.input_shape[0] != 1 and not self.takes_waveform  # see `inputs`
        if takes != gives or (reshaped and gives != math.prod(self.spec.input_shape)):
            raise EdgepruneError(
                f"{path}: takes {list(input_shape)} where its front-end gives patches of {gives:,} values; export it "
                "again."
            )
        bands = self.normalisation.mean.size
        if output_shape[-1] != len(self.labels) or bands not in (1, spec.mels):
            raise EdgepruneError(
                f"{path}: describes {len(self.labels)} labels for an output of {list(output_shape)}, and {bands} bands "
                f"of {spec.mels}; export it again."
            )

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Description:
        """From what a file or a sidecar holds; a checkpoint's `extra` needs its spec beside it, as `model`."""
        try:
            fields = {
                "labels": value["labels"],
                "frontend": LogMel.from_dict(value["frontend"]) if value["frontend"] else None,
                "normalisation": Normalisation.from_dict(value["normalisation"]),
                "spec": ModelSpec.from_dict(value["model"]),
                "takes_waveform": value.get("input") == WAVEFORM,
                "task": value.get("task", "scenes"),
                "threshold": value.get("threshold"),
                "own_layout": value.get("layout"),
                "own_output": value.get("output"),
            }
            return from_plain(Description, fields, "")
        except (EdgepruneError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise EdgepruneError(f"the description of a network is damaged ({reason}); export it again.") from error

    def to_dict(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "labels": list(self.labels),
            "frontend": asdict(self.frontend) if self.frontend else {},
            "normalisation": self.normalisation.to_dict(),
            "model": self.spec.to_dict(),
        }
        if self.task != "scenes":
            value |= {"task": self.task, "threshold": self.threshold}
        value |= {"layout": self.own_layout} if self.own_layout else {}
        value |= {"output": self.own_output} if self.own_output else {}
        return {**value, "input": WAVEFORM} if self.takes_waveform else value

    def patches(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Patches of a clip `[samples]`, at the front-end's rate and full scale 1, as the file takes them.

        Returns:
            `[patches, height, width, 1]`, normalised and not quantised; `[patches, samples]` where samples enter.
        """
        import torch

        from edgeprune.audio.logmel import cut_patches, patch_starts, waveform_patches

        spec = self.logmel
        if self.takes_waveform:
            return waveform_patches(clip, spec)
        frames = self._frontend(torch.from_numpy(clip)).numpy()
        starts = patch_starts(len(frames), spec.patch_frames, spec.patch_hop_frames)
        return self.inputs(cut_patches(frames, starts, spec.patch_frames))

    def inputs(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Patches of log-mel `[patches, frames, mels]` as the file takes them, `[patches, height, width, channels]`."""
        values = np.ascontiguousarray(arrange(self.normalisation.apply(log_mel).transpose(0, 2, 1), self.layout))
        channels, height, width = self.spec.input_shape
        # one channel, but for a network of one's own with a channel for each mel band
        return values[..., np.newaxis] if channels == 1 else values.reshape(len(values), height, width, channels)

    @cached_property
    def _frontend(self) -> Frontend:
        from edgeprune.audio.logmel import Frontend

        return Frontend(self.logmel)
