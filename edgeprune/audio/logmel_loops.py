"""The front-end's two loops over samples and bins, compiled by numba and without the interpreter's lock.

As array operations they would take as long as the FFT between them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def window_frames(
    samples: NDArray[np.float32], window: NDArray[np.float64], hop: int, before: int, frames: NDArray[np.float64]
) -> None:
    """Write windowed `frames` `[frames, FFT size]`, zero after the window and beyond the clip.

    Args:
        hop: samples between frames.
        before: samples of silence before the clip, where frame 0 begins.
    """
    size = len(window)
    for row in range(frames.shape[0]):
        start = row * hop - before
        low = min(max(0, -start), size)
        high = max(low, min(size, len(samples) - start))
        frame = frames[row]
        frame[:low] = 0.0
        frame[high:] = 0.0
        # slices, whose indices count from 0, let the compiler use vector instructions
        clip, weights, inside = samples[start + low : start + high], window[low:high], frame[low:high]
        for place in range(len(inside)):
            inside[place] = clip[place] * weights[place]


@njit(nogil=True, cache=True, fastmath=True)
def mel_bands(
    spectrum: NDArray[np.complex128],
    bank: NDArray[np.float32],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    power: bool,
    out: NDArray[np.float32],
) -> None:
    """Magnitude or power of each bin of `spectrum` `[frames, bins]`, summed by mel bands into `out` `[frames, mels]`.

    Args:
        bank: `[mels, bins]`.
        first, last: `[mels]`, the first bin of each band and the one after its last.
    """
    # single precision is enough from here on, since nothing is subtracted
    strength = np.empty(spectrum.shape[1], np.float32)
    for row in range(spectrum.shape[0]):
        values = spectrum[row]
        for place in range(len(strength)):
            strength[place] = values[place].real ** 2 + values[place].imag ** 2
        if not power:
            for place in range(len(strength)):
                strength[place] = np.sqrt(strength[place])
        for band in range(bank.shape[0]):
            bins, weights = strength[first[band] : last[band]], bank[band, first[band] : last[band]]
            total = np.float32(0.0)
            for place in range(len(bins)):
                total += bins[place] * weights[place]
            out[row, band] = total
