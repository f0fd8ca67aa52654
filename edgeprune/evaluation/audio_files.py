"""Class probabilities that an exported file gives audio files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeprune import console
from edgeprune.audio.decode import load_clip
from edgeprune.cores import cores
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description


def audio_probabilities(path: Path | str, files: Sequence[Path], title: str = "evaluating") -> NDArray[np.float64]:
    """Means of the class probabilities over each clip's patches, `[clips, classes]` in the order of the file's labels.

    The .tflite takes log-mel or the waveform; `TFLiteModel.probabilities` says how it is read. Clips are decoded and
    resampled one at a time.
    """
    description = read_description(path)
    model = TFLiteModel(path, threads=cores())
    description.check_shapes(Path(path), model.input_shape, model.output_shape)
    probabilities = np.empty((len(files), model.output_shape[-1]))
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # to wake more for every clip's FFT takes longer than the FFT
    try:
        for row, file in enumerate(console.track(files, title, len(files))):
            patches = description.patches(load_clip(file, description.logmel.sample_rate))
            probabilities[row] = model.probabilities(patches).mean(axis=0, dtype=np.float64)
    finally:
        torch.set_num_threads(torch_threads)
    return probabilities
