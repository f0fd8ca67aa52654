"""Costs read from ONNX files: those of the networks they came from, and graphs counted by hand."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_graph import cost_of_onnx
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import Cost, LayerCost, cost
from edgeprune.models.registry import ModelSpec, build, make_spec

SPECS = {
    "dcase21": make_spec("dcase21", 10, (1, 40, 51)),
    "vggish": make_spec("vggish", 10, (1, 96, 64), 0.05),
    "vgg16": make_spec("vgg16", 10, (3, 32, 32), 0.125),
    "vgg16 of odd sizes": make_spec("vgg16", 10, (1, 28, 28), 0.125),
    "resnet50": make_spec("resnet50", 10, (1, 64, 96), 0.125),
    "resnet50_cifar": make_spec("resnet50_cifar", 10, (3, 32, 32), 0.125),
    "cnn14": make_spec("cnn14", 10, (1, 101, 64), 0.125),
}
LAYERS = {"conv", "dense"}


def _layers(found: Cost) -> list[LayerCost]:
    return [layer for layer in found.by_layer if layer.kind in LAYERS]


def _export_unfolded(spec: ModelSpec, path: Path, **details) -> Path:
    """The network as PyTorch exports it by itself, its batch norms kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            build(spec).eval(),
            (torch.zeros(1, *spec.input_shape),),
            str(path),
            input_names=["input"],
            output_names=["output"],
            opset_version=18,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            **details,
        )
    return path


@pytest.mark.parametrize("label", SPECS)
def test_exported_networks_cost_what_they_cost_in_pytorch(tmp_path, label) -> None:
    spec = SPECS[label]
    expected = cost(spec)
    ours = cost_of_onnx(export_onnx(build(spec), spec.input_shape, tmp_path / "model.onnx"))
    assert _layers(ours) == _layers(expected)  # names, shapes, memory and all
    assert replace(ours, by_layer=()) == replace(
        expected, by_layer=(), params_trainable=None, params_with_statistics=None
    )
    assert ours.by_layer[-1].kind == "activation"  # the softmax of the export
    assert ours.by_layer[-1].ram_bytes == 2 * 10
    names = [layer.name for layer in ours.by_layer]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("label", [label for label in SPECS if label != "vggish"])
def test_batch_norm_in_the_file_is_folded(tmp_path, label) -> None:
    spec = SPECS[label]
    expected = cost(spec)
    ours = cost_of_onnx(_export_unfolded(spec, tmp_path / "model.onnx"))
    # of a norm over mel bins the file does not tell which axis has the channels
    unnamed = [[replace(layer, name="", filters=0) for layer in found.by_layer] for found in (ours, expected)]
    assert unnamed[0] == unnamed[1]
    assert _layers(ours) == _layers(expected)
    assert replace(ours, by_layer=()) == replace(expected, by_layer=())


def test_the_baseline(tmp_path) -> None:
    """The figures published for it."""
    ours = cost_of_onnx(_export_unfolded(SPECS["dcase21"], tmp_path / "model.onnx"))
    assert (ours.params, ours.params_trainable, ours.params_with_statistics) == (45_990, 46_118, 46_246)
    assert (ours.macs, ours.flash_bytes, ours.peak_ram_bytes) == (29_203_560, 46_512, 65_280)


def test_an_open_batch_is_one_clip(tmp_path) -> None:
    spec = SPECS["cnn14"]
    open_batch = {"input": {0: "batch"}, "output": {0: "batch"}}
    ours = cost_of_onnx(_export_unfolded(spec, tmp_path / "open.onnx", dynamic_axes=open_batch))
    assert replace(ours, by_layer=()) == replace(cost(spec), by_layer=())
    open_length = {"input": {0: "batch", 2: "frames"}}
    with pytest.raises(EdgepruneError, match=r"input 'input' is \[1, 1, 'frames', 64\].* not fixed; export it with"):
        cost_of_onnx(_export_unfolded(spec, tmp_path / "open.onnx", dynamic_axes=open_length))


# Graphs made by hand


def _values(name: str, *shape: int) -> onnx.TensorProto:
    values = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return numpy_helper.from_array(values, name)


def _ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def _float(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=np.float32), name)


def _write(path: Path, nodes: list, constants: list, shape: list, out: list, domain: str = "") -> Path:
    """A graph from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        constants,
    )
    imports = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def _norm(x: str, y: str, channels: int) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    names = [f"{y}.{name}" for name in ("scale", "shift", "mean", "variance")]
    return helper.make_node("BatchNormalization", [x, *names], [y]), [_values(name, channels) for name in names]


def test_convolution_and_batch_norm_by_hand(tmp_path) -> None:
    norm, constants = _norm("a", "b", 4)
    late, more = _norm("c", "d", 4)  # behind the activation: it stays
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        norm,
        helper.make_node("Relu", ["b"], ["c"]),
        late,
        helper.make_node("GlobalAveragePool", ["d"], ["y"]),
    ]
    weight = _values("c.weight", 4, 3, 3, 3)
    path = _write(tmp_path / "n.onnx", nodes, [weight, *constants, *more], [1, 3, 8, 10], [1, 4, 1, 1])
    ours = cost_of_onnx(path)
    pad, conv, scale, pool = ours.by_layer
    # TFLite pads around strides by an operator of its own: 3 channels of 10 x 12
    assert pad == LayerCost("pad_1", "pad", 3, 0, 0, 0, 240 + 360, (3, 10, 12))
    # 4 x 5 places; 108 weights, a bias of the folding
    assert conv == LayerCost("c", "conv", 4, 112, 20 * 108, 108 + 16, 360 + 80, (4, 4, 5))
    assert scale == LayerCost("scale_1", "scale", 4, 8, 0, 8, 80 + 80, (4, 4, 5))
    assert pool == LayerCost("pool_1", "pool", 4, 0, 0, 0, 80 + 4, (4, 1, 1))
    assert (ours.params, ours.params_trainable, ours.params_with_statistics) == (120, 108 + 8 + 8, 108 + 16 + 16)
    assert (ours.macs, ours.flash_bytes, ours.peak_ram_bytes, ours.unknown) == (2160, 132, 600, ())


@pytest.mark.parametrize(
    ("groups", "filters", "per_filter", "kind"),
    [(1, 6, 4, "conv"), (2, 6, 2, "grouped conv"), (4, 4, 1, "depthwise"), (4, 8, 1, "grouped conv")],
)
def test_grouped_convolutions_by_hand(tmp_path, groups, filters, per_filter, kind) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups)
    constants = [_values("w", filters, per_filter, 3, 1), _values("b", filters)]
    path = _write(tmp_path / "g.onnx", [node], constants, [1, 4, 5, 6], [1, filters, 3, 6])
    (layer,) = cost_of_onnx(path).by_layer
    weights = filters * per_filter * 3
    assert (layer.kind, layer.params, layer.macs) == (kind, weights + filters, 18 * weights)
    assert (layer.flash_bytes, layer.ram_bytes) == (weights + 4 * filters, 4 * 30 + filters * 18)


def test_transposed_convolution_by_hand(tmp_path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    path = _write(tmp_path / "t.onnx", [node], [_values("w", 3, 2, 2, 2)], [1, 3, 4, 5], [1, 2, 8, 10])
    (layer,) = cost_of_onnx(path).by_layer
    # each of the 4 x 5 places of the input goes to 2 x 2 places of 2 filters
    assert (layer.kind, layer.params, layer.macs, layer.ram_bytes) == ("transpose conv", 24, 20 * 3 * 8, 60 + 160)


@pytest.mark.parametrize("transposed", [0, 1])
def test_dense_layers_by_hand(tmp_path, transposed) -> None:
    first = _values("fc1.weight", *((5, 6) if transposed else (6, 5)))
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["a"], transB=transposed),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Add", ["shift", "c"], ["d"]),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    constants = [first, _values("fc1.bias", 5), _values("w", 5, 3), _values("shift", 3)]
    ours = cost_of_onnx(_write(tmp_path / "d.onnx", nodes, constants, [1, 6], [1, 3]))
    assert ours.by_layer == (
        LayerCost("fc1", "dense", 5, 35, 30, 30 + 20, 11, (5,)),
        LayerCost("dense_1", "dense", 3, 18, 15, 15 + 12, 8, (3,)),
        LayerCost("activation_1", "activation", 3, 0, 0, 0, 6, (3,)),
    )
    assert (ours.params_trainable, ours.params_with_statistics) == (None, None)


def test_a_product_over_time(tmp_path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    (layer,) = cost_of_onnx(_write(tmp_path / "t.onnx", nodes, [_values("w", 6, 4)], [1, 7, 6], [1, 7, 4])).by_layer
    assert (layer.kind, layer.filters, layer.params, layer.macs) == ("dense", 4, 24, 7 * 24)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    (layer,) = cost_of_onnx(_write(tmp_path / "t.onnx", nodes, [], [1, 7, 6], [1, 7, 7])).by_layer
    assert (layer.kind, layer.params, layer.macs, layer.ram_bytes) == ("matmul", 0, 49 * 6, 42 + 49)


def test_unknown_operators_are_named(tmp_path) -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h", "", ""], name="/lstm/LSTM", hidden_size=2),
        helper.make_node("Own", ["h"], ["y"], domain="mine"),
    ]
    constants = [_values("w", 1, 8, 3), _values("r", 1, 8, 2)]
    ours = cost_of_onnx(_write(tmp_path / "u.onnx", nodes, constants, [5, 1, 3], [5, 1, 1, 2], domain="mine"))
    assert ours.unknown == ("LSTM", "mine.Own")
    assert (ours.params, ours.macs) == (24 + 16, 0)
    behind = [*nodes[:1], helper.make_node("Own", ["h"], ["z"], domain="mine"), helper.make_node("Relu", ["z"], ["y"])]
    path = _write(tmp_path / "u.onnx", behind, constants, [5, 1, 3], [5, 1, 1, 2], domain="mine")
    with pytest.raises(EdgepruneError, match=r"u.onnx: the size of 'z' is not known .* standard operators"):
        cost_of_onnx(path)


def test_activations_that_tflite_fuses(tmp_path) -> None:
    """Between 0 and 6 it does, between 0 and 5 it does not, nor where another operator reads the sum as well."""
    for high, kinds in [(6.0, ["add", "add"]), (5.0, ["add", "activation", "add"])]:
        nodes = [
            helper.make_node("Add", ["x", "x"], ["a"]),
            helper.make_node("Clip", ["a", "low", "high"], ["b"]),
            helper.make_node("Identity", ["b"], ["c"]),
            helper.make_node("Add", ["c", "x"], ["y"]),
        ]
        path = _write(tmp_path / "c.onnx", nodes, [_float("low", 0.0), _float("high", high)], [1, 8], [1, 8])
        assert [layer.kind for layer in cost_of_onnx(path).by_layer] == kinds
    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    ours = cost_of_onnx(_write(tmp_path / "c.onnx", nodes, [], [1, 8], [1, 8]))
    assert [(layer.kind, layer.ram_bytes) for layer in ours.by_layer] == [("add", 16), ("activation", 16), ("add", 24)]


def test_a_layer_that_runs_twice_has_its_weights_once(tmp_path) -> None:
    conv = [helper.make_node("Conv", [x, "w", "b"], [y], pads=[1, 1, 1, 1]) for x, y in ("xa", "ab")]
    nodes = [*conv, helper.make_node("Flatten", ["b2"], ["y"])]
    nodes[1].output[0] = "b2"
    constants = [_values("w", 2, 2, 3, 3), _values("b", 2)]
    ours = cost_of_onnx(_write(tmp_path / "r.onnx", nodes, constants, [1, 2, 4, 4], [1, 32]))
    assert [layer.params for layer in ours.by_layer] == [38, 0]
    assert ours.macs == 2 * 16 * 36


def test_sizes_computed_in_the_graph_are_no_operators(tmp_path) -> None:
    """As PyTorch writes a view: the shape is read, cut and joined."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Gemm", ["b", "fc.weight"], ["y"]),
    ]
    constants = [_values("w", 2, 1, 3, 3), _ints("zero", 0), _ints("rest", -1), _values("fc.weight", 40, 3)]
    ours = cost_of_onnx(_write(tmp_path / "v.onnx", nodes, constants, ["n", 1, 6, 7], ["n", 3]))
    assert [(layer.kind, layer.ram_bytes) for layer in ours.by_layer] == [("conv", 42 + 40), ("dense", 43)]
    assert ours.macs == 20 * 18 + 120


def test_files_that_are_refused(tmp_path) -> None:
    missing = tmp_path / "missing.onnx"
    with pytest.raises(EdgepruneError, match=r"missing.onnx: there is no such ONNX file"):
        cost_of_onnx(missing)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"TFL3 is something else")
    with pytest.raises(EdgepruneError, match=r"other.onnx: is not a whole ONNX model .*; export it again"):
        cost_of_onnx(other)
    idle = _write(tmp_path / "idle.onnx", [helper.make_node("Identity", ["x"], ["y"])], [], [1, 4], [1, 4])
    with pytest.raises(EdgepruneError, match="holds no operator that computes; give the file of a network"):
        cost_of_onnx(idle)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    wrong = _write(tmp_path / "wrong.onnx", nodes, [_values("w", 2, 3, 3, 3)], [1, 4, 8, 8], [1, 2, 6, 6])
    with pytest.raises(EdgepruneError, match=r"wrong.onnx: "):
        cost_of_onnx(wrong)


def test_weights_in_another_file(tmp_path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    path = _write(tmp_path / "whole.onnx", nodes, [_values("w", 64, 32)], [1, 64], [1, 32])
    apart = tmp_path / "apart.onnx"
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert cost_of_onnx(apart) == cost_of_onnx(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(EdgepruneError, match=r"apart.onnx: is not a whole ONNX model .*; export it again"):
        cost_of_onnx(apart)


def test_damage_is_refused_or_harmless(tmp_path) -> None:
    """No byte changed and no cut makes it fail in another way."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    path = tmp_path / "damaged.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 1, 6, 6),), str(path), dynamo=False)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    counted = refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for place in generator.integers(len(whole), size=2):
            content[place] = generator.integers(256)
        path.write_bytes(content[: generator.integers(len(whole))] if generator.random() < 0.2 else content)
        try:
            cost_of_onnx(path)
            counted += 1
        except EdgepruneError:
            refused += 1
    assert counted
    assert refused
