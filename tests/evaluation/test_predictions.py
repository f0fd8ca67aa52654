from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation import scene
from edgeprune.evaluation.predictions import read_predictions, write_predictions

CLASSES = ["airport", "metro, underground", 'the "park"']
NAMES = ["audio/a-1.wav", "audio/a,2.wav", "audio/ü 3.wav"]
LABELS = ["airport", 'the "park"', ""]


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(3), size=3).astype(np.float32)


def test_every_bit_comes_back(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "new folder" / "predictions_int8.csv"
    write_predictions(path, NAMES, LABELS, rows, CLASSES)
    read = read_predictions(path, CLASSES)
    assert (read.filenames, read.labels, read.classes) == (NAMES, LABELS, CLASSES)
    assert read.predicted == [CLASSES[number] for number in rows.argmax(axis=1)]
    np.testing.assert_array_equal(read.probabilities, rows.astype(np.float64))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a\rb.wav", "a\nb.wav", "a\r\nb.wav", '"a",b.wav', "'=1.wav", " a.wav "])
def test_every_name_comes_back(tmp_path: Path, name: str) -> None:
    write_predictions(tmp_path / "p.csv", [name, "c.wav"], ["x", "y"], np.full((2, 2), 0.5), ["x", "y"])
    assert read_predictions(tmp_path / "p.csv").filenames == [name, "c.wav"]


def test_pandas_reads_it_too(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "predictions_float32.csv"
    write_predictions(path, NAMES, LABELS, rows, CLASSES)
    table = pd.read_csv(path, float_precision="round_trip")
    assert list(table.columns) == ["filename", "label", "predicted", *CLASSES]
    np.testing.assert_array_equal(table[CLASSES].to_numpy(), rows.astype(np.float64))


def test_metrics_of_the_file_are_those_of_the_run(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    rows = generator.dirichlet(np.ones(10), size=200)
    rows[0] = [1e-300, *[1e-17] * 8, 1.0]
    classes = [f"c{number}" for number in range(10)]
    labels = [classes[number] for number in generator.integers(10, size=200)]
    path = tmp_path / "predictions.csv"
    write_predictions(path, [f"{number}.wav" for number in range(200)], labels, rows, classes)
    read = read_predictions(path)
    assert scene.evaluate(read.labels, read.probabilities, read.classes) == scene.evaluate(labels, rows, classes)


def test_several_classes_of_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    rows = np.array([[0.75, 0.5], [0.25, 0.125], [0.0, 0.625]])
    write_predictions(path, ["a.wav", "b.wav", "c.wav"], ["dog;rain", "none", ""], rows, ["dog", "rain"], threshold=0.5)
    assert path.read_text() == (
        "filename,labels,predicted,dog,rain\n"
        "a.wav,dog;rain,dog;rain,0.75,0.5\nb.wav,none,none,0.25,0.125\nc.wav,,rain,0.0,0.625\n"
    )
    read = read_predictions(path, ["dog", "rain"])
    assert read.several
    assert read.predicted == ["dog;rain", "none", "rain"]
    np.testing.assert_array_equal(read.probabilities, rows)
    for old, new, says in (
        ("dog;rain,dog;rain", "dog;rain,rain", "no threshold gives its predictions"),
        (",,rain", ",cat,rain", "'cat' names 'cat', which is no class"),
    ):
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(EdgepruneError, match=says):
            read_predictions(path)
        path.write_text(path.read_text().replace(new, old))


GOOD = "filename,label,predicted,bus,tram\na.wav,bus,bus,0.75,0.25\nb.wav,bus,tram,0.25,0.75\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty or cut off"),
        (GOOD[:-3], "cut off in its last line"),
        (GOOD[: GOOD.index("\n") + 1], "0 file names"),
        (GOOD.replace("predicted", "guess"), "first line is not filename,label,predicted,CLASS"),
        ("filename,label,predicted\na.wav,bus,bus\n", "first line is not"),
        ("\n" + GOOD, "first line is not"),
        (GOOD.replace("0.75,0.25", "0.75"), "line 2 does not hold 2 probabilities"),
        (GOOD.replace("0.25,0.75", "0.25,0.75,0.1"), "line 3 does not hold 2 probabilities"),
        (GOOD.replace("0.75,0.25", "0.75,x"), "line 2 does not hold 2 probabilities"),
        (GOOD.replace("0.75,0.25", "nan,0.25"), "clip 0 has a probability that is not finite"),
        (GOOD.replace("b.wav,bus,tram", "b.wav,bus,bus"), "line 3 predicts 'bus' but 'tram'"),
        (GOOD.replace("b.wav", "a.wav"), "clip 1 has the file name 'a.wav' again"),
        (GOOD.replace("a.wav,bus", "a.wav,metro"), "clip 0 is labelled 'metro'"),
        (GOOD.replace("bus,tram\n", "bus,bus\n", 1), "do not name each column once"),
        (GOOD + "\n", "line 4 does not hold"),
        (GOOD + "c.wav\n", "line 4 does not hold"),
        (GOOD.replace("a.wav", '"a"wav'), "not a CSV table"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(EdgepruneError, match=says) as refusal:
        read_predictions(path)
    assert str(path) in str(refusal.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(EdgepruneError, match="cannot be read"):
        read_predictions(path)
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(EdgepruneError, match="not UTF-8"):
        read_predictions(path)
    path.write_text(GOOD)
    assert len(read_predictions(path).filenames) == 2
    with pytest.raises(EdgepruneError, match="holds the classes bus, tram, not tram, bus"):
        read_predictions(path, ["tram", "bus"])


@pytest.mark.parametrize(
    ("names", "labels", "shape", "classes", "says"),
    [
        (["a"], ["bus"], (2, 2), ["bus", "tram"], "1 file names, 1 labels and 2 rows"),
        (["a", "b"], ["bus"], (2, 2), ["bus", "tram"], "2 file names, 1 labels"),
        (["a", "b"], ["bus", "bus"], (2, 3), ["bus", "tram"], r"shape \(2, 3\) for 2 classes"),
        (["a", "a"], ["bus", "bus"], (2, 2), ["bus", "tram"], "name each clip once"),
        (["a", "b"], ["bus", "bus"], (2, 2), ["bus", "label"], "do not name each column once"),
    ],
)
def test_nothing_wrong_is_written(tmp_path: Path, names, labels, shape, classes, says) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(EdgepruneError, match=says):
        write_predictions(path, names, labels, np.full(shape, 0.5), classes)
    assert not list(tmp_path.iterdir())
