"""Samples from a microphone, through PortAudio (package sounddevice, optional)."""

import math
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import BLOCK_S, Samples, resampled
from edgeprune.errors import EdgepruneError, first_line

QUEUE_S = 10.0
"""Seconds of audio that wait for a slow network before blocks are lost."""
SILENCE_S = 5.0
"""Seconds without a block after which a microphone is given up."""


class Microphone:
    """A microphone.

    It records at `sample_rate`, or at its own rate where it takes no other and that is higher; several channels become
    their mean.

    Args:
        sample_rate: of the blocks, Hz.
        device: a part of its name or its number (`python -m sounddevice` lists them); None: the system's choice.

    Attributes:
        name: of the device.
        overruns: how often samples were lost: PortAudio's own overflows, and blocks that came while `QUEUE_S` seconds
            were waiting.
        dropped_samples: of those blocks, at the microphone's rate; PortAudio does not tell how many it lost.
    """

    def __init__(self, sample_rate: int, device: str | None = None) -> None:
        self._sounddevice = _sounddevice()
        self._device: str | int | None = int(device) if device is not None and device.isdecimal() else device
        self.sample_rate, self.overruns, self.dropped_samples = sample_rate, 0, 0
        try:
            info = self._sounddevice.query_devices(self._device, "input")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            missing = "there is no microphone" if self._device is None else f"there is no microphone '{self._device}'"
            raise EdgepruneError(
                f"listen: {missing} ({first_line(error)}); plug one in, choose one with --device "
                "(`python -m sounddevice` lists them), or give --file."
            ) from error
        self.name = str(info["name"])
        self._rate, self._channels = self._settings(info)
        self._blocks: queue.Queue[Samples] = queue.Queue(max(1, round(QUEUE_S / BLOCK_S)))

    def blocks(self, seconds: float | None = None) -> Iterator[Samples]:
        """Float32 blocks `[samples]`, as they are recorded, for `seconds` or for ever."""
        yield from resampled(self._recorded(seconds), self._rate, self.sample_rate)

    def _settings(self, info: Any) -> tuple[int, int]:
        """Rate and channels to record with."""
        for rate in (self.sample_rate, int(info["default_samplerate"])):
            for channels in (1, int(info["max_input_channels"])):
                try:
                    self._sounddevice.check_input_settings(self._device, channels, "float32", None, rate)
                except (ValueError, self._sounddevice.PortAudioError):
                    continue
                if rate >= self.sample_rate:
                    return rate, channels
        raise EdgepruneError(
            f"listen: microphone '{self.name}' does not record at {self.sample_rate} Hz, which the model needs, or "
            "above; choose another with --device."
        )

    def _recorded(self, seconds: float | None) -> Iterator[Samples]:
        """Mono blocks at the microphone's rate."""
        left = math.inf if seconds is None else round(seconds * self._rate)
        size = max(1, round(BLOCK_S * self._rate))
        try:
            stream = self._sounddevice.InputStream(
                samplerate=self._rate,
                blocksize=size,
                device=self._device,
                channels=self._channels,
                dtype="float32",
                callback=self._enqueue,
            )
            with stream:
                while left > 0:
                    block = self._blocks.get(timeout=SILENCE_S)
                    yield block[: int(min(left, len(block)))]
                    left -= len(block)
        except queue.Empty as error:
            raise EdgepruneError(
                f"listen: microphone '{self.name}' gave nothing for {SILENCE_S:g} s; check that it is plugged in."
            ) from error
        except self._sounddevice.PortAudioError as error:
            raise EdgepruneError(
                f"listen: microphone '{self.name}' cannot be opened ({first_line(error)}); close what uses it or "
                "choose another with --device."
            ) from error

    def _enqueue(self, block: NDArray[np.float32], frames: int, clock: Any, status: Any) -> None:
        """PortAudio's callback, in its own thread: it must not wait."""
        if status.input_overflow:
            self.overruns += 1
        try:
            self._blocks.put_nowait(block.mean(axis=1))  # a copy: PortAudio uses the block again
        except queue.Full:
            self.overruns += 1
            self.dropped_samples += frames


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise EdgepruneError(
            "listen: needs the package sounddevice for the microphone; install edgeprune[listen], or give --file."
        ) from error
    except OSError as error:
        raise EdgepruneError(
            "listen: needs the PortAudio library for the microphone; install libportaudio2 (Debian), or give --file."
        ) from error
    return sounddevice
