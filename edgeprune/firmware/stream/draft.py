"""The compiler's network of a traced one, before there is a file: right shapes and windows, weights that mean nothing.

Its plan is that of the exported file as long as the file's scales let the fast kernels be exact, which those of trained
networks do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.arithmetic import Quantisation, product_parameters, sum_parameters
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
    Shape,
    Softmax,
    Window,
)
from edgeprune.firmware.stream.read import simplified
from edgeprune.firmware.stream.softmax import softmax_parameters
from edgeprune.graph.graph import Blocks, Graph, Operator
from edgeprune.graph.padding import same_padding, spans
from edgeprune.graph.windows import LayerWindow

_SCALE, _ZERO_POINT = 0.05, -128
_SOFTMAX = -1
"""Number of the softmax's output, which is no tensor of the graph."""


@dataclass(frozen=True)
class Traced:
    """A network as it was traced.

    Attributes:
        windows: by operator, see `graph.windows`.
        input_shape: channels, height and width.
    """

    graph: Graph
    windows: Mapping[str, LayerWindow]
    input_shape: Shape

    def channels(self, number: int) -> Blocks:
        """What lies on the channel axis of an activation of `draft_network`."""
        writers = [operator for operator in self.graph.operators if number in operator.writes]
        if number == _SOFTMAX:
            return self.graph.operators[-1].filters
        return writers[0].filters if writers else self.graph.tensors[number][0]


def draft_network(traced: Traced, widths: Mapping[str, int] | None = None) -> IntegerNetwork:
    """The network with `widths` filters by group; groups that are not named keep their own.

    Activations have the numbers of the graph's tensors. A softmax ends the network, as in an exported file.
    """
    return _Drafting(traced, widths or {}).network()


class _Drafting:
    """The activations and layers of one network, operator by operator."""

    def __init__(self, traced: Traced, widths: Mapping[str, int]) -> None:
        self._traced = traced
        self._filters = {name: group.filters for name, group in traced.graph.groups.items()} | {"": 1, **widths}
        self._activations: dict[int, Activation] = {}
        self._padded: dict[int, LayerWindow] = {}
        self._layers: list[Layer] = []

    def network(self) -> IntegerNetwork:
        graph = self._traced.graph
        channels, height, width = self._traced.input_shape
        read = [number for operator in graph.operators for number in operator.reads]
        written = {number for operator in graph.operators for number in operator.writes}
        inputs = sorted(set(read) - written)
        if len(inputs) != 1 or len(graph.outputs) != 1:
            raise _refused(f"it has {len(inputs)} inputs and {len(graph.outputs)} outputs")
        first = self._activation(inputs[0], (height, width, channels))
        for operator in graph.operators:
            self._draft(operator)
        last = self._activations[graph.outputs[0]]
        if graph.operators[-1].kind != "activation":
            y = Activation(_SOFTMAX, last.shape, 1 / 256, _ZERO_POINT)
            exponentials = softmax_parameters(1.0, last.scale).exponentials
            self._layers.append(Softmax("softmax", len(self._layers), "SOFTMAX", (last,), y, exponentials))
            last = y
        return simplified(IntegerNetwork(first, last, tuple(self._layers)))

    def _draft(self, operator: Operator) -> None:
        makers = {
            **dict.fromkeys(("conv", "depthwise"), self._convolution),
            "dense": self._dense,
            "pool": self._pool,
            "reduce": self._mean,
            "pad": self._pad,
            "concat": self._concatenation,
            "activation": self._lookup,
            **dict.fromkeys(("add", "sub", "mul"), self._combine),
        }
        if operator.kind not in makers or len(operator.writes) != 1:
            raise _refused(f"its operator {operator.name} is a {operator.kind}")
        y = self._activation(operator.writes[0], self._shape(operator))
        inputs = tuple(self._activations[number] for number in operator.reads)
        common = {"name": operator.name, "operator": len(self._layers), "inputs": inputs, "output": y}
        self._layers.append(makers[operator.kind](operator, inputs, y, common))

    def _convolution(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        (x,), traced = inputs, self._window(operator)
        before = (0, 0)
        if x.number not in self._padded and traced.before != (0, 0):
            pads = same_padding(x.shape[:2], spans(traced.kernel, traced.dilation), traced.stride)
            before = (pads[0][0], pads[1][0])
        window = Window(traced.kernel, traced.stride, traced.dilation, before)
        filters, channels = y.shape[2], x.shape[2]
        weighted = {**common, "bias": np.zeros(filters, np.int64), "rescale": _rescale(filters)}
        if operator.kind == "depthwise":
            weights = _weights(filters, *window.kernel)
            return Depthwise(
                **weighted, kind="DEPTHWISE_CONV_2D", weights=weights, window=window, multiplier=filters // channels
            )
        if window.kernel == x.shape[:2] == (1, 1):
            return FullyConnected(**weighted, kind="CONV_2D", weights=_weights(filters, channels))
        return Convolution(
            **weighted, kind="CONV_2D", weights=_weights(filters, *window.kernel, channels), window=window
        )

    def _dense(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        (x,), filters, values = inputs, y.shape[2], self._size(operator.inputs)
        weighted = {**common, "kind": "FULLY_CONNECTED", "bias": np.zeros(filters, np.int64)}
        weighted["rescale"] = _rescale(1)
        if values == x.size:
            return FullyConnected(**weighted, weights=_weights(filters, values))
        if values != x.shape[2]:
            raise _refused(f"its operator {operator.name} takes {values} of {x.size} values")
        return Convolution(**weighted, weights=_weights(filters, 1, 1, values), window=Window((1, 1)))

    def _pool(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        (x,) = inputs
        traced = self._traced.windows.get(operator.name)
        if traced is None:
            if y.shape[:2] == (1, 1):
                return self._mean(operator, inputs, y, common)
            traced = _even_window(operator, x.shape, y.shape)
        before = (0, 0) if x.number in self._padded else traced.before
        kind = "AVERAGE_POOL_2D" if traced.average else "MAX_POOL_2D"
        return Pooling(
            **common, kind=kind, window=Window(traced.kernel, traced.stride, (1, 1), before), limits=(-128, 127)
        )

    def _mean(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        if y.shape[:2] != (1, 1):
            raise _refused(f"its operator {operator.name} is a {operator.kind} over some axes")
        return Mean(**common, kind="MEAN", rescale=_rescale(1))

    def _pad(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        (x,), window = inputs, self._window(operator)
        self._padded[y.number] = window
        after = [out - size - first for out, size, first in zip(y.shape, x.shape, window.before, strict=False)]
        return Padding(
            **common, kind="PAD", before=(*window.before, 0), after=(after[0], after[1], 0), value=x.zero_point
        )

    def _concatenation(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        return Concatenation(**common, kind="CONCATENATION")

    def _lookup(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        return Lookup(**common, kind="LOGISTIC", table=np.arange(-128, 128, dtype=np.int8))

    def _combine(self, operator: Operator, inputs: tuple[Activation, ...], y: Activation, common: Any) -> Layer:
        if len(inputs) != 2:
            raise _refused(f"its operator {operator.name} is a {operator.kind} with a constant")
        scale = Quantisation(_SCALE, _ZERO_POINT)
        parameters: Any = sum_parameters(operator.kind.upper(), scale, scale, scale)
        if operator.kind == "mul":
            parameters = product_parameters(scale, scale, scale)
        return Combine(**common, kind=operator.kind.upper(), parameters=parameters, constant=None, constant_first=False)

    def _window(self, operator: Operator) -> LayerWindow:
        if operator.name not in self._traced.windows:
            raise _refused(f"the window of its operator {operator.name} is not known")
        return self._traced.windows[operator.name]

    def _size(self, blocks: Blocks) -> int:
        return sum(self._filters[block.group] * block.repeat for block in blocks)

    def _shape(self, operator: Operator) -> Shape:
        """Height, width and channels of the output."""
        places = [size for axis, size in enumerate(operator.shape) if axis != operator.axis]
        if operator.axis != 0 or len(places) not in (0, 2):
            raise _refused(f"its operator {operator.name} gives {list(operator.shape)}")
        height, width = places or (1, 1)
        return height, width, self._size(operator.filters)

    def _activation(self, number: int, shape: Shape) -> Activation:
        return self._activations.setdefault(number, Activation(number, shape, _SCALE, _ZERO_POINT))


def _even_window(operator: Operator, before: Shape, after: Shape) -> LayerWindow:
    """The window of a pool that is called as a function: as many inputs for each output as there are."""
    kernel = before[0] // after[0], before[1] // after[1]
    if (before[0] // kernel[0], before[1] // kernel[1]) != after[:2]:
        raise _refused(f"the window of its operator {operator.name} is not known")
    return LayerWindow(kernel, kernel)


def _rescale(filters: int) -> Rescale:
    return Rescale(np.full(filters, 2**30 + 1), np.full(filters, -8), _ZERO_POINT, (-128, 127))


def _weights(*shape: int) -> NDArray[np.int8]:
    """Ones: of zeros, a C compiler could leave the table out."""
    return np.broadcast_to(np.int8(1), shape)


def _refused(what: str) -> EdgepruneError:
    return EdgepruneError(f"runtime stream: the network is not planned, since {what}; use the runtime tflm.")
