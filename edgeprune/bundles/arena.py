"""The arena of a TensorFlow Lite Micro bundle: measured bytes, and a bound on a kernel library's scratch memory."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from edgeprune.bundles.source import Source
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators, unpack_model

ALIGNMENT = 16
"""Bytes; the interpreter reads the file in place."""
Kernels = Literal["CMSIS-NN", "ESP-NN"]


@dataclass(frozen=True)
class Arena:
    """Working memory of the interpreter.

    Attributes:
        measured_bytes: the smallest arena that works, with reference kernels on this computer.
        headroom_bytes: for the scratch memory of the library `kernels`; a bound from the shapes, not measured.
    """

    measured_bytes: int
    headroom_bytes: int
    kernels: Kernels

    @property
    def total_bytes(self) -> int:
        """The reserved memory, a multiple of 16."""
        return _round_up(self.measured_bytes + self.headroom_bytes)


def arena_of(source: Source, kernels: Kernels) -> Arena:
    """The measured arena and the headroom of a kernel library."""
    if source.arena_bytes is None:
        raise EdgepruneError(f"{source.model.name}: its arena was not measured; measure it with --device tflm.")
    return Arena(source.arena_bytes, scratch_bytes(source.model, kernels), kernels)


def scratch_bytes(path: Path, kernels: Kernels) -> int:
    """The most scratch memory that one operator of an int8 file takes in a kernel library: a bound for all processors.

    CMSIS-NN lays out two columns of the input as a filter sees it, 2 bytes a value (4 columns of 1 byte with MVE).
    ESP-NN takes the most on an ESP32-S3: it copies the padded input, and the filters with rows padded to 16 bytes;
    depthwise ones take 2 bytes a value.
    """
    bound = {"CMSIS-NN": _cmsis_nn, "ESP-NN": _esp_nn}[kernels]
    graph, bounds = unpack_model(path).subgraphs[0], [0]
    for name, operator in zip(operators(path), graph.operators, strict=True):
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D"):
            shapes = [[int(size) for size in graph.tensors[number].shape] for number in operator.inputs[:2]]
            bounds.append(bound(name, shapes[0], shapes[-1]))
    return _round_up(max(bounds))


def _cmsis_nn(name: str, x: list[int], weights: list[int]) -> int:
    if name == "CONV_2D":
        return 4 * _round_up(prod(weights[1:])) + 4 * weights[0]
    if name == "DEPTHWISE_CONV_2D":
        return max(2 * prod(weights), 4 * 124 * prod(weights[1:3])) + 4 * weights[3]
    return 4 * weights[0] if name == "FULLY_CONNECTED" else 4 * x[-1]


def _esp_nn(name: str, x: list[int], weights: list[int]) -> int:
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return 0
    height, width = weights[1:3]
    padded = (x[1] + height) * (x[2] + width) * x[3]
    if name == "DEPTHWISE_CONV_2D":
        return 2 * (padded + prod(weights)) + 64
    if height == width == 1:
        return 24 * x[3] + 8 * weights[0] + 16 * 1024 + 64
    return padded + _round_up(width * x[3]) * height * weights[0] + 4 * weights[0] + 64


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
