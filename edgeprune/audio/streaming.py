"""The log-mel front-end over a stream: samples arrive in blocks of any length, and no frame is computed twice."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import Samples
from edgeprune.recipe import LogMel


class Sliding:
    """Windows of `size` rows, one every `hop` rows, over rows that arrive in pieces."""

    def __init__(self, size: int, hop: int) -> None:
        self.size, self.hop = size, hop
        self._held: NDArray[Any] | None = None
        self._skip = 0
        """Rows to come that no window needs (where `hop` is above `size`)."""

    def push(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The stretch of rows that holds all windows complete by now, none twice; 0 rows where there is none."""
        passed = min(self._skip, len(rows))
        self._skip -= passed
        held = rows[passed:] if self._held is None else np.concatenate([self._held, rows[passed:]])
        windows = max(0, (len(held) - self.size) // self.hop + 1)
        done = windows * self.hop
        self._held = held[done:].copy()
        self._skip += max(0, done - len(held))
        return held[: (windows - 1) * self.hop + self.size] if windows else held[:0]

    def windows(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The windows that these rows complete, each `size` rows."""
        stretch = self.push(rows)
        for start in range(0, len(stretch) - self.size + 1, self.hop):
            yield stretch[start : start + self.size]


class FrameStream:
    """Gives, frame by frame, what `Frontend` gives for the whole recording.

    The caller adds the silence before and after the recording (see `LogMel.samples_around`).
    """

    def __init__(self, spec: LogMel) -> None:
        import torch

        from edgeprune.audio.logmel import Frontend

        self._spec = spec
        # Without padding of its own, a frame begins where its samples begin.
        self._frontend = Frontend(replace(spec, center=False, patch_frames=1))
        self._samples = Sliding(spec.window_samples, spec.hop_samples)
        self._frontend(torch.zeros(1))  # compiles the loops before anyone waits for them

    def push(self, block: Samples) -> Samples:
        """Log-mel `[frames, mels]`, natural log units, of the frames that the block `[samples]` completes."""
        import torch

        stretch = self._samples.push(block)
        if len(stretch) == 0:
            return np.empty((0, self._spec.mels), np.float32)
        frames: Samples = self._frontend(torch.from_numpy(np.ascontiguousarray(stretch))).numpy()
        return frames
