"""From an int8 .tflite to the compiler's network. What the compiler does not take is refused by its name in TFLite."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.firmware.stream.arithmetic import (
    Multiplier,
    activation_range,
    filter_multipliers,
    mean_multiplier,
    product_parameters,
    sum_parameters,
)
from edgeprune.firmware.stream.lookup_tables import TABLES, lookup_table
from edgeprune.firmware.stream.network import (
    Activation,
    Combine,
    Concatenation,
    Convolution,
    Depthwise,
    FullyConnected,
    IntegerNetwork,
    Layer,
    Lookup,
    Mean,
    Padding,
    Pooling,
    Rescale,
    Reshape,
    Softmax,
    Window,
)
from edgeprune.firmware.stream.softmax import MOST_CLASSES, softmax_parameters
from edgeprune.tflite.flatbuffer import TYPE_NAMES, operator_names, unpack_model
from edgeprune.tflite.read_graph import TfliteReader

_IN_PLACE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_LOOKUPS = (*TABLES, "LEAKY_RELU")


def read_network(path: Path) -> IntegerNetwork:
    """Read the network of a file whose input and output are int8."""
    try:
        return _Reading(path).network()
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, StopIteration) as error:
        # an operator lacks a part, or a part does not fit the others
        raise EdgepruneError(f"{path}: is damaged ({first_line(error)}); copy or export it again.") from error


class _Reading:
    """The activations and constants of one file, while its operators are read in the order they run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        model = unpack_model(path)
        if len(model.subgraphs) != 1:
            raise self._refused(f"it has {len(model.subgraphs)} subgraphs")
        self._graph, self._buffers = model.subgraphs[0], model.buffers
        self._names = operator_names(model)
        self._titles = iter([operator.name for operator in TfliteReader(path).graph.operators])
        self._activations: dict[int, Activation] = {}
        self._layers: list[Layer] = []
        self._place = -1

    def network(self) -> IntegerNetwork:
        inputs, outputs = list(self._graph.inputs), list(self._graph.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._refused(f"it has {len(inputs)} inputs and {len(outputs)} outputs")
        first = self._activations[inputs[0]] = self._described(inputs[0])
        for name, operator in zip(self._names, self._graph.operators, strict=True):
            self._place += 1
            self._read(name, operator)
        for number in outputs:
            if number not in self._activations or not self._layers:
                raise self._refused("no operator computes its output")
        network = IntegerNetwork(first, self._activations[outputs[0]], tuple(self._layers))
        return simplified(network)

    def _read(self, name: str, operator: Any) -> None:
        readers: dict[str, Callable[[str, Any], Layer]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._depthwise,
            "FULLY_CONNECTED": self._fully_connected,
            "MAX_POOL_2D": self._pooling,
            "AVERAGE_POOL_2D": self._pooling,
            "MEAN": self._mean,
            "CONCATENATION": self._concatenation,
            "PAD": self._padding,
            "PADV2": self._padding,
            "SOFTMAX": self._softmax,
            **dict.fromkeys(("ADD", "SUB", "MUL"), self._combine),
            **dict.fromkeys(_LOOKUPS, self._lookup),
            **dict.fromkeys(_IN_PLACE, self._reshape),
        }
        if name not in readers:
            raise self._refused(f"its operator {self._place} is {name}")
        if all(int(number) not in self._activations for number in operator.inputs):
            raise self._refused(f"its operator {self._place}, {name}, reads constants alone")
        self._title = name.lower() if name in (*_IN_PLACE, "QUANTIZE") else next(self._titles, name.lower())
        layer = readers[name](name, operator)
        self._activations[int(operator.outputs[0])] = layer.output
        if not (isinstance(layer, Reshape) and layer.output == layer.inputs[0]):
            self._layers.append(layer)

    # Layers with weights

    def _convolution(self, name: str, operator: Any) -> Layer:
        x, weights, bias, common = self._weighted(name, operator)
        filters, height, width, channels = weights.shape
        if channels != x.shape[2]:
            raise self._refused(f"its operator {self._place} is a CONV_2D in groups")
        self._check_shape(common["output"], (*common["output"].shape[:2], filters))
        window = self._window(operator.builtinOptions, (height, width), x, common["output"])
        if x.shape[:2] == (1, 1) and (height, width) == (1, 1):
            return FullyConnected(weights=weights.reshape(filters, channels), bias=bias, **common)
        return Convolution(weights=weights, bias=bias, window=window, **common)

    def _depthwise(self, name: str, operator: Any) -> Layer:
        x, weights, bias, common = self._weighted(name, operator, axis=3)
        _, height, width, filters = weights.shape
        self._check_shape(common["output"], (*common["output"].shape[:2], filters // x.shape[2] * x.shape[2]))
        window = self._window(operator.builtinOptions, (height, width), x, common["output"])
        planes = np.ascontiguousarray(weights[0].transpose(2, 0, 1))
        return Depthwise(weights=planes, bias=bias, window=window, multiplier=filters // x.shape[2], **common)

    def _fully_connected(self, name: str, operator: Any) -> Layer:
        x, weights, bias, common = self._weighted(name, operator)
        filters, values = weights.shape
        if values == x.size:
            self._check_shape(common["output"], (1, 1, filters))
            return FullyConnected(weights=weights, bias=bias, **common)
        if values != x.shape[2]:
            raise self._refused(f"its operator {self._place}, {name}, takes {values} of {x.size} values")
        self._check_shape(common["output"], (*x.shape[:2], filters))
        kernel = weights.reshape(filters, 1, 1, values)
        return Convolution(weights=kernel, bias=bias, window=Window((1, 1)), **common)

    def _weighted(
        self, name: str, operator: Any, axis: int = 0
    ) -> tuple[Activation, NDArray[np.int8], NDArray[np.int64], dict[str, Any]]:
        """The input, weights, bias and the fields that convolutions and dense layers share."""
        numbers = [int(number) for number in operator.inputs]
        x, output = self._input(numbers[0]), self._described(int(operator.outputs[0]))
        weights = self._constant(numbers[1], "int8")
        filters = weights.shape[axis]
        quantisation = self._graph.tensors[numbers[1]].quantization
        if quantisation.zeroPoint is not None and np.any(quantisation.zeroPoint):
            raise self._refused(f"its operator {self._place}, {name}, has weights with a zero point")
        scales = [] if quantisation.scale is None else [float(scale) for scale in quantisation.scale]
        bias = np.zeros(filters, np.int64)
        if len(numbers) > 2 and numbers[2] >= 0:
            bias = self._constant(numbers[2], "int32").astype(np.int64)
        if len(scales) not in (1, filters) or len(bias) != filters:
            counts = f"{filters} filters, {len(scales)} weight scales and {len(bias)} biases"
            raise self._refused(f"its operator {self._place}, {name}, has {counts}")
        factors = filter_multipliers(x.scale, scales, output.scale)
        magnitudes = np.abs(np.moveaxis(weights, axis, 0).reshape(filters, -1).astype(np.int64)).sum(axis=1)
        self._check_sums(name, 255 * magnitudes + np.abs(bias), np.array([factor.shift for factor in factors]))
        common = self._common(name, (x,), output)
        common["rescale"] = self._rescale(factors, output, operator.builtinOptions.fusedActivationFunction)
        return x, weights, bias, common

    def _check_sums(self, name: str, largest: NDArray[np.int64], shifts: NDArray[np.int64]) -> None:
        """Refuse sums, by their largest magnitudes `[filters]`, that leave int32 before or after they are rescaled."""
        rescaled = (largest << np.maximum(shifts, 0)) + np.where(shifts < 0, 0, 256)  # and a zero point
        if rescaled.max() >= 2**31:
            raise self._refused(f"the sums of its operator {self._place}, {name}, may exceed 32 bits")

    def _rescale(self, factors: Sequence[Multiplier], output: Activation, fused: int) -> Rescale:
        mantissas, shifts = np.asarray(factors, np.int64).T
        return Rescale(mantissas, shifts, output.zero_point, activation_range(fused, output.quantisation))

    def _window(self, options: Any, kernel: tuple[int, int], x: Activation, output: Activation) -> Window:
        stride = (int(options.strideH), int(options.strideW))
        dilation = (int(getattr(options, "dilationHFactor", 1)), int(getattr(options, "dilationWFactor", 1)))
        spans = [(size - 1) * apart + 1 for size, apart in zip(kernel, dilation, strict=True)]
        before = (0, 0)
        if options.padding == schema.Padding.SAME:
            total = [
                max(0, (out - 1) * step + span - size)
                for out, step, span, size in zip(output.shape, stride, spans, x.shape, strict=False)
            ]
            before = (total[0] // 2, total[1] // 2)
            due = tuple(-(-size // step) for size, step in zip(x.shape, stride, strict=False))
        else:
            due = tuple((size - span) // step + 1 for size, span, step in zip(x.shape, spans, stride, strict=False))
        self._check_shape(output, (*due, output.shape[2]))
        return Window(kernel, stride, dilation, before)

    # Layers without weights

    def _pooling(self, name: str, operator: Any) -> Layer:
        x, output, options = self._ends(operator)
        window = self._window(options, (int(options.filterHeight), int(options.filterWidth)), x, output)
        self._check_shape(output, (*output.shape[:2], x.shape[2]))
        limits = activation_range(options.fusedActivationFunction, output.quantisation)
        return Pooling(window=window, limits=limits, **self._common(name, (x,), output))

    def _mean(self, name: str, operator: Any) -> Layer:
        x, output, _ = self._ends(operator)
        rank = len(self._graph.tensors[operator.inputs[0]].shape)
        axes = sorted(int(axis) % rank for axis in self._constant(int(operator.inputs[1]), "int32").ravel())
        if rank != 4 or axes != [1, 2]:
            raise self._refused(f"its operator {self._place} is a MEAN over the axes {axes}")
        factor = mean_multiplier(x.scale, output.scale, x.shape[0] * x.shape[1])
        rescale = self._rescale([factor], output, schema.ActivationFunctionType.NONE)
        output = replace(output, shape=(1, 1, x.shape[2]))
        return Mean(rescale=rescale, **self._common(name, (x,), output))

    def _lookup(self, name: str, operator: Any) -> Layer:
        x, output, options = self._ends(operator)
        self._check_shape(output, x.shape)
        table = lookup_table(name, options, x.quantisation, output.quantisation)
        return Lookup(table=table, **self._common(name, (x,), output))

    def _combine(self, name: str, operator: Any) -> Layer:
        numbers = [int(number) for number in operator.inputs]
        output = self._described(int(operator.outputs[0]))
        operands = [self._described(number) for number in numbers]
        shapes = [operand.shape for operand in operands]
        if any(size not in (1, full) for shape in shapes for size, full in zip(shape, output.shape, strict=True)):
            raise self._refused(f"its operator {self._place}, {name}, joins {shapes[0]} and {shapes[1]}")
        inputs = tuple(self._activations[number] for number in numbers if number in self._activations)
        constant = None
        if len(inputs) == 1:
            place = next(place for place, number in enumerate(numbers) if number not in self._activations)
            constant = self._constant(numbers[place], "int8").reshape(shapes[place])
        fused = operator.builtinOptions.fusedActivationFunction
        scales = (operands[0].quantisation, operands[1].quantisation, output.quantisation)
        return Combine(
            parameters=product_parameters(*scales, fused) if name == "MUL" else sum_parameters(name, *scales, fused),
            constant=constant,
            constant_first=constant is not None and numbers[0] not in self._activations,
            **self._common(name, inputs, output),
        )

    def _concatenation(self, name: str, operator: Any) -> Layer:
        output = self._described(int(operator.outputs[0]))
        inputs = tuple(self._input(int(number)) for number in operator.inputs)
        rank = len(self._graph.tensors[int(operator.outputs[0])].shape)
        if operator.builtinOptions.axis % rank != rank - 1:
            raise self._refused(
                f"its operator {self._place} is a CONCATENATION over axis {operator.builtinOptions.axis}"
            )
        if any((x.scale, x.zero_point) != (output.scale, output.zero_point) for x in inputs):
            raise self._refused(f"its operator {self._place} is a CONCATENATION of different scales")
        for x in inputs:
            self._check_shape(output, (*x.shape[:2], sum(each.shape[2] for each in inputs)))
        return Concatenation(**self._common(name, inputs, output))

    def _padding(self, name: str, operator: Any) -> Layer:
        numbers = [int(number) for number in operator.inputs]
        x, output = self._input(numbers[0]), self._described(int(operator.outputs[0]))
        sizes = self._constant(numbers[1], "int32", "int64").reshape(-1, 2)[-3:]
        sizes = np.pad(sizes, [(3 - len(sizes), 0), (0, 0)])
        self._check_shape(output, tuple(int(size) for size in np.add(x.shape, sizes.sum(axis=1))))
        value = int(self._constant(numbers[2], "int8").ravel()[0]) if len(numbers) > 2 else output.zero_point
        before, after = ((int(size[0]), int(size[1]), int(size[2])) for size in sizes.T)
        return Padding(before=before, after=after, value=value, **self._common(name, (x,), output))

    def _softmax(self, name: str, operator: Any) -> Layer:
        x, output, options = self._ends(operator)
        if (output.scale, output.zero_point) != (1 / 256, -128):
            raise self._refused(f"its operator {self._place} is a SOFTMAX whose output has another scale than 1/256")
        self._check_shape(output, x.shape)
        if x.shape[2] > MOST_CLASSES:
            raise self._refused(f"its operator {self._place} is a SOFTMAX over more than {MOST_CLASSES:,} values")
        exponentials = softmax_parameters(float(options.beta), x.scale).exponentials
        return Softmax(exponentials=exponentials, **self._common(name, (x,), output))

    def _reshape(self, name: str, operator: Any) -> Layer:
        x, output, _ = self._ends(operator)
        if x.size != output.size:
            raise self._refused(f"its operator {self._place} is a {name} of {x.size} values to {output.size}")
        if x.shape == output.shape:
            output = x
        return Reshape(**self._common(name, (x,), output))

    # Tensors

    def _ends(self, operator: Any) -> tuple[Activation, Activation, Any]:
        output = self._described(int(operator.outputs[0]))
        return self._input(int(operator.inputs[0])), output, operator.builtinOptions

    def _common(self, name: str, inputs: tuple[Activation, ...], output: Activation) -> dict[str, Any]:
        return {"name": self._title, "operator": self._place, "kind": name, "inputs": inputs, "output": output}

    def _input(self, number: int) -> Activation:
        if number not in self._activations:
            raise self._refused(f"its operator {self._place}, {self._names[self._place]}, reads a constant")
        return self._activations[number]

    def _described(self, number: int) -> Activation:
        """The activation that a tensor holds; a batch of one and missing axes are left away."""
        tensor = self._graph.tensors[number]
        dtype, quantisation = TYPE_NAMES[tensor.type], tensor.quantization
        if dtype != "int8" or quantisation is None or quantisation.scale is None or len(quantisation.scale) != 1:
            raise self._refused(f"it has {dtype} activations where the compiler takes int8")
        sizes = [int(size) for size in tensor.shape]
        if len(sizes) == 4 and sizes[0] != 1:
            raise self._refused(f"it has a batch of {sizes[0]}")
        sizes = sizes[-3:] if prod(sizes[:-3]) == 1 else sizes
        if len(sizes) > 3:
            raise self._refused(f"it has activations of {len(sizes)} axes")
        height, width, channels = [1] * (3 - len(sizes)) + sizes
        if not 0 < quantisation.scale[0] < np.inf:
            raise self._refused(f"it has an activation of scale {quantisation.scale[0]:g}")
        zero_point = 0 if quantisation.zeroPoint is None else int(quantisation.zeroPoint[0])
        return Activation(number, (height, width, channels), float(quantisation.scale[0]), zero_point)

    def _constant(self, number: int, *dtypes: str) -> NDArray[Any]:
        tensor = self._graph.tensors[number]
        data, dtype = self._buffers[tensor.buffer].data, TYPE_NAMES[tensor.type]
        if data is None or number in self._activations:
            raise self._refused(
                f"its operator {self._place}, {self._names[self._place]}, has weights that are computed"
            )
        if dtype not in dtypes:
            raise self._refused(f"its operator {self._place}, {self._names[self._place]}, has {dtype} weights")
        return np.frombuffer(bytes(data), dtype).reshape([int(size) for size in tensor.shape])

    def _check_shape(self, output: Activation, due: tuple[int, ...]) -> None:
        """Refuse a file that gives an output another shape than its operator computes."""
        if output.shape != due:
            shapes = f"an output of {list(output.shape)} where {list(due)} are computed"
            raise self._refused(f"its operator {self._place}, {self._names[self._place]}, has {shapes}")

    def _refused(self, what: str) -> EdgepruneError:
        return EdgepruneError(f"{self._path}: is not compiled to streaming C, since {what}; use the device tflm.")


def simplified(network: IntegerNetwork) -> IntegerNetwork:
    """The network without reshapes and paddings that other layers do in passing."""
    return _merge_padding(_merge_flattening(_start_reshaped(_without_unread(network))))


def _without_unread(network: IntegerNetwork) -> IntegerNetwork:
    """The network without layers whose output nothing reads."""
    read, kept = {network.output}, list[Layer]()
    for layer in reversed(network.layers):
        if layer.output in read:
            read.update(layer.inputs)
            kept.insert(0, layer)
    return replace(network, layers=tuple(kept))


def _start_reshaped(network: IntegerNetwork) -> IntegerNetwork:
    """Take the input in the shape its first reshapes give it, where nothing else reads it as it is."""
    first, *rest = network.layers
    alone = all(network.input not in layer.inputs for layer in rest)
    if isinstance(first, Reshape) and alone and rest:
        return _start_reshaped(replace(network, input=first.output, layers=tuple(rest)))
    return network


def _merge_flattening(network: IntegerNetwork) -> IntegerNetwork:
    """Let dense layers read what was reshaped for them, since they take all values in the order they are stored."""
    layers = list(network.layers)
    before = {layer.output: layer.inputs for layer in layers if isinstance(layer, Reshape)}
    for place, layer in enumerate(layers):
        if isinstance(layer, FullyConnected):
            inputs = layer.inputs
            while inputs[0] in before:
                inputs = before[inputs[0]]
            layers[place] = replace(layer, inputs=inputs)
    read = {x for layer in layers for x in layer.inputs} | {network.output}
    kept = tuple(layer for layer in layers if not isinstance(layer, Reshape) or layer.output in read)
    return replace(network, layers=kept)


def _merge_padding(network: IntegerNetwork) -> IntegerNetwork:
    """Give zeros that are padded before a convolution alone to its window."""
    layers = list(network.layers)
    for padding in [layer for layer in layers if isinstance(layer, Padding)]:
        readers = [layer for layer in layers if padding.output in layer.inputs]
        (x,) = padding.inputs
        alone = len(readers) == 1 and padding.output != network.output
        inside = padding.before[2] == padding.after[2] == 0 and padding.value == x.zero_point
        reader = readers[0] if readers else padding
        if not (alone and inside and isinstance(reader, Convolution | Depthwise) and reader.window.before == (0, 0)):
            continue
        if (x.scale, x.zero_point) != (padding.output.scale, padding.output.zero_point):
            continue
        window = replace(reader.window, before=padding.before[:2])
        layers[layers.index(reader)] = replace(reader, inputs=(x,), window=window)
        layers.remove(padding)
    return replace(network, layers=tuple(layers))


def c_name(text: str) -> str:
    """A layer's name as part of a C name: lower case, digits and underscores, a letter first."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:24]
    return name if name[:1].isalpha() else f"layer_{name}".rstrip("_")
