"""Small image data sets as fixtures."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from squares import CARD, IDX, idx_bytes, squares, write_npz_card


@pytest.fixture
def npz_card(tmp_path: Path) -> Callable[..., Path]:
    """`npz_card(train=30, test=12, shape=(8, 6, 3), **arrays)` writes an archive and its card; the card's path."""
    return lambda **more: write_npz_card(tmp_path, **more)


@pytest.fixture
def idx_card(tmp_path: Path) -> Path:
    """A card with two pairs of idx files beside it, some of them compressed: 12 + 6 grey images of 5 x 4."""
    for part, count, seed in (("train", 12, 0), ("test", 6, 1)):
        for kind, array in zip(("images", "labels"), squares(count, seed, (5, 4)), strict=True):
            name = f"{part}-{kind}"
            packed = name in ("train-images", "test-labels")
            data = gzip.compress(idx_bytes(array)) if packed else idx_bytes(array)
            (tmp_path / f"{name}{'.gz' * packed}").write_bytes(data)
    path = tmp_path / "squares.toml"
    path.write_text(CARD.format(name="squares", files=IDX), encoding="utf-8")
    return path
