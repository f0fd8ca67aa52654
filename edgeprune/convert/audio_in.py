"""From a clip's samples to what an exported file takes, features or samples, and what the file says to it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune import console

Cut = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From a clip `[samples]` at the front-end's rate to its patches as a file takes them, `[patches, ...]`."""


def takes_time_first(described: Mapping[str, Any]) -> bool:
    """Whether a file's network takes `[frames, mels]` rather than `[mels, frames]`."""
    from edgeprune.models.registry import entry

    return entry(described["model"]["name"]).time_first


def patches_of(described: Mapping[str, Any]) -> Cut:
    """How the patches of a clip are made for a file.

    Args:
        described: what is embedded in the file (see `metadata.read_metadata`).

    Returns:
        a function that gives `[patches, height, width, 1]`, normalised and not quantised, or `[patches, samples]` for a
        file that takes the waveform.
    """
    import torch

    from edgeprune.audio.logmel import Frontend, patch_starts, waveform_patches
    from edgeprune.convert.waveform import takes_waveform
    from edgeprune.data.patches import Normalisation
    from edgeprune.recipe import LogMel

    spec = LogMel(**described["frontend"])
    if takes_waveform(described):
        return lambda clip: waveform_patches(clip, spec)
    time_first, frontend = takes_time_first(described), Frontend(spec)
    normalisation = Normalisation.from_dict(described["normalisation"])

    def cut(clip: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = (frontend(torch.from_numpy(clip)).numpy() - normalisation.mean) / normalisation.std
        starts = patch_starts(len(frames), spec.patch_frames, spec.patch_hop_frames)
        patches = np.stack([frames[start : start + spec.patch_frames] for start in starts])
        return np.ascontiguousarray((patches if time_first else patches.transpose(0, 2, 1))[..., np.newaxis])

    return cut


def audio_probabilities(
    path: Path | str, files: Sequence[Path], title: str = "evaluating", threads: int = 0
) -> NDArray[np.float64]:
    """Class probabilities an exported file gives audio files: means over each clip's patches.

    Args:
        path: the .tflite.
        files: clips, decoded and resampled one at a time.
        title: of the progress bar.
        threads: of the interpreter; 0: one a core.

    Returns:
        `[clips, classes]`, in the order of the file's labels.

    Raises:
        EdgepruneError: a clip cannot be used (see `audio.decode.load_clip`).
    """
    from edgeprune.audio.decode import load_clip
    from edgeprune.tflite.interpreter import TFLiteModel
    from edgeprune.tflite.metadata import read_metadata

    described = read_metadata(path)
    model = TFLiteModel(path, threads=threads or os.cpu_count() or 1)
    cut, rate = patches_of(described), described["frontend"]["sample_rate"]
    rows = np.empty((len(files), model.output_shape[-1]))
    with _one_thread():
        for row, file in enumerate(console.track(files, title, len(files))):
            rows[row] = model.predict(cut(load_clip(file, rate))).mean(axis=0, dtype=np.float64)
    return rows


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of PyTorch's: waking more for every clip's FFT takes longer than the FFT."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
