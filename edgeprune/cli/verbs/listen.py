"""`edgeprune listen`: name the scene a microphone or a file hears, live."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional

from edgeprune.audio.decode import Samples, file_blocks
from edgeprune.audio.listener import Decision, Listener
from edgeprune.audio.microphone import Microphone
from edgeprune.console import say
from edgeprune.errors import EdgepruneError

TOP = 3
"""Scenes a line; --json has all."""
REPORT_S = 10.0
"""Seconds of audio between two reports on how fast it goes."""


@dataclass(frozen=True)
class ListenCommand:
    """Name the scene as it is heard, from a microphone or an audio file; Ctrl-C ends it."""

    model: Positional[Path]
    """A .tflite exported by edgeprune that takes log-mel or the waveform."""
    file: Path | None = None
    """Listen to this audio file instead of a microphone."""
    hop_s: float = 0.5
    """Seconds between decisions."""
    smoothing: float = 0.7
    """Weight of what was heard before, 0 to below 1; 0: each patch for itself."""
    device: str | None = None
    """Microphone: a part of its name or its number (`python -m sounddevice` lists them)."""
    seconds: float | None = None
    """Stop after so many seconds of audio."""
    threads: int = 1
    """Threads of the network."""
    json: bool = False
    """Print a line of JSON a decision."""

    def __call__(self) -> int:
        if self.file is not None and self.device is not None:
            raise EdgepruneError("listen: takes a file or a microphone; leave out --file or --device.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise EdgepruneError(f"listen: {self.seconds:g} seconds; give --seconds more than 0.")
        listener, labels = open_listener(self.model, self.hop_s, self.smoothing, self.threads)
        microphone = None if self.file is not None else Microphone(listener.spec.sample_rate, self.device)
        if microphone is not None:
            say(f"listening to {microphone.name}; Ctrl-C ends")
        self._listen(listener, labels, microphone)
        return 0

    def _listen(self, listener: Listener, labels: Sequence[str], microphone: Microphone | None) -> None:
        """Print decisions until the source or the user ends it, then the summary."""
        reported_s, last_report = 0.0, ""
        try:
            for decision in listener.listen(self._blocks(listener.spec.sample_rate, microphone)):
                overruns = 0 if microphone is None else microphone.overruns
                print(_line(self.json, decision, labels, listener, overruns), flush=True)
                if decision.time_s >= reported_s + REPORT_S:
                    reported_s, last_report = decision.time_s, _summary(listener, microphone)
                    say(last_report)
        except KeyboardInterrupt:
            say("interrupted")
        summary = _summary(listener, microphone)
        if summary != last_report:
            say(summary)

    def _blocks(self, sample_rate: int, microphone: Microphone | None) -> Iterator[Samples]:
        if microphone is not None:
            return microphone.blocks(self.seconds)
        assert self.file is not None
        blocks = file_blocks(self.file, sample_rate)
        return blocks if self.seconds is None else _first(blocks, round(self.seconds * sample_rate))


def open_listener(
    path: Path, hop_s: float = 0.5, smoothing: float = 0.7, threads: int = 1
) -> tuple[Listener, list[str]]:
    """A listener that decides by an exported file, and the labels of its probabilities; the arguments are the flags."""
    from edgeprune.tflite.flatbuffer import operators
    from edgeprune.tflite.interpreter import TFLiteModel
    from edgeprune.tflite.metadata import read_description

    description = read_description(path)
    if description.frontend is None:
        raise EdgepruneError(f"{path}: is no classifier of audio; give one that was trained on clips.")
    if "SOFTMAX" not in operators(path):
        raise EdgepruneError(f"{path}: gives logits, not probabilities; give the exported file with its softmax.")
    model = TFLiteModel(path, threads)

    def predict(patch: Samples) -> NDArray[Any]:
        x = patch if description.takes_waveform else description.inputs(patch[np.newaxis])[0]
        return model.predict(x[np.newaxis])[0]

    listener = Listener(description.frontend, predict, hop_s, smoothing, from_samples=description.takes_waveform)
    return listener, list(description.labels)


def _first(blocks: Iterator[Samples], samples: int) -> Iterator[Samples]:
    """The first so many samples of a stream."""
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def _line(as_json: bool, decision: Decision, labels: Sequence[str], listener: Listener, overruns: int) -> str:
    """One decision as it is printed."""
    probabilities = decision.probabilities
    best = np.argsort(-probabilities, kind="stable")
    if as_json:
        return json.dumps(
            {
                "time_s": round(decision.time_s, 6),
                "label": labels[best[0]],
                "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
                "real_time_factor": listener.real_time_factor,
                "overruns": overruns,
            },
            allow_nan=False,
        )
    scenes = "  ".join(f"{labels[place]} {probabilities[place]:.2f}" for place in best[:TOP])
    return f"{decision.time_s:8.2f} s  {scenes}"


def _summary(listener: Listener, microphone: Microphone | None) -> str:
    """How much was heard, and how fast it went."""
    text = (
        f"{listener.audio_s:.1f} s of audio, {listener.decisions} decisions; front-end and network took "
        f"{listener.processing_s:.2f} s: real-time factor {listener.real_time_factor:.4f}"
    )
    if microphone is None:
        return text
    lost = "no samples lost" if microphone.overruns == 0 else f"samples lost {microphone.overruns} times"
    slow = "; raise --hop-s, the network cannot keep up" if listener.real_time_factor > 1 else ""
    return f"{text}; {lost}{slow}"
