"""The description of a network that is not the registry's: from what its user says, and from the file's input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeprune.audio.layout import Layout
from edgeprune.data.labels import Task
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.models.registry import ModelSpec
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description, Output


def own_description(
    name: str,
    input_shape: Sequence[int],
    classes: int,
    labels: Sequence[str] | None = None,
    frontend: LogMel | None = None,
    normalisation: tuple[Any, Any] | None = None,
    output: Output = "softmax",
) -> Description:
    """The description of a network.

    Args:
        input_shape: of the file's input, with the batch.
        classes: values of its first output.
        labels: names of them; None: `output 0`, `output 1` ...
        frontend: whose log-mel patches enter, mels and frames in either order; None: features of another kind.
        normalisation: mean and standard deviation, of each mel band or of all; None: log-mel enters as it is.
    """
    names = tuple(f"output {place}" for place in range(classes)) if labels is None else tuple(labels)
    if len(names) != classes or len(set(names)) != len(names) or not all(names):
        raise EdgepruneError(
            f"{name}: gives {classes} values, which need as many different labels; {len(set(names))} are given."
        )
    spec = ModelSpec(name, classes, _channels_first(input_shape))
    bands = 1 if frontend is None else frontend.mels
    mean, std = normalisation or (0.0, 1.0)
    try:
        mean, std = (np.asarray(values, np.float32) for values in (mean, std))
    except (TypeError, ValueError) as error:
        raise EdgepruneError(f"{name}: the normalisation is no list of numbers ({first_line(error)}).") from error
    if any(values.shape not in ((), (1,), (bands,)) for values in (mean, std)):
        each = "" if frontend is None else f", or one for each of the {bands} mel bands"
        raise EdgepruneError(
            f"{name}: the normalisation has {mean.size} means and {std.size} standard deviations; give one "
            f"for all{each}."
        )
    mean, std = (np.broadcast_to(values, (bands,)).copy() for values in (mean, std))
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise EdgepruneError(f"{name}: the normalisation holds NaN or infinity; compute it on finite features.")
    if not (std > 0).all():
        raise EdgepruneError(f"{name}: a standard deviation of {float(std.min()):g} divides nothing; give one above 0.")
    layout: Layout = "mels_frames" if frontend is None else _layout(name, input_shape, frontend)
    task: Task = "scenes" if output != "sigmoid" else "detection" if classes == 1 else "tags"
    threshold = None if task == "scenes" else 0.5
    moments = Normalisation(mean, std)
    return Description(names, frontend, moments, spec, False, task, threshold, own_layout=layout, own_output=output)


def _channels_first(shape: Sequence[int]) -> tuple[int, int, int]:
    """`(channels, height, width)` of an input `[1, height, width, channels]`, or of another with the same order."""
    sizes = [int(size) for size in shape[1:]]
    if len(sizes) == 3:
        return sizes[2], sizes[0], sizes[1]
    if len(sizes) > 3:
        raise EdgepruneError(f"an input of {list(shape)} has more axes than an image; give one of at most four.")
    height, width = [1, *sizes][-2:]
    return 1, height, width


def _layout(name: str, shape: Sequence[int], frontend: LogMel) -> Layout:
    sizes = [int(size) for size in shape[1:] if size != 1]
    mels, frames = frontend.mels, frontend.patch_frames
    if sizes == [size for size in (mels, frames) if size != 1]:
        return "mels_frames"
    if sizes in ([size for size in (frames, mels) if size != 1], [mels * frames]):
        return "frames_mels"
    raise EdgepruneError(
        f"{name}: takes {list(shape)}, but the front-end gives {mels} mels x {frames} frames; match them."
    )
