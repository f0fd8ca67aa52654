"""What a bundle is made of: the file that ships, real clips, and what the file says to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import Layout, entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeprune.data.normalisation import Normalisation
    from edgeprune.devices.request import Inputs
    from edgeprune.recipe import LogMel

AUDIO_CLIPS = 3
"""Clips whose audio goes into a bundle."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A real clip, as long as one network input.

    Attributes:
        name: file name without its folder.
        samples: int16 `[samples]` at the front-end's rate, full scale 32768.
        scene: its true label.
        probabilities: float32 `[classes]`, what the Python chain says: front-end, then the file that ships.
    """

    name: str
    samples: NDArray[np.int16]
    scene: str
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """Everything a target's writer needs.

    Attributes:
        model: the int8 .tflite that ships.
        metadata: what is embedded in it (see `metadata.read_metadata`).
        labels: classes in the order of the output; any text.
        vectors: inputs of real clips.
        stored: int8 `[n, ...]`, the same as the file takes them.
        expected: int8 `[n, classes]`, what the file gives for them by TFLite's plain kernels.
        clips: real clips as audio.
        arena_bytes: smallest arena of TFLite Micro, measured; None where the target needs none.
    """

    model: Path
    metadata: dict[str, Any]
    labels: tuple[str, ...]
    vectors: Inputs
    stored: NDArray[np.int8]
    expected: NDArray[np.int8]
    clips: tuple[Clip, ...]
    arena_bytes: int | None = None

    @property
    def audio(self) -> NDArray[np.int16] | None:
        """Samples of the first clip, int16 `[samples]`."""
        return self.clips[0].samples if self.clips else None

    @property
    def frontend(self) -> LogMel:
        """The front-end the network was trained with."""
        from edgeprune.recipe import LogMel

        return LogMel(**self.metadata["frontend"])

    @property
    def normalisation(self) -> Normalisation:
        """Of the features, before they are quantised."""
        from edgeprune.data.normalisation import Normalisation

        return Normalisation.from_dict(self.metadata["normalisation"])

    @property
    def layout(self) -> Layout:
        """Which axis of a patch comes first."""
        return entry(self.metadata["model"]["name"]).layout

    def quantisation(self) -> tuple[float, int]:
        """Scale and zero point of the input."""
        from edgeprune.tflite.interpreter import TFLiteModel

        return TFLiteModel(self.model).input_quantisation


def source_of(run: Path, clips: Sequence[Path] = (), arena: bool = False) -> Source:
    """What a run's bundle is made of.

    Args:
        run: folder of a finished run with `model_int8.tflite`.
        clips: audio files to use instead of the run's evaluation clips.
        arena: measure TFLite Micro's smallest arena as well.

    Raises:
        EdgepruneError: the run has no int8 file, its network takes images, or no clip can be read.
    """
    import numpy as np

    from edgeprune.devices.checks import reference
    from edgeprune.devices.inputs import inputs_for
    from edgeprune.tflite.metadata import read_metadata
    from edgeprune.tflite.sidecar import read_sidecar

    model = run / "model_int8.tflite"
    if not model.is_file():
        raise EdgepruneError(f"{model}: is not there; a bundle is made of a finished run with int8 among its formats.")
    read_sidecar(model)
    metadata = read_metadata(model)
    if not metadata.get("frontend"):
        raise EdgepruneError(f"{run}: its network takes images; bundles are made for networks of audio.")
    vectors = inputs_for(model, clips)
    stored, expected = reference(model, vectors)
    if stored.dtype != np.int8 or expected.dtype != np.int8:
        raise EdgepruneError(f"{model}: is not int8 from end to end; export it again.")
    return Source(
        model,
        metadata,
        tuple(metadata["labels"]),
        vectors,
        stored,
        expected,
        tuple(_clips(model, metadata, clips)),
        _smallest_arena(model, vectors) if arena else None,
    )


def _smallest_arena(model: Path, vectors: Inputs) -> int:
    from edgeprune.devices.bench import bench

    (record,) = bench(model, "tflm", clips=vectors).records
    assert record.peak_ram_bytes is not None
    return record.peak_ram_bytes


def _clips(model: Path, metadata: dict[str, Any], given: Sequence[Path]) -> list[Clip]:
    from edgeprune.devices.inputs import clips_of
    from edgeprune.recipe import LogMel

    files = [(path, "") for path in given[:AUDIO_CLIPS]] or clips_of(model, LogMel(**metadata["frontend"]), AUDIO_CLIPS)
    return [_clip(model, metadata, LogMel(**metadata["frontend"]), path, scene) for path, scene in files]


def _clip(model: Path, metadata: dict[str, Any], spec: LogMel, path: Path, scene: str) -> Clip:
    """The clip cut to one patch, and what the Python chain says to just these samples."""
    import numpy as np

    from edgeprune.audio.decode import load_clip
    from edgeprune.tflite.description import Description
    from edgeprune.tflite.interpreter import TFLiteModel

    waveform = load_clip(path, spec.sample_rate)[: clip_samples(spec)]
    samples = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
    patches = Description.from_dict(metadata).patches((samples / 32768).astype(np.float32))
    interpreter = TFLiteModel(model, xnnpack=False)
    return Clip(path.name, samples, scene, interpreter.predict(patches[:1])[0])


def clip_samples(spec: LogMel) -> int:
    """Samples of a clip that yields exactly one patch."""
    return spec.patch_samples - sum(spec.samples_around)
