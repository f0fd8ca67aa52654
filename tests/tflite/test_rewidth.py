"""Files with other widths are what a conversion of the pruned network gives, weights aside; and what TFLM plans for."""

import random
import re
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from tflite_micro import runtime as tflm

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.tflite_export import FORMATS, convert
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import count, graph_of
from edgeprune.graph.graph import Graph
from edgeprune.models.registry import build, make_spec
from edgeprune.tflite.flatbuffer import operators, pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.rewidth import DESCRIPTION, Template, empty_file

pytestmark = pytest.mark.slow  # converts networks

PRUNED = {"conv1": 13, "conv2": 11, "conv3": 27, "fc1": 100}  # the widths of the fixture `dcase21`


def rewidth(path: Path, graph: Graph, widths: Mapping[str, int]) -> bytes:
    """The file with other widths, which must run."""
    content = Template(path, graph).file(widths)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        written.write_bytes(content)
        load_interpreter(written).invoke()
    return content


def _int8(name: str, shape: tuple[int, int, int], folder: Path, width: float = 1.0) -> tuple[Path, Graph]:
    """An untrained network's int8 file, and its graph."""
    torch.manual_seed(0)
    spec = make_spec(name, 10, shape, width)
    onnx = export_onnx(build(spec).eval(), shape, folder / "model.onnx")
    calibration = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    return convert(onnx, folder, FORMATS if shape == (1, 40, 51) else ("int8",), calibration)["int8"], graph_of(spec)


@pytest.fixture(scope="session")
def second(tmp_path_factory) -> tuple[Path, Graph]:
    """The unpruned DCASE21_Net of one second."""
    return _int8("dcase21", (1, 40, 51), tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="session")
def ten_seconds(tmp_path_factory) -> tuple[Path, Graph]:
    return _int8("dcase21", (1, 40, 500), tmp_path_factory.mktemp("ten_seconds"))


@pytest.fixture(scope="session")
def residual(tmp_path_factory) -> tuple[Path, Graph]:
    return _int8("resnet50_cifar", (3, 32, 32), tmp_path_factory.mktemp("residual"), 0.125)


@pytest.fixture(scope="session")
def cnn14(tmp_path_factory) -> tuple[Path, Graph]:
    """Averages, a maximum added to a mean, and a norm of the mel bins."""
    return _int8("cnn14", (1, 101, 64), tmp_path_factory.mktemp("cnn14"), 0.0625)


def _random_widths(graph: Graph, seed: int, low: float = 0.0, high: float = 1.0) -> dict[str, int]:
    """Widths between these shares of each group, dense ones included."""
    generator = random.Random(seed)
    return {
        name: generator.randint(max(1, round(low * group.filters)), max(1, round(high * group.filters)))
        for name, group in graph.prunable(dense_layers=True).items()
    }


def _described(path: Path) -> tuple[list[object], list[tuple[object, ...]]]:
    """Tensors that hold something or are computed, by shape, type, bytes and number of scales; and the operators."""
    model = unpack_model(path)
    graph = model.subgraphs[0]

    def tensor(index: int) -> tuple[object, ...]:
        found = graph.tensors[index]
        content, quantised = model.buffers[found.buffer].data, found.quantization
        scales = 0 if quantised is None or quantised.scale is None else len(quantised.scale)
        zeros = 0 if quantised is None or quantised.zeroPoint is None else len(quantised.zeroPoint)
        shape = tuple(int(size) for size in found.shape)
        return shape, found.type, 0 if content is None else len(content), scales, zeros

    steps = []
    for name, operator in zip(operators(path), graph.operators, strict=True):
        held = {} if operator.builtinOptions is None else vars(operator.builtinOptions)
        options = {key: str(np.asarray(value).tolist()) for key, value in sorted(held.items())}
        ends = [tensor(i) for i in operator.inputs], [tensor(i) for i in operator.outputs]
        code = model.operatorCodes[operator.opcodeIndex]
        steps.append((name, code.version, str(options), str(ends)))
    used = {int(i) for operator in graph.operators for i in (*operator.inputs, *operator.outputs)}
    return sorted(str(tensor(i)) for i in used), steps


def _convolutions(model: Any) -> list[Any]:
    return [s for s in model.subgraphs[0].operators if isinstance(s.builtinOptions, schema.Conv2DOptionsT)]


def _run(path: Path) -> np.ndarray:
    model = TFLiteModel(path)
    return model.invoke_raw(np.zeros(model.input_shape, model.input_dtype))


# What is written


@pytest.mark.parametrize("format", FORMATS)
def test_own_widths_give_the_file_back(dcase21, format, tmp_path) -> None:
    path, written = dcase21.files[format], tmp_path / "same.tflite"
    written.write_bytes(rewidth(path, graph_of(dcase21.spec), {}))
    tensors, steps = _described(written)
    expected_tensors, expected = _described(path)
    assert tensors == expected_tensors
    assert sorted(steps) == sorted(expected) if format == "float16" else steps == expected  # it unpacks on demand
    np.testing.assert_array_equal(_run(written), _run(path))


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "dynamic"])
def test_other_widths_give_what_a_conversion_gives(dcase21, second, format, tmp_path) -> None:
    """In both directions: the pruned network from the whole one, and the whole one from the pruned one."""
    path, graph = second
    whole = path.with_name(f"model_{format}.tflite")
    written = tmp_path / "other.tflite"
    for source, of, widths, expected in (
        (whole, graph, PRUNED, dcase21.files[format]),
        (dcase21.files[format], graph_of(dcase21.spec), {"conv1": 16, "conv2": 16, "conv3": 32}, whole),
    ):
        written.write_bytes(rewidth(source, of, widths))
        tensors, steps = _described(written)
        expected_tensors, expected_steps = _described(expected)
        assert tensors == expected_tensors
        assert sorted(steps) == sorted(expected_steps)
        assert len(steps) == len(operators(written))


def test_dynamic_weights_keep_their_type(second, tmp_path) -> None:
    path, graph = second
    written = tmp_path / "dynamic.tflite"
    written.write_bytes(rewidth(path.with_name("model_dynamic.tflite"), graph, {"conv1": 3, "fc1": 5}))
    assert _run(written).shape == (1, 10)


def test_it_says_that_its_weights_are_placeholders(dcase21, tmp_path) -> None:
    written = tmp_path / "other.tflite"
    written.write_bytes(rewidth(dcase21.files["int8"], graph_of(dcase21.spec), {"conv1": 5}))
    assert unpack_model(written).description.decode() == DESCRIPTION
    with pytest.raises(EdgepruneError, match=r"carries no edgeprune\.json"):
        read_metadata(written)
    assert read_metadata(dcase21.files["int8"])["format"] == "int8"


def test_weights_are_cut_and_repeated(dcase21, tmp_path) -> None:
    graph, path, written = graph_of(dcase21.spec), dcase21.files["float32"], tmp_path / "other.tflite"
    written.write_bytes(rewidth(path, graph, {"conv1": 4, "conv2": 25}))

    def weights(file: Path) -> np.ndarray:
        model = unpack_model(file)
        convolution = [s for s in model.subgraphs[0].operators if type(s.builtinOptions).__name__ == "Conv2DOptionsT"][
            1
        ]
        tensor = model.subgraphs[0].tensors[convolution.inputs[1]]
        return np.asarray(model.buffers[tensor.buffer].data).view(np.float32).reshape(tensor.shape)

    old, new = weights(path), weights(written)
    assert (old.shape, new.shape) == ((11, 7, 7, 13), (25, 7, 7, 4))
    np.testing.assert_array_equal(new, np.concatenate([old, old, old])[:25, :, :, :4])


@pytest.mark.parametrize("format", FORMATS)
def test_shared_constants_part_ways(dcase21, format, tmp_path) -> None:
    """Two layers of one size that share a bias, as a converter writes equal constants, may differ in width."""
    path, graph = dcase21.files[format], graph_of(dcase21.spec)
    shared, written = tmp_path / "shared.tflite", tmp_path / "other.tflite"
    shared.write_bytes(rewidth(path, graph, {"conv1": 12, "conv2": 12}))
    model = unpack_model(shared)
    first, second, _ = _convolutions(model)
    second.inputs = [*second.inputs[:2], first.inputs[2]]
    shared.write_bytes(pack_model(model))
    spec = type(dcase21.spec)("dcase21", 10, (1, 40, 51), {**dcase21.spec.widths, "conv1": 12, "conv2": 12})
    written.write_bytes(rewidth(shared, graph_of(spec), {"conv1": 3, "conv2": 7}))
    model = unpack_model(written)
    biases = [model.subgraphs[0].tensors[step.inputs[2]].shape.tolist() for step in _convolutions(model)]
    assert biases == [[3], [7], [27]]


def test_networks_with_sums_means_and_mel_norms(residual, cnn14, vggish) -> None:
    for path, graph in (residual, cnn14, (vggish.files["float32"], graph_of(vggish.spec))):
        template = Template(path, graph)
        assert [s.name for s in template.stages] == [o.name for o in graph.operators if o.kind in ("conv", "dense")]
        assert template.stages[0].start == 0
        assert template.stages[-1].stop == len(operators(path))
        for seed in range(3):
            rewidth(path, graph, _random_widths(graph, seed, high=1.5))


# Memory


def _head(content: bytes, capfd) -> int:
    """The part of TFLite Micro's arena that holds activations, in bytes."""
    capfd.readouterr()
    tflm.Interpreter.from_bytes(content, arena_size=16 << 20).print_allocations()
    printed = "".join(capfd.readouterr())
    head = re.search(r"Arena allocation head (\d+) bytes", printed)
    assert head is not None, printed
    return int(head[1])


def _rounded(size: int) -> int:
    """As TFLite Micro plans a tensor: up to a multiple of 16 bytes."""
    return -(-size // 16) * 16


def _bound(graph: Graph, widths: Mapping[str, int]) -> int:
    """`peak_ram_bytes` with every tensor rounded up."""
    filters = {name: group.filters for name, group in graph.groups.items()} | {"": 1} | dict(widths)
    sizes = [_rounded(sum(filters[b.group] * b.repeat for b in blocks) * places) for blocks, places in graph.tensors]
    return max(sum(sizes[tensor] for tensor in live) for live in graph.live)


def _greedy(content: bytes) -> int:
    """What TFLite Micro's planner reaches: the largest tensor first, of equal ones the last, each at the lowest place
    that is free while it lives."""
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs[0]
    lives = {int(tensor): [0, 0] for tensor in graph.inputs}  # first and last step
    for step, operator in enumerate(graph.operators):
        lives.update({int(tensor): [step, step] for tensor in operator.outputs})
        for tensor in operator.inputs:
            lives.get(int(tensor), [0, 0])[1] = step
    sizes = {tensor: _rounded(prod(graph.tensors[tensor].shape)) for tensor in lives}
    placed: list[tuple[int, int, int]] = []  # from, to, tensor
    for tensor in sorted(lives, key=lambda tensor: (-sizes[tensor], -tensor)):
        start = 0
        for low, high, other in sorted(placed):
            together = lives[other][0] <= lives[tensor][1] and lives[tensor][0] <= lives[other][1]
            if together and low - start < sizes[tensor]:
                start = max(start, high)
            elif together:
                break
        placed.append((start, start + sizes[tensor], tensor))
    return max(end for _, end, _ in placed)


def test_memory_of_the_published_networks(second, ten_seconds, capfd) -> None:
    for (path, graph), expected in ((second, 65_280), (ten_seconds, 640_000)):
        assert _head(rewidth(path, graph, {}), capfd) == _head(path.read_bytes(), capfd) == expected
        assert count(graph).peak_ram_bytes == expected


@pytest.mark.parametrize("network", ["second", "ten_seconds", "vggish"])
def test_memory_of_pruned_chains(network, request, capfd) -> None:
    """TFLite Micro's head is the largest sum of two neighbours, each rounded up to 16 bytes: what is counted plus less
    than 16 bytes for either, and exactly what is counted where tensors are multiples of 16."""
    found = request.getfixturevalue(network)
    path, graph = (found.files["int8"], graph_of(found.spec)) if network == "vggish" else found
    template = Template(path, graph)
    differing = 0
    for seed in range(25):
        widths = _random_widths(graph, seed)
        content = template.file(widths)
        head, counted = _head(content, capfd), count(graph, widths)
        assert head == _bound(graph, widths) == _greedy(content) == counted.arena_bytes, widths
        assert 0 <= head - counted.peak_ram_bytes < 32
        differing += head != counted.peak_ram_bytes
    # 40 x 51 places are no multiple of 16, 40 x 500 and 96 x 64 are
    assert (differing > 0) == (network == "second")


def test_memory_of_wide_vggish(vggish, capfd) -> None:
    """Widths of the full network, from half of it on, in the file of the narrow one."""
    path, graph = vggish.files["int8"], graph_of(vggish.spec)
    wide = graph_of(make_spec("vggish", 10, (1, 96, 64)))
    template = Template(path, graph)
    for seed in range(20):
        widths = {**_random_widths(wide, seed, low=0.5), "fc1": 64}  # the weights of fc1 would be 50 MB
        counted = count(wide, widths)
        assert _head(template.file(widths), capfd) == counted.peak_ram_bytes == counted.arena_bytes, widths


@pytest.mark.parametrize("network", ["residual", "cnn14"])
def test_memory_that_the_planner_wastes(network, request, capfd) -> None:
    """Where sizes alternate or tensors outlive their neighbours, placing the largest first leaves gaps."""
    path, graph = request.getfixturevalue(network)
    template = Template(path, graph)
    over = []
    for seed in range(20):
        widths = _random_widths(graph, seed)
        content = template.file(widths)
        head, bound, counted = _head(content, capfd), _bound(graph, widths), count(graph, widths)
        assert head == _greedy(content) == counted.arena_bytes >= bound >= counted.peak_ram_bytes, widths
        over.append(head / bound)
    assert max(over) < 1.8
    assert (max(over) > 1.2) == (network == "residual")


# One stage


def test_stages_are_files_of_their_own(dcase21, tmp_path) -> None:
    template = Template(dcase21.files["int8"], graph_of(dcase21.spec))
    assert [(stage.name, stage.groups) for stage in template.stages] == [
        ("conv1", ("conv1",)),
        ("conv2", ("conv1", "conv2")),
        ("conv3", ("conv2", "conv3")),
        ("fc1", ("conv3", "fc1")),
        ("output", ("fc1",)),
    ]
    expected = [
        (["CONV_2D"], (1, 40, 51, 1), (1, 40, 51, 6)),
        (["CONV_2D", "MAX_POOL_2D"], (1, 40, 51, 6), (1, 8, 10, 5)),
        (["CONV_2D", "MAX_POOL_2D", "RESHAPE"], (1, 8, 10, 5), (1, 14)),
        (["FULLY_CONNECTED"], (1, 14), (1, 33)),
        (["FULLY_CONNECTED", "SOFTMAX"], (1, 33), (1, 10)),
    ]
    for stage, (names, reads, makes) in zip(template.stages, expected, strict=True):
        written = tmp_path / f"{stage.name}.tflite"
        written.write_bytes(template.stage_file(stage, {"conv1": 6, "conv2": 5, "conv3": 7, "fc1": 33}))
        model = TFLiteModel(written)
        assert (operators(written), model.input_shape, model.output_shape) == (names, reads, makes)
        assert model.invoke_raw(np.zeros(reads, np.int8)).shape == makes


def test_stages_in_a_row_compute_what_the_network_does(dcase21, tmp_path) -> None:
    for format in ("float32", "int8"):
        path = dcase21.files[format]
        template = Template(path, graph_of(dcase21.spec))
        x = TFLiteModel(path).quantise(dcase21.tflite_inputs[:1])
        expected = TFLiteModel(path).invoke_raw(x)
        for stage in template.stages:
            written = tmp_path / f"{stage.name}.tflite"
            written.write_bytes(template.stage_file(stage, {}))
            x = TFLiteModel(written).invoke_raw(x)
        np.testing.assert_allclose(x.astype(np.float64), expected.astype(np.float64), rtol=1e-5, atol=1e-6)


def test_stages_of_residual_networks_read_and_make_several_tensors(residual, tmp_path) -> None:
    path, graph = residual
    template = Template(path, graph)
    stage = next(stage for stage in template.stages if stage.name == "stage1.1.conv3")
    assert stage.groups == ("stage1.1.conv2", "stage1.0.conv3")
    written = tmp_path / "stage.tflite"
    written.write_bytes(template.stage_file(stage, {"stage1.1.conv2": 3, "stage1.0.conv3": 7}))
    assert operators(written) == ["CONV_2D", "ADD"]
    graph_of_stage = unpack_model(written).subgraphs[0]
    shapes = [graph_of_stage.tensors[i].shape.tolist() for i in graph_of_stage.inputs]
    assert shapes == [[1, 32, 32, 3], [1, 32, 32, 7]]


def test_an_empty_file_is_one_relu(tmp_path) -> None:
    written = tmp_path / "empty.tflite"
    written.write_bytes(empty_file())
    assert operators(written) == ["RELU"]
    assert TFLiteModel(written).invoke_raw(np.full((1, 1), -1, np.float32)).tolist() == [[0]]


# What is refused


def test_files_that_are_not_the_graphs(dcase21, vggish) -> None:
    path, graph = dcase21.files["int8"], graph_of(make_spec("dcase21", 10, (1, 40, 51)))
    with pytest.raises(
        EdgepruneError, match=r"does not match the graph \(its CONV_2D with weights \[13, 7, 7, 1\] is no"
    ):
        rewidth(path, graph, {})
    with pytest.raises(EdgepruneError, match=r"model_int8\.tflite: does not match the graph .*; give the graph of"):
        rewidth(path, graph_of(vggish.spec), {})
    own = graph_of(dcase21.spec)
    again = Graph((*own.operators, own.operators[0]), own.groups, own.tensors)
    with pytest.raises(EdgepruneError, match="it has no operator for layer 'conv1'"):
        rewidth(path, again, {})


def test_widths_that_cannot_be(dcase21) -> None:
    path, graph = dcase21.files["int8"], graph_of(dcase21.spec)
    with pytest.raises(EdgepruneError, match="group 'conv1' cannot have 0 filters"):
        rewidth(path, graph, {"conv1": 0})
    with pytest.raises(EdgepruneError, match="group 'output' is frozen at 10 filters and cannot have 9; leave it out"):
        rewidth(path, graph, {"output": 9})
    with pytest.raises(EdgepruneError, match="group 'conv4' is unknown; perhaps you meant"):
        rewidth(path, graph, {"conv4": 9})
    rewidth(path, graph, {"output": 10})


def test_an_operator_that_mixes_channels_in_an_unknown_way(dcase21, tmp_path) -> None:
    model = unpack_model(dcase21.files["int8"])
    pool = next(s for s in model.subgraphs[0].operators if isinstance(s.builtinOptions, schema.Pool2DOptionsT))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SPACE_TO_DEPTH
    code.version = 1
    model.operatorCodes.append(code)
    pool.opcodeIndex = len(model.operatorCodes) - 1
    written = tmp_path / "other.tflite"
    written.write_bytes(pack_model(model))
    with pytest.raises(EdgepruneError, match="cannot be followed through its operator SPACE_TO_DEPTH; convert"):
        rewidth(written, graph_of(dcase21.spec), {})


def test_a_file_that_is_not_one(tmp_path, dcase21) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(dcase21.files["int8"].read_bytes()[:-400])
    with pytest.raises(EdgepruneError, match="is cut off or damaged"):
        rewidth(broken, graph_of(dcase21.spec), {})
