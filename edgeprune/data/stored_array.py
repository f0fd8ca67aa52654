"""Arrays in .npy files that were damaged on the disk, or replaced: what a head promises takes no memory."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from edgeprune.errors import first_line

DAMAGED_HEAD = (ValueError, TypeError, EOFError, SyntaxError, TokenError, ArithmeticError, MemoryError)
"""What NumPy raises where the head of an array is damaged."""


def map_array(path: Path, dtype: type[np.generic], *shape: int) -> np.ndarray:
    """A memory-mapped array of a type and shape.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be opened.
    """
    try:
        array: Any = np.load(path, mmap_mode="r")
    except DAMAGED_HEAD as error:
        raise ValueError(f"{path.name}: {first_line(error)}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{path.name} is no {np.dtype(dtype).name} array of the shape that is due")
    return array  # type: ignore[no-any-return]
