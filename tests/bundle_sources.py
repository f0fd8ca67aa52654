"""A network with random weights, ready to be bundled."""

from pathlib import Path

import conv_tflite
import numpy as np
import torch

from edgeprune.audio.logmel import Frontend
from edgeprune.bundles.source import Clip, Source, clip_samples
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices.checks import reference
from edgeprune.devices.request import Inputs
from edgeprune.models.registry import make_spec
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description
from edgeprune.tflite.interpreter import TFLiteModel

LABELS = ('quote " back\\slash', "line\nbreak */ ??/ ??' //", "Straßenbahn 🚋", "%s%n @CLASSES@ @ARENA@ `x`", "")


MELS, FRAMES = conv_tflite.SHAPE


SPEC = LogMel(sample_rate=8000, window_s=0.032, hop_s=0.016, mels=MELS, patch_frames=FRAMES, patch_hop_frames=FRAMES)


ARENA = 4560


def make_source(folder: Path, spec: LogMel = SPEC, labels: tuple[str, ...] = LABELS) -> Source:
    """A network with random weights, and inputs computed from noise by the Python front-end."""
    random = np.random.default_rng(3)
    normalisation = Normalisation(np.full(MELS, -2, np.float32), np.full(MELS, 1.5, np.float32))
    metadata = {
        "labels": list(labels),
        "frontend": {name: getattr(spec, name) for name in spec.__dataclass_fields__},
        "normalisation": normalisation.to_dict(),
        "model": make_spec("dcase21", len(labels)).to_dict(),
    }
    path = conv_tflite.conv_network(folder / "model_int8.tflite", metadata=metadata)
    volume = np.geomspace(30, 20_000, 10)[:, None]
    samples = np.round(random.standard_normal((10, clip_samples(spec))).clip(-1, 1) * volume).astype(np.int16)
    frames = Frontend(spec)(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
    values = ((frames - normalisation.mean) / normalisation.std).transpose(0, 2, 1)[..., None]
    vectors = Inputs(np.ascontiguousarray(values, np.float32), "noise")
    stored, expected = reference(path, vectors)
    probabilities = TFLiteModel(path).dequantise(expected)[7]
    clip = Clip('a "clip"\n.wav', samples[7], labels[0], probabilities)
    return Source(path, Description.from_dict(metadata), vectors, stored, expected, (clip,), ARENA)
