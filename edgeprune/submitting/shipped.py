"""The file of a finished run that is submitted, with its run, its data set's card and its description."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.data.cards import Card, load_card
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.recipe import LogMel, Recipe
from edgeprune.results.result import File, NetworkResult, Result
from edgeprune.results.run_folder import RunFolder
from edgeprune.tflite.cost import file_facts
from edgeprune.tflite.flatbuffer import operators, unpack_model
from edgeprune.tflite.metadata import read_description

_BITS = {"int8": 8, "float16": 16, "float32": 32}
"""Bits of a weight by its stored type; with int8 go biases of 32."""


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
        """Of the run's data set."""
        return load_card(self.recipe.data.name)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the file's output."""
        return read_description(self.path).labels

    @property
    def frontend(self) -> LogMel:
        return self.recipe.frontend

    @property
    def bits(self) -> int:
        """Of a stored weight."""
        kind = file_facts(self.path).weight_type
        if self.format == "int16x8" or kind not in _BITS:  # its biases have 64 bits
            raise EdgepruneError(f"{self.path}: how {self.format} is counted is not known; submit the int8 file.")
        return _BITS[kind]


def open_run(folder: Path, format: str | None = None) -> Shipped:
    """The file of a finished run that ships: of the given format, else int8, else the first the run made."""
    run = RunFolder.existing(folder)
    result = run.result()
    files = result.networks["pruned"].files
    file = result.shipped if format is None else files.get(format)
    if file is None:
        raise EdgepruneError(
            f"{folder}: has no {format or 'int8'} file of the pruned network; it has {', '.join(files) or 'none'}."
        )
    shipped = Shipped(run, file, run.recipe(), result)
    if not shipped.path.is_file():
        raise EdgepruneError(f"{shipped.path}: is missing; make it again with `edgeprune export`.")
    if sha256_file(shipped.path) != file.sha256:
        raise CheckFailedError(f"{shipped.path}: is not the file that was evaluated; run the recipe again.")
    if read_description(shipped.path).frontend is None:
        raise EdgepruneError(f"{shipped.path}: takes images; a submission and its card are about sound.")
    return shipped


_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1}
_TYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "INT32": np.int32}


def nonzero_params(path: Path) -> int | None:
    """Number of weights and biases of a .tflite that are not zero; None where a type is not known."""
    model = unpack_model(path)
    graph, counted = model.subgraphs[0], set()
    names = operators(path)
    widened = {
        step.outputs[0]: step.inputs[0]
        for name, step in zip(names, graph.operators, strict=True)
        if name == "DEQUANTIZE"
    }
    for name, step in zip(names, graph.operators, strict=True):
        if name in _WEIGHTS:
            counted |= {widened.get(place, place) for place in step.inputs[_WEIGHTS[name] :] if place >= 0}
    counts = [_nonzero(model, graph.tensors[place]) for place in counted]
    return None if None in counts else sum(count for count in counts if count is not None)


def _nonzero(model: Any, tensor: Any) -> int | None:
    from ai_edge_litert import schema_py_generated as schema

    kinds = {getattr(schema.TensorType, name): kind for name, kind in _TYPES.items()}
    kind, content = kinds.get(tensor.type), model.buffers[tensor.buffer].data
    if kind is None or content is None:
        return None
    values = np.frombuffer(np.asarray(content, np.uint8).tobytes(), kind)
    zeros = getattr(tensor.quantization, "zeroPoint", None)
    return int((values != (int(zeros[0]) if zeros is not None and len(set(zeros)) == 1 else 0)).sum())
