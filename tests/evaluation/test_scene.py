import gzip
import json

import numpy as np
import pytest
import tiny_tflite
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation import scene
from edgeprune.tflite.interpreter import TFLiteModel

CLASSES = ["tram", "bus", "park"]  # not alphabetical on purpose: columns follow `classes`
LABELS = ["tram", "bus", "bus", "tram"]
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],  # right
        [0.1, 0.8, 0.1],  # right
        [0.5, 0.25, 0.25],  # bus taken for tram
        [0.4, 0.1, 0.5],  # tram taken for park
    ]
)


def test_metrics_of_four_clips_by_hand() -> None:
    result = scene.evaluate(LABELS, PROBABILITIES, CLASSES, devices=["a", "a", "b", "b"], cities=["x", "y", "y", "y"])
    assert result["accuracy"] == 0.5
    assert result["macro_accuracy"] == 0.5  # park is absent and does not count
    assert result["log_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.25, 0.4]).mean(), abs=1e-12)
    assert result["confusion"] == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert result["per_class"]["tram"]["accuracy"] == 0.5
    assert result["per_class"]["tram"]["log_loss"] == pytest.approx(-np.log([0.7, 0.4]).mean(), abs=1e-12)
    assert result["per_class"]["park"] == {"accuracy": None, "log_loss": None, "clips": 0}
    assert [(name, group["accuracy"], group["clips"]) for name, group in result["per_device"].items()] == [
        ("a", 1.0, 2),
        ("b", 0.0, 2),
    ]
    assert result["per_city"]["y"]["accuracy"] == pytest.approx(1 / 3)
    assert result["clips"] == 4
    assert result["classes"] == CLASSES
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_macro_accuracy_weighs_classes_not_clips() -> None:
    labels = ["bus"] * 9 + ["tram"]
    always_bus = np.tile([0.1, 0.8, 0.1], (10, 1))
    assert scene.accuracy(labels, always_bus, CLASSES) == 0.9
    assert scene.macro_accuracy(labels, always_bus, CLASSES) == 0.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 12))
def test_metrics_equal_scikit_learn(seed: int, clips: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    classes = [f"class {count - number:02d}" for number in range(count)]
    rows = generator.dirichlet(np.ones(count), size=clips)
    truth = generator.integers(count, size=clips)
    labels = [classes[number] for number in truth]
    decided = rows.argmax(axis=1)
    assert scene.accuracy(labels, rows, classes) == pytest.approx(metrics.accuracy_score(truth, decided), abs=1e-12)
    recalls = metrics.recall_score(truth, decided, labels=np.unique(truth), average="macro", zero_division=0)
    assert scene.macro_accuracy(labels, rows, classes) == pytest.approx(recalls, abs=1e-12)
    expected = metrics.log_loss(truth, rows, labels=np.arange(count))
    assert scene.log_loss(labels, rows, classes) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("system", "file", "accuracy", "log_loss"),
    [("C1", "prob_32.npy", 46.09, 1.4686), ("C12", "prob_def.npy", 44.13, 1.4747)],
)
def test_published_results_of_real_systems(shared_data, system, file, accuracy, log_loss) -> None:
    split = shared_data / "dcase_splits" / "tau2022_mobile_development" / "fold1_evaluate.csv.gz"
    lines = gzip.decompress(split.read_bytes()).decode().splitlines()[1:]
    filenames, labels = zip(*(line.split("\t") for line in lines), strict=True)
    devices = [name.removesuffix(".wav").rsplit("-", 1)[1] for name in filenames]
    rows = np.load(shared_data / "models" / "surrey_dcase2022" / system / file)
    result = scene.evaluate(labels, rows, sorted(set(labels)), devices=devices)
    assert result["clips"] == 29_680
    assert round(100 * result["accuracy"], 2) == accuracy
    assert round(result["log_loss"], 4) == log_loss
    assert set(result["per_device"]) == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert sum(group["clips"] for group in result["per_device"].values()) == 29_680
    assert sum(map(sum, result["confusion"])) == 29_680


def test_rounding_to_eight_bits_does_not_change_the_log_loss_of_a_real_system(shared_data, tmp_path) -> None:
    """The figures of docs/statistics.md: probabilities of 29,680 clips as they are, and as an int8 file gives them."""
    split = shared_data / "dcase_splits" / "tau2022_mobile_development" / "fold1_evaluate.csv.gz"
    labels = [line.split("\t")[1] for line in gzip.decompress(split.read_bytes()).decode().splitlines()[1:]]
    rows = np.load(shared_data / "models" / "surrey_dcase2022" / "C1" / "prob_32.npy")
    rounding = tiny_tflite.quantise_model(10, "int8", (1 / 256, -128))
    file = TFLiteModel(tiny_tflite.write(rounding, tmp_path / "rounding.tflite"))
    classes, given = sorted(set(labels)), (file.predict(rows), file.probabilities(rows))
    found = [scene.log_loss(labels, probabilities, classes) for probabilities in given]
    assert [round(value, 3) for value in found] == [1.597, 1.468]


def test_one_clip() -> None:
    result = scene.evaluate(["bus"], [[0.0, 1.0, 0.0]], CLASSES)
    assert (result["accuracy"], result["macro_accuracy"], result["per_device"]) == (1.0, 1.0, {})
    assert result["log_loss"] == pytest.approx(0.0, abs=1e-12)
    assert result["interval"] == pytest.approx([1 / (1 + 1.959963984540054**2), 1.0])  # Wilson at 1 of 1


def test_a_tie_goes_to_the_first_class() -> None:
    tie = [[0.5, 0.5, 0.0]]
    assert scene.accuracy(["tram"], tie, CLASSES) == 1.0
    assert scene.accuracy(["bus"], tie, CLASSES) == 0.0


def test_log_loss_of_a_zero_of_an_int8_file(tmp_path) -> None:
    path = tiny_tflite.write(tiny_tflite.quantise_model(3, "int8", (1 / 256, -128)), tmp_path / "file.tflite")
    stored = TFLiteModel(path).probabilities([[0.999, 0.001, 0.0]])  # 256/256 saturates at 255/256
    assert scene.log_loss(["bus"], stored, CLASSES) == pytest.approx(
        -np.log((1 / 512) / (255 / 256 + 2 / 512)), rel=1e-6
    )
    assert scene.log_loss(["tram"], stored, CLASSES) == pytest.approx(-np.log(510 / 512), rel=1e-6)


def test_log_loss_of_a_zero_is_finite_and_rows_are_renormalised() -> None:
    assert scene.log_loss(["park"], [[1.0, 0.0, 0.0]], CLASSES) == pytest.approx(-np.log(1e-15), rel=1e-6)
    eight_bit = [[128 / 256, 100 / 256, 20 / 256]]  # sums to 248/256
    assert scene.log_loss(["tram"], eight_bit, CLASSES) == pytest.approx(-np.log(128 / 248), rel=1e-9)


def _changed(row: int, column: int, value: float) -> np.ndarray:
    rows = PROBABILITIES.copy()
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("labels", "rows", "classes", "says"),
    [
        (LABELS, _changed(2, 1, np.nan), CLASSES, "clip 2 holds NaN"),
        (LABELS, _changed(3, 0, np.inf), CLASSES, "clip 3 holds NaN or infinity"),
        (LABELS, _changed(1, 1, -0.8), CLASSES, "clip 1 runs from -0.8"),
        (LABELS, PROBABILITIES * 4, CLASSES, "apply softmax"),
        (LABELS, PROBABILITIES * 0, CLASSES, "sums to 0"),
        (LABELS, PROBABILITIES[:3], CLASSES, r"shape \(3, 3\) for 4 labels"),
        (LABELS, PROBABILITIES[:, :2], CLASSES, r"shape \(4, 2\)"),
        (LABELS, PROBABILITIES.ravel(), CLASSES, r"shape \(12,\)"),
        ([], np.empty((0, 3)), CLASSES, "at least one clip"),
        (["tram", "bus", "metro", "tram"], PROBABILITIES, CLASSES, "clip 2 is labelled 'metro'; use one of tram"),
        (LABELS, PROBABILITIES, ["tram", "bus", "bus"], "names a class twice"),
        (LABELS, [["a"] * 3] * 4, CLASSES, "not a table of numbers"),
    ],
)
def test_refused(labels, rows, classes, says) -> None:
    with pytest.raises(EdgepruneError, match=says):
        scene.validate(labels, rows, classes)
    with pytest.raises(EdgepruneError, match=says):
        scene.evaluate(labels, rows, classes)


@pytest.mark.parametrize("values", [["a"], ["a", "b", None, "c"], ["a", "b", float("nan"), "c"]])
def test_refused_groups(values) -> None:
    with pytest.raises(EdgepruneError, match="group values"):
        scene.evaluate(LABELS, PROBABILITIES, CLASSES, devices=values)


def test_clip_probabilities_are_the_mean_of_their_patches() -> None:
    patches = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]], dtype=np.float32)
    clips = scene.mean_patch_probabilities(patches, [1, 0, 1, 1], clips=2)
    np.testing.assert_allclose(clips, [[0.2, 0.8], [1.3 / 3, 1.7 / 3]], atol=1e-7)


@pytest.mark.parametrize(
    ("index", "clips", "says"),
    [
        ([0, 0, 2], 3, "clip 1 has no patch"),
        ([0, 1, 2], 2, "from 0 to 2"),
        ([-1, 0, 1], 2, "from -1 to 1"),
        ([0, 1], 2, "one integer a patch"),
        ([0.0, 1.0, 1.0], 2, "one integer a patch"),
    ],
)
def test_refused_patches(index, clips, says) -> None:
    with pytest.raises(EdgepruneError, match=says):
        scene.mean_patch_probabilities(np.full((3, 2), 0.5), index, clips)
