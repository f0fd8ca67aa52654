"""The two loops of the front-end that run over every sample and every bin, compiled (numba), without the interpreter's
lock: put together from array operations they would take as long as the FFT between them."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def window_frames(
    samples: NDArray[np.float32], window: NDArray[np.float64], hop: int, before: int, frames: NDArray[np.float64]
) -> None:
    """Write windowed frames; beyond the clip there is silence.

    Args:
        samples: `[samples]`.
        window: `[window samples]`.
        hop: samples between frames.
        before: samples of silence before the clip, so that frame 0 begins there.
        frames: written, `[frames, FFT size]`; what lies after the window is set to zero.
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
        heard, weights, inside = samples[start + low : start + high], window[low:high], frame[low:high]
        for place in range(len(inside)):
            inside[place] = heard[place] * weights[place]


@njit(nogil=True, cache=True, fastmath=True)
def mel_bands(
    spectrum: NDArray[np.complex128],
    bank: NDArray[np.float32],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    power: bool,
    out: NDArray[np.float32],
) -> None:
    """Magnitude or power of each bin, summed by mel bands.

    Args:
        spectrum: `[frames, bins]`.
        bank: `[mels, bins]`.
        first: `[mels]`, the first bin of each band.
        last: `[mels]`, one after its last bin.
        out: written, `[frames, mels]`.
    """
    # from here on single precision is enough: nothing is subtracted any more
    strength = np.empty(spectrum.shape[1], np.float32)
    for row in range(spectrum.shape[0]):
        values = spectrum[row]
        for place in range(len(strength)):
            strength[place] = values[place].real ** 2 + values[place].imag ** 2
        if not power:
            for place in range(len(strength)):
                strength[place] = np.sqrt(strength[place])
        for band in range(bank.shape[0]):
            heard, weights = strength[first[band] : last[band]], bank[band, first[band] : last[band]]
            total = np.float32(0.0)
            for place in range(len(heard)):
                total += heard[place] * weights[place]
            out[row, band] = total
