from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeprune.convert.onnx_export import export_onnx
from edgeprune.convert.onnx_file import input_shape_of, load_onnx
from edgeprune.errors import EdgepruneError


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_onnxruntime_computes_what_the_network_does(networks, name) -> None:
    network = networks[name]
    session = onnxruntime.InferenceSession(str(network.onnx), providers=["CPUExecutionProvider"])
    outputs = np.concatenate([session.run(["output"], {"input": clip[None]})[0] for clip in network.inputs])
    assert np.abs(outputs - network.probabilities).max() <= 1e-5


def test_the_graph_is_folded_and_fixed_to_one_clip(dcase21) -> None:
    model = load_onnx(dcase21.onnx)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds == {
        "Conv": 3,
        "Relu": 4,
        "MaxPool": 2,
        "Flatten": 1,
        "Gemm": 2,
        "Softmax": 1,
    }
    assert input_shape_of(model) == (1, 1, 40, 51)
    (output,) = model.graph.output
    assert [axis.dim_value for axis in output.type.tensor_type.shape.dim] == [1, 10]
    assert [entry.version for entry in model.opset_import] == [18]


def test_logits_when_asked_for(dcase21, tmp_path) -> None:
    path = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "logits.onnx", output="logits")
    assert load_onnx(path).graph.node[-1].op_type == "Gemm"


def test_the_same_network_gives_the_same_bytes_and_no_path_of_this_machine(dcase21, tmp_path) -> None:
    again = export_onnx(dcase21.model, dcase21.spec.input_shape, tmp_path / "other_name.onnx")
    content = again.read_bytes()
    assert content == dcase21.onnx.read_bytes()
    assert str(tmp_path).encode() not in content
    assert str(Path(__file__).resolve().parents[2]).encode() not in content


def test_a_failed_export_leaves_nothing(dcase21, tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=r"cannot be exported to ONNX with input \(2, 40, 51\)"):
        export_onnx(dcase21.model, (2, 40, 51), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.999])
def test_cut_off_files_are_refused(dcase21, tmp_path, share) -> None:
    content = dcase21.onnx.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(EdgepruneError, match=r"cut\.onnx"):
        load_onnx(path)


def test_missing_and_foreign_files_are_refused(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match="there is no such ONNX file"):
        load_onnx(tmp_path / "none.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(EdgepruneError, match="is not a whole ONNX model"):
        load_onnx(path)


def _graph(*shapes: list[int | str]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("Sum", [value.name for value in inputs], ["y"])
    return helper.make_model(helper.make_graph([node], "g", inputs, [output]))


@pytest.mark.parametrize(
    "shapes",
    [
        [["batch", 1, 40, 51]],
        [[2, 1, 40, 51]],
        [[40]],
        [[1, 1, 40, 51], [1, 1, 40, 51]],
    ],
)
def test_other_inputs_are_refused(shapes) -> None:
    with pytest.raises(EdgepruneError, match="one input of fixed shape"):
        input_shape_of(_graph(*shapes))
    assert input_shape_of(_graph([1, 1, 40, 51])) == (1, 1, 40, 51)
