"""Class probabilities that an exported file gives audio files."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeprune import console
from edgeprune.audio.decode import load_clip
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description


def audio_probabilities(
    path: Path | str, files: Sequence[Path], title: str = "evaluating", threads: int = 0
) -> NDArray[np.float64]:
    """Means of the class probabilities over each clip's patches, `[clips, classes]` in the order of the file's labels.

    The .tflite takes log-mel or the waveform. Clips are decoded and resampled one at a time. `threads` are the
    interpreter's; 0: one a core.
    """
    description = read_description(path)
    model = TFLiteModel(path, threads=threads or os.cpu_count() or 1)
    probabilities = np.empty((len(files), model.output_shape[-1]))
    with _one_thread():
        for row, file in enumerate(console.track(files, title, len(files))):
            patches = description.patches(load_clip(file, description.logmel.sample_rate))
            probabilities[row] = model.predict(patches).mean(axis=0, dtype=np.float64)
    return probabilities


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of PyTorch's: to wake more for every clip's FFT takes longer than the FFT."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
