"""How much a packed file may hold: a few kilobytes can be made to unpack to terabytes."""

import lzma
import struct
import zipfile
import zlib

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, MemoryError),
    *(ValueError, LookupError, ArithmeticError, struct.error),  # of fields that are wrong
)
"""What Python's readers of packed files raise where one is damaged, beside OSError."""
_MOST_TIMES = 100
"""Lists of clips pack some 20 times, images 5 and audio 2."""
_ALWAYS_BYTES = 10 << 20


def most_unpacked(packed_bytes: int) -> int:
    """The most bytes that so many packed bytes are unpacked to."""
    return _MOST_TIMES * packed_bytes + _ALWAYS_BYTES
