"""`edgeprune score` with several criteria: the table, how the criteria agree, JSON and the plot."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from edgeprune.cli.main import main
from edgeprune.models import checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.pruning.scores import rank_correlation
from edgeprune.reporting.drawing import image_bytes
from edgeprune.reporting.network_figures import score_figure

MISSING = "-"  # as it is printed away from a terminal
WIDTHS = {"conv1": 1, "conv2": 4, "conv3": 5, "fc1": 6}
CONVS = ["conv1", "conv2", "conv3"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder with a small network; its first layer has one filter, so no ranks."""
    folder = tmp_path / "a run"
    folder.mkdir()
    torch.manual_seed(1)
    spec = ModelSpec("dcase21", 3, (1, 20, 10), WIDTHS)
    checkpoint.save(folder / "dense.ckpt", spec, build(spec))
    return folder


def call(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one call."""
    code = main(["score", *(str(arg) for arg in argv)])
    out, err = capsys.readouterr()
    return code, out, err


def call_json(capsys: pytest.CaptureFixture[str], *argv: str | Path):
    code, out, _ = call(capsys, *argv, "--json")
    assert code == 0
    return json.loads(out)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_one_criterion_has_no_criterion_column_and_no_correlation(capsys, run_folder):
    found = call_json(capsys, run_folder, "--criterion", "l1")
    assert set(found) == {"model", "checkpoint", "input_shape", "classes", "random_weights", "criterion", "layers"}
    assert found["criterion"] == "l1"
    assert call_json(capsys, run_folder, "--criterion", "l1,l1") == found
    _, out, _ = call(capsys, run_folder, "--criterion", "l1")
    assert out.startswith("l1: dcase21")
    rows = [cells(line) for line in out.splitlines() if line.startswith("| ")]
    assert rows[0] == ["layer", "filters", "min", "median", "max"]


def test_several_criteria_as_json(capsys, run_folder):
    found = call_json(capsys, run_folder, "--criterion", "l1,random,similarity")
    assert list(found["criteria"]) == ["l1", "random", "similarity"]
    for name in ("l1", "random", "similarity"):
        assert found["criteria"][name] == call_json(capsys, run_folder, "--criterion", name)["layers"]
    pairs = found["rank_correlation"]
    assert [pair["criteria"] for pair in pairs] == [["l1", "random"], ["l1", "similarity"], ["random", "similarity"]]
    for pair in pairs:
        one, other = (found["criteria"][name] for name in pair["criteria"])
        for layer in CONVS:
            assert pair["layers"][layer] == rank_correlation(one[layer]["scores"], other[layer]["scores"])
        assert pair["layers"]["conv1"] is None
        assert -1 <= pair["layers"]["conv3"] <= 1


def test_several_criteria_as_tables(capsys, run_folder):
    argv = [run_folder, "--criterion", "l1,l2,random", "--dense-layers"]
    code, out, _ = call(capsys, *argv)
    assert code == 0
    rows = [cells(line) for line in out.splitlines() if line.startswith("| ")]
    assert rows[0] == ["criterion", "layer", "filters", "min", "median", "max"]
    layers = [*CONVS, "fc1"]
    assert [row[:2] for row in rows[1:13]] == [[name, layer] for name in ("l1", "l2", "random") for layer in layers]
    assert rows[13] == ["layer", "criterion", "l2", "random"]
    assert [row[:2] for row in rows[14:]] == [[layer, name] for layer in layers for name in ("l1", "l2")]
    assert rows[14] == ["conv1", "l1", MISSING, MISSING]
    assert rows[15] == ["conv1", "l2", "", MISSING]
    pairs = {tuple(pair["criteria"]): pair["layers"] for pair in call_json(capsys, *argv)["rank_correlation"]}
    assert rows[16] == ["conv2", "l1", f"{pairs['l1', 'l2']['conv2']:.3f}", f"{pairs['l1', 'random']['conv2']:.3f}"]
    assert rows[17] == ["conv2", "l2", "", f"{pairs['l2', 'random']['conv2']:.3f}"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--criterion", "l1,l3"], "criterion 'l3' is unknown"),
        (["--criterion", "l1,simillarity"], "perhaps you meant 'similarity'"),
        (["--criterion", ","], "no criterion is given"),
        (["--plot", "scores.pdf"], "scores.pdf: a plot is written as .svg or .png"),
        (["--plot", "scores"], "scores: a plot is written as .svg or .png"),
    ],
)
def test_what_is_wrong_is_said(capsys, run_folder, argv, complaint):
    code, out, err = call(capsys, run_folder, *argv)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
    assert out == ""


def test_plot_as_svg(capsys, run_folder, tmp_path):
    path = tmp_path / "new" / "scores.svg"
    argv = [run_folder, "--criterion", "operator_norm,similarity", "--plot", path]
    found = call_json(capsys, *argv)
    assert list(found["criteria"]) == ["operator_norm", "similarity"]
    drawn = path.read_bytes()
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in CONVS] == CONVS
    assert texts.count("operator_norm") == texts.count("similarity") == 2  # in the legend and beside the first strip
    call(capsys, *argv)
    assert path.read_bytes() == drawn
    assert [file.name for file in path.parent.iterdir()] == ["scores.svg"]


def test_plot_as_png(capsys, run_folder, tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "scores.png"
    code, out, err = call(capsys, run_folder, "--plot", path)
    assert code == 0
    assert "conv3" in out
    assert str(path) in err
    image = imread(path)
    # a line crosses the picture: neither all white nor all ink
    assert image.shape[0] > 200
    assert 0.5 < image[..., :3].mean() < 1


def test_plot_shows_sorted_shares_of_the_largest_score():
    for scores in ([3.0, 1.0, 4.0, 2.0], [15.0, 20.0, 10.0, 5.0]):
        (axes,) = score_figure({"l1": {"conv": scores}}).axes
        (line,) = axes.lines
        assert line.get_xdata().tolist() == [1, 2, 3, 4]
        assert line.get_ydata().tolist() == [0.25, 0.5, 0.75, 1.0]


def test_plot_shows_how_criteria_agree_filter_by_filter():
    """By hand: in the order of the first one, which is 1, 3, 0, 2, the second ranks the filters 0, 2, 1, 3."""
    scores = {"l1": {"conv": [3.0, 1.0, 4.0, 2.0]}, "l2": {"conv": [20.0, 10.0, 40.0, 30.0]}}
    lines, strip = score_figure(scores).axes
    assert [line.get_label() for line in lines.lines] == ["l1", "l2"]
    assert strip.images[0].get_array().tolist() == [[0, 1, 2, 3], [0, 2, 1, 3]]
    assert [text.get_text() for text in strip.texts] == ["0.80"]  # 1 - 6 (1 + 1) / (4 (16 - 1))
    assert [label.get_text() for label in strip.get_yticklabels()] == ["l1", "l2"]


@pytest.mark.parametrize("layers", [1, 3, 9])
def test_plot_has_a_panel_a_layer_and_takes_zeros_and_names_as_they_are(layers):
    names = ["a<b$x_1$", *(f"layer{index}" for index in range(1, layers))]
    scores = {name: {layer: [0.0, 0.0, 0.0] for layer in names} for name in ("l1", "l2")}
    drawn = image_bytes(score_figure(scores), "svg")
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert [text for text in texts if text in names] == names


def test_without_a_plot_nothing_is_drawn(capsys, run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "edgeprune.reporting.drawing", None)  # an import of it would fail
    assert call(capsys, run_folder, "--criterion", "l1,l2")[0] == 0
