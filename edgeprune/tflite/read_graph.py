"""From a .tflite to its graph.

Weights that a float16 file dequantises are weights; QUANTIZE, DEQUANTIZE and reshapes work in place. Everything else is
read as the file runs it: the SOFTMAX at the end has memory of its own, and so does a PAD before a convolution, which in
PyTorch and in ONNX is a setting of that convolution.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import EdgepruneError
from edgeprune.graph.graph import Blocks, Graph, Operator, fixed
from edgeprune.graph.kinds import SCALE, SCALES, UNKNOWN, kinds_by_name, unique
from edgeprune.tflite.flatbuffer import TYPE_NAMES, operator_names, unpack_model

_LAYERS = {
    "CONV_2D": ("conv", 0, 1, 2),
    "DEPTHWISE_CONV_2D": ("depthwise", 0, 1, 2),
    "FULLY_CONNECTED": ("dense", 0, 1, 2),
    "TRANSPOSE_CONV": ("transpose conv", 2, 1, 3),
}
"""Layers by name: their kind, and which of their inputs are what is filtered, the weights and the bias."""
_BETWEEN_CALLS = frozenset({"CALL_ONCE", "VAR_HANDLE", "ASSIGN_VARIABLE"})
"""What keeps state from one call to the next costs nothing during a call; the state itself is not in the counts."""
_IN_PLACE = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE"})
_KINDS = kinds_by_name(
    {
        "pool": "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D",
        "reduce": "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD",
        "add": "ADD ADD_N",
        "sub": "SUB",
        "mul": "MUL",
        "div": "DIV",
        "maximum": "MAXIMUM",
        "minimum": "MINIMUM",
        "activation": (
            "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU PRELU ELU GELU HARD_SWISH LOGISTIC TANH SOFTMAX "
            "LOG_SOFTMAX EXP LOG SQRT RSQRT SQUARE ABS NEG POW SQUARED_DIFFERENCE"
        ),
        "pad": "PAD PADV2 MIRROR_PAD",
        "concat": "CONCATENATION PACK",
        "split": "SPLIT SPLIT_V UNPACK",
        "slice": "SLICE STRIDED_SLICE",
        "transpose": "TRANSPOSE",
        "resize": "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR",
        "move": "DEPTH_TO_SPACE SPACE_TO_DEPTH BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND READ_VARIABLE REVERSE_V2 GATHER",
        "cast": "CAST",
        "shape": "SHAPE",
        "arg": "ARG_MAX ARG_MIN",
        "expand": "BROADCAST_TO TILE",
    }
)
"""Operators without a MAC."""
_HINTS = {
    **dict.fromkeys(("conv", "depthwise", "transpose conv"), "conv"),
    **{kind: kind for kind in ("matmul", "pool", "pad", "concat")},
    **{"dense": "matmul|dense|gemm", "reduce": "mean|sum|reduce", "add": r"\badd", "scale": "mul|add|sub|div"},
}
"""What a layer of a kind has in its name; converters join the names of all that they fused."""


class TfliteReader:
    """Reads the operators of a .tflite.

    Attributes:
        graph: the network; its shapes are channel-last, as in the file. Where the file has a batch above 1, positions
            and memory are those of the whole batch.
        weights: values of each tensor that holds weights, by its number.
        stored: bytes of each buffer that holds weights or biases, by its number.
        values_by_type: how many values in memory have each type.
        zero_biases: biases of layers whose biases are all zero.
        without_bias: filters of layers that have no bias.
    """

    def __init__(self, path: Path) -> None:
        model = unpack_model(path)
        graph = model.subgraphs[0]
        if (often := len(model.subgraphs) - len(_run_once(model))) != 1:
            raise EdgepruneError(
                f"{path}: has {often} subgraphs, and how often each runs cannot be seen; give a model of one subgraph."
            )
        self._path = path
        self.tensors: Sequence[Any] = graph.tensors or []
        self._buffers: Sequence[Any] = model.buffers
        self.weights: dict[int, int] = {}
        self.stored: dict[int, int] = {}
        self.values_by_type: Counter[str] = Counter()
        self.zero_biases = self.without_bias = 0
        self._operators: list[Operator] = []
        self._shared: dict[int, int] = {}  # activations that lie in the memory of another one
        self._memory: dict[int, int] = {}  # by activation, its place among the graph's tensors
        self._constants = {number: number for number in range(len(self.tensors)) if self._is_constant(number)}
        outputs = self._numbers(graph.outputs)
        for name, operator in zip(operator_names(model), graph.operators or [], strict=False):
            if name not in _BETWEEN_CALLS:
                self._operator(name, operator)
        if not self._operators:
            raise EdgepruneError(f"{path}: holds no operator that computes; give the file of a network.")
        roots = [self._shared.get(output, output) for output in outputs]
        self.graph = Graph(
            tuple(self._operators),
            groups={},
            tensors=tuple((fixed(prod(self._shape(number))), 1) for number in self._memory),
            outputs=tuple(self._memory[root] for root in roots if root in self._memory),
            keeps_norms=False,
        )

    # Operators

    def _operator(self, name: str, operator: Any) -> None:
        places = self._numbers(operator.inputs, absent=True)
        inputs, outputs = tuple(place for place in places if place >= 0), self._numbers(operator.outputs)
        if not outputs or any(place in self._constants for place in outputs):
            raise self._damaged(f"{name} without an output to write to")
        if inputs and all(place in self._constants for place in inputs):
            self._constants.update((output, self._constants[inputs[0]]) for output in outputs)
            return
        if name in _IN_PLACE and inputs[:1] and inputs[0] not in self._constants:
            before, after = self._shape(inputs[0]), self._shape(outputs[0])
            if prod(before) != prod(after):
                raise EdgepruneError(
                    f"{self._path}: {name} of {list(before)} gives {list(after)}, so its sizes are not fixed; "
                    "export it with a fixed input size."
                )
            self._shared[outputs[0]] = self._shared.get(inputs[0], inputs[0])
        elif name in _LAYERS:
            self._layer(name, places, outputs)
        elif name == "BATCH_MATMUL":
            self._matmul(operator, inputs, outputs)
        elif name in _KINDS:
            self._elementwise(name, inputs, outputs)
        else:
            held = [place for place in inputs if place in self._constants and self._is_parameter(place)]
            self._add(UNKNOWN, name, inputs, outputs, values=sum(self._weights(place) for place in held))

    def _layer(self, name: str, places: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        kind, x_at, weight_at, bias_at = _LAYERS[name]
        if len(places) <= max(x_at, weight_at) or min(places[x_at], places[weight_at]) < 0:
            raise self._damaged(f"{name} without an input or weights")
        weight = places[weight_at]
        bias = places[bias_at] if len(places) > bias_at else -1
        x, shape, out = self._shape(places[x_at]), self._shape(weight), self._shape(outputs[0])
        if not _fit(name, x, shape, out):
            raise self._damaged(f"{name} with weights {list(shape)} from {list(x)} to {list(out)}")
        if name == "CONV_2D" and x[-1] != shape[-1]:
            kind = "grouped conv"
        again = self._constants.get(weight) in self.weights
        biases: Blocks = ()
        # Converters merge equal biases of several layers: each layer counts them. A layer that runs again does not.
        if bias in self._constants and not again:
            biases = fixed(prod(self._shape(bias)))
            self._store(bias)
            stored = self._buffers[self.tensors[self._constants[bias]].buffer].data
            self.zero_biases += 0 if stored is None or np.any(stored) else prod(self._shape(bias))
        elif bias < 0 and not again:
            self.without_bias += out[-1]
        if weight in self._constants:
            self._weights(weight)
        summed = () if kind == "depthwise" else fixed(shape[-1])
        self._add(
            kind,
            weight,
            tuple(place for place in places if place >= 0),
            outputs,
            kernel=prod(shape) // out[-1] // (shape[-1] if summed else 1),
            inputs=summed,
            positions=prod(x[:-1] if name == "TRANSPOSE_CONV" else out[:-1]),
            biases=biases,
            holds_weights=weight in self._constants and not again,
        )

    def _matmul(self, operator: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        x, out = self._shape(inputs[0]), self._shape(outputs[0])
        if len(x) < 2 or len(inputs) < 2 or not out:
            raise self._damaged("BATCH_MATMUL of fewer than two matrices")
        summed = x[-2] if getattr(operator.builtinOptions, "adjX", False) else x[-1]
        self._add(
            "matmul",
            outputs[0],
            inputs,
            outputs,
            kernel=1,
            inputs=fixed(summed),
            positions=prod(out[:-1]),
            values=sum(self._weights(place) for place in inputs if place in self._constants),
            holds_weights=False,
        )

    def _elementwise(self, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        kind = _KINDS[name]
        several = [place for place in inputs if place in self._constants and prod(self._shape(place)) > 1]
        weights = several if name == "PRELU" or kind in SCALES else []
        kind = SCALE if weights and kind in SCALES else kind
        self._add(kind, outputs[0], inputs, outputs, values=sum(self._weights(place) for place in weights))

    def _add(
        self, kind: str, named: int | str, sources: tuple[int, ...], outputs: tuple[int, ...], **details: Any
    ) -> None:
        """Add an operator, named after a tensor or, where it is unknown, after itself."""
        shape, name = self._shape(outputs[0]), named
        if isinstance(name, int):
            stored = self.tensors[self._constants.get(name, name)].name or b""
            name = _label(stored.decode("utf-8", "replace"), kind)
        for place in outputs:
            self.values_by_type[type_of(self.tensors[place])] += prod(self._shape(place))
        self._operators.append(
            Operator(
                unique(name, [operator.name for operator in self._operators]),
                kind,
                filters=fixed(shape[-1] if shape else 1),
                shape=shape[1:],
                axis=len(shape) - 2,
                reads=tuple(self._remembered(place) for place in sources if place not in self._constants),
                writes=tuple(self._remembered(place) for place in outputs),
                **details,
            )
        )

    # Tensors

    def _remembered(self, place: int) -> int:
        """The place of an activation among the graph's tensors."""
        return self._memory.setdefault(self._shared.get(place, place), len(self._memory))

    def _weights(self, place: int) -> int:
        """Values of a constant; 0 where an operator before has counted them."""
        source = self._constants[place]
        if source in self.weights:
            return 0
        self.weights[source] = prod(self._shape(place))
        self._store(place)
        return self.weights[source]

    def _store(self, place: int) -> None:
        source = self._constants[place]
        self.stored[self.tensors[source].buffer] = self._bytes(source)

    def _is_parameter(self, place: int) -> bool:
        """Whether a constant holds numbers of the network, rather than sizes and axes."""
        tensor = self.tensors[self._constants[place]]
        scale = tensor.quantization.scale if tensor.quantization is not None else None
        return type_of(tensor).startswith("float") or (scale is not None and len(scale) > 0)

    def _is_constant(self, place: int) -> bool:
        """Whether a tensor is stored, or has no values at all."""
        return self._bytes(place) > 0 or 0 in self._shape(place)

    def _bytes(self, place: int) -> int:
        """Bytes that are stored for a tensor: 0 for activations."""
        number = int(self.tensors[place].buffer)
        if not 0 <= number < len(self._buffers):
            raise self._damaged(f"a tensor in buffer {number}")
        buffer = self._buffers[number]
        inside = 0 if buffer.data is None else len(buffer.data)
        return inside or (int(buffer.size) if buffer.offset > 1 else 0)

    def _shape(self, place: int) -> tuple[int, ...]:
        """Sizes of a tensor, the batch included."""
        tensor = self.tensors[place]
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        signature = () if tensor.shapeSignature is None else tuple(int(size) for size in tensor.shapeSignature)
        if min(shape, default=0) < 0 or min(signature[1:], default=0) < 0:
            raise EdgepruneError(
                f"{self._path}: has a tensor of {list(signature or shape)}, whose sizes are not fixed; "
                "export it with a fixed input size."
            )
        return shape

    def _numbers(self, vector: Any, absent: bool = False) -> tuple[int, ...]:
        """Numbers of tensors; -1 stands for one that is left out, where that may be."""
        numbers = () if vector is None else tuple(int(number) for number in vector)
        if any(not (-1 if absent else 0) <= number < len(self.tensors) for number in numbers):
            raise self._damaged("an operator of tensors that are not there")
        return numbers

    def _damaged(self, what: str) -> EdgepruneError:
        return EdgepruneError(f"{self._path}: is damaged ({what}); copy or export it again.")


def _run_once(model: Any) -> set[int]:
    """Numbers of the subgraphs that only set variables before the first call."""
    names = iter(operator_names(model))
    of_each = [[next(names) for _ in graph.operators or ()] for graph in model.subgraphs]
    return {
        int(operator.builtinOptions.initSubgraphIndex)
        for graph, own in zip(model.subgraphs, of_each, strict=True)
        for operator, name in zip(graph.operators or (), own, strict=True)
        if name == "CALL_ONCE"
    }


def type_of(tensor: Any) -> str:
    """Such as `float32`."""
    return TYPE_NAMES.get(tensor.type, f"type {tensor.type}")


def _fit(name: str, x: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether an operator with weights `[filters, ..., channels]` (depthwise: `[1, ..., filters]`) can be."""
    if not x or not out or len(weights) != (2 if name == "FULLY_CONNECTED" else 4):
        return False
    if name == "DEPTHWISE_CONV_2D":
        return out[-1] == weights[-1] and weights[-1] % x[-1] == 0
    values = prod(x) if name == "FULLY_CONNECTED" else x[-1]
    return out[-1] == weights[0] and values % weights[-1] == 0


def _label(name: str, kind: str) -> str:
    """A tensor's name shortened to the layer's, such as `conv2d_1` of `model/conv2d_1/Conv2D;model/bn/add`."""
    parts = name.split(";")
    hint = re.compile(_HINTS.get(kind, "$^"), re.IGNORECASE)
    part = next((part for part in parts if hint.search(part)), parts[0])
    pieces = [piece for piece in part.split("/") if piece]
    if len(pieces) > 1 and re.fullmatch(r"(model|sequential|functional)(_\d+)?", pieces[0]):
        pieces = pieces[1:]
    if pieces and pieces[0].startswith("tf."):  # a function of TensorFlow's in place of a layer
        pieces = pieces[:1]
    # Behind the layer comes what TensorFlow does in it: Conv2D, ReadVariableOp, MatMul ...
    while len(pieces) > 1 and re.fullmatch(r"[A-Z]\w*|transpose|convolution\d*|y", pieces[-1]):
        pieces = pieces[:-1]
    return re.sub(r"^tf\.(\w+\.)*", "", "/".join(pieces)) or kind
