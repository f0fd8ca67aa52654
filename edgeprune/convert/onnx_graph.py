"""From an ONNX file to its graph, and its cost by the conventions of `edgeprune.graph.cost`.

As in the network it came from, activations are fused into the operator before them where TFLite would do so, a batch
norm is folded into the layer it follows, and reshapes, transposes and changes of type work in place. The SOFTMAX that
an export adds has memory of its own.
"""

from collections import Counter
from dataclasses import replace
from math import inf, prod
from pathlib import Path
from typing import Any

import onnx

from edgeprune.convert.onnx_file import attributes, each, explicit_pads, load_onnx, module_path, owner, with_shapes
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import Cost, count
from edgeprune.graph.graph import Blocks, Graph, Operator, fixed
from edgeprune.graph.kinds import FOLDING, FUSING, SCALE, SCALES, UNKNOWN, kinds_by_name, unique
from edgeprune.graph.padding import Pads, conv_padding, pool_padding, spans

_IN_PLACE = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "QuantizeLinear", "DequantizeLinear"),
}
_OF_SHAPES = frozenset({"Constant", "Shape", "Size"})
"""Their outputs are known before the network runs."""
_KINDS = kinds_by_name(
    {
        "pool": "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool",
        "reduce": "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare",
        "add": "Add Sum",
        "sub": "Sub",
        "mul": "Mul",
        "div": "Div",
        "maximum": "Max",
        "minimum": "Min",
        "activation": (
            "Relu Clip LeakyRelu PRelu Elu Selu Celu Gelu Mish Swish HardSwish HardSigmoid Sigmoid Tanh Softplus "
            "Softsign Softmax LogSoftmax Erf Exp Log Sqrt Reciprocal Abs Neg Pow"
        ),
        "pad": "Pad",
        "concat": "Concat",
        "split": "Split",
        "slice": "Slice",
        "resize": "Resize Upsample",
        "move": "DepthToSpace SpaceToDepth",
        "expand": "Expand Tile",
        "arg": "ArgMax ArgMin",
    }
)
"""Operators without a MAC."""
_FUSED = frozenset({(0.0, inf), (0.0, 6.0), (-1.0, 1.0)})
"""Ranges of the activations that TFLite fuses."""


def cost_of_onnx(path: Path | str) -> Cost:
    """Cost of one run of an ONNX file, with one clip where its batch is left open.

    Where the file holds batch norms, `params` are those after folding, as everywhere; where it holds none, they were
    folded already and the counts before folding are None.
    """
    try:
        return count(_Reader(Path(path)).graph())
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # such as names that are no text
        raise EdgepruneError(f"{path}: is damaged ({error}); copy or export it again.") from error


class _Reader:
    """Reads the operators of an ONNX file; shapes are channel-first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = with_shapes(path, load_onnx(path)).graph
        values = (*self.model.input, *self.model.value_info, *self.model.output)
        self.values: dict[str, Any] = {value.name: value.type.tensor_type for value in values}
        self.tensors = {tensor.name: tensor for tensor in self.model.initializer}
        self.constants = set(self.tensors)
        self.outputs = [value.name for value in self.model.output]
        self.uses = Counter([name for node in self.model.node for name in node.input] + self.outputs)
        self.operators: list[Operator] = []
        self.made_by: dict[str, int] = {}  # by tensor, the place of its operator
        self.foldable: set[int] = set()  # places of operators into which a batch norm that comes next can be folded
        self.counted: set[str] = set()  # constants that are counted as weights
        self.shared: dict[str, str] = {}  # tensors that lie in the memory of another one
        self.memory: dict[str, int] = {}  # by tensor, its place among the graph's tensors
        self.sizes: list[int] = []  # of the graph's tensors, in values
        self.norms = 0

    def graph(self) -> Graph:
        for node in self.model.node:
            self._node(node)
        if not self.operators:
            raise EdgepruneError(f"{self.path}: holds no operator that computes; give the file of a network.")
        roots = [self.shared.get(name, name) for name in self.outputs]
        return Graph(
            tuple(self._named()),
            groups={},
            tensors=tuple((fixed(size), 1) for size in self.sizes),
            outputs=tuple(self.memory[root] for root in roots if root in self.memory),
            keeps_norms=self.norms > 0,
        )

    # Operators

    def _node(self, node: Any) -> None:
        inputs = [name for name in node.input if name]
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if name in _OF_SHAPES or (inputs and all(constant in self.constants for constant in inputs)):
            self.constants.update(node.output)
            if name == "Constant" and node.attribute[0].HasField("t"):
                self.tensors[node.output[0]] = node.attribute[0].t
            return
        before = self._producer(inputs[0]) if inputs else None
        if name in ("Identity", "Dropout") and inputs:
            self._stand_for(node, inputs[0], foldable=True)
        elif (name in _IN_PLACE and inputs[0] not in self.constants) or (
            before is not None and self.operators[before].kind in FUSING and self._range(node, name) in _FUSED
        ):
            self._stand_for(node, inputs[0])
        elif name == "BatchNormalization":
            self._batch_norm(node, inputs[0], before)
        elif name in ("Conv", "ConvTranspose"):
            self._convolution(node, name)
        elif name in ("MaxPool", "AveragePool"):
            self._pool(node)
        elif name in ("Gemm", "MatMul"):
            self._dense(node)
        elif name == "Add" and (dense := self._takes_bias(inputs)):
            place, x = dense
            self.operators[place] = replace(self.operators[place], biases=self.operators[place].filters)
            self._stand_for(node, x, foldable=True)
        elif name in _KINDS:
            self._elementwise(node, name, inputs)
        else:
            held = [constant for constant in inputs if constant in self.constants and self._is_parameter(constant)]
            self._add(node, UNKNOWN, name=name, values=sum(self._weights(constant) for constant in held))

    def _convolution(self, node: Any, name: str) -> None:
        x, weight = node.input[:2]
        out, shape, sizes = self._shape(node.output[0]), self._shape(weight), self._shape(x)
        groups = attributes(node).get("group", 1)
        if sizes[1] != (shape[0] if name == "ConvTranspose" else shape[1] * groups):
            raise EdgepruneError(
                f"{self.path}: a {name} with weights {list(shape)} reads {list(sizes)}, which do not fit; export it "
                "again."
            )
        if name == "ConvTranspose":
            positions = prod(sizes) // sizes[1]
            self._layer(node, "transpose conv", weight, fixed(sizes[1] // groups), prod(shape[2:]), positions)
            return
        axes = len(sizes) - 2
        kernel = spans(shape[2:], each(node, "dilations", axes))
        pads = conv_padding(sizes[2:], out[2:], kernel, each(node, "strides", axes), explicit_pads(node, axes))
        if depthwise := groups > 1 and groups == sizes[1] == shape[0] and shape[1] == 1:
            kind = "depthwise"
        else:
            kind = "grouped conv" if groups > 1 else "conv"
        summed = () if depthwise else fixed(shape[1])
        padded = self._padded(node, pads)
        self._layer(node, kind, weight, summed, prod(shape[2:]), prod(out) // out[1], padded=padded)

    def _pool(self, node: Any) -> None:
        settings = attributes(node)
        before, after = self._shape(node.input[0])[2:], self._shape(node.output[0])[2:]
        stride, pads = each(node, "strides", len(before)), explicit_pads(node, len(before))
        zeros_count = node.op_type == "AveragePool" and bool(settings.get("count_include_pad", 0))
        if not (zeros_count and any(map(any, pads))):
            pads = pool_padding(before, after, settings["kernel_shape"], stride, pads)
        self._add(node, "pool", padded=self._padded(node, pads))

    def _padded(self, node: Any, pads: Pads) -> int | None:
        """Add the PAD that TFLite needs before a layer; the tensor it writes, or None where no PAD is needed."""
        if not pads:
            return None
        x = node.input[0]
        shape = self._shape(x)
        sizes = [size + first + last for size, (first, last) in zip(shape[2:], pads, strict=True)]
        reads = self._remembered(x)
        padded = self._remembered(f"{x}:padded for {node.output[0]}", prod((*shape[:2], *sizes)))
        self.operators.append(Operator("", "pad", fixed(shape[1]), (shape[1], *sizes), 0, (reads,), (padded,)))
        return padded

    def _dense(self, node: Any) -> None:
        """A Gemm, either way its weights lie, or a MatMul; without a constant matrix on the right, a `matmul`."""
        first, second = self._shape(node.input[0]), self._shape(node.input[1])
        out = self._shape(node.output[0])
        summed = fixed(first[-2] if attributes(node).get("transA") else first[-1])
        weight = next((name for name in reversed(node.input[:2]) if name in self.constants), None)
        if weight == node.input[1] and len(second) == 2:
            self._layer(node, "dense", weight, summed, 1, prod(out[:-1]), channels_at=len(out) - 1)
            return
        positions = prod(out) // (out[1] if len(out) > 1 else prod(out))
        if weight is None:
            self._add(node, "matmul", kernel=1, inputs=summed, positions=positions, holds_weights=False)
        else:
            self._layer(node, "matmul", weight, summed, 1, positions)

    def _layer(
        self, node: Any, kind: str, weight: str, summed: Blocks, kernel: int, positions: int, **details: Any
    ) -> None:
        """A layer, which has a bias as its third input or none."""
        again = weight in self.counted
        bias = node.input[2] if len(node.input) > 2 else ""
        weights = self._weights(weight) if weight in self.constants else 0
        stacked = kind == "matmul"  # it may hold a matrix for each item, so kernel, inputs and filters give too few
        self._add(
            node,
            kind,
            path=owner(weight),
            kernel=kernel,
            inputs=summed,
            positions=positions,
            biases=fixed(prod(self._shape(bias))) if bias in self.constants and not again else (),
            values=weights if stacked else 0,
            holds_weights=weights > 0 and not stacked,
            **details,
        )
        if kind in FOLDING | {"transpose conv"}:
            self.foldable.add(len(self.operators) - 1)

    def _batch_norm(self, node: Any, x: str, before: int | None) -> None:
        self.norms += 1
        norm = fixed(prod(self._shape(node.input[1])))
        if before is None or before not in self.foldable:
            self._add(node, SCALE, norm=norm)
            return
        if self.operators[before].holds_weights:  # else its layer ran before, and is counted there
            self.operators[before] = replace(self.operators[before], norm=norm)
        self._stand_for(node, x)

    def _takes_bias(self, inputs: list[str]) -> tuple[int, str] | None:
        """The place of a dense layer whose product is one term of a sum, where the other term is its bias."""
        for x, bias in (inputs[:2], inputs[1::-1]):
            place = self._producer(x)
            if place is None or place not in self.foldable:
                continue
            operator = self.operators[place]
            free = operator.kind == "dense" and operator.holds_weights and not operator.biases
            filters = operator.filters[0].repeat
            if free and bias in self.constants and prod(self._shape(bias)) == filters == self._shape(bias)[-1]:
                return place, x
        return None

    def _elementwise(self, node: Any, name: str, inputs: list[str]) -> None:
        kind = _KINDS[name]
        several = [constant for constant in inputs if constant in self.constants and prod(self._shape(constant)) > 1]
        weights = several if name == "PRelu" or kind in SCALES else []
        kind = SCALE if weights and kind in SCALES else kind
        self._add(node, kind, values=sum(self._weights(constant) for constant in weights))

    def _range(self, node: Any, name: str) -> tuple[float, float] | None:
        """Least and largest value of an activation that cuts off; None of others."""
        if name != "Clip":
            return (0.0, inf) if name == "Relu" else None
        settings = attributes(node)
        limits = [float(settings.get("min", -inf)), float(settings.get("max", inf))]  # inputs since opset 11
        for place, constant in enumerate(node.input[1:3]):
            if constant and (constant not in self.tensors or prod(self.tensors[constant].dims) != 1):
                return None
            if constant:
                limits[place] = float(onnx.numpy_helper.to_array(self.tensors[constant]).item())
        return limits[0], limits[1]

    # Bookkeeping

    def _add(
        self,
        node: Any,
        kind: str,
        *,
        name: str = "",
        path: str = "",
        channels_at: int = 1,
        padded: int | None = None,
        **details: Any,
    ) -> None:
        """Add an operator.

        Args:
            path: of its layer; "" takes it from the node's name.
            channels_at: the channel axis of the output, the batch included.
            padded: the tensor it reads in place of its input.
        """
        outputs = [name for name in node.output if name and (name in self.uses or name == node.output[0])]
        sources = [source for source in node.input if source and source not in self.constants]
        before = () if padded is None else (padded,)
        shape = self._shape(outputs[0])
        self.made_by.update(dict.fromkeys(outputs, len(self.operators)))
        self.operators.append(
            Operator(
                name,
                kind,
                filters=fixed(shape[channels_at] if len(shape) > 1 else prod(shape)),
                shape=shape[1:],
                axis=channels_at - 1,
                reads=(*before, *(self._remembered(source) for source in sources[len(before) :])),
                writes=tuple(self._remembered(output) for output in outputs),
                path=path or module_path(node),
                **details,
            )
        )

    def _stand_for(self, node: Any, x: str, foldable: bool = False) -> None:
        """A node that works in place on `x`; `foldable`: a batch norm after it can still be folded."""
        output = node.output[0]
        self.shared[output] = self.shared.get(x, x)
        if (before := self._producer(x)) is not None:
            self.made_by[output] = before
            if not foldable:
                self.foldable.discard(before)

    def _producer(self, name: str) -> int | None:
        """The place of the operator whose output only one other reads."""
        return self.made_by.get(name) if self.uses[name] == 1 else None

    def _remembered(self, name: str, size: int | None = None) -> int:
        """The place of an activation among the graph's tensors."""
        root = self.shared.get(name, name)
        if root not in self.memory:
            self.memory[root] = len(self.sizes)
            self.sizes.append(prod(self._shape(root)) if size is None else size)
        return self.memory[root]

    def _weights(self, name: str) -> int:
        """Values of a constant; 0 where an operator before has counted them."""
        if name in self.counted:
            return 0
        self.counted.add(name)
        return prod(self._shape(name))

    def _is_parameter(self, name: str) -> bool:
        """Whether a constant holds numbers of the network, rather than sizes and axes."""
        kind = self.tensors[name].data_type if name in self.tensors else self.values[name].elem_type
        return kind not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)

    def _shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a tensor, the batch included."""
        if name in self.tensors:
            return tuple(self.tensors[name].dims)
        value = self.values.get(name)
        if value is None or not value.HasField("shape"):
            raise EdgepruneError(
                f"{self.path}: the size of '{name}' is not known (an operator before it is unknown, or does not "
                "fit its inputs); export it with standard operators."
            )
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in value.shape.dim]
        if min(sizes, default=1) < 1:
            raise EdgepruneError(f"{self.path}: the size of '{name}' is not fixed; export it with a fixed input size.")
        return tuple(sizes)

    def _named(self) -> list[Operator]:
        """The operators with the names that a trace of the network gives them; those without one are numbered."""
        paths = [operator.path for operator in self.operators]
        layers = [
            operator.path
            for operator in self.operators
            if "." in operator.path
            and (operator.values or operator.norm or (operator.kernel and operator.holds_weights))
        ]
        if layers and all(path.startswith("0.") for path in layers):  # within a module, as exports of this package are
            paths = [path.partition(".")[2] for path in paths]
        lasts = Counter(path.rsplit(".", 1)[-1] for path in paths)
        named: list[Operator] = []
        for operator, path in zip(self.operators, paths, strict=True):
            last = path.rsplit(".", 1)[-1]
            kinds = sum(other.name.startswith(f"{operator.kind}_") for other in named)
            own = operator.name or (last if lasts[last] == 1 else path) or f"{operator.kind}_{kinds + 1}"
            named.append(replace(operator, name=unique(own, [other.name for other in named])))
        return named
