"""An int8 network as the compiler holds it: activations, and layers with their integer arithmetic."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from edgeprune.firmware.stream.arithmetic import ProductParameters, Quantisation, SumParameters

Shape = tuple[int, int, int]
"""Height, width and channels; the height is the axis that is walked."""


@dataclass(frozen=True)
class Activation:
    """A tensor between layers. A stored int8 q stands for `scale * (q - zero_point)`.

    Attributes:
        number: its place in the file.
    """

    number: int
    shape: Shape
    scale: float
    zero_point: int

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def quantisation(self) -> Quantisation:
        return Quantisation(self.scale, self.zero_point)


@dataclass(frozen=True)
class Window:
    """How a layer slides over height and width; each pair is `(height, width)`.

    Attributes:
        before: padding at the top and at the left.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)

    def rows(self, row: int, height: int) -> tuple[int, int]:
        """The input rows that an output row reads, first and one past the last, within the height."""
        first = row * self.stride[0] - self.before[0]
        last = first + (self.kernel[0] - 1) * self.dilation[0]
        return max(first, 0), min(last + 1, height)

    def turned(self) -> "Window":
        """The same with height and width exchanged."""
        return Window(self.kernel[::-1], self.stride[::-1], self.dilation[::-1], self.before[::-1])


@dataclass(frozen=True, eq=False)
class Rescale:
    """From int32 sums to stored int8: `clip(round(sum * mantissa * 2^(shift - 31)) + zero_point, lowest, highest)`.

    Attributes:
        mantissas, shifts: `[filters]`, or `[1]` for all; see `arithmetic.multiply_by_quantized_multiplier`.
        zero_point: of the output.
        limits: lowest and highest stored value, from the fused activation.
    """

    mantissas: NDArray[np.int64]
    shifts: NDArray[np.int64]
    zero_point: int
    limits: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layer:
    """An operator.

    Attributes:
        name: the layer's name, as `edgeprune cost` has it.
        operator: its place in the file.
        kind: the operator's name in TFLite.
        inputs: activations, without weights.
    """

    name: str
    operator: int
    kind: str
    inputs: tuple[Activation, ...]
    output: Activation


@dataclass(frozen=True, eq=False)
class Convolution(Layer):
    """Attributes: weights `[filters, kernel height, kernel width, channels]`, int8; bias `[filters]`, int32."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    window: Window
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Depthwise(Layer):
    """Filter f reads channel `f // multiplier`. Attributes: weights `[filters, kernel height, kernel width]`, int8."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    window: Window
    rescale: Rescale
    multiplier: int


@dataclass(frozen=True, eq=False)
class FullyConnected(Layer):
    """Attributes: weights `[filters, inputs]`, int8, in the order the input is stored; bias `[filters]`, int32."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Pooling(Layer):
    """MAX_POOL_2D or AVERAGE_POOL_2D; padding counts for nothing."""

    window: Window
    limits: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Mean(Layer):
    """The mean over height and width. Attributes: rescale, of the sum less zero points."""

    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """Any operator of one int8 value. Attributes: table `[256]`, int8, by the stored value + 128."""

    table: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Combine(Layer):
    """ADD, SUB or MUL of two activations, or of one and a constant.

    Attributes:
        constant: stored values `[height, width, channels]` that are broadcast, int8; None where there are two inputs.
        constant_first: whether the constant is the first operand.
    """

    parameters: SumParameters | ProductParameters
    constant: NDArray[np.int8] | None
    constant_first: bool


@dataclass(frozen=True, eq=False)
class Concatenation(Layer):
    """Joins channels."""


@dataclass(frozen=True, eq=False)
class Padding(Layer):
    """Attributes: before, after `(height, width, channels)`; value, as stored."""

    before: Shape
    after: Shape
    value: int


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """The same values in the same order under another shape."""


@dataclass(frozen=True, eq=False)
class Softmax(Layer):
    """Over the channels. Attributes: exponentials `[256]`, int32; see `softmax.SoftmaxParameters`."""

    exponentials: tuple[int, ...]


@dataclass(frozen=True)
class IntegerNetwork:
    """A network with one input and one output.

    Attributes:
        turned: whether height and width are exchanged against the file, so that the file's width is walked.
    """

    input: Activation
    output: Activation
    layers: tuple[Layer, ...]
    turned: bool = False
