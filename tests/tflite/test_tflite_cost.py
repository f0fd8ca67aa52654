"""Costs read from .tflite files: of our networks in every format, of others' files, and of graphs made by hand."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
import torch
from ai_edge_litert import schema_py_generated as schema
from tflite_micro import runtime as tflm

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_graph import cost_of_onnx
from edgeprune.convert.tflite_export import FORMATS, convert
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.graph.cost import Cost, LayerCost, cost
from edgeprune.models.registry import build, make_spec
from edgeprune.tflite.cost import FileFacts, check_cost, cost_of_tflite, file_facts
from edgeprune.tflite.flatbuffer import unpack_model

EVERY_FILE = [("dcase21", format) for format in FORMATS] + [("vggish", "float32"), ("vggish", "int8")]
STORED = {  # types of weights and activations; bytes a weight and a bias
    "float32": ("float32", "float32", 4, 4),
    "float16": ("float16", "float32", 2, 2),
    "int8": ("int8", "int8", 1, 4),
    "int16x8": ("int8", "int16", 1, 8),
}


def _unnamed(layers: tuple[LayerCost, ...]) -> list[LayerCost]:
    """Layers without names, their shapes channel-first."""
    return [
        replace(layer, name="", output_shape=(layer.output_shape[-1], *layer.output_shape[:-1])) for layer in layers
    ]


@pytest.mark.parametrize(("name", "format"), EVERY_FILE)
def test_files_cost_what_the_network_does(networks, name, format) -> None:
    expected = cost(networks[name].spec)
    ours = cost_of_tflite(networks[name].files[format])
    *layers, softmax = ours.by_layer
    assert _unnamed(tuple(layers)) == [replace(layer, name="") for layer in expected.by_layer]
    assert softmax == LayerCost("output:2", "activation", 10, 0, 0, 0, 20, (10,))  # the last layer is called output
    assert replace(ours, by_layer=()) == replace(
        expected, by_layer=(), params_trainable=None, params_with_statistics=None
    )
    names = [layer.name for layer in ours.by_layer]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("figure", ["params", "macs", "flash_bytes", "peak_ram_bytes"])
def test_a_file_that_takes_more_than_was_promised_is_refused(networks, figure) -> None:
    """One of any figure is enough; of memory a file may take less than was promised, of the others it may not."""
    promised, file = cost(networks["dcase21"].spec), networks["dcase21"].files["int8"]
    check_cost(promised, file)
    with pytest.raises(CheckFailedError, match=f"has {figure.replace('_', ' ')} .* where the plan promised"):
        check_cost(replace(promised, **{figure: getattr(promised, figure) - 1}), file)
    more = replace(promised, **{figure: getattr(promised, figure) + 1})
    if figure == "peak_ram_bytes":
        check_cost(more, file)
    else:
        with pytest.raises(CheckFailedError):
            check_cost(more, file)


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_the_onnx_file_costs_the_same(networks, name) -> None:
    network = networks[name]
    assert replace(cost_of_onnx(network.onnx), by_layer=()) == replace(
        cost_of_tflite(network.files["int8"]), by_layer=()
    )


@pytest.mark.parametrize(("name", "format"), EVERY_FILE)
def test_what_the_files_store(networks, name, format) -> None:
    path = networks[name].files[format]
    facts, ours = file_facts(path), cost_of_tflite(path)
    biases = (ours.flash_bytes - ours.params) // 3
    if format == "dynamic":  # layers below 1,024 weights and the biases stay float32
        assert (facts.weight_type, facts.activation_type) == ("int8", "float32")
        assert ours.params + 3 * biases < facts.weight_bytes < 2 * ours.params
    else:
        weights, activations, weight_size, bias_size = STORED[format]
        stored = weight_size * (ours.params - biases) + bias_size * biases
        assert facts == FileFacts(path.stat().st_size, stored, weights, activations)
    assert facts.bytes == path.stat().st_size > facts.weight_bytes


@pytest.mark.slow
def test_the_exported_baseline(tmp_path) -> None:
    torch.manual_seed(0)
    spec = make_spec("dcase21", 10, (1, 40, 51))
    onnx = export_onnx(build(spec), spec.input_shape, tmp_path / "model.onnx")
    clips = np.random.default_rng(0).standard_normal((4, 1, 40, 51)).astype(np.float32)
    path = convert(onnx, tmp_path, ("int8",), clips)["int8"]
    ours = cost_of_tflite(path)
    assert (ours.params, ours.macs, ours.flash_bytes, ours.peak_ram_bytes) == (45_990, 29_203_560, 46_512, 65_280)
    assert file_facts(path).weight_bytes == 46_512


def test_the_published_baseline(shared_data) -> None:
    path = shared_data / "models/dcase2022_baseline/model_task1.tflite"
    ours = cost_of_tflite(path)
    assert (ours.params, ours.macs, ours.flash_bytes, ours.peak_ram_bytes) == (45_990, 29_203_560, 46_512, 65_280)
    assert (ours.params_trainable, ours.params_with_statistics, ours.unknown) == (None, None, ())
    assert file_facts(path) == FileFacts(52_424, 46_512, "int8", "int8")
    layers = {layer.name: layer for layer in ours.by_layer}
    # in Keras's file the first convolution, of one channel, is a depthwise one
    assert [(name, layer.kind) for name, layer in layers.items()] == [
        ("conv2d", "depthwise"),
        ("conv2d_1", "conv"),
        ("max_pooling2d", "pool"),
        ("conv2d_2", "conv"),
        ("max_pooling2d_1", "pool"),
        ("dense", "dense"),
        ("dense_1", "dense"),
        ("Identity_int8", "activation"),
    ]
    # NeSsi, whose 29,234,920 was published, counts pooling by its windows and half of the first dense layer
    pools = np.prod(layers["max_pooling2d"].output_shape) * 25 + np.prod(layers["max_pooling2d_1"].output_shape) * 40
    assert ours.macs + pools - layers["dense"].macs // 2 == 29_234_920


@pytest.mark.parametrize(("name", "widths"), [("unpruned", (16, 16, 32)), ("C1", (12, 16, 32)), ("C12", (12, 12, 32))])
def test_pruned_networks_of_others(shared_data, name, widths) -> None:
    """Three 3x3 convolutions with tanh where TFLite cannot fuse it, average pools 5x5 and 4x10, dense 100 and 10."""
    folder = shared_data / "models/surrey_dcase2022" / name
    one, two, three = widths
    weights = [9 * one, 9 * one * two, 9 * two * three, 2 * three * 100, 1000]
    biases = one + two + three + 110
    macs = 2040 * (weights[0] + weights[1]) + 80 * weights[2] + weights[3] + weights[4]
    for file in ("converted_model.tflite", "converted_quant_model_default.tflite"):
        ours = cost_of_tflite(folder / file)
        assert (ours.params, ours.macs) == (sum(weights) + biases, macs)
        assert ours.flash_bytes == sum(weights) + 4 * biases
        assert ours.peak_ram_bytes == 2040 * max(2 * one, one + two)
    assert file_facts(folder / "converted_model.tflite").weight_bytes == 4 * ours.params
    assert file_facts(folder / "converted_quant_model_default.tflite").weight_type == "int8"


# Graphs made by hand


class _Graph:
    """A TFLite graph of operators in order; the first tensor is its input, the last its output."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.steps: list[Any] = []
        self.codes: list[Any] = []

    def tensor(self, *shape: int, type: str = "INT8", values: np.ndarray | None = None, name: str = "") -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), getattr(schema.TensorType, type)
        tensor.buffer = 0
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
        if values is not None:
            tensor.buffer = len(self.buffers)
            self.buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), dtype=np.uint8)))
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def weights(self, *shape: int, name: str = "") -> int:
        values = np.arange(1, 1 + np.prod(shape)).reshape(shape)
        return self.tensor(*shape, values=values.astype(np.int8), name=name)

    def bias(self, filters: int) -> int:
        return self.tensor(filters, type="INT32", values=np.ones(filters, dtype=np.int32))

    def ints(self, *values: int, shape: tuple[int, ...] | None = None) -> int:
        stored = np.array(values, dtype=np.int32)
        return self.tensor(*(shape or (len(values),)), type="INT32", values=stored)

    def add(self, name: str, inputs: list[int], output: int, options: Any = None) -> int:
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        code.customCode = name if builtin == schema.BuiltinOperator.CUSTOM else None
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = len(self.codes), inputs, [output]
        if options is not None:
            step.builtinOptions = options
            step.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.codes.append(code)
        self.steps.append(step)
        return output

    def conv(self, x: int, *out: int, kernel: tuple[int, ...], name: str = "") -> int:
        """A CONV_2D without padding."""
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.padding = schema.Padding.VALID
        inputs = [x, self.weights(*kernel, name=name), self.bias(kernel[0])]
        return self.add("CONV_2D", inputs, self.tensor(*out), options)

    def model(self) -> Any:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.steps
        graph.inputs, graph.outputs = [0], list(self.steps[-1].outputs)
        model = schema.ModelT()
        model.version, model.description = 3, "made by hand"
        model.subgraphs, model.operatorCodes, model.buffers = [graph], self.codes, self.buffers
        return model

    def cost(self, folder: Path) -> Cost:
        return cost_of_tflite(tiny_tflite.write(self.model(), folder / "by_hand.tflite"))


def test_a_dense_layer_by_hand(tmp_path) -> None:
    ours = cost_of_tflite(tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "f.tflite"))
    assert ours.by_layer == (LayerCost("weights", "dense", 2, 8, 6, 6 + 8, 5, (2,)),)
    batch = cost_of_tflite(tiny_tflite.write(tiny_tflite.float_model(batch=4), tmp_path / "f.tflite"))
    assert (batch.params, batch.macs, batch.peak_ram_bytes) == (8, 4 * 6, 4 * 5)


def test_depthwise_by_hand(tmp_path) -> None:
    graph = _Graph()
    x, weights, bias = graph.tensor(1, 6, 5, 3), graph.weights(1, 3, 3, 6), graph.bias(6)
    graph.add("DEPTHWISE_CONV_2D", [x, weights, bias], graph.tensor(1, 4, 3, 6))
    (layer,) = graph.cost(tmp_path).by_layer
    # two filters of 9 weights on each of 3 channels, at 4 x 3 places
    assert layer == LayerCost("depthwise", "depthwise", 6, 60, 12 * 54, 54 + 24, 90 + 72, (4, 3, 6))


@pytest.mark.parametrize(("channels", "kind"), [(2, "conv"), (4, "grouped conv")])
def test_convolutions_by_hand(tmp_path, channels, kind) -> None:
    graph = _Graph()
    graph.conv(graph.tensor(1, 6, 5, channels), 1, 4, 3, 6, kernel=(6, 3, 3, 2), name="model_3/stem/Conv2D")
    (layer,) = graph.cost(tmp_path).by_layer
    assert layer == LayerCost("stem", kind, 6, 114, 12 * 108, 108 + 24, 30 * channels + 72, (4, 3, 6))


def test_transposed_convolution_by_hand(tmp_path) -> None:
    graph = _Graph()
    x, sizes, weights = graph.tensor(1, 4, 5, 3), graph.ints(1, 8, 10, 2), graph.weights(2, 2, 2, 3)
    graph.add("TRANSPOSE_CONV", [sizes, weights, x], graph.tensor(1, 8, 10, 2))
    (layer,) = graph.cost(tmp_path).by_layer
    assert (layer.kind, layer.params, layer.macs, layer.ram_bytes) == ("transpose conv", 24, 20 * 24, 60 + 160)


@pytest.mark.parametrize("adjoint", [False, True])
def test_products_by_hand(tmp_path, adjoint) -> None:
    graph = _Graph()
    x, y = graph.tensor(*((2, 6, 7) if adjoint else (2, 7, 6))), graph.tensor(2, 6, 5)
    options = schema.BatchMatMulOptionsT()
    options.adjX = adjoint
    graph.add("BATCH_MATMUL", [x, y], graph.tensor(2, 7, 5), options)
    (layer,) = graph.cost(tmp_path).by_layer
    assert (layer.kind, layer.params, layer.macs, layer.ram_bytes) == ("matmul", 0, 2 * 7 * 5 * 6, 84 + 60 + 70)


def test_unknown_operators_are_named(tmp_path) -> None:
    graph = _Graph()
    x, table, sizes = graph.tensor(1, 7), graph.weights(9, 4), graph.ints(1, 2, 3)
    middle = graph.add("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, table, graph.bias(5), sizes], graph.tensor(1, 6))
    middle = graph.add("OurOwn", [middle], graph.tensor(1, 5))
    graph.add("OurOwn", [middle], graph.tensor(1, 4))
    graph.tensors[sizes].quantization = None
    ours = graph.cost(tmp_path)
    assert ours.unknown == ("UNIDIRECTIONAL_SEQUENCE_LSTM", "OurOwn", "OurOwn:2")
    assert (ours.params, ours.macs, ours.peak_ram_bytes) == (36 + 5, 0, 13)


def test_a_layer_that_runs_twice_has_its_weights_once(tmp_path) -> None:
    """Biases that two layers share because they are equal are counted for both."""
    graph = _Graph()
    x, first, second, bias = graph.tensor(1, 3), graph.weights(3, 3), graph.weights(3, 3), graph.bias(3)
    for weights in (first, first, second):
        x = graph.add("FULLY_CONNECTED", [x, weights, bias], graph.tensor(1, 3))
    ours = graph.cost(tmp_path)
    assert [layer.params for layer in ours.by_layer] == [12, 0, 12]
    assert (ours.macs, ours.flash_bytes) == (27, 2 * (9 + 12))
    assert file_facts(tmp_path / "by_hand.tflite").weight_bytes == 9 + 9 + 12


def test_scale_by_hand(tmp_path) -> None:
    """What is left of a batch norm has parameters; a product with one number is a formula."""
    graph = _Graph()
    x = graph.tensor(1, 4, 5, 3)
    x = graph.add("MUL", [x, graph.weights(1, 1, 5, 1)], graph.tensor(1, 4, 5, 3))
    x = graph.add("ADD", [graph.weights(1, 1, 5, 1), x], graph.tensor(1, 4, 5, 3))
    graph.add("MUL", [x, graph.weights(1)], graph.tensor(1, 4, 5, 3))
    ours = graph.cost(tmp_path)
    assert [(layer.kind, layer.params, layer.flash_bytes, layer.ram_bytes) for layer in ours.by_layer] == [
        ("scale", 5, 5, 120),
        ("scale", 5, 5, 120),
        ("mul", 0, 0, 120),
    ]


def _residual(pad: bool) -> _Graph:
    """A sum of an input and what two convolutions make of it, as PyTorch or with a PAD of its own; then a reshape."""
    graph = _Graph()
    x = graph.tensor(1, 8, 8, 16)
    y = graph.conv(x, 1, 8, 8, 32, kernel=(32, 1, 1, 16))
    if pad:
        pads = graph.ints(0, 0, 1, 1, 1, 1, 0, 0, shape=(4, 2))
        y = graph.add("PAD", [y, pads], graph.tensor(1, 10, 10, 32), schema.PadOptionsT())
        y = graph.conv(y, 1, 8, 8, 16, kernel=(16, 3, 3, 32))
    else:
        y = graph.conv(y, 1, 8, 8, 16, kernel=(16, 1, 1, 32))
    y = graph.add("ADD", [y, x], graph.tensor(1, 8, 8, 16), schema.AddOptionsT())
    graph.add("RESHAPE", [y, graph.ints(1, 1024)], graph.tensor(1, 1024), schema.ReshapeOptionsT())
    graph.steps[-1].builtinOptions.newShape = [1, 1024]
    return graph


def _micro_head(path: Path, capfd) -> int:
    """Bytes TFLite Micro's planner lays out for activations."""
    micro = tflm.Interpreter.from_file(str(path), arena_size=1 << 22)
    micro.print_allocations()
    printed = "".join(capfd.readouterr())
    head = re.search(r"Arena allocation head (\d+) bytes", printed)
    assert head is not None, printed
    return int(head[1])


@pytest.mark.parametrize(("pad", "expected"), [(False, 1024 + 2048 + 1024), (True, 1024 + 2048 + 3200)])
def test_memory_is_what_tflite_micro_plans(tmp_path, capfd, pad, expected) -> None:
    """A sum keeps its other term, and a PAD takes memory."""
    graph = _residual(pad)
    ours = graph.cost(tmp_path)
    assert ours.peak_ram_bytes == expected
    assert [layer.kind for layer in ours.by_layer] == ["conv", *(["pad"] if pad else []), "conv", "add"]
    assert _micro_head(tmp_path / "by_hand.tflite", capfd) == expected


@pytest.mark.slow
def test_a_pad_may_decide_the_memory(tmp_path, capfd) -> None:
    """TFLite pads a convolution with a stride by an operator of its own: here that takes more than any layer."""
    spec = make_spec("resnet50_cifar", 10, (3, 32, 32), 0.0625)
    spec = replace(spec, widths={**spec.widths, "stage1.0.conv3": 4, "stage2.0.conv1": 16})
    torch.manual_seed(0)
    model = build(spec).eval()
    torch.nn.init.normal_(model.output.bias)  # a bias of zeros might be lost on the way
    onnx = export_onnx(model, spec.input_shape, tmp_path / "model.onnx")
    clips = np.random.default_rng(0).standard_normal((4, *spec.input_shape)).astype(np.float32)
    path = convert(onnx, tmp_path, ("int8",), clips)["int8"]
    network, file = cost(spec), cost_of_tflite(path)
    # 4 and 16 channels of 32 x 32, the latter padded to 34 x 34
    assert file.peak_ram_bytes == 20 * 32 * 32 + 16 * 34 * 34 == _micro_head(path, capfd)
    assert cost_of_onnx(onnx).peak_ram_bytes == network.peak_ram_bytes == file.peak_ram_bytes
    assert (file.params, file.macs, file.flash_bytes) == (network.params, network.macs, network.flash_bytes)


# Files by others


def test_an_open_batch_and_a_tensor_without_values_are_no_obstacle(tmp_path) -> None:
    plain = cost_of_tflite(tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "plain.tflite"))
    model = tiny_tflite.float_model()
    graph = model.subgraphs[0]
    graph.tensors[0].shapeSignature = [-1, 3]
    empty = copy.deepcopy(graph.tensors[2])
    empty.shape, empty.buffer = [0], 0
    graph.tensors.append(empty)
    assert cost_of_tflite(tiny_tflite.write(model, tmp_path / "open.tflite")) == plain


def test_a_subgraph_that_only_initialises_costs_nothing(tmp_path) -> None:
    plain = cost_of_tflite(tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "plain.tflite"))
    model = tiny_tflite.float_model()
    code = schema.OperatorCodeT()
    code.version, code.deprecatedBuiltinCode = 1, 127
    code.builtinCode = schema.BuiltinOperator.CALL_ONCE
    model.operatorCodes.append(code)
    once = schema.OperatorT()
    once.opcodeIndex, once.inputs, once.outputs = 1, [], []
    once.builtinOptionsType, once.builtinOptions = schema.BuiltinOptions.CallOnceOptions, schema.CallOnceOptionsT()
    once.builtinOptions.initSubgraphIndex = 1
    model.subgraphs = [*model.subgraphs, tiny_tflite.float_model().subgraphs[0]]
    model.subgraphs[0].operators.insert(0, once)
    model.subgraphs[1].operators = []
    assert cost_of_tflite(tiny_tflite.write(model, tmp_path / "once.tflite")) == plain


# Files that are refused


def test_files_that_are_refused(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=r"none.tflite: cannot be read"):
        cost_of_tflite(tmp_path / "none.tflite")
    other = tmp_path / "other.tflite"
    other.write_bytes(b"not a TFLite file")
    with pytest.raises(EdgepruneError, match="is not a TFLite file"):
        cost_of_tflite(other)
    whole = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    other.write_bytes(whole.read_bytes()[:-40])
    for function in (cost_of_tflite, file_facts):
        with pytest.raises(EdgepruneError, match="is cut off or damaged"):
            function(other)
    idle = tiny_tflite.write(tiny_tflite.quantise_model(4, "int8", (1.0, 0)), tmp_path / "idle.tflite")
    with pytest.raises(EdgepruneError, match="holds no operator that computes; give the file of a network"):
        cost_of_tflite(idle)


def test_graphs_that_are_refused(tmp_path) -> None:
    path = tmp_path / "model.tflite"

    def refused(model: Any, match: str) -> None:
        with pytest.raises(EdgepruneError, match=rf"model\.tflite: .*{match}"):
            cost_of_tflite(tiny_tflite.write(model, path))

    model = tiny_tflite.float_model()
    model.subgraphs = model.subgraphs * 2
    refused(model, "has 2 subgraphs.*; give a model of one subgraph")
    model = tiny_tflite.float_model()
    model.subgraphs[0].operators[0].inputs = [0, 1, 9]
    refused(model, "is damaged .*; copy or export it again")
    model = tiny_tflite.float_model()
    model.subgraphs[0].tensors[1].buffer = 9
    refused(model, "is damaged .*; copy or export it again")
    model = tiny_tflite.float_model()
    model.subgraphs[0].tensors[0].shape = [1, 4]
    refused(model, r"FULLY_CONNECTED with weights \[2, 3\] from \[1, 4\] to \[1, 2\]")
    model = tiny_tflite.float_model()
    model.subgraphs[0].operators[0].inputs = [0]
    refused(model, "FULLY_CONNECTED without an input or weights")
    graph = _Graph()
    graph.conv(graph.tensor(1, 6, 5, 2), 1, 4, 3, 6, kernel=(6, 3, 3, 2))
    graph.tensors[0].shapeSignature = [-1, -1, 5, 2]
    refused(graph.model(), r"has a tensor of \[-1, -1, 5, 2\], whose sizes are not fixed; export it with")
    graph = _Graph()
    y = graph.add("RESHAPE", [graph.tensor(1, 4, 3), graph.ints(-1, 3)], graph.tensor(1, 3))
    graph.tensors[y].shapeSignature = [-1, 3]
    refused(graph.model(), r"RESHAPE of \[1, 4, 3\] gives \[1, 3\], so its sizes are not fixed")


def test_an_open_batch_is_one_clip(tmp_path) -> None:
    graph = _Graph()
    graph.conv(graph.tensor(1, 6, 5, 2), 1, 4, 3, 6, kernel=(6, 3, 3, 2))
    fixed = graph.cost(tmp_path)
    graph.tensors[0].shapeSignature = [-1, 6, 5, 2]
    assert graph.cost(tmp_path) == fixed


def test_damage_is_refused_or_harmless(tmp_path) -> None:
    """No byte changed makes it fail in another way."""
    path = tiny_tflite.write(_residual(pad=True).model(), tmp_path / "damaged.tflite")
    unpack_model(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    counted = refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for place in generator.integers(len(whole), size=3):
            content[place] = generator.integers(256)
        path.write_bytes(content)
        try:
            cost_of_tflite(path)
            file_facts(path)
            counted += 1
        except EdgepruneError:
            refused += 1
    assert counted
    assert refused
