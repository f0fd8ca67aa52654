"""Arrays in .npy files that were damaged on the disk, or replaced: what a head promises takes no memory."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from edgeprune.errors import first_line


def map_array(path: Path, dtype: type[np.generic], *shape: int | None, writable: bool = False) -> np.ndarray:
    """A memory-mapped array of a type and shape, None for an axis of any size.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be opened.
    """
    try:
        array: Any = np.load(path, mmap_mode="r+" if writable else "r")
    except (ValueError, TypeError, EOFError, SyntaxError, TokenError, ArithmeticError, MemoryError) as error:
        raise ValueError(f"{path.name}: {first_line(error)}") from error
    fits = isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == len(shape)
    if not fits or any(size not in (None, own) for size, own in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{path.name} is no {np.dtype(dtype).name} array of the shape that is due")
    return array  # type: ignore[no-any-return]
