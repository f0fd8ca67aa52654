"""Images and labels from the files of a card: idx pairs, or the arrays of one NumPy archive."""

import gzip
import math
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from edgeprune.data.cards import Card
from edgeprune.data.packed import DAMAGED, most_unpacked
from edgeprune.data.stored_array import DAMAGED_HEAD
from edgeprune.errors import EdgepruneError, first_line

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
        data = _unpacked(path, content) if content[:2] == b"\x1f\x8b" else content
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


def _unpacked(path: Path, content: bytes) -> bytes:
    most = most_unpacked(len(content))
    data = gzip.GzipFile(fileobj=BytesIO(content)).read(most + 1)
    if len(data) > most:
        raise EdgepruneError(f"{path}: is packed far more than images are; get it again.")
    return data


def read_npz(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays of a NumPy archive, by name; nothing in it is executed."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            members: list[zipfile.ZipInfo] = archive.zip.infolist()  # type: ignore[union-attr]
            if sum(entry.file_size for entry in members) > most_unpacked(path.stat().st_size):
                raise EdgepruneError(f"{path}: is packed far more than images are; get it again.")
            for name in names:
                if name not in archive:
                    raise EdgepruneError(f"{path}: has no array '{name}'; it has {', '.join(archive) or 'none'}.")
            arrays = [archive[name] for name in names]
            if not all(isinstance(array, np.ndarray) for array in arrays):
                raise ValueError("its members are no arrays")
            return arrays
    except (OSError, *DAMAGED, *DAMAGED_HEAD) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> EdgepruneError:
    if isinstance(error, FileNotFoundError):
        return EdgepruneError(f"{path}: is not there; check --data.root, or fetch the data set.")
    return EdgepruneError(f"{path}: cannot be read ({first_line(error)}); get it again.")


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
