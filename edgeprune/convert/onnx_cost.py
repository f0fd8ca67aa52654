"""What an ONNX file costs, by the conventions of `edgeprune.graph.cost`.

As in the network it came from, activations are fused into the operator before them where TFLite would do so, a batch
norm is folded into the layer it follows, and reshapes, transposes and changes of type work in place. The SOFTMAX that
an export adds holds memory of its own.
"""

from collections import Counter
from math import inf, prod
from pathlib import Path
from typing import Any

from edgeprune.convert.onnx_export import load_onnx
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import Cost
from edgeprune.graph.operators import FOLDING, FUSING, Pads, conv_padding, pool_padding, spans
from edgeprune.tflite.cost import SCALES, Step, Steps, kinds_by_name, unique

_FREE = frozenset({"Identity", "Dropout"})
_IN_PLACE = frozenset(
    {
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "QuantizeLinear", "DequantizeLinear",
    }
)  # fmt: skip
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
_FOLDING = FOLDING | {"transpose conv"}
_FUSED = frozenset({(0.0, inf), (0.0, 6.0), (-1.0, 1.0)})
"""Ranges of the activations that TFLite fuses."""
_KEPT = 1024
"""Bytes or values; constants of more are weights, whose shapes alone are needed: sizes of tensors are fewer."""


def cost_of_onnx(path: Path | str) -> Cost:
    """Cost of one run of an ONNX file, with one clip where its batch is left open.

    Where the file holds batch norms, `params` are those after folding, as everywhere; where it holds none, they were
    folded already and the counts before folding are None. `output_shape` is channel-first, as in the file.

    Raises:
        EdgepruneError: the file is not a whole ONNX model, has sizes that are not fixed, or computes nothing.
    """
    try:
        reader = _Reader(Path(path))
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # such as names that are no text
        raise EdgepruneError(f"{path}: is damaged ({error}); copy or export it again.") from error
    return reader.steps.cost(reader.outputs, with_norms=reader.norms > 0)


class _Reader:
    """Walks the operators of an ONNX file once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        graph = self._inferred(load_onnx(path)).graph
        values = (*graph.input, *graph.value_info, *graph.output)
        self.values: dict[str, Any] = {value.name: value.type.tensor_type for value in values}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.constants = set(self.tensors)
        self.outputs = [value.name for value in graph.output]
        self.uses = Counter([name for node in graph.node for name in node.input] + self.outputs)
        self.steps = Steps()
        self.made_by: dict[str, Step] = {}
        self.foldable: set[Step] = set()  # a batch norm that comes next can be folded into them
        self.counted: set[str] = set()  # constants that are counted as weights
        self.padded: dict[str, str] = {}  # by output of a layer, what it reads in place of its input
        self.norms = 0
        self.paths: dict[Step, str] = {}
        for node in graph.node:
            self._node(node)
        if not self.steps.steps:
            raise EdgepruneError(f"{path}: holds no operator that computes; give the file of a network.")
        self._name_steps()

    def _inferred(self, model: Any) -> Any:
        """The model with the shape of every tensor and without the values of its weights."""
        import onnx

        graph = model.graph
        held = {tensor.name for tensor in graph.initializer}
        for value in graph.input:
            sizes = value.type.tensor_type.shape.dim
            if value.name not in held and sizes and not sizes[0].HasField("dim_value"):
                sizes[0].dim_value = 1
            if value.name not in held and any(size.dim_value < 1 for size in sizes):
                named = [size.dim_param or size.dim_value for size in sizes]
                raise EdgepruneError(
                    f"{self.path}: its input '{value.name}' is {named}, whose sizes are not fixed; "
                    "export it with a fixed input size."
                )
        for tensor in graph.initializer:
            for values in ("raw_data", "float_data", "double_data", "int32_data"):
                if len(getattr(tensor, values)) > _KEPT:
                    tensor.ClearField(values)
        for value in (*graph.value_info, *graph.output):
            if any(size.dim_value < 1 for size in value.type.tensor_type.shape.dim):  # follows from an open batch
                value.type.tensor_type.ClearField("shape")
        try:
            return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise EdgepruneError(
                f"{self.path}: its shapes do not fit each other ({reason}); export it again."
            ) from error

    # One operator

    def _node(self, node: Any) -> None:
        inputs = [name for name in node.input if name]
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if name in _OF_SHAPES or (inputs and all(constant in self.constants for constant in inputs)):
            self.constants.update(node.output)
            if name == "Constant" and node.attribute[0].HasField("t"):
                self.tensors[node.output[0]] = node.attribute[0].t
            return
        before = self._producer(inputs[0]) if inputs else None
        if name in _FREE and inputs:
            self._stand_for(node, inputs[0], keeps=True)
        elif (name in _IN_PLACE and inputs[0] not in self.constants) or (
            before is not None and before.kind in FUSING and self._range(node, name) in _FUSED
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
            step, x = dense
            step.biases = step.filters
            self._stand_for(node, x, keeps=True)
        elif name in _KINDS:
            self._elementwise(node, name, inputs)
        else:
            held = [constant for constant in inputs if constant in self.constants and self._is_parameter(constant)]
            self._add(node, "unknown", weights=sum(self._weights(constant) for constant in held)).name = name

    def _convolution(self, node: Any, name: str) -> None:
        x, weight = node.input[:2]
        out, shape, sizes = self._shape(node.output[0]), self._shape(weight), self._shape(x)
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if name == "ConvTranspose":
            kind, positions = "transpose conv", prod(sizes) // sizes[1]
        else:
            kind, positions = "conv", prod(out) // out[1]
            if groups > 1:
                kind = "depthwise" if groups == sizes[1] == shape[0] and shape[1] == 1 else "grouped conv"
        if sizes[1] != (shape[0] if name == "ConvTranspose" else shape[1] * groups):
            raise EdgepruneError(
                f"{self.path}: a {name} with weights {list(shape)} reads {list(sizes)}, which do not fit; "
                "export it again."
            )
        if name == "Conv":
            axes = len(sizes) - 2
            kernel = spans(shape[2:], _each(node, "dilations", axes))
            pads = conv_padding(sizes[2:], out[2:], kernel, _each(node, "strides", axes), _pads(node, axes))
            self._pad_before(node, pads)
        self._layer(node, kind, weight, positions * prod(shape))

    def _pool(self, node: Any) -> None:
        import onnx

        settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        before, after = self._shape(node.input[0])[2:], self._shape(node.output[0])[2:]
        stride, pads = _each(node, "strides", len(before)), _pads(node, len(before))
        zeros_count = node.op_type == "AveragePool" and bool(settings.get("count_include_pad", 0))
        if not (zeros_count and any(map(any, pads))):
            pads = pool_padding(before, after, settings["kernel_shape"], stride, pads)
        self._pad_before(node, pads)
        self._add(node, "pool")

    def _pad_before(self, node: Any, pads: Pads) -> None:
        """An operator of its own for padding that a layer has not in TFLite; the layer then reads what it writes."""
        if not pads:
            return
        x = node.input[0]
        shape = self._shape(x)
        sizes = [size + first + last for size, (first, last) in zip(shape[2:], pads, strict=True)]
        padded = f"{x}:padded for {node.output[0]}"
        self.steps.sizes[x] = prod(shape)
        self.steps.sizes[padded] = prod((*shape[:2], *sizes))
        step = Step("", "pad", (shape[1], *sizes), shape[1], (x,), (padded,))
        self.steps.steps.append(step)
        self.paths[step] = ""
        self.padded[node.output[0]] = padded

    def _dense(self, node: Any) -> None:
        """A Gemm, either way its weights lie, or a MatMul; of two activations, `matmul`."""
        import onnx

        settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        outputs = prod(self._shape(node.output[0]))
        first, second = self._shape(node.input[0]), self._shape(node.input[1])
        macs = outputs * (first[-2] if settings.get("transA") else first[-1])
        weight = next((name for name in reversed(node.input[:2]) if name in self.constants), None)
        dense = weight == node.input[1] and len(second) == 2
        if weight is None:
            self._add(node, "matmul", macs=macs)
        else:
            self._layer(node, "dense" if dense else "matmul", weight, macs)

    def _layer(self, node: Any, kind: str, weight: str, macs: int) -> None:
        """A layer with a constant weight, and a bias as its third input where it has one."""
        again = weight in self.counted
        bias = node.input[2] if len(node.input) > 2 else ""
        biases = prod(self._shape(bias)) if bias in self.constants and not again else 0
        weights = self._weights(weight) if weight in self.constants else 0
        step = self._add(node, kind, weights=weights, biases=biases, macs=macs)
        if kind == "dense":
            step.filters = self._shape(node.output[0])[-1]
        if kind in _FOLDING:
            self.foldable.add(step)
        stem, _, last = weight.rpartition(".")
        if last == "weight" and stem:
            self.paths[step] = stem

    def _batch_norm(self, node: Any, x: str, before: Step | None) -> None:
        self.norms += 1
        features = prod(self._shape(node.input[1]))
        if before is None or before not in self.foldable:
            self._add(node, "scale", weights=2 * features, statistics=2 * features)
            return
        if before.weights:  # else its layer ran before, and is counted there
            before.norm, before.statistics = features, 2 * features
        self._stand_for(node, x)

    def _takes_bias(self, inputs: list[str]) -> tuple[Step, str] | None:
        """The product of a dense layer among the two terms of a sum, where the other one is its bias."""
        for x, bias in (inputs[:2], inputs[1::-1]):
            step = self._producer(x)
            if step is None or step not in self.foldable or step.kind != "dense" or step.biases or not step.weights:
                continue
            if bias in self.constants and prod(self._shape(bias)) == step.filters == self._shape(bias)[-1]:
                return step, x
        return None

    def _elementwise(self, node: Any, name: str, inputs: list[str]) -> None:
        kind = _KINDS[name]
        several = [constant for constant in inputs if constant in self.constants and prod(self._shape(constant)) > 1]
        if name == "PRelu" or (kind in SCALES and several):
            weights = sum(self._weights(constant) for constant in several)
            self._add(node, "scale" if kind in SCALES else kind, weights=weights)
        else:
            self._add(node, kind)

    def _range(self, node: Any, name: str) -> tuple[float, float] | None:
        """Least and largest value of an activation that cuts off; None of others."""
        import onnx

        if name == "Relu":
            return 0.0, inf
        if name != "Clip":
            return None
        settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        limits = [float(settings.get("min", -inf)), float(settings.get("max", inf))]  # inputs since opset 11
        for place, constant in enumerate(node.input[1:3]):
            if constant and (constant not in self.tensors or prod(self.tensors[constant].dims) != 1):
                return None
            if constant:
                limits[place] = float(onnx.numpy_helper.to_array(self.tensors[constant]).item())
        return limits[0], limits[1]

    # Bookkeeping

    def _add(self, node: Any, kind: str, **counts: int) -> Step:
        outputs = tuple(name for name in node.output if name and (name in self.uses or name == node.output[0]))
        reads = tuple(name for name in node.input if name and name not in self.constants)
        for name in (*reads, *outputs):
            self.steps.sizes[name] = prod(self._shape(name))
        if node.output[0] in self.padded:
            reads = (self.padded[node.output[0]], *reads[1:])
        shape = self._shape(outputs[0])
        filters = shape[1] if len(shape) > 1 else prod(shape)
        step = Step("", kind, shape[1:], filters, reads, outputs, **counts)
        self.steps.steps.append(step)
        self.made_by.update(dict.fromkeys(outputs, step))
        self.paths[step] = _path(node)
        return step

    def _stand_for(self, node: Any, x: str, keeps: bool = False) -> None:
        """A node that works in place on `x`; `keeps`: a batch norm after it can still be folded."""
        output = node.output[0]
        self.steps.sizes.setdefault(self.steps.memory(x), prod(self._shape(x)))
        self.steps.in_place(output, x)
        before = self._producer(x)
        if before is not None:
            self.made_by[output] = before
            if not keeps:
                self.foldable.discard(before)

    def _producer(self, name: str) -> Step | None:
        """The operator whose output only one other reads."""
        return self.made_by.get(name) if self.uses[name] == 1 else None

    def _weights(self, name: str) -> int:
        """Values of a constant, 0 where an operator before has counted them."""
        if name in self.counted:
            return 0
        self.counted.add(name)
        return prod(self._shape(name))

    def _is_parameter(self, name: str) -> bool:
        """Whether a constant holds numbers of the network, rather than sizes and axes."""
        import onnx

        kind = self.tensors[name].data_type if name in self.tensors else self.values[name].elem_type
        return kind not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)

    def _shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a tensor, the batch included."""
        if name in self.tensors:
            return tuple(self.tensors[name].dims)
        value = self.values.get(name)
        if value is None or not value.HasField("shape"):
            raise EdgepruneError(
                f"{self.path}: the size of '{name}' cannot be told (an operator before it is not known, or does not "
                "fit its inputs); export it with standard operators."
            )
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in value.shape.dim]
        if min(sizes, default=1) < 1:
            raise EdgepruneError(f"{self.path}: the size of '{name}' is not fixed; export it with a fixed input size.")
        return tuple(sizes)

    def _name_steps(self) -> None:
        """The layers' names as `edgeprune.graph.cost` has them; operators without one are numbered."""
        layers = [path for step, path in self.paths.items() if step.weights and "." in path]
        if layers and all(path.startswith("0.") for path in layers):  # within a module, as exports of this package are
            self.paths = {step: path.partition(".")[2] for step, path in self.paths.items()}
        lasts = Counter(path.rsplit(".", 1)[-1] for path in self.paths.values())
        taken: list[str] = []
        for step in self.steps.steps:
            path = self.paths[step]
            last = path.rsplit(".", 1)[-1]
            kinds = sum(other.startswith(f"{step.kind}_") for other in taken)
            step.name = unique(step.name or (last if lasts[last] == 1 else path) or f"{step.kind}_{kinds + 1}", taken)
            taken.append(step.name)


def _each(node: Any, name: str, axes: int) -> list[int]:
    """An attribute with a number for each axis, 1 where it is not given."""
    import onnx

    found = [onnx.helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return list(found[0]) if found else [1] * axes


def _pads(node: Any, axes: int) -> Pads:
    """Explicit padding before and after, an axis each."""
    import onnx

    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    pads = settings.get("pads", [0] * 2 * axes)
    return list(zip(pads[:axes], pads[axes:], strict=True))


def _path(node: Any) -> str:
    """Of a node `/features/conv1/Conv`: `features.conv1`."""
    pieces = [piece for piece in node.name.split("/") if piece]
    if pieces and pieces[-1].startswith(node.op_type):
        pieces = pieces[:-1]
    return ".".join(pieces)
