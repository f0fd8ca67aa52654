"""Hostile .tflite files: of small networks made by hand, their bytes, their parts and what they describe damaged."""

import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import conv_tflite
import numpy as np
import soundfile
import tiny_tflite
from damage import damage_parts, damaged_bytes
from firmware.drawn_files import drawn_file

from edgeprune.audio.decode import file_blocks
from edgeprune.audio.listen_rules import ListenRules
from edgeprune.bundles import c11
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.source import source_of
from edgeprune.cli.model_argument import cost_of_file
from edgeprune.cli.verbs.listen import open_listener
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.audio_files import audio_probabilities
from edgeprune.firmware.stream.compile import plan_stream
from edgeprune.models.registry import ModelSpec
from edgeprune.recipe import LogMel
from edgeprune.submitting.shipped import nonzero_params
from edgeprune.tflite.cost import file_facts
from edgeprune.tflite.description import Description
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import METADATA_NAME, embed, set_metadata
from edgeprune.tflite.sidecar import check_unchanged

FRONTEND = LogMel(sample_rate=8000, window_s=0.032, hop_s=0.016, mels=20, patch_frames=12, patch_hop_frames=12)
DESCRIPTION = Description(
    labels=tuple(f"scene {number}" for number in range(conv_tflite.CLASSES)),
    frontend=FRONTEND,
    normalisation=Normalisation.none(20),
    spec=ModelSpec("dcase21", conv_tflite.CLASSES, (1, 20, 12)),
)


class TfliteFiles:
    """To `cost`, to the interpreters, and to one of `listen`, `evaluate` and `deploy`."""

    def __init__(self, folder: Path) -> None:
        self.path, self._clip = folder / "x.tflite", folder / "clip.wav"
        samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
        soundfile.write(self._clip, samples, FRONTEND.sample_rate)
        self._bases = [self._conv()] * 10 + [self._dense()] * 3 + [drawn_file(seed).file for seed in range(40)]
        self.good = ("deploy", self._bases[0])

    def _conv(self) -> bytes:
        return conv_tflite.conv_network(self.path, (3, 4), metadata=DESCRIPTION.to_dict()).read_bytes()

    def _dense(self) -> bytes:
        model = tiny_tflite.float_model(240, 5)
        set_metadata(model, {**DESCRIPTION.to_dict(), "output": "none"})
        return pack_model(model)

    def make(self, random: random.Random) -> tuple[str, bytes]:
        return random.choice(("listen", "evaluate", "deploy")), self._content(random)

    def _content(self, random: random.Random) -> bytes:
        content = random.choice(self._bases)
        way = random.random()
        if way < 0.3:
            return damaged_bytes(random, content)
        if way < 0.35:
            return content[: random.randrange(len(content))]
        while True:
            self.path.write_bytes(content)
            model = unpack_model(self.path)
            if model.metadata and random.random() < 0.3:
                _describe(random, model)
            else:
                damage_parts(random, model)
            with suppress(Exception):  # a value that the schema has no room for
                return pack_model(model)

    def read(self, made: tuple[str, bytes]) -> None:
        verb, content = made
        self.path.write_bytes(content)
        refusals = []
        for step in (self._run, self._cost, getattr(self, f"_{verb}")):
            try:
                step()
            except EdgepruneError as error:
                refusals.append(error)
        if refusals:
            raise max(refusals, key=lambda error: len(str(error)))

    def _run(self) -> None:
        check_unchanged(self.path)
        for xnnpack in (False, True):
            model = TFLiteModel(self.path, xnnpack=xnnpack)
            model.predict_all(np.zeros(model.input_shape, np.float32))

    def _cost(self) -> None:
        cost_of_file(self.path).to_dict()
        file_facts(self.path)
        nonzero_params(self.path)
        plan_stream(self.path)

    def _listen(self) -> None:
        listener, _ = open_listener(self.path, ListenRules())
        list(listener.listen(file_blocks(self._clip, listener.spec.sample_rate)))

    def _evaluate(self) -> None:
        audio_probabilities(self.path, [self._clip])

    def _deploy(self) -> None:
        source = source_of(self.path, [self._clip])
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            c11.write(source, Path(folder), Deployment())


def _describe(random: random.Random, model: Any) -> None:
    """Damage the text or the values of the network's description."""
    description = DESCRIPTION.to_dict()
    if random.random() < 0.3:
        embed(model, METADATA_NAME, damaged_bytes(random, json.dumps(description).encode()))
        return
    damage_parts(random, description)
    embed(model, METADATA_NAME, json.dumps(description, default=repr).encode("utf-8", "surrogatepass"))
