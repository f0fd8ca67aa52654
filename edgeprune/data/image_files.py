"""Images and labels from the files of a card: idx pairs, or the arrays of one NumPy archive."""

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from edgeprune.data.cards import Card
from edgeprune.errors import EdgepruneError

_UNSIGNED_BYTE = 0x08
"""Code of unsigned bytes in the third byte of an idx file."""


def read_part(card: Card, root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one part, `train` or `test`, of a card of kind `images`.

    Returns images uint8 `[n, channels, height, width]` and labels int64 `[n]`, places in the card's classes.
    """
    assert card.images is not None  # checked when the card was read
    first, second = card.images.train if part == "train" else card.images.test
    if card.images.npz:
        path = root / card.images.npz
        images, labels = read_npz(path, (first, second))
        where = (f"{path}: '{first}'", f"{path}: '{second}'")
    else:
        images, labels = read_idx(root / first), read_idx(root / second)
        where = (f"{root / first}:", f"{root / second}:")
    pixels = _as_pixels(images, where[0])
    return pixels, _as_labels(labels, len(pixels), len(card.classes), where)


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an idx file, plain or gzip.

    The format is that of MNIST's publishers: two zero bytes, a type code, the number of dimensions, each size as a
    big-endian 32-bit integer, then the values, the last dimension fastest.
    """
    try:
        content = path.read_bytes()
        data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise EdgepruneError(f"{path}: is not an idx file of unsigned bytes; it begins with '{data[:4].hex()}'.")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise EdgepruneError(f"{path}: ends within its head; get it again.")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise EdgepruneError(f"{path}: holds {len(data) - start} values, not the {sizes} its head says; get it again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_npz(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays of a NumPy archive, by name; nothing in it is executed."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            for name in names:
                if name not in archive:
                    raise EdgepruneError(f"{path}: has no array '{name}'; it has {', '.join(archive) or 'none'}.")
            return [archive[name] for name in names]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> EdgepruneError:
    if isinstance(error, FileNotFoundError):
        return EdgepruneError(f"{path}: is not there; check --data.root, or fetch the data set.")
    return EdgepruneError(f"{path}: cannot be read ({str(error).rstrip('.')}); get it again.")


def _as_pixels(images: np.ndarray, where: str) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise EdgepruneError(
            f"{where} is {images.dtype} {list(images.shape)}; images are uint8 [images, height, width] or "
            "[images, height, width, channels]."
        )
    channel_last = images if images.ndim == 4 else images[..., None]
    return np.ascontiguousarray(channel_last.transpose(0, 3, 1, 2))


def _as_labels(labels: np.ndarray, count: int, classes: int, where: tuple[str, str]) -> np.ndarray:
    if labels.dtype.kind not in "ui" or labels.ndim != 1:
        raise EdgepruneError(f"{where[1]} is {labels.dtype} {list(labels.shape)}; labels are whole numbers [images].")
    if len(labels) != count:
        raise EdgepruneError(f"{where[1]} holds {len(labels)} labels for the {count} images of {where[0].rstrip(':')}.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise EdgepruneError(
            f"{where[1]} labels image {wrong[0]} as {labels[wrong[0]]}; the card's classes go from 0 to {classes - 1}."
        )
    return labels.astype(np.int64)
