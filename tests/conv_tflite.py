"""Small int8 convolutional TFLite files, made by hand through TFLite's schema, for tests of devices and bundles."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import pack_model
from edgeprune.tflite.metadata import set_metadata

SHAPE = (20, 12)
"""Mels and frames of the input."""
CLASSES = 5
_TYPES = {"int8": "INT8", "int32": "INT32"}


def conv_network(
    path: Path, widths: tuple[int, int] = (8, 16), seed: int = 0, metadata: dict[str, Any] | None = None
) -> Path:
    """Two 3x3 convolutions with a max-pool between them, reshape, a dense layer and softmax; weights at random.

    Args:
        widths: filters of the convolutions.
        metadata: embedded as an export does.
    """
    graph = _Graph(seed)
    mels, frames = SHAPE
    x = graph.tensor("input", (1, mels, frames, 1), 0.02, 3)
    y = graph.conv(x, 1, widths[0], (mels, frames))
    z = graph.tensor("pooled", (1, mels // 2, frames // 2, widths[0]), *graph.scales[y])
    graph.step("MAX_POOL_2D", [y], z, _pool())
    y = graph.conv(z, widths[0], widths[1], (mels // 2, frames // 2))
    places = mels // 2 * (frames // 2) * widths[1]
    z = graph.tensor("flat", (1, places), *graph.scales[y])
    options = schema.ReshapeOptionsT()
    options.newShape = [1, places]
    graph.step("RESHAPE", [y, graph.constant("shape", np.array([1, places], np.int32))], z, options)
    y = graph.dense(z, places, CLASSES)
    z = graph.tensor("output", (1, CLASSES), 1 / 256, -128)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    graph.step("SOFTMAX", [y], z, options)
    path.write_bytes(graph.pack(x, z, metadata))
    return path


def clips(count: int = 10, seed: int = 1) -> np.ndarray:
    """float32 `[count, mels, frames, 1]` that differ in where their energy lies."""
    generator = np.random.default_rng(seed)
    tilt = generator.normal(0, 1, (count, 1, 1, 1)) * np.linspace(-1, 1, SHAPE[0])[:, None, None]
    return (generator.standard_normal((count, *SHAPE, 1)) + tilt).astype(np.float32)


class _Graph:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._tensors: list[Any] = []
        self._steps: list[Any] = []
        self._codes: list[Any] = []
        self._buffers = [schema.BufferT()]  # tensors without content point at the empty one
        self.scales: dict[int, tuple[float, int]] = {}

    def tensor(self, name: str, shape: tuple[int, ...], scale: float, zero: int) -> int:
        number = self._add(name, shape, "int8", 0, [scale], [zero])
        self.scales[number] = (scale, zero)
        return number

    def constant(self, name: str, values: np.ndarray, scales: list[float] | None = None, axis: int = 0) -> int:
        self._buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), dtype=np.uint8)))
        zeros = None if scales is None else [0] * len(scales)
        return self._add(name, values.shape, values.dtype.name, len(self._buffers) - 1, scales, zeros, axis)

    def conv(self, x: int, channels: int, filters: int, size: tuple[int, int]) -> int:
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        y = self.tensor(f"conv{x}", (1, *size, filters), 0.05, -128)
        self.step("CONV_2D", [x, *self._weights(x, (filters, 3, 3, channels), filters)], y, options)
        return y

    def dense(self, x: int, inputs: int, outputs: int) -> int:
        y = self.tensor(f"dense{x}", (1, outputs), 0.1, 4)
        self.step("FULLY_CONNECTED", [x, *self._weights(x, (outputs, inputs), 1)], y, schema.FullyConnectedOptionsT())
        return y

    def step(self, name: str, inputs: list[int], output: int, options: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 3 if name in ("CONV_2D", "FULLY_CONNECTED") else 2 if name in ("MAX_POOL_2D", "SOFTMAX") else 1
        known = [entry.builtinCode for entry in self._codes]
        if code.builtinCode not in known:
            self._codes.append(code)
            known.append(code.builtinCode)
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = known.index(code.builtinCode), inputs, [output]
        step.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        step.builtinOptions = options
        self._steps.append(step)

    def pack(self, x: int, y: int, metadata: dict[str, Any] | None) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._steps, [x], [y]
        model = schema.ModelT()
        model.version, model.description = 3, "made by hand"
        model.subgraphs, model.operatorCodes, model.buffers = [graph], self._codes, self._buffers
        if metadata is not None:
            set_metadata(model, metadata)
        return pack_model(model)

    def _weights(self, x: int, shape: tuple[int, ...], scales: int) -> list[int]:
        spread = [0.6 / np.sqrt(np.prod(shape[1:])) / 40 * (1 + 0.1 * number) for number in range(scales)]
        weights = np.clip(np.round(self._random.normal(0, 40, shape)), -127, 127).astype(np.int8)
        bias = self._random.integers(-2000, 2000, shape[0]).astype(np.int32)
        of_bias = [scale * self.scales[x][0] for scale in spread]
        return [self.constant(f"weights{x}", weights, spread), self.constant(f"bias{x}", bias, of_bias)]

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        buffer: int,
        scales: list[float] | None,
        zeros: list[int] | None,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = getattr(schema.TensorType, _TYPES[dtype])
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, zeros
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1


def _pool() -> Any:
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = options.filterHeight = options.filterWidth = 2
    return options
