"""Images as a data set: splits, normalisation, batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import CLASSES, squares

from edgeprune.data.image_data import ImageData, load_images
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data


@pytest.fixture
def spec(npz_card) -> Data:
    card = npz_card(train=120)
    return Data(name=str(card), root=card.parent, validation=0.25)


def test_tables(spec: Data) -> None:
    data = load_images(spec)
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 30, 12)
    assert data.classes == CLASSES
    assert data.input_shape == (3, 8, 6)
    assert list(data.test.columns) == ["filename", "label", "group", "city", "device"]
    assert data.test.iloc[4].tolist() == ["test/00004", "middle", "test/00004", "", ""]
    assert data.describe() == {
        "labels": list(CLASSES),
        "frontend": {},
        "normalisation": data.normalisation.to_dict(),
    }


def test_validation_is_stratified_disjoint_and_follows_the_seed(spec: Data) -> None:
    data = load_images(spec, seed=3)
    train, validation = set(data.train["filename"]), set(data.validation["filename"])
    assert not train & validation
    assert train | validation == {f"train/{row:05d}" for row in range(120)}
    assert data.train["label"].value_counts().tolist() == [30, 30, 30]
    assert data.validation["label"].value_counts().tolist() == [10, 10, 10]
    assert list(data.train["filename"]) == sorted(train)
    again, other = load_images(spec, seed=3), load_images(spec, seed=4)
    assert again.validation.equals(data.validation)
    assert not other.validation.equals(data.validation)
    assert load_images(replace(spec, validation=0.0)).validation is None


def test_a_share_to_train_on_leaves_the_test_part_and_the_hash(spec: Data) -> None:
    whole, half = load_images(spec), load_images(replace(spec, train_share=0.5), seed=1)
    assert (len(half.train), len(half.validation), len(half.test)) == (45, 15, 12)
    assert half.train["label"].value_counts().tolist() == [15, 15, 15]
    assert half.train.equals(load_images(replace(spec, train_share=0.5), seed=1).train)
    assert half.sha256 == whole.sha256


def _pixels(data: ImageData, count: int, seed: int) -> np.ndarray:
    return squares(count, seed, (8, 6, 3))[0].astype(np.float64).transpose(0, 3, 1, 2)


def test_normalisation_is_of_the_training_images_alone(spec: Data) -> None:
    data = load_images(spec)
    rows = [int(name.removeprefix("train/")) for name in data.train["filename"]]
    chosen = _pixels(data, 120, 0)[rows]
    np.testing.assert_allclose(data.normalisation.mean, chosen.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(data.normalisation.std, chosen.std((0, 2, 3)), rtol=1e-6)
    inputs = data.patches(data.train).inputs(range(len(rows)))
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_a_constant_channel_stays_finite(npz_card) -> None:
    x, _ = squares(30, 0, (8, 6, 3))
    x[..., 1] = 9
    card = npz_card(x_train=x)
    data = load_images(Data(name=str(card), root=card.parent, validation=0.0))
    assert data.normalisation.std[1] == 1
    assert (data.patches(data.train).inputs([0, 1])[:, 1] == 0).all()


def test_batches_are_the_plain_computation(spec: Data) -> None:
    data = load_images(spec)
    patches = data.patches(data.test)
    assert (len(patches), patches.clips) == (12, 12)
    x, labels, image = patches.__getitems__([5, 0, 7])
    mean, std = (value[:, None, None] for value in (data.normalisation.mean, data.normalisation.std))
    expected = (_pixels(data, 12, 1)[[5, 0, 7]] - mean) / std
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert labels.tolist() == [2, 0, 1]
    assert image.tolist() == [5, 0, 7]
    one = patches[7]
    torch.testing.assert_close(one[0], x[2:])
    assert one[1].tolist() == [1]


def test_rows_of_both_parts_in_any_order(spec: Data) -> None:
    import pandas as pd

    data = load_images(spec)
    mixed = pd.concat([data.test.iloc[[3]], data.train.iloc[[8]], data.test.iloc[[1]]])
    x = data.patches(mixed).inputs([0, 1, 2])
    for row, (table, place) in enumerate([(data.test, 3), (data.train, 8), (data.test, 1)]):
        assert torch.equal(x[row : row + 1], data.patches(table).inputs([place]))


def test_other_statistics(spec: Data) -> None:
    data = load_images(spec)
    other = Normalisation(np.zeros(3, np.float32), np.full(3, 255, np.float32))
    x = data.with_normalisation(other).patches(data.test).inputs(range(12))
    np.testing.assert_allclose(x.numpy() * 255, _pixels(data, 12, 1), rtol=1e-6)


def test_the_hash_follows_pixels_and_labels(npz_card) -> None:
    def sha256(**arrays: np.ndarray) -> str:
        card = npz_card(**arrays)
        return load_images(Data(name=str(card), root=card.parent, validation=0.0)).sha256

    x, y = squares(12, 1, (8, 6, 3))
    plain = sha256()
    assert sha256(x_test=x, y_test=y.astype(np.int64)) == plain
    y[0] = 1
    assert sha256(y_test=y) != plain
    x[3, 2, 1, 0] += 1
    assert sha256(x_test=x) != plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": None}, "say where the data set lies, as --data.root"),
        ({"fold": 2}, "has one split, so there is no fold 2"),
        ({"subset": "5"}, "has no subset '5'; take a share with --data.train-share"),
        ({"validation": 0.7}, "above 0 and at most 0.5"),
        ({"train_share": 0.0}, "above 0 and at most 1"),
        ({"train_share": 0.01}, "leaves a class without any"),
        ({"root": Path("/nowhere")}, "is not there; check --data.root"),
    ],
)
def test_what_cannot_be_used_is_refused(spec: Data, change, message: str) -> None:
    with pytest.raises(EdgepruneError, match=message):
        load_images(replace(spec, **change))


def test_parts_of_different_size_are_refused(npz_card) -> None:
    card = npz_card(x_test=np.zeros((12, 9, 6, 3), np.uint8))
    with pytest.raises(EdgepruneError, match=r"differ in size \(3 x 8 x 6 and 3 x 9 x 6\)"):
        load_images(Data(name=str(card), root=card.parent))
