"""Int8 networks of a few operators, drawn from a seed: shapes, quantisations, and multipliers at their edges."""

from dataclasses import dataclass, field
from math import prod

import numpy as np
from firmware.operator_files import FileBuilder, Quantisation, Tensor

SIZES = (1, 2, 3, 5, 7, 8, 11, 13)
CHANNELS = (1, 2, 3, 4, 5, 8)
NEARLY_ONE = 1 + 181 * 2.0**-23
"""With this input scale and the weight scale 2 - NEARLY_ONE, a multiplier has the largest mantissa, 2^31 - 1."""


@dataclass(frozen=True)
class DrawnFile:
    """Attributes: file, the bytes of the .tflite; shape, of its input; text, what it holds."""

    file: bytes
    shape: tuple[int, ...]
    text: str

    def inputs(self, clips: int = 3) -> np.ndarray:
        """Random, lowest, highest and alternating inputs, int8 `[n, *shape]`."""
        random = np.random.default_rng(len(self.file))
        stored = random.integers(-128, 128, (clips + 4, *self.shape)).astype(np.int8)
        stored[0], stored[1] = -128, 127
        stored[2] = np.where(np.arange(prod(self.shape)) % 2, 127, -128).reshape(self.shape)
        stored[3] = np.clip(stored[3] // 16, -128, 127)
        return stored


@dataclass
class Drawing:
    """A file that is being drawn; `alone` where it is of one layer, whose multipliers may lie at their edges."""

    random: np.random.Generator
    builder: FileBuilder
    alone: bool = False
    words: list[str] = field(default_factory=list)

    def one(self, *choices):
        return choices[int(self.random.integers(len(choices)))]

    def pair(self, *choices):
        return (self.one(*choices), self.one(*choices))

    def note(self, *words) -> None:
        self.words.append(" ".join(str(word) for word in words))

    def zero_point(self) -> int:
        return self.one(-128, 0, 127, *(int(each) for each in self.random.integers(-128, 128, 4)))

    def near(self, scale: float) -> Quantisation:
        """A quantisation whose scale is a quarter to four times this one."""
        return (float(np.float32(scale * 4 ** self.random.uniform(-1, 1))), self.zero_point())

    def activation(self, output: Quantisation) -> str:
        """A fused activation that leaves 16 stored values or more."""
        scale, zero = output
        steps = {"NONE": 256, "RELU": 127 - zero, "RELU6": min(6 / scale, 127 - zero), "RELU_N1_TO_1": 2 / scale}
        return self.one("NONE", *(name for name, left in steps.items() if left >= 16))

    # Layers with weights

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        match self.one("usual", "usual", "extreme", "sparse"):
            case "extreme":
                return self.random.choice(np.array([-128, -127, 127], np.int8), shape)
            case "sparse":
                return self.random.choice(np.array([-1, 0, 0, 1], np.int8), shape)
        return np.clip(self.random.normal(0, 40, shape), -127, 127).astype(np.int8)

    def scaled(self, x: Tensor, weights: np.ndarray, axis: int) -> tuple[np.ndarray | None, list[float], Quantisation]:
        """Bias, weight scales and output quantisation of a layer whose sums stay within int32."""
        filters = weights.shape[axis]
        sums = np.abs(weights.astype(np.int64)).sum(tuple(a for a in range(weights.ndim) if a != axis))
        reach = 255 * sums
        spread = max(1.0, float(np.sqrt((weights.astype(float) ** 2).sum() / filters)) * 70)
        middle = -x.quantisation[1] * weights.astype(np.int64).sum(tuple(a for a in range(weights.ndim) if a != axis))
        bias = (self.random.normal(0, spread, filters) - middle).astype(np.int32)
        base, power = x.quantisation[0], self.one(-9, -7, -6)
        edges = ("power of two", "below", "right", "left") if self.alone else ()
        kind = self.one(*["usual"] * 3, "far apart", *edges)
        scale, target = 2.0**power, base * 2.0**power * spread / 30
        match kind:
            case "power of two":
                target = base * 2.0 ** (power + self.one(0, 4, 7))
            case "below":
                target = base * 2.0 ** (power + self.one(4, 7)) / (NEARLY_ONE if base in NEARLY else 1)
                scale *= 2 - NEARLY_ONE if base in NEARLY else 1 - 2.0**-24
            case "right":
                target = base * scale * 2.0 ** self.one(20, 24, 28, 30, 31, 33)
                bias = ((2**31 - 1 - reach) * self.random.choice([-1, 1], filters)).astype(np.int32)
            case "left":
                left = int(min(self.one(1, 2, 4, 7), np.log2(2**31 / (reach.max() + 2**10)) - 1))
                target = base * scale * 2.0**-left
                bias = self.random.integers(-20, 20, filters).astype(np.int32)
            case "usual" | "far apart":
                scale *= float(self.random.uniform(0.5, 1))
        per_filter = filters > 1 and self.one(True, True, False)
        scales = [scale] * (filters if per_filter else 1)
        if per_filter and kind in ("usual", "far apart"):
            wide = 2.0 if kind == "usual" else 500.0
            scales = [scale * wide ** -float(self.random.uniform(0, 1)) for _ in scales]
        output = self.near(target) if kind in ("usual", "far apart") else (float(np.float32(target)), self.zero_point())
        if self.one(*[False] * 5, True):
            bias = None
        self.note(
            "  multipliers", kind, "by filter" if per_filter else "one", "no bias" if bias is None else "", output
        )
        return bias, scales, output

    def window(self, x: Tensor, kernel: tuple[int, int]) -> dict:
        """Stride, dilation and padding; VALID where the kernel fits."""
        stride, dilation = self.pair(1, 1, 1, 2, 3), self.pair(1, 1, 1, 2, 3)
        fits = all(size >= (k - 1) * d + 1 for size, k, d in zip(x.shape[1:3], kernel, dilation, strict=True))
        padding = self.one("SAME", "VALID") if fits else "SAME"
        return {"stride": stride, "dilation": dilation, "padding": padding}

    def conv(self, x: Tensor, kernel: tuple[int, int] | None = None, filters: int = 0, plain: bool = False) -> Tensor:
        kernel = kernel or self.pair(*range(1, 10))
        options = {} if plain else self.window(x, kernel)
        weights = self.weights((filters or self.one(*CHANNELS), *kernel, x.channels))
        bias, scales, output = self.scaled(x, weights, 0)
        options["activation"] = self.activation(output)
        self.note("CONV_2D", x.shape, x.quantisation, weights.shape, options)
        return self.builder.conv(x, weights, bias, scales, output, **options)

    def depthwise(self, x: Tensor) -> Tensor:
        kernel = self.pair(*range(1, 10))
        multiplier = self.one(1, 1, 1, 2, 3) if x.channels <= 8 else 1
        options, weights = self.window(x, kernel), self.weights((1, *kernel, x.channels * multiplier))
        bias, scales, output = self.scaled(x, weights, 3)
        options["activation"] = self.activation(output)
        self.note("DEPTHWISE_CONV_2D", x.shape, x.quantisation, weights.shape, options)
        return self.builder.depthwise(x, weights, bias, scales, output, **options)

    def dense(self, x: Tensor, outputs: int = 0) -> Tensor:
        weights = self.weights((outputs or self.one(1, 2, 3, 5, 8, 10, 17), prod(x.shape)))
        bias, scales, output = self.scaled(x, weights, 0)
        activation = self.activation(output)
        self.note("FULLY_CONNECTED", x.shape, x.quantisation, weights.shape, activation)
        return self.builder.dense(x, weights, bias, scales, output, activation)

    # Layers without weights

    def pool(self, x: Tensor) -> Tensor:
        name = self.one("MAX_POOL_2D", "AVERAGE_POOL_2D")
        size = tuple(min(self.one(1, 2, 3, 4, 5, 20), extent) for extent in x.shape[1:3])
        stride = self.one(size, self.pair(1, 2, 3))
        padding = self.one("SAME", "VALID")
        activation = self.activation(x.quantisation)
        self.note(name, x.shape, size, stride, padding, activation)
        return self.builder.pool(name, x, size, activation, stride=stride, padding=padding)

    def mean(self, x: Tensor, keep_dims: bool | None = None) -> Tensor:
        output = self.near(x.quantisation[0] / prod(x.shape[1:3]) ** 0.5)
        self.note("MEAN", x.shape, x.quantisation, output)
        return self.builder.mean(x, output, keep_dims=self.one(True, False) if keep_dims is None else keep_dims)

    def unary(self, x: Tensor) -> Tensor:
        name = self.one("LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "LEAKY_RELU")
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "RELU6": x.quantisation}
        options = {"alpha": self.one(0.0, 0.1, 0.3, 1.5)} if name == "LEAKY_RELU" else {}
        self.note(name, x.shape, x.quantisation, options)
        return self.builder.unary(name, x, fixed.get(name) or self.near(x.quantisation[0]), **options)

    def combine(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        a, b = (b, a) if self.one(True, False) else (a, b)
        scales = (a.quantisation[0], b.quantisation[0])
        typical = scales[0] * scales[1] * 60 if name == "MUL" else max(scales)
        output = self.near(typical)
        activation = self.activation(output)
        self.note(name, a.shape, a.quantisation, b.shape, b.quantisation, output, activation)
        return self.builder.combine(name, a, b, output, activation)

    def with_constant(self, x: Tensor) -> Tensor:
        height, width, channels = x.shape[1:]
        shapes = ((1, 1, 1, channels), (channels,), (1,), (1, height, width, 1), x.shape)
        shape, quantisation = self.one(*shapes), self.near(x.quantisation[0])
        values = self.random.integers(-128, 128, shape).astype(np.int8)
        number = self.builder.constant(values, [quantisation[0]], [quantisation[1]])
        return self.combine(self.one("ADD", "SUB", "MUL"), x, Tensor(number, shape, quantisation))

    def pad(self, x: Tensor) -> Tensor:
        deep = self.one(False, False, True)
        margins = [(0, 0), self.pair(0, 1, 2), self.pair(0, 1, 3), self.pair(0, 1) if deep else (0, 0)]
        value = self.one(None, None, -128, 5)
        self.note("PAD", x.shape, margins, value)
        return self.builder.pad(x, margins, value)

    # Blocks

    def residual(self, x: Tensor) -> Tensor:
        branch = self.conv(x, self.one((3, 3), (1, 1), (5, 3)), x.channels, plain=True)
        if self.one(True, False):
            branch = self.conv(branch, (3, 1), x.channels, plain=True)
        return self.combine(self.one("ADD", "ADD", "SUB"), x, branch)

    def twice(self, x: Tensor) -> Tensor:
        return self.combine(self.one("ADD", "MUL"), x, x)

    def squeeze_excite(self, x: Tensor) -> Tensor:
        means = self.mean(x)
        if len(means.shape) == 4:
            gate = self.conv(self.conv(means, (1, 1)), (1, 1), x.channels)
        else:
            gate = self.builder.reshape(self.dense(self.dense(means), x.channels), (1, 1, 1, x.channels))
        return self.combine("MUL", x, self.builder.unary("LOGISTIC", gate, (1 / 256, -128)))

    def gate_of_places(self, x: Tensor) -> Tensor:
        gate = self.conv(x, self.one((1, 1), (3, 3)), 1, plain=True)
        return self.combine("MUL", x, self.builder.unary("LOGISTIC", gate, (1 / 256, -128)))

    def inception(self, x: Tensor) -> Tensor:
        common = self.near(x.quantisation[0])
        branches = [self.conv(x, kernel, plain=True) for kernel in ((1, 1), (3, 3), self.one((5, 1), (1, 7)))]
        pooled = self.builder.pool("MAX_POOL_2D", x, (3, 3), stride=(1, 1), padding="SAME")
        parts = [self.builder.unary("QUANTIZE", branch, common) for branch in (*branches, pooled)]
        self.note("CONCATENATION", [part.shape for part in parts])
        return self.builder.concatenate(parts)

    def outer(self, x: Tensor) -> Tensor:
        """A value for each channel times one for each place."""
        return self.combine(self.one("MUL", "ADD"), self.mean(x, keep_dims=True), self.conv(x, (1, 1), 1, plain=True))

    def padded(self, x: Tensor) -> Tensor:
        """Zeros around the input of a layer that is not padded itself, as other frameworks write it."""
        x = self.builder.pad(x, [(0, 0), self.pair(0, 1, 2), self.pair(0, 1, 3), (0, 0)])
        self.note("PAD", x.shape)
        return self.depthwise(x) if self.one(True, False) else self.conv(x)

    def beside(self, x: Tensor) -> Tensor:
        """The input beside what becomes of it."""
        branch = self.builder.unary("QUANTIZE", self.conv(x, plain=True), x.quantisation)
        parts = self.one([x, branch], [branch, x], [x, branch, x])
        self.note("CONCATENATION", [part.shape for part in parts])
        return self.builder.concatenate(parts)

    def reshaped(self, x: Tensor) -> Tensor:
        x = self.conv(x) if x == self.builder.input else x  # else rows would be of the new shape
        _, height, width, channels = x.shape
        shapes = ((1, width, height, channels), (1, height * width, 1, channels), (1, height, 1, width * channels))
        shape = self.one(*shapes, (1, 1, 1, prod(x.shape)))
        self.note("RESHAPE", x.shape, shape)
        return self.conv(self.builder.reshape(x, shape))

    def by_place(self, x: Tensor) -> Tensor:
        """FULLY_CONNECTED of the channels of each place."""
        weights = self.weights((self.one(*CHANNELS), x.channels))
        bias, scales, output = self.scaled(x, weights, 0)
        self.note("FULLY_CONNECTED", x.shape, x.quantisation, weights.shape)
        return self.builder.dense(x, weights, bias, scales, output, keep_dims=True)

    def mobile(self, x: Tensor) -> Tensor:
        y = self.conv(self.depthwise(self.conv(x, (1, 1), plain=True)), (1, 1), x.channels, plain=True)
        return self.combine("ADD", x, y) if y.shape == x.shape else y

    def head(self, x: Tensor) -> Tensor:
        kind = self.one(*["none"] * 6, "dense", "dense", "mean", "softmax")
        if kind == "mean":
            x = self.mean(x)
        if kind == "dense":
            x = self.dense(self.builder.flatten(x) if self.one(True, False) else x)
        if kind == "softmax":
            self.note("SOFTMAX", x.shape, x.quantisation)
            x = self.builder.unary("SOFTMAX", x, (1 / 256, -128), beta=1.0)
        return x


NEARLY = tuple(float(np.float32(NEARLY_ONE * 2.0**-power)) for power in (3, 6))
LAYERS = ("conv", "conv", "conv", "depthwise", "depthwise", "pool", "pool", "unary", "with_constant", "pad")
BLOCKS = (
    *("residual", "twice", "squeeze_excite", "gate_of_places", "inception", "mobile"),
    *("outer", "padded", "beside", "reshaped", "by_place"),
)


def drawn_file(seed: int) -> DrawnFile:
    """One operator, or a chain of layers and blocks with a head."""
    random = np.random.default_rng(seed)
    shape = tuple(int(random.choice(sizes)) for sizes in (SIZES, SIZES, CHANNELS))
    if random.integers(6) == 0:
        shape = (*shape[:1], int(random.choice((16, 21, 33))), *shape[2:])
    elif random.integers(6) == 0:
        shape = (*shape[:2], int(random.choice((16, 24, 33))))
    scale = float(np.float32(random.choice([np.exp(random.uniform(np.log(0.001), np.log(0.1))), *NEARLY])))
    zero_point = int(random.choice([-128, 0, 127, *random.integers(-128, 128, 4)]))
    drawing = Drawing(random, FileBuilder(shape, (scale, zero_point)))
    drawing.note("seed", seed, "input", shape, (scale, zero_point))
    x = drawing.builder.input
    layers = [drawing.one(*LAYERS, *BLOCKS) for _ in range(drawing.one(1, 1, 2, 3))]
    drawing.alone = len(layers) == 1 and layers[0] in LAYERS
    for layer in layers:
        if x == drawing.builder.input or (prod(x.shape) < 3000 and x.channels <= 40):
            x = getattr(drawing, layer)(x)
    x = x if drawing.alone else drawing.head(x)
    return DrawnFile(drawing.builder.file(x), (1, *shape), "\n".join(drawing.words))
