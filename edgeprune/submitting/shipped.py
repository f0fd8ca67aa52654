"""The file of a finished run that is submitted, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.data.cards import Card, load_card
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import read_json, sha256_file
from edgeprune.recipe import FORMATS, Recipe
from edgeprune.recipe_files import RECIPE, load_recipe

_BITS = {"int8": 8, "float16": 16, "float32": 32}
"""Bits of a weight by its stored type; with int8 go biases of 32."""


@dataclass(frozen=True)
class Shipped:
    """A file of a finished run that is the very one its result tells of.

    Attributes:
        folder: run folder.
        format: number format of the file.
        path: the pruned network's .tflite.
        result: content of `result.json`.
    """

    folder: Path
    format: str
    path: Path
    recipe: Recipe
    result: Mapping[str, Any]

    @property
    def artefact(self) -> Mapping[str, Any]:
        """What the result says of the file."""
        found: Mapping[str, Any] = self.result["artefacts"][self.format]
        return found

    @cached_property
    def card(self) -> Card:
        """The run's data set."""
        return load_card(self.recipe.data.name)

    @cached_property
    def described(self) -> dict[str, Any]:
        """What is embedded in the file: labels, front-end, normalisation, network."""
        from edgeprune.tflite.metadata import read_metadata

        return read_metadata(self.path)

    @property
    def bits(self) -> int:
        """Of a stored weight.

        Raises:
            EdgepruneError: the rules of the challenges do not say how to count the format.
        """
        from edgeprune.tflite.cost import file_facts

        kind = file_facts(self.path).weight_type
        if self.format == "int16x8" or kind not in _BITS:  # its biases have 64 bits
            raise EdgepruneError(f"{self.path}: how {self.format} is counted is not known; submit the int8 file.")
        return _BITS[kind]


def open_run(folder: Path, format: str | None = None) -> Shipped:
    """The file of a finished run that ships: of the format asked for, else int8, else the first the run made.

    Raises:
        EdgepruneError: no finished run, one on images, or it has no such file.
        CheckFailedError: the file is not the one that was evaluated.
    """
    from edgeprune.reporting.tables import check_schema, part

    for name in (RECIPE, "result.json"):
        if not (folder / name).is_file():
            raise EdgepruneError(f"{folder}: holds no {name}; give the folder of a finished run.")
    recipe, result = load_recipe(str(folder)), read_json(folder / "result.json")
    check_schema(result)
    there = [name for name in FORMATS if name in part(result, "artefacts")]
    chosen = format or ("int8" if "int8" in there else next(iter(there), "int8"))
    if chosen not in there:
        raise EdgepruneError(
            f"{folder}: has no {chosen} file of the pruned network; it has {', '.join(there) or 'none at all'}."
        )
    artefact = part(result, "artefacts", chosen)
    path = folder / Path(str(artefact.get("path"))).name
    if not path.is_file():
        raise EdgepruneError(f"{path}: is missing; make it again with `edgeprune export`.")
    if sha256_file(path) != artefact.get("sha256"):
        raise CheckFailedError(f"{path}: is not the file that result.json tells of; run the recipe again.")
    found = Shipped(folder, chosen, path, recipe, result)
    if not found.described.get("frontend"):
        raise EdgepruneError(f"{path}: takes images; a submission and its card are about sound.")
    return found


_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1}
_TYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "INT32": np.int32}


def nonzero_params(path: Path) -> int | None:
    """How many weights and biases of a .tflite stand for another value than zero; None of types it does not know."""
    from edgeprune.tflite.flatbuffer import operators, unpack_model

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
