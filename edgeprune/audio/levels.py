"""How loud clips are, to tell those that a network cannot hear: silent ones, and stereo that cancels itself out."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SILENT = 10 ** (-90 / 20)
"""Root mean square, full scale 1, below which a clip is silent: a 16-bit file's last bit flips now and then."""
CANCELLED = 10 ** (-30 / 20)
"""Share of its loudest channel below which a mix is lost; full scale is 1, so a mix above it cannot be."""
_BLOCK = 1 << 16
"""Frames read at once."""


def _none() -> NDArray[np.float32]:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class Levels:
    """Root mean squares of clips, full scale 1.

    Attributes:
        mix: float32 `[clips]`, of the mono mix.
        loudest: float32 `[clips]`, of the loudest channel; where the mix is too loud to be `CANCELLED`, the same as it.
    """

    mix: NDArray[np.float32] = field(default_factory=_none)
    loudest: NDArray[np.float32] = field(default_factory=_none)

    @property
    def silent(self) -> NDArray[np.intp]:
        """Rows of the clips that hold nothing."""
        return np.flatnonzero(self.loudest < SILENT)

    @property
    def cancelled(self) -> NDArray[np.intp]:
        """Rows of the clips whose channels are opposite to each other."""
        return np.flatnonzero((self.loudest >= SILENT) & (self.mix < CANCELLED * self.loudest))


def measure_levels(path: Path, mix: NDArray[np.float32]) -> tuple[float, float]:
    """Root mean square of a clip's mono mix `[samples]`, and of its loudest channel in the file."""
    level = float(np.sqrt(np.mean(np.square(mix, dtype=np.float64))))
    return (level, level) if level >= CANCELLED else (level, max(level, _loudest_channel(path)))


def _loudest_channel(path: Path) -> float:
    import soundfile

    from edgeprune.audio.decode import DECODING_ERRORS

    frames, squares = 0, np.zeros(1)
    try:
        with soundfile.SoundFile(path) as stream:
            if stream.channels == 1:
                return 0.0
            while len(block := stream.read(_BLOCK, dtype="float32", always_2d=True)):
                frames, squares = frames + len(block), squares + np.square(block, dtype=np.float64).sum(axis=0)
    except DECODING_ERRORS:  # what only `decode` reads to its end
        pass
    return float(np.sqrt(squares.max() / max(1, frames)))
