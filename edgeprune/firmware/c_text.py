"""Text, numbers and arrays as C writes them."""

import string
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PLAIN = set(string.ascii_letters + string.digits + " _.,-")


def c_string(text: str) -> str:
    """A C string literal of any text, in UTF-8; all but plain characters are octal escapes of three digits."""
    return '"' + "".join(chr(byte) if chr(byte) in _PLAIN else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_strings(texts: Iterable[str]) -> str:
    """The inside of an initialiser of strings, one a line."""
    return ",\n    ".join(map(c_string, texts))


def c_array(declaration: str, values: ArrayLike) -> str:
    """Definition of an array, declared as in `const int8_t rows[2][3]`.

    Values are `[n]`, or `[rows, ...]` of which each row becomes a flat initialiser of its own.
    """
    numbers = np.asarray(values)
    if numbers.ndim == 1:
        return f"{declaration} = {{\n    {_numbers(numbers)},\n}};\n"
    rows = ",\n".join(f"    {{{_numbers(row)}}}" for row in numbers)
    return f"{declaration} = {{\n{rows},\n}};\n"


def _numbers(values: NDArray[Any]) -> str:
    whole = not np.issubdtype(values.dtype, np.floating)
    words = [str(int(value)) if whole else c_float(value) for value in values.reshape(-1)]
    a_line = 20 if whole else 8
    return ",\n    ".join(", ".join(words[start : start + a_line]) for start in range(0, len(words), a_line))


def c_float(value: float | np.floating[Any]) -> str:
    """A float as C writes it; 9 significant digits are enough for any float32."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
