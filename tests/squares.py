"""Small image data sets made by hand."""

import struct
from pathlib import Path

import numpy as np

CLASSES = ("dark", "middle", "bright")

CARD = """
name = "{name}"
title = "Squares"
kind = "images"
classes = ["dark", "middle", "bright"]
licence = "ours"
[images]
{files}
"""
NPZ = 'npz = "squares.npz"\ntrain = ["x_train", "y_train"]\ntest = ["x_test", "y_test"]'
IDX = 'train = ["train-images.gz", "train-labels"]\ntest = ["test-images", "test-labels.gz"]'


def squares(count: int, seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images whose level tells the class, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    noise = generator.integers(-40, 40, (count, *shape))
    return (60 + 65 * labels.reshape(-1, *[1] * len(shape)) + noise).astype(np.uint8), labels.astype(np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    """An idx file of unsigned bytes, written out by hand."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_npz_card(
    folder: Path, train: int = 30, test: int = 12, shape: tuple[int, ...] = (8, 6, 3), **arrays: np.ndarray
) -> Path:
    x_train, y_train = squares(train, 0, shape)
    x_test, y_test = squares(test, 1, shape)
    whole = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(folder / "squares.npz", **{**whole, **arrays})  # type: ignore[arg-type]
    path = folder / "squares.toml"
    path.write_text(CARD.format(name="squares", files=NPZ), encoding="utf-8")
    return path
