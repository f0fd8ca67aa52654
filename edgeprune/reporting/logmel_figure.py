"""Log-mels of clips as a figure: a row a class, in seconds and Hz, all in one scale of colours."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeprune.data.shown_clips import ShownClip
from edgeprune.recipe import LogMel
from edgeprune.reporting.drawing import few_ticks, short, white_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FREQUENCIES = tuple(125.0 * 2**octave for octave in range(8))
"""Hz that are named on the vertical axis, where the bands reach them."""
_APART = 0.12
"""Of the axis: the least distance of two names."""


def logmel_figure(clips: Sequence[ShownClip], frontend: LogMel) -> "Figure":
    """A panel for each clip, the clips of a class beside each other."""
    rows: dict[str, list[ShownClip]] = {}
    for clip in clips:
        rows.setdefault(clip.label, []).append(clip)
    columns = max(map(len, rows.values()))
    low, high = np.percentile(np.concatenate([clip.logmel.ravel() for clip in clips]), (0.5, 99.9))
    ticks = band_ticks(frontend)
    with white_figure(1.4 + 3.0 * columns, 0.9 + 1.55 * len(rows)) as figure:
        panels = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
        for row, (label, of_class) in enumerate(rows.items()):
            for axes, clip in zip(panels[row], of_class, strict=False):
                end_s = len(clip.logmel) * frontend.hop_s
                image = axes.imshow(
                    clip.logmel.T,
                    aspect="auto",
                    origin="lower",
                    extent=(0.0, end_s, -0.5, frontend.mels - 0.5),
                    vmin=low,
                    vmax=max(high, low + 1e-6),
                    cmap="magma",
                )
                axes.set_title(short(PurePosixPath(clip.filename).name), fontsize="small")
                axes.xaxis.set_major_locator(few_ticks())
                axes.set_yticks(list(ticks.values()), list(ticks))
                axes.tick_params(labelsize="small")
            for axes in panels[row, len(of_class) :]:
                axes.set_axis_off()
            panels[row, 0].set_ylabel(f"{short(label)}\nHz")
        for axes in panels[-1]:
            axes.set_xlabel("s")
        log = f"ln({frontend.spectrum} + {frontend.log_offset:g})"
        figure.colorbar(image, ax=panels, label=log, aspect=25, shrink=min(1.0, 3 / len(rows)), anchor=(0.0, 1.0))
    return figure


def band_ticks(frontend: LogMel) -> dict[str, float]:
    """Where round frequencies lie among the mel bands: `1k` and the place, counted from band 0.

    Where they would touch, the lower one is left out.
    """
    centres, ticks = band_centres(frontend), {}
    above = np.inf
    for hertz in reversed(_FREQUENCIES):
        place = float(np.interp(hertz, centres, np.arange(len(centres))))
        if centres[0] <= hertz <= centres[-1] and above - place >= _APART * len(centres):
            above = ticks[f"{hertz:g}" if hertz < 1000 else f"{hertz / 1000:g}k"] = place
    return ticks


def band_centres(frontend: LogMel) -> NDArray[np.float64]:
    """Centre of each mel band, Hz, `[mels]`."""
    import librosa

    low, high = frontend.band_limits
    edges = librosa.mel_frequencies(frontend.mels + 2, fmin=low, fmax=high, htk=frontend.mel_scale == "htk")
    return np.asarray(edges[1:-1], dtype=np.float64)
