"""Standard output that is the same on every code page: ASCII marks where it is no terminal."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

_LOOKALIKES = str.maketrans(
    {
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{PLUS-MINUS SIGN}": "+-",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{MICRO SIGN}": "u",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{NO-BREAK SPACE}": " ",
        "\N{SUPERSCRIPT TWO}": "2",
    }
)

_CONTROLS = {code: ascii(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def without_controls(text: str) -> str:
    """The text with the characters escaped that a terminal would take for commands; names of clips may hold them."""
    return text.translate(_CONTROLS)


def shown(text: str) -> str:
    """The text as standard output will show it, to be counted before it is laid out."""
    return text if (sys.stdout.encoding or "").lower().startswith("utf") else text.translate(_LOOKALIKES)


@contextmanager
def encodable() -> Iterator[None]:
    """Within the block no character that is printed fails to be encoded.

    Our own marks have ASCII lookalikes, which a terminal shows where its code page lacks them, and which stand in every
    file and pipe. What users wrote is encoded as the stream would; what it cannot encode is escaped.
    """
    with ExitStack() as undo:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure") and not stream.closed:  # a notebook's cannot be, and needs not
                undo.enter_context(_encodable(stream, stream is sys.stdout and not stream.isatty()))
        yield


@contextmanager
def _encodable(stream: TextIO, in_ascii: bool) -> Iterator[None]:
    encoding, errors = stream.encoding, stream.errors

    def lookalike(error: UnicodeError) -> tuple[bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        text = error.object[error.start : error.end].translate(_LOOKALIKES)
        return text.encode(encoding, "backslashreplace"), error.end

    name = f"edgeprune-lookalike-{encoding}"
    codecs.register_error(name, lookalike)
    stream.reconfigure(encoding="ascii" if in_ascii else encoding, errors=name)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if not stream.closed:
            stream.reconfigure(encoding=encoding, errors=errors)  # type: ignore[attr-defined]
