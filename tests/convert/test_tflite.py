import copy
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper
from tflite_micro import runtime as tflm
from torch import nn

from edgeprune.convert import tflite_export as tflite
from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_to_tflite import difference
from edgeprune.convert.tflite_export import FORMATS, check_formats, convert, fill_reshape_options
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.models.layers import Flatten
from edgeprune.tflite.flatbuffer import pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata

pytestmark = pytest.mark.slow  # converts networks

EVERY_FILE = [("dcase21", format) for format in FORMATS] + [("vggish", "float32"), ("vggish", "int8")]
INT8_FILES = [("dcase21", "int8"), ("vggish", "int8")]
ENDS = {"float32": np.float32, "float16": np.float32, "dynamic": np.float32, "int8": np.int8, "int16x8": np.int16}
LAYERS = {  # operators of a network, by hand
    "dcase21": {"CONV_2D": 3, "MAX_POOL_2D": 2, "RESHAPE": 1, "FULLY_CONNECTED": 2, "SOFTMAX": 1},
    "vggish": {"CONV_2D": 6, "MAX_POOL_2D": 4, "RESHAPE": 1, "FULLY_CONNECTED": 3, "SOFTMAX": 1},
}


def _steps(path: Path, name: str) -> list[tuple[Any, Any, list[Any]]]:
    """Model, operator and the operator's tensors (inputs, then output), of every operator of a name."""
    model = unpack_model(path)
    graph = model.subgraphs[0]
    code = getattr(schema.BuiltinOperator, name)
    return [
        (model, step, [graph.tensors[place] for place in [*step.inputs, *step.outputs]])
        for step in graph.operators
        if model.operatorCodes[step.opcodeIndex].builtinCode == code
    ]


def _stored(model: Any, tensor: Any, dtype: type) -> np.ndarray:
    return np.asarray(model.buffers[tensor.buffer].data, dtype=np.uint8).view(dtype)


@pytest.mark.parametrize(("name", "format"), EVERY_FILE)
def test_the_graph(networks, name, format) -> None:
    network = networks[name]
    path = network.files[format]
    assert path.name == f"model_{format}.tflite"
    model = TFLiteModel(path)
    found = Counter(model.operators())
    assert "TRANSPOSE" not in found
    assert found.pop("DEQUANTIZE", 0) == (2 * 5 if format == "float16" else 0)  # of each weight and bias
    assert found == LAYERS[name]
    _, height, width = network.spec.input_shape
    assert (model.input_shape, model.output_shape) == ((1, height, width, 1), (1, 10))
    assert model.input_dtype == model.output_dtype == ENDS[format]
    graph = unpack_model(path).subgraphs[0]
    assert [graph.tensors[place].name for place in (graph.inputs[0], graph.outputs[0])] == [b"input", b"output"]
    assert read_metadata(path)["format"] == format
    assert read_metadata(path)["labels"][9] == "scene 9"


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_float32_computes_what_the_network_does(networks, name) -> None:
    network = networks[name]
    for reference in (False, True):
        outputs = TFLiteModel(network.files["float32"], reference=reference).predict(network.tflite_inputs)
        assert np.abs(outputs - network.probabilities).max() <= 1e-4


# Bounds several times what is reached; a wrong scale or a lost layer is far beyond them.
@pytest.mark.parametrize(
    ("name", "format", "bound"),
    [
        ("dcase21", "float16", 0.01),
        ("dcase21", "dynamic", 0.1),
        ("dcase21", "int16x8", 0.1),
        ("dcase21", "int8", 0.2),
        ("vggish", "int8", 0.2),
    ],
)
def test_quantised_files_stay_near_the_network(networks, name, format, bound) -> None:
    network = networks[name]
    outputs = TFLiteModel(network.files[format], reference=True).predict(network.tflite_inputs)
    assert np.abs(outputs - network.probabilities).max() < bound
    sure = np.sort(network.probabilities)[:, -1] > 0.5 + bound
    assert sure.any()
    assert (outputs.argmax(axis=1) == network.probabilities.argmax(axis=1))[sure].all()


@pytest.mark.parametrize(("name", "format"), INT8_FILES)
def test_int8_follows_the_quantisation_specification(networks, name, format) -> None:
    path = networks[name].files[format]
    widths = networks[name].spec.widths
    convolutions, dense = _steps(path, "CONV_2D"), _steps(path, "FULLY_CONNECTED")
    assert len(convolutions) == LAYERS[name]["CONV_2D"]
    for number, (model, _, (entrance, weight, bias, exit_)) in enumerate([*convolutions, *dense], 1):
        assert {entrance.type, weight.type, exit_.type} == {schema.TensorType.INT8}
        assert bias.type == schema.TensorType.INT32
        scales, filters = np.asarray(weight.quantization.scale), weight.shape[0]
        if number <= len(convolutions):
            assert len(scales) == filters == widths[f"conv{number}"]
            assert len(set(scales.tolist())) > 1
            assert weight.quantization.quantizedDimension == 0
        assert len(scales) in (1, filters)
        assert not np.any(weight.quantization.zeroPoint)
        assert np.abs(_stored(model, weight, np.int8).astype(int)).max() == 127  # symmetric, and used to the end
        np.testing.assert_allclose(bias.quantization.scale, entrance.quantization.scale * scales, rtol=1e-5)
        assert not np.any(bias.quantization.zeroPoint)
    ((_, _, (_, probabilities)),) = _steps(path, "SOFTMAX")
    assert probabilities.quantization.scale.tolist() == [1 / 256]
    assert probabilities.quantization.zeroPoint.tolist() == [-128]


def test_int8_weights_are_the_networks(dcase21) -> None:
    # The folded weight by hand, filters first and channels last, to half a step of its filter's scale.
    features = dcase21.model.features
    model, _, (_, weight, _, _) = _steps(dcase21.files["int8"], "CONV_2D")[1]
    with torch.no_grad():
        gain = features.bn2.weight / torch.sqrt(features.bn2.running_var + features.bn2.eps)
        folded = (features.conv2.weight * gain[:, None, None, None]).permute(0, 2, 3, 1).numpy()
    assert list(weight.shape) == list(folded.shape) == [11, 7, 7, 13]
    scales = np.asarray(weight.quantization.scale)[:, None, None, None]
    stored = _stored(model, weight, np.int8).reshape(folded.shape)
    assert (np.abs(stored * scales - folded) <= 0.501 * scales).all()


def test_int16x8_keeps_int8_weights(dcase21) -> None:
    for _, _, (entrance, weight, bias, exit_) in _steps(dcase21.files["int16x8"], "CONV_2D"):
        assert entrance.type == exit_.type == schema.TensorType.INT16
        assert weight.type == schema.TensorType.INT8
        assert bias.type == schema.TensorType.INT64
        assert not np.any(entrance.quantization.zeroPoint)
        assert len(weight.quantization.scale) == weight.shape[0]


def test_float16_stores_float16(dcase21) -> None:
    model = unpack_model(dcase21.files["float16"])
    held = [tensor for tensor in model.subgraphs[0].tensors if model.buffers[tensor.buffer].data is not None]
    constants = [tensor for tensor in held if tensor.type != schema.TensorType.INT32]  # the reshape's
    assert len(held) - len(constants) == 1
    assert len(constants) == 10  # five layers
    assert {tensor.type for tensor in constants} == {schema.TensorType.FLOAT16}
    output_bias = dcase21.model.get_submodule("classifier.output").bias.detach().numpy()
    stored = [_stored(model, tensor, np.float16) for tensor in constants if list(tensor.shape) == [10]]
    assert len(stored) == 1
    np.testing.assert_array_equal(stored[0], output_bias.astype(np.float16))


def test_dynamic_stores_int8_weights_and_takes_floats(dcase21) -> None:
    path = dcase21.files["dynamic"]
    quantised = []
    for name in ("CONV_2D", "FULLY_CONNECTED"):
        for _, _, (entrance, weight, bias, exit_) in _steps(path, name):
            assert {entrance.type, bias.type, exit_.type} == {schema.TensorType.FLOAT32}
            large = np.prod(weight.shape) >= 1024
            assert weight.type == (schema.TensorType.INT8 if large else schema.TensorType.FLOAT32)
            quantised.append(large)
    assert quantised == [False, True, True, True, False]  # 637, 7007, 14553, 5400, 1000 weights


def test_sizes(dcase21, vggish) -> None:
    size = {format: path.stat().st_size for format, path in dcase21.files.items()}
    assert size["float32"] > size["float16"] > size["int8"]
    assert size["float32"] > size["dynamic"] > size["int8"]
    weights = 13 * 49 + 11 * 13 * 49 + 27 * 11 * 49 + 54 * 100 + 100 * 10
    biases = 13 + 11 + 27 + 100 + 10
    assert 4 * (weights + biases) < size["float32"] < 4 * (weights + biases) + 6_000
    assert weights + 4 * biases < size["int8"] < weights + 4 * biases + 12_000
    assert vggish.files["float32"].stat().st_size > 3 * vggish.files["int8"].stat().st_size


@pytest.mark.parametrize(("name", "format"), EVERY_FILE)
def test_reshapes_have_their_options(networks, name, format) -> None:
    path = networks[name].files[format]
    model = unpack_model(path)
    ((_, step, tensors),) = _steps(path, "RESHAPE")
    assert step.builtinOptions.newShape.tolist() == tensors[-1].shape.tolist()
    assert fill_reshape_options(model) == 0  # nothing left to do
    (step,) = [
        step for step in model.subgraphs[0].operators if step.outputs[0] == _steps(path, "RESHAPE")[0][1].outputs[0]
    ]
    step.builtinOptions, step.builtinOptionsType = None, schema.BuiltinOptions.NONE
    assert fill_reshape_options(model) == 1
    assert pack_model(model) == path.read_bytes()


def _results(path: Path, kernels: Any, clips: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Name and integers of every operator over some clips, straight from the runtime."""
    entrance = TFLiteModel(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that keeping every tensor takes
        interpreter = litert.Interpreter(
            str(path), experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    graph = unpack_model(path).subgraphs[0]
    found: list[list[np.ndarray]] = [[] for _ in graph.operators]
    for clip in clips:
        interpreter.set_tensor(graph.inputs[0], entrance.quantise(clip[None]))
        interpreter.invoke()
        for values, step in zip(found, graph.operators, strict=True):
            values.append(interpreter.get_tensor(step.outputs[0]).astype(int))
    return [(name, np.stack(values)) for name, values in zip(entrance.operators(), found, strict=True)]


@pytest.mark.parametrize(("name", "format"), INT8_FILES)
def test_kernels_are_within_a_step_of_each_other(networks, name, format) -> None:
    # A step in one layer may become another in the next, and softmax multiplies those of the logits: compared before.
    path, clips = networks[name].files[format], networks[name].tflite_inputs[:8]
    kinds = litert.OpResolverType
    reference, plain, xnnpack = (
        _results(path, kind, clips) for kind in (kinds.BUILTIN_REF, kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES, kinds.AUTO)
    )
    for (operator, exact), (_, other), (_, fast) in zip(reference, plain, xnnpack, strict=True):
        if operator in ("CONV_2D", "MAX_POOL_2D", "RESHAPE"):
            np.testing.assert_array_equal(exact, other)
        if operator == "FULLY_CONNECTED":
            assert np.abs(exact - other).max() <= 2
        if operator != "SOFTMAX":
            assert np.abs(exact - fast).max() <= 4
    assert np.abs(reference[0][1] - xnnpack[0][1]).max() <= 1
    assert np.ptp(reference[-2][1]) > 100  # the logits span the range


def _micro(path: Path, stored: list[np.ndarray]) -> list[np.ndarray]:
    """What TFLite Micro gives; it also refuses what less strict readers take."""
    interpreter = tflm.Interpreter.from_file(str(path), arena_size=2_000_000)
    outputs = []
    for values in stored:
        interpreter.set_input(values, 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)))
    return outputs


@pytest.mark.parametrize(("name", "format"), INT8_FILES)
def test_tflite_micro_gives_the_same_bytes(networks, name, format) -> None:
    path = networks[name].files[format]
    ours = TFLiteModel(path, xnnpack=False)
    stored = [ours.quantise(clip[None]) for clip in networks[name].tflite_inputs[:12]]
    expected = [ours.invoke_raw(values) for values in stored]
    np.testing.assert_array_equal(_micro(path, stored), expected)
    assert len({values.tobytes() for values in expected}) == 12


def test_tflite_micro_runs_int16x8(dcase21) -> None:
    # Its dense layers round otherwise than LiteRT's: a step of the logits.
    path = dcase21.files["int16x8"]
    ours = TFLiteModel(path)
    stored = [ours.quantise(clip[None]) for clip in dcase21.tflite_inputs[:12]]
    outputs = ours.dequantise(np.concatenate(_micro(path, stored)))
    assert np.abs(outputs - ours.predict(dcase21.tflite_inputs[:12])).max() < 0.002


def test_the_same_network_gives_the_same_bytes(dcase21, tmp_path) -> None:
    metadata = {name: value for name, value in read_metadata(dcase21.files["int8"]).items() if name != "format"}
    order = ["int16x8", "int8", "float32", "dynamic", "float16", "int8"]
    again = convert(dcase21.onnx, tmp_path / "new", order, dcase21.calibration, metadata, prefix="dense")
    assert tuple(again) == FORMATS
    for format, path in again.items():
        assert path == tmp_path / "new" / f"dense_{format}.tflite"
        assert path.read_bytes() == dcase21.files[format].read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(f"dense_{f}.tflite" for f in FORMATS)


def test_formats() -> None:
    assert check_formats(["int8", "float32", "int8"]) == ("float32", "int8")
    with pytest.raises(EdgepruneError, match="format 'int4' is unknown; choose from float32, float16, dynamic, int8"):
        check_formats(["int8", "int4"])
    with pytest.raises(EdgepruneError, match="no export format was asked for"):
        check_formats([])


def _no_child(*_: Any, **__: Any) -> None:
    raise AssertionError("a conversion was started")


def test_wrong_orders_are_refused_before_a_conversion(dcase21, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tflite.subprocess, "run", _no_child)
    clips = dcase21.calibration
    broken = clips.copy()
    broken[3, 0, 5, 5] = np.nan
    out = tmp_path / "out"
    for format in ("int8", "int16x8"):
        for calibration, says in [
            (None, "need calibration patches"),
            (clips[:0], "need calibration patches"),
            (clips[..., :50], r"calibration patches are \[1, 40, 50\], the network takes \[1, 40, 51\]"),
            (clips.transpose(0, 2, 3, 1), r"calibration patches are \[40, 51, 1\]"),
            (clips[0], r"calibration patches are \[40, 51\]"),
            (broken, "calibration patches hold NaN"),
        ]:
            with pytest.raises(EdgepruneError, match=says):
                convert(dcase21.onnx, out, ["float32", format], calibration)
    with pytest.raises(EdgepruneError, match="format 'int4' is unknown"):
        convert(dcase21.onnx, out, ["int4"])
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(dcase21.onnx.read_bytes()[:1000])
    with pytest.raises(EdgepruneError, match="is not a whole ONNX model"):
        convert(cut, out, ["float32"])
    assert not out.exists()
    (tmp_path / "file").touch()
    with pytest.raises(EdgepruneError, match="cannot be written"):
        convert(dcase21.onnx, tmp_path / "file", ["float32"])


def test_an_operator_that_tflite_lacks_is_named_with_its_module(tmp_path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in "xy"]
    node = helper.make_node(
        "Scaler", ["x"], ["y"], name="/features/scaler/Scaler", domain="ai.onnx.ml", offset=[0.0], scale=[1.0]
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    path = tmp_path / "scaler.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    with pytest.raises(EdgepruneError, match=r"scaler\.onnx: Scaler in features\.scaler cannot be converted to TFLite"):
        convert(path, tmp_path / "out", ["float32"])
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_conversion_keeps_its_log(dcase21, tmp_path, monkeypatch) -> None:
    def failed(*_: Any, stdout: Any, **__: Any) -> Any:
        stdout.write(b"Traceback\nMemoryError: no room")
        return subprocess.CompletedProcess([], 1)

    monkeypatch.setattr(tflite.subprocess, "run", failed)
    with pytest.raises(EdgepruneError, match=r"cannot be converted to TFLite \(MemoryError: no room\); the log is"):
        convert(dcase21.onnx, tmp_path, ["float32"])
    assert (tmp_path / "convert.log").read_bytes().startswith(b"Traceback")


def test_a_killed_conversion_is_said_to_be_so(dcase21, tmp_path, monkeypatch) -> None:
    def killed(*_: Any, stdout: Any, **__: Any) -> Any:
        stdout.write(b"the last words")
        return subprocess.CompletedProcess([], -9)

    monkeypatch.setattr(tflite.subprocess, "run", killed)
    with pytest.raises(EdgepruneError, match="signal 9 ended its conversion to TFLite; free memory"):
        convert(dcase21.onnx, tmp_path, ["float32"])
    assert (tmp_path / "convert.log").read_bytes() == b"the last words"


def test_a_plain_flatten_needs_no_transpose(tmp_path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 6 * 8, 4)).eval()  # channel-first flatten
    onnx_path = export_onnx(model, (1, 8, 10), tmp_path / "plain.onnx", "logits")
    path = convert(onnx_path, tmp_path, ["float32"])["float32"]
    assert TFLiteModel(path).operators() == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    clips = np.random.default_rng(0).standard_normal((4, 1, 8, 10)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(clips)).numpy()
    np.testing.assert_allclose(TFLiteModel(path).predict(clips.transpose(0, 2, 3, 1)), expected, atol=1e-4)


class _Shuffled(nn.Module):
    """Channels change places between two convolutions by a reshape that no order in memory suits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = y.reshape(len(y), 2, 2, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
        return self.second(y).mean((2, 3))


def test_a_transpose_left_over_is_refused(tmp_path) -> None:
    onnx_path = export_onnx(_Shuffled().eval(), (1, 8, 10), tmp_path / "shuffled.onnx", "logits")
    with pytest.raises(CheckFailedError, match=r"shuffled\.onnx: needs a TRANSPOSE in second; keep the channel axis"):
        convert(onnx_path, tmp_path, ["float32"])
    assert not list(tmp_path.glob("*.tflite"))


def test_three_channels_convert_without_a_network(tmp_path, monkeypatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), Flatten(), nn.Linear(5 * 6 * 8, 4)).eval()
    onnx_path = export_onnx(model, (3, 8, 10), tmp_path / "colour.onnx", output="logits")
    path = convert(onnx_path, tmp_path, ["float32"])["float32"]
    clips = np.random.default_rng(0).standard_normal((4, 3, 8, 10)).astype(np.float32)
    outputs = TFLiteModel(path).predict(clips.transpose(0, 2, 3, 1))
    with torch.no_grad():
        np.testing.assert_allclose(outputs, model(torch.from_numpy(clips)).numpy(), atol=1e-4)
    with pytest.raises(EdgepruneError, match="carries no"):
        read_metadata(path)


def test_a_conversion_that_changes_the_network_is_noticed(dcase21, tmp_path) -> None:
    path, axes = dcase21.files["float32"], ((0, 2, 3, 1), [(0, 1)])
    assert difference(path, str(dcase21.onnx), *axes) is None
    changed = copy.deepcopy(dcase21.model)
    with torch.no_grad():
        changed.get_submodule("features.conv2").weight[3] *= -1
    onnx_path = export_onnx(changed, dcase21.spec.input_shape, tmp_path / "changed.onnx")
    assert difference(path, str(onnx_path), *axes)["largest"] > 0.01
