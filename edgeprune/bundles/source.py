"""The content of a bundle: the file that ships, real clips, and its outputs for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import load_clip
from edgeprune.devices.bench import bench
from edgeprune.devices.checks import reference
from edgeprune.devices.inputs import clips_of, inputs_for
from edgeprune.devices.network_check import check_network
from edgeprune.devices.request import Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description
from edgeprune.tflite.sidecar import check_unchanged

AUDIO_CLIPS = 3
"""The number of clips whose audio goes into a bundle."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A real clip, as long as one network input.

    Attributes:
        samples: int16 `[samples]` at the front-end's rate, full scale 32768.
        scene: its true label.
        probabilities: float32 `[classes]`, by the Python chain: front-end, then the file that ships.
    """

    name: str
    samples: NDArray[np.int16]
    scene: str
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """The content of a bundle, the same for all targets.

    Attributes:
        model: the int8 .tflite that ships.
        description: embedded in the model; labels may be any text.
        vectors: inputs of real clips.
        stored: int8 `[n, ...]`, the same inputs as the file takes them.
        expected: int8 `[n, classes]`, the file's outputs for them by TFLite's plain kernels.
        arena_bytes: smallest arena of TFLite Micro, measured; None if the target needs none.
    """

    model: Path
    description: Description
    vectors: Inputs
    stored: NDArray[np.int8]
    expected: NDArray[np.int8]
    clips: tuple[Clip, ...]
    arena_bytes: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the output."""
        return self.description.labels

    @property
    def frontend(self) -> LogMel:
        return self.description.logmel


def source_of(run: Path, clips: Sequence[Path] = (), arena: bool = False) -> Source:
    """Collect the content of a bundle.

    Args:
        run: a finished run with `model_int8.tflite`, or an int8 .tflite that carries labels and front-end.
        clips: audio files to use instead of the run's evaluation clips.
        arena: measure TFLite Micro's smallest arena as well.
    """
    model = run if run.suffix == ".tflite" else run / "model_int8.tflite"
    if not model.is_file():
        raise EdgepruneError(
            f"{model}: is not there; a bundle is made of an int8 file, which `edgeprune export {model.parent} "
            "--formats int8` makes of a finished run."
        )
    check_unchanged(model)
    network = TFLiteModel(model)
    if (network.input_dtype, network.output_dtype) != (np.int8, np.int8):
        raise EdgepruneError(
            f"{model}: is not int8 from end to end, which a bundle is made of; give the run's folder or its "
            "model_int8.tflite."
        )
    description = read_description(model)
    description.check_probabilities(model)
    if description.frontend is None:
        raise EdgepruneError(f"{run}: describes no log-mel front-end; bundles are made for networks of audio.")
    description.check_shapes(model, network.input_shape, network.output_shape)
    vectors = inputs_for(model, clips)
    check_network(model, vectors)
    stored, expected = reference(model, vectors)
    files = [(path, "") for path in clips[:AUDIO_CLIPS]] or clips_of(model, description.logmel, AUDIO_CLIPS)
    audio = tuple(_clip(model, description, path, scene) for path, scene in files)
    arena_bytes = bench(model, "tflm", clips=vectors).records[0].peak_ram_bytes if arena else None
    return Source(model, description, vectors, stored, expected, audio, arena_bytes)


def _clip(model: Path, description: Description, path: Path, scene: str) -> Clip:
    """The clip cut to one patch, and the probabilities of the Python chain for just these samples."""
    waveform = load_clip(path, description.logmel.sample_rate)[: clip_samples(description.logmel)]
    samples = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
    patches = description.patches((samples / 32768).astype(np.float32))
    return Clip(path.name, samples, scene, TFLiteModel(model, xnnpack=False).predict(patches[:1])[0])


def clip_samples(spec: LogMel) -> int:
    """Samples of a clip that yields exactly one patch."""
    return spec.patch_samples - sum(spec.samples_around)
