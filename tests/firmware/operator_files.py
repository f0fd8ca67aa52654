"""Int8 TFLite files of a few operators, written through TFLite's schema: no converter has a say in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import pack_model

Quantisation = tuple[float, int]
"""Scale and zero point."""
PADDINGS = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


@dataclass(frozen=True)
class Tensor:
    """An activation of the file that is being written."""

    number: int
    shape: tuple[int, ...]
    quantisation: Quantisation

    @property
    def channels(self) -> int:
        return self.shape[-1]


class FileBuilder:
    """Writes operators one after another; `file` gives the bytes."""

    def __init__(self, shape: Sequence[int], quantisation: Quantisation) -> None:
        self._tensors: list[Any] = []
        self._steps: list[Any] = []
        self._codes: list[int] = []
        self._buffers = [schema.BufferT()]  # tensors without content point at the empty one
        self.input = self.activation((1, *shape), quantisation)

    # Operators; each gives its output

    def conv(
        self,
        x: Tensor,
        weights: np.ndarray,
        bias: np.ndarray | None,
        scales: Sequence[float],
        output: Quantisation,
        **options: Any,
    ) -> Tensor:
        """CONV_2D with weights `[filters, height, width, channels]`; options as `window` takes them."""
        return self._filter("CONV_2D", x, weights, bias, scales, output, 0, **options)

    def depthwise(
        self,
        x: Tensor,
        weights: np.ndarray,
        bias: np.ndarray | None,
        scales: Sequence[float],
        output: Quantisation,
        **options: Any,
    ) -> Tensor:
        """DEPTHWISE_CONV_2D with weights `[1, height, width, channels * multiplier]`."""
        return self._filter("DEPTHWISE_CONV_2D", x, weights, bias, scales, output, 3, **options)

    def dense(
        self,
        x: Tensor,
        weights: np.ndarray,
        bias: np.ndarray | None,
        scales: Sequence[float],
        output: Quantisation,
        activation: str = "NONE",
        keep_dims: bool = False,
    ) -> Tensor:
        """FULLY_CONNECTED with weights `[outputs, inputs]`; `keep_dims` applies it to the channels of each place."""
        numbers = [x.number, *self._parameters(x, weights, bias, scales, 0)]
        y = self.activation((*x.shape[:-1], len(weights)) if keep_dims else (1, len(weights)), output)
        options = {"fusedActivationFunction": _activation(activation), "keepNumDims": keep_dims}
        return self.step("FULLY_CONNECTED", numbers, y, "FullyConnected", **options)

    def pool(self, name: str, x: Tensor, size: tuple[int, int], activation: str = "NONE", **options: Any) -> Tensor:
        """MAX_POOL_2D or AVERAGE_POOL_2D."""
        stride, padding = options.get("stride", size), options.get("padding", "VALID")
        shape = [_outputs(*each, 1, padding) for each in zip(x.shape[1:3], size, stride, strict=True)]
        return self.step(
            name,
            [x.number],
            self.activation((1, *shape, x.channels), x.quantisation),
            "Pool2D",
            padding=PADDINGS[padding],
            filterHeight=size[0],
            filterWidth=size[1],
            strideH=stride[0],
            strideW=stride[1],
            fusedActivationFunction=_activation(activation),
        )

    def combine(self, name: str, a: Tensor, b: Tensor, output: Quantisation, activation: str = "NONE") -> Tensor:
        """ADD, SUB or MUL of activations, either of which may be broadcast."""
        y = self.activation(np.broadcast_shapes(a.shape, b.shape), output)
        kind = name.capitalize()
        return self.step(name, [a.number, b.number], y, kind, fusedActivationFunction=_activation(activation))

    def unary(self, name: str, x: Tensor, output: Quantisation, **options: Any) -> Tensor:
        """LOGISTIC, TANH, HARD_SWISH, RELU, RELU6, LEAKY_RELU, QUANTIZE or SOFTMAX."""
        kinds = {"HARD_SWISH": "HardSwish", "LEAKY_RELU": "LeakyRelu", "QUANTIZE": "Quantize", "SOFTMAX": "Softmax"}
        return self.step(name, [x.number], self.activation(x.shape, output), kinds.get(name), **options)

    def mean(self, x: Tensor, output: Quantisation, keep_dims: bool, axes: Sequence[int] = (1, 2)) -> Tensor:
        kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        shape = kept if keep_dims else [size for axis, size in enumerate(x.shape) if axis not in axes]
        numbers = [x.number, self.constant(np.array(axes, np.int32))]
        return self.step("MEAN", numbers, self.activation(shape, output), "Reducer", keepDims=keep_dims)

    def concatenate(self, parts: Sequence[Tensor], output: Quantisation | None = None, axis: int = 3) -> Tensor:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        y = self.activation(shape, output or parts[0].quantisation)
        return self.step("CONCATENATION", [part.number for part in parts], y, "Concatenation", axis=axis)

    def pad(self, x: Tensor, margins: Sequence[tuple[int, int]], value: int | None = None) -> Tensor:
        """PAD, or PADV2 where the value that is stored in the margins is given."""
        numbers = [x.number, self.constant(np.array(margins, np.int32))]
        if value is not None:
            numbers.append(self.constant(np.array([value], np.int8), [x.quantisation[0]], [x.quantisation[1]]))
        y = self.activation([size + sum(margin) for size, margin in zip(x.shape, margins, strict=True)], x.quantisation)
        return self.step("PAD" if value is None else "PADV2", numbers, y, "Pad" if value is None else "PadV2")

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        y = self.activation(shape, x.quantisation)
        numbers = [x.number, self.constant(np.array(y.shape, np.int32))]
        return self.step("RESHAPE", numbers, y, "Reshape", newShape=list(y.shape))

    def flatten(self, x: Tensor) -> Tensor:
        return self.reshape(x, (1, prod(x.shape)))

    # Pieces

    def activation(self, shape: Sequence[int], quantisation: Quantisation) -> Tensor:
        number = self._add(shape, "INT8", 0, [quantisation[0]], [quantisation[1]])
        return Tensor(number, tuple(int(size) for size in shape), quantisation)

    def constant(
        self,
        values: np.ndarray,
        scales: Sequence[float] | None = None,
        zero_points: Sequence[int] | None = None,
        axis: int = 0,
    ) -> int:
        self._buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), dtype=np.uint8)))
        zeros = zero_points or (None if scales is None else [0] * len(scales))
        return self._add(values.shape, values.dtype.name.upper(), len(self._buffers) - 1, scales, zeros, axis)

    def step(self, name: str, inputs: Sequence[int], output: Tensor, kind: str | None, **options: Any) -> Tensor:
        """Add an operator whose options are of the schema's type `<kind>Options`."""
        code = getattr(schema.BuiltinOperator, name)
        if code not in self._codes:
            self._codes.append(code)
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = self._codes.index(code), list(inputs), [output.number]
        if kind is not None:
            step.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
            step.builtinOptions = getattr(schema, f"{kind}OptionsT")()
            for option, value in options.items():
                setattr(step.builtinOptions, option, value)
        self._steps.append(step)
        return output

    def file(self, output: Tensor) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._steps
        graph.inputs, graph.outputs = [self.input.number], [output.number]
        model = schema.ModelT()
        model.version, model.description = 3, "made by hand"
        model.subgraphs, model.operatorCodes, model.buffers = (
            [graph],
            [_code(code) for code in self._codes],
            self._buffers,
        )
        return pack_model(model)

    def _filter(
        self,
        name: str,
        x: Tensor,
        weights: np.ndarray,
        bias: np.ndarray | None,
        scales: Sequence[float],
        output: Quantisation,
        axis: int,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        activation: str = "NONE",
    ) -> Tensor:
        numbers = [x.number, *self._parameters(x, weights, bias, scales, axis)]
        windows = zip(x.shape[1:3], weights.shape[1:3], stride, dilation, strict=True)
        shape = [_outputs(*window, padding) for window in windows]
        filters = weights.shape[axis]
        options = {
            "padding": PADDINGS[padding],
            "strideH": stride[0],
            "strideW": stride[1],
            "dilationHFactor": dilation[0],
            "dilationWFactor": dilation[1],
            "fusedActivationFunction": _activation(activation),
        }
        if name == "DEPTHWISE_CONV_2D":
            options["depthMultiplier"] = filters // x.channels
        kind = "Conv2D" if name == "CONV_2D" else "DepthwiseConv2D"
        return self.step(name, numbers, self.activation((1, *shape, filters), output), kind, **options)

    def _parameters(
        self, x: Tensor, weights: np.ndarray, bias: np.ndarray | None, scales: Sequence[float], axis: int
    ) -> list[int]:
        numbers = [self.constant(weights, scales, axis=axis)]
        if bias is not None:
            of_bias = [float(np.float32(scale) * np.float32(x.quantisation[0])) for scale in scales]
            numbers.append(self.constant(bias, of_bias))
        return numbers

    def _add(
        self,
        shape: Sequence[int],
        dtype: str,
        buffer: int,
        scales: Sequence[float] | None,
        zeros: Sequence[int] | None,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"tensor{len(self._tensors)}", [int(size) for size in shape], buffer
        tensor.type = getattr(schema.TensorType, dtype)
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = list(scales), list(zeros or [])
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1


def _activation(name: str) -> int:
    return int(getattr(schema.ActivationFunctionType, name))


def _outputs(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    reach = (kernel - 1) * dilation + 1
    outputs = -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)
    assert outputs > 0
    return outputs


def _code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    return code
