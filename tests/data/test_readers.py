"""Image files: what is read, and how damaged ones are refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from squares import idx_bytes, squares

from edgeprune.data.cards import load_card
from edgeprune.data.image_files import read_idx, read_npz, read_part
from edgeprune.errors import EdgepruneError


def test_idx_pair(idx_card: Path) -> None:
    images, labels = read_part(load_card(idx_card), idx_card.parent, "train")
    expected, classes = squares(12, 0, (5, 4))
    np.testing.assert_array_equal(images, expected[:, None])
    np.testing.assert_array_equal(labels, classes)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)


def test_npz_images_become_channel_first(npz_card) -> None:
    card = npz_card()
    images, labels = read_part(load_card(card), card.parent, "test")
    expected, classes = squares(12, 1, (8, 6, 3))
    assert images.shape == (12, 3, 8, 6)
    for channel in range(3):
        np.testing.assert_array_equal(images[:, channel], expected[..., channel])
    np.testing.assert_array_equal(labels, classes)


def test_grey_npz_images_and_signed_labels(npz_card) -> None:
    x, y = squares(9, 3, (7, 7))
    card = npz_card(x_train=x, y_train=y.astype(np.int64))
    images, labels = read_part(load_card(card), card.parent, "train")
    np.testing.assert_array_equal(images, x[:, None])
    np.testing.assert_array_equal(labels, y)


WHOLE = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\0\0\x0d\x01" + WHOLE[4:], "not an idx file of unsigned bytes; it begins with '00000d01'"),
        (b"PK\x03\x04" + WHOLE[4:], "not an idx file"),
        (WHOLE[:9], "ends within its head"),
        (WHOLE[:-1], "holds 23 values, not the 2 x 3 x 4 its head says"),
        (WHOLE + b"\0", "holds 25 values"),
        (gzip.compress(WHOLE)[:-9], "cannot be read"),
        (gzip.compress(WHOLE)[:15] + b"\xff" * 20, "cannot be read"),
    ],
    ids=["empty", "floats", "zip", "head", "short", "long", "gzip cut", "gzip damaged"],
)
def test_damaged_idx_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(EdgepruneError, match=message) as caught:
        read_idx(path)
    assert "images.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_files_are_named(tmp_path: Path, idx_card: Path) -> None:
    (tmp_path / "test-images").unlink()
    with pytest.raises(EdgepruneError, match=r"test-images: is not there; check --data.root"):
        read_part(load_card(idx_card), tmp_path, "test")
    with pytest.raises(EdgepruneError, match="is not there"):
        read_npz(tmp_path / "none.npz", ("x",))


def test_damaged_npz_files_are_refused(tmp_path: Path, npz_card) -> None:
    path = npz_card().with_suffix(".npz")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text", whole[:200] + b"\xff" * 400 + whole[600:]):
        path.write_bytes(content)
        with pytest.raises(EdgepruneError, match=r"squares.npz: cannot be read"):
            read_npz(path, ("x_train", "y_train"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(EdgepruneError, match="cannot be read"):
        read_npz(tmp_path / "one.npy", ("x",))


def test_pickled_arrays_are_not_opened(npz_card) -> None:
    card = npz_card(x_train=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(EdgepruneError, match="cannot be read"):
        read_part(load_card(card), card.parent, "train")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.zeros((30, 8, 6, 3))}, r"'x_train' is float64 \[30, 8, 6, 3\]; images are uint8"),
        ({"x_train": np.zeros((30, 8), np.uint8)}, r"'x_train' is uint8 \[30, 8\]"),
        ({"x_train": np.zeros((0, 8, 6), np.uint8)}, r"'x_train' is uint8 \[0, 8, 6\]"),
        ({"y_train": np.zeros(30)}, r"'y_train' is float64 \[30\]; labels are whole numbers"),
        ({"y_train": np.zeros((30, 1), np.uint8)}, r"'y_train' is uint8 \[30, 1\]"),
        ({"y_train": np.zeros(29, np.uint8)}, "'y_train' holds 29 labels for the 30 images of .*'x_train'"),
        ({"y_train": np.array([0, 1, 3] * 10)}, "'y_train' labels image 2 as 3; the card's classes go from 0 to 2"),
        ({"y_train": np.array([-1, 1, 2] * 10)}, "'y_train' labels image 0 as -1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(npz_card, arrays, message: str) -> None:
    card = npz_card(**arrays)
    with pytest.raises(EdgepruneError, match=message):
        read_part(load_card(card), card.parent, "train")


def test_an_absent_array_is_named(tmp_path: Path, npz_card) -> None:
    card = npz_card()
    np.savez(tmp_path / "squares.npz", images=np.zeros(3))
    with pytest.raises(EdgepruneError, match="no array 'x_train'; it has images"):
        read_part(load_card(card), tmp_path, "train")


def test_mnist_is_the_published_one(shared_data: Path) -> None:
    """Counts of the two parts, and of every digit in the test part."""
    card, root = load_card("mnist"), shared_data / "mnist"
    train, test = read_part(card, root, "train"), read_part(card, root, "test")
    assert train[0].shape == (60_000, 1, 28, 28)
    assert test[0].shape == (10_000, 1, 28, 28)
    assert np.bincount(test[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(train[1]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train[1][:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]


def test_the_cifar_subset(shared_data: Path) -> None:
    card, root = load_card("cifar10_subset"), shared_data / "cifar10_subset"
    for part, count in (("train", 5000), ("test", 1000)):
        images, labels = read_part(card, root, part)
        assert images.shape == (count, 3, 32, 32)
        assert np.bincount(labels).tolist() == [count // 10] * 10
    with np.load(root / "cifar10_subset.npz", allow_pickle=False) as archive:
        assert tuple(archive["classes"]) == card.classes
