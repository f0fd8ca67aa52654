"""What a .tflite costs, by the conventions of `edgeprune.graph.cost`, and what it stores.

The figures are those of the int8 network whatever the file's types, so that all formats of a network agree: a byte a
weight and a value in memory, four a bias. Weights that a float16 file dequantises are weights; QUANTIZE, DEQUANTIZE and
reshapes work in place. Everything else is counted as the file runs it: the SOFTMAX at the end holds memory of its own,
and so does a PAD before a convolution, which in PyTorch and in ONNX is a setting of that convolution. Where such a PAD
decides, `peak_ram_bytes` is above that of the network, and what TFLite Micro takes.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.graph.arena import arena_bytes
from edgeprune.graph.cost import Cost, LayerCost
from edgeprune.tflite.flatbuffer import operators, unpack_model

_LAYERS = {
    "CONV_2D": ("conv", 0, 1, 2),
    "DEPTHWISE_CONV_2D": ("depthwise", 0, 1, 2),
    "FULLY_CONNECTED": ("dense", 0, 1, 2),
    "TRANSPOSE_CONV": ("transpose conv", 2, 1, 3),
}
"""Operators with MACs: their kind, and which of their inputs are what is filtered, the weights and the bias."""
_IN_PLACE = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE"})


def kinds_by_name(names: Mapping[str, str]) -> dict[str, str]:
    """By name of an operator its kind, of the names of each kind in one text."""
    return {name: kind for kind, text in names.items() for name in text.split()}


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
        "move": "DEPTH_TO_SPACE SPACE_TO_DEPTH BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND",
        "cast": "CAST",
        "shape": "SHAPE",
        "arg": "ARG_MAX ARG_MIN",
    }
)
"""Operators without a MAC."""
SCALES = frozenset({"add", "sub", "mul", "div"})
"""With a constant of several values they are what is left of a batch norm: a `scale`."""
_HINTS = {
    "conv": "conv",
    "depthwise": "conv",
    "transpose conv": "conv",
    "dense": "matmul|dense|gemm",
    "matmul": "matmul",
    "pool": "pool",
    "pad": "pad",
    "reduce": "mean|sum|reduce",
    "concat": "concat",
    "add": r"\badd",
    "scale": "mul|add|sub|div",
}
"""What a layer of a kind has in its name; converters join the names of all that they fused."""


@dataclass(eq=False)
class Step:
    """One operator of a file.

    Attributes:
        shape: of its output, without the batch.
        reads, writes: its activations.
        weights, biases: values it has of its own; none where an operator before it has the same weights.
        norm: channels of a batch norm that is folded into it; its biases then, if it has none.
        statistics: moving statistics of a batch norm.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    filters: int
    reads: tuple[Hashable, ...]
    writes: tuple[Hashable, ...]
    weights: int = 0
    biases: int = 0
    macs: int = 0
    norm: int = 0
    statistics: int = 0

    @property
    def shipped_biases(self) -> int:
        return self.biases or self.norm


@dataclass
class Steps:
    """Operators of a file in order, and the memory they work in.

    Attributes:
        sizes: values of each activation.
        shared: activations that lie in the memory of another one.
    """

    steps: list[Step] = field(default_factory=list)
    sizes: dict[Hashable, int] = field(default_factory=dict)
    shared: dict[Hashable, Hashable] = field(default_factory=dict)

    def in_place(self, output: Hashable, source: Hashable) -> None:
        self.shared[output] = self.memory(source)

    def memory(self, tensor: Hashable) -> Hashable:
        return self.shared.get(tensor, tensor)

    def cost(self, outputs: Iterable[Hashable], with_norms: bool) -> Cost:
        """Sums over all operators.

        Args:
            outputs: activations that stay in memory to the end.
            with_norms: the file tells which batch norms there are.
        """
        spans = self._spans(outputs)
        layers = [
            LayerCost(
                step.name,
                step.kind,
                step.filters,
                params=step.weights + step.shipped_biases,
                macs=step.macs,
                flash_bytes=step.weights + 4 * step.shipped_biases,
                ram_bytes=ram,
                output_shape=step.shape,
            )
            for step, ram in zip(self.steps, self._memory_bytes(spans), strict=True)
        ]
        trainable = sum(step.weights + step.biases + 2 * step.norm for step in self.steps)
        statistics = sum(step.statistics for step in self.steps)
        return Cost(
            params=sum(layer.params for layer in layers),
            params_trainable=trainable if with_norms else None,
            params_with_statistics=trainable + statistics if with_norms else None,
            macs=sum(layer.macs for layer in layers),
            peak_ram_bytes=max(layer.ram_bytes for layer in layers),
            flash_bytes=sum(layer.flash_bytes for layer in layers),
            by_layer=tuple(layers),
            unknown=tuple(step.name for step in self.steps if step.kind == "unknown"),
            arena_bytes=arena_bytes([self.sizes[tensor] for tensor in spans], list(spans.values())),
        )

    def _spans(self, outputs: Iterable[Hashable]) -> dict[Hashable, tuple[int, int]]:
        """Of what is in memory, the first and the last operator during which it is, in the order it is made."""
        made: dict[Hashable, int] = {}
        last: dict[Hashable, int] = {}
        for place, step in enumerate(self.steps):
            last.update((self.memory(tensor), place) for tensor in step.reads)
            for tensor in step.writes:
                made.setdefault(self.memory(tensor), place)
                last[self.memory(tensor)] = place
        last.update((self.memory(tensor), len(self.steps) - 1) for tensor in outputs if self.memory(tensor) in last)
        return {tensor: (made.get(tensor, 0), end) for tensor, end in last.items()}

    def _memory_bytes(self, spans: Mapping[Hashable, tuple[int, int]]) -> list[int]:
        """Of each operator: the bytes of what was made before or by it and is read by it or later."""
        used = [0] * len(self.steps)
        for tensor, (start, end) in spans.items():
            for place in range(start, end + 1):
                used[place] += self.sizes[tensor]
        return used


@dataclass(frozen=True)
class FileFacts:
    """What a .tflite stores.

    Attributes:
        bytes: the whole file.
        weight_bytes: weights and biases as they are stored; what several layers share is there once.
        weight_type: the type most weights have, such as "int8"; None where there are none.
        activation_type: the type most values in memory have.
    """

    bytes: int
    weight_bytes: int
    weight_type: str | None
    activation_type: str


def cost_of_tflite(path: Path | str) -> Cost:
    """Cost of one run of a .tflite: the int8 figures, from a file of any types.

    The counts before folding are None, for a .tflite has its batch norms folded. `output_shape` is channel-last, as in
    the file. Where the file has a batch of its own above 1, MACs and memory are those of the whole batch.

    Raises:
        EdgepruneError: the file is not a whole TFLite model, has several subgraphs or sizes that are not fixed, or
            computes nothing.
    """
    reader = _Reader(Path(path))
    return reader.steps.cost(reader.outputs, with_norms=False)


def file_facts(path: Path | str) -> FileFacts:
    """Bytes and types of a .tflite.

    Raises:
        EdgepruneError: as `cost_of_tflite`.
    """
    return _Reader(Path(path)).facts()


PROMISED = ("params", "macs", "flash_bytes", "peak_ram_bytes")
"""Figures of `Cost` that must be the same of a network and its file, whatever small operators a converter adds."""


def costs_of(cost: Cost) -> dict[str, int]:
    """The figures a plan is about."""
    return {name: getattr(cost, name) for name in (*PROMISED, "arena_bytes")}


def check_cost(promised: Cost, path: Path | str) -> None:
    """Whether a file costs what was promised of its network.

    Raises:
        CheckFailedError: it does not.
    """
    found = cost_of_tflite(path)
    for name in PROMISED:
        value, wanted = getattr(found, name), getattr(promised, name)
        if value != wanted:
            raise CheckFailedError(
                f"{path}: has {name.replace('_', ' ')} {value:,} where the plan promised {wanted:,}; please report "
                "this network."
            )


class _Reader:
    """Walks the operators of a .tflite once."""

    def __init__(self, path: Path) -> None:
        model = unpack_model(path)
        if len(model.subgraphs) != 1:
            raise EdgepruneError(
                f"{path}: has {len(model.subgraphs)} subgraphs, and how often each runs cannot be seen; "
                "give a model of one subgraph."
            )
        graph = model.subgraphs[0]
        self.path = path
        self.tensors: Sequence[Any] = graph.tensors or []
        self.buffers: Sequence[Any] = model.buffers
        self.steps = Steps()
        self.activations: Counter[str] = Counter()  # values by type
        self.weights: dict[int, int] = {}  # stored tensors that hold weights, and their values
        self.stored: dict[int, int] = {}  # buffers with weights and biases, and their bytes
        self.constants = {number: number for number in range(len(self.tensors)) if self._bytes(number)}
        self.outputs = self._numbers(graph.outputs)
        for name, step in zip(operators(path), graph.operators or [], strict=True):
            self._operator(name, step)
        if not self.steps.steps:
            raise EdgepruneError(f"{path}: holds no operator that computes; give the file of a network.")

    def facts(self) -> FileFacts:
        weights: Counter[str] = Counter()
        for tensor, values in self.weights.items():
            weights[_type(self.tensors[tensor])] += values
        return FileFacts(
            bytes=self.path.stat().st_size,
            weight_bytes=sum(self.stored.values()),
            weight_type=weights.most_common(1)[0][0] if weights else None,
            activation_type=self.activations.most_common(1)[0][0],
        )

    # One operator

    def _operator(self, name: str, step: Any) -> None:
        places = self._numbers(step.inputs, absent=True)
        inputs, outputs = tuple(place for place in places if place >= 0), self._numbers(step.outputs)
        if not outputs or any(place in self.constants for place in outputs):
            raise self._damaged(f"{name} without an output to write to")
        if inputs and all(place in self.constants for place in inputs):
            self.constants.update((output, self.constants[inputs[0]]) for output in outputs)
            return
        for place in (*inputs, *outputs):
            if place not in self.constants:
                self.steps.sizes[place] = prod(self._shape(place))
        if name in _IN_PLACE and inputs[:1] and inputs[0] not in self.constants:
            self._in_place(name, outputs[0], inputs[0])
        elif name in _LAYERS:
            self._layer(name, places, outputs)
        elif name == "BATCH_MATMUL":
            self._matmul(step, inputs, outputs)
        elif name in _KINDS:
            self._elementwise(name, inputs, outputs)
        else:
            held = [place for place in inputs if place in self.constants and self._is_parameter(place)]
            values = sum(self._weights(place) for place in held)
            self._add("unknown", name, inputs, outputs, weights=values)

    def _in_place(self, name: str, output: int, source: int) -> None:
        if prod(self._shape(output)) != prod(self._shape(source)):
            raise EdgepruneError(
                f"{self.path}: {name} of {list(self._shape(source))} gives {list(self._shape(output))}, so its sizes "
                "are not fixed; export it with a fixed input size."
            )
        self.steps.in_place(output, source)

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
        positions = prod(x[:-1] if name == "TRANSPOSE_CONV" else out[:-1])
        again = self.constants.get(weight) in self.weights
        weights = self._weights(weight) if weight in self.constants else 0
        # Equal biases, which converters merge, are still one for each layer; those of a layer that runs again are not.
        biases = prod(self._shape(bias)) if bias in self.constants and not again else 0
        if biases:
            self._store(bias)
        inputs = tuple(place for place in places if place >= 0)
        self._add(kind, weight, inputs, outputs, weights=weights, biases=biases, macs=positions * prod(shape))

    def _matmul(self, step: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        x = self._shape(inputs[0])
        if len(x) < 2 or len(inputs) < 2:
            raise self._damaged("BATCH_MATMUL of fewer than two matrices")
        summed = x[-2] if getattr(step.builtinOptions, "adjX", False) else x[-1]
        weights = sum(self._weights(place) for place in inputs if place in self.constants)
        macs = prod(self._shape(outputs[0])) * summed
        self._add("matmul", outputs[0], inputs, outputs, weights=weights, macs=macs)

    def _elementwise(self, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        kind = _KINDS[name]
        several = [place for place in inputs if place in self.constants and prod(self._shape(place)) > 1]
        if name == "PRELU" or (kind in SCALES and several):
            weights = sum(self._weights(place) for place in several)
            self._add("scale" if kind in SCALES else kind, outputs[0], inputs, outputs, weights=weights)
        else:
            self._add(kind, outputs[0], inputs, outputs)

    def _add(
        self, kind: str, named: int | str, inputs: tuple[int, ...], outputs: tuple[int, ...], **counts: int
    ) -> None:
        """Note an operator, named after a tensor or, where it is not known, after itself."""
        shape = self._shape(outputs[0])
        if isinstance(named, int):
            stored = self.tensors[self.constants.get(named, named)].name or b""
            name = _label(stored.decode("utf-8", "replace"), kind)
        else:
            name = named
        name = unique(name, [step.name for step in self.steps.steps])
        reads = tuple(place for place in inputs if place not in self.constants)
        filters = shape[-1] if shape else 1
        for place in outputs:
            self.activations[_type(self.tensors[place])] += prod(self._shape(place))
        self.steps.steps.append(Step(name, kind, shape[1:], filters, reads, outputs, **counts))

    # Tensors

    def _weights(self, place: int) -> int:
        """Values of a constant, 0 where an operator before has counted them."""
        source = self.constants[place]
        if source in self.weights:
            return 0
        self.weights[source] = prod(self._shape(place))
        self._store(place)
        return self.weights[source]

    def _store(self, place: int) -> None:
        source = self.constants[place]
        self.stored[self.tensors[source].buffer] = self._bytes(source)

    def _is_parameter(self, place: int) -> bool:
        """Whether a constant holds numbers of the network, rather than sizes and axes."""
        tensor = self.tensors[self.constants[place]]
        scale = tensor.quantization.scale if tensor.quantization is not None else None
        return _type(tensor).startswith("float") or (scale is not None and len(scale) > 0)

    def _bytes(self, place: int) -> int:
        """Bytes that are stored for a tensor: 0 for activations."""
        number = int(self.tensors[place].buffer)
        if not 0 <= number < len(self.buffers):
            raise self._damaged(f"a tensor in buffer {number}")
        buffer = self.buffers[number]
        if buffer.data is not None and len(buffer.data):
            return len(buffer.data)
        return int(buffer.size) if buffer.offset > 1 else 0

    def _shape(self, place: int) -> tuple[int, ...]:
        """Sizes of a tensor, the batch included."""
        tensor = self.tensors[place]
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        signature = () if tensor.shapeSignature is None else tuple(int(size) for size in tensor.shapeSignature)
        if min(shape, default=1) < 1 or min(signature[1:], default=0) < 0:
            raise EdgepruneError(
                f"{self.path}: has a tensor of {list(signature or shape)}, whose sizes are not fixed; "
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
        return EdgepruneError(f"{self.path}: is damaged ({what}); copy or export it again.")


def _type(tensor: Any) -> str:
    """Such as `float32`."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    return names.get(tensor.type, f"type {tensor.type}")


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


def unique(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number where it is taken."""
    others = set(taken)
    numbered = (f"{name}:{number}" for number in range(2, len(others) + 3))
    return name if name not in others else next(other for other in numbered if other not in others)
