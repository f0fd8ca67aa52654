"""The file of a finished run that is submitted or described, with its run and its data set's card."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.data.cards import Card, load_card
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.recipe import Recipe
from edgeprune.results.result import File, NetworkResult, Result
from edgeprune.results.run_folder import RunFolder
from edgeprune.tflite.cost import file_facts
from edgeprune.tflite.flatbuffer import TYPE_NAMES, operators, unpack_model
from edgeprune.tflite.metadata import read_description
from edgeprune.tflite.sidecar import check_unchanged


@dataclass(frozen=True)
class Shipped:
    """A file of a run's pruned network, the very one that was evaluated."""

    run: RunFolder
    file: File
    recipe: Recipe
    result: Result

    @property
    def folder(self) -> Path:
        return self.run.path

    @property
    def path(self) -> Path:
        return self.folder / self.file.name

    @property
    def format(self) -> str:
        return self.file.format

    @property
    def dense(self) -> NetworkResult:
        """The network before pruning."""
        return self.result.networks["dense"]

    @property
    def pruned(self) -> NetworkResult:
        return self.result.networks["pruned"]

    @cached_property
    def card(self) -> Card:
        """The card of the run's data set."""
        return load_card(self.recipe.data.name)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the file's output."""
        return read_description(self.path).labels

    @property
    def threshold(self) -> float | None:
        """Probability from which a class counts as heard; None where one class a clip is told."""
        return read_description(self.path).threshold

    @property
    def bits(self) -> int:
        """Bits of a stored weight."""
        bits = {"int8": 8, "float16": 16, "float32": 32}.get(file_facts(self.path).weight_type or "")
        if self.format == "int16x8" or bits is None:  # biases of int16x8 have 64 bits
            raise EdgepruneError(f"{self.path}: how {self.format} is counted is not known; submit the int8 file.")
        return bits


def open_run(folder: Path, format: str | None = None) -> Shipped:
    """The file of a finished run's pruned network: that of `format`, else int8, else the first the run made."""
    run = RunFolder.existing(folder)
    result = run.result()
    files = result.networks["pruned"].files
    file = result.shipped if format is None else files.get(format)
    if file is None:
        has = ", ".join(files) or "none"
        raise EdgepruneError(f"{folder}: has no {format or 'int8'} file of the pruned network; it has {has}.")
    shipped = Shipped(run, file, run.recipe(), result)
    if not shipped.path.is_file():
        raise EdgepruneError(f"{shipped.path}: is missing; make it again with `edgeprune export`.")
    if sha256_file(shipped.path) != file.sha256:
        raise CheckFailedError(f"{shipped.path}: is not the file that was evaluated; run the recipe again.")
    check_unchanged(shipped.path)
    if read_description(shipped.path).frontend is None:
        raise EdgepruneError(f"{shipped.path}: takes images; a submission and its card are about sound.")
    return shipped


def nonzero_params(path: Path) -> int | None:
    """Number of weights and biases of a .tflite that are not zero; None where a type is not known."""
    model = unpack_model(path)
    graph, counted = model.subgraphs[0], set()
    steps = list(zip(operators(path), graph.operators, strict=True))
    widened = {step.outputs[0]: step.inputs[0] for name, step in steps if name == "DEQUANTIZE"}
    for name, step in steps:
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            counted |= {widened.get(place, place) for place in step.inputs[1:] if place >= 0}
    counts = [_nonzero(model, graph.tensors[place]) for place in counted]
    return None if None in counts else sum(count for count in counts if count is not None)


def _nonzero(model: Any, tensor: Any) -> int | None:
    kind, content = TYPE_NAMES.get(tensor.type), model.buffers[tensor.buffer].data
    if kind not in ("float32", "float16", "int8", "int32") or content is None:
        return None
    values = np.frombuffer(np.asarray(content, np.uint8).tobytes(), kind)
    zeros = getattr(tensor.quantization, "zeroPoint", None)
    return int((values != (int(zeros[0]) if zeros is not None and len(set(zeros)) == 1 else 0)).sum())
