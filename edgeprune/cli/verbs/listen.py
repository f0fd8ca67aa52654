"""`edgeprune listen`: name the scene a microphone or a file hears, live."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import OmitArgPrefixes, Positional

from edgeprune.audio.decode import Samples, file_blocks
from edgeprune.audio.listen_rules import ListenRules
from edgeprune.audio.listener import Decision, Listener
from edgeprune.audio.microphone import Microphone
from edgeprune.console import print_line, say
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
    device: str | None = None
    """Microphone: a part of its name or its number (`python -m sounddevice` lists them)."""
    seconds: float | None = None
    """Stop after so many seconds of audio."""
    threads: int = 1
    """Threads of the network."""
    json: bool = False
    """Print a line of JSON a decision."""
    rules: OmitArgPrefixes[ListenRules] = field(default_factory=ListenRules)
    """The rules of decision, those of firmware (`edgeprune deploy` takes the same flags)."""

    def __call__(self) -> int:
        if self.file is not None and self.device is not None:
            raise EdgepruneError("listen: takes a file or a microphone; leave out --file or --device.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise EdgepruneError(f"listen: {self.seconds:g} seconds; give --seconds more than 0.")
        listener, labels = open_listener(self.model, self.rules, self.threads)
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
                if self.json:
                    print(_json_line(decision, labels, listener, microphone), flush=True)
                else:
                    print_line(_line(decision, labels))
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


def open_listener(path: Path, rules: ListenRules, threads: int = 1) -> tuple[Listener, list[str]]:
    """A listener that decides by an exported file, and the labels of its probabilities."""
    from edgeprune.tflite.flatbuffer import operators
    from edgeprune.tflite.interpreter import TFLiteModel
    from edgeprune.tflite.metadata import read_description
    from edgeprune.tflite.sidecar import check_unchanged

    check_unchanged(path)
    description = read_description(path)
    if description.frontend is None:
        raise EdgepruneError(f"{path}: is no classifier of audio; give one that was trained on clips.")
    if "SOFTMAX" not in operators(path) and description.threshold is None:
        raise EdgepruneError(f"{path}: gives logits, not probabilities; give the exported file with its softmax.")
    model = TFLiteModel(path, threads)
    description.check_shapes(path, model.input_shape, model.output_shape)

    def predict(patch: Samples) -> NDArray[Any]:
        x = patch if description.takes_waveform else description.inputs(patch[np.newaxis])[0]
        return model.predict(x[np.newaxis])[0]

    rules = rules.of_network(description.threshold)
    listener = Listener(description.frontend, predict, rules, from_samples=description.takes_waveform)
    return listener, list(description.labels)


def _first(blocks: Iterator[Samples], samples: int) -> Iterator[Samples]:
    """The first so many samples of a stream."""
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def _line(decision: Decision, labels: Sequence[str]) -> str:
    """One decision as people read it: the likeliest scenes, or why none is named."""
    judgement, probabilities = decision.judgement, decision.probabilities
    if judgement.heard == "silence":
        return f"{decision.time_s:8.2f} s  silence, {judgement.level_dbfs:.0f} dBFS"
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    scenes = "  ".join(f"{labels[place]} {probabilities[place]:.2f}" for place in best)
    return f"{decision.time_s:8.2f} s  {'none of these: ' if judgement.heard == 'none' else ''}{scenes}"


def _json_line(decision: Decision, labels: Sequence[str], listener: Listener, microphone: Microphone | None) -> str:
    judgement = decision.judgement
    line = {
        "time_s": round(decision.time_s, 6),
        "heard": judgement.heard,
        "label": labels[judgement.best] if judgement.heard == "class" else None,
        "labels": [labels[place] for place in judgement.likely],
        "level_dbfs": round(judgement.level_dbfs, 1) if judgement.mean_square else None,
        "probabilities": dict(zip(labels, decision.probabilities.tolist(), strict=True)),
        "real_time_factor": listener.real_time_factor,
        "overruns": 0 if microphone is None else microphone.overruns,
        "dropped_samples": 0 if microphone is None else microphone.dropped_samples,
    }
    return json.dumps(line, allow_nan=False)


def _summary(listener: Listener, microphone: Microphone | None) -> str:
    """How much was heard, and how fast it went."""
    text = (
        f"{listener.audio_s:.1f} s of audio, {listener.decisions} decisions; front-end and network took "
        f"{listener.processing_s:.2f} s: real-time factor {listener.real_time_factor:.4f}"
    )
    if microphone is None:
        return text
    lost = f"samples lost {microphone.overruns} times" if microphone.overruns else "no samples lost"
    slow = "; give a longer --hop-s, the network cannot keep up" if listener.real_time_factor > 1 else ""
    return f"{text}; {lost}{slow}"
