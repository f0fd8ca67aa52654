"""Audio files taken apart into what libsndfile decodes to its end.

libsndfile stops at the end of the first of joined streams, believes a header that was never finished, and does not
complain about a file that ends too early.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from edgeprune.audio.mpeg import header_of, id3_bytes, mpeg_streams
from edgeprune.errors import EdgepruneError

Stream = Path | bytes
"""What libsndfile opens: the file itself, or bytes of it."""
_CHUNK = 8
"""Bytes of a RIFF chunk's name and size."""
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""A FLAC stream's marker and the head of its STREAMINFO block (RFC 9639, section 8)."""
_OGG_HEADER = 27
_FIRST, _LAST = 2, 4
"""Flags of an Ogg page that is the first or the last of its stream (RFC 3533, section 6)."""
_STRAY_BYTES = 4096
"""Bytes that may follow a WAV's chunks, as tags and padding do."""


def streams(path: Path) -> list[Stream]:
    """What to decode one after the other, so that nothing of the file is left out.

    Raises:
        EdgepruneError: the file ends before what it promises, or holds something that would be left out.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        skipped = id3_bytes(file.read(10))
        file.seek(skipped)
        head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
        return [_wav(path, "little" if head[:4] == b"RIFF" else "big")]
    if head[:4] == b"FORM":
        _check_aiff(path, int.from_bytes(head[4:8], "big"))
    if head[:4] == b"OggS":
        return _ogg(path)
    if head[:4] == b"fLaC" and not skipped:
        return _flac(path)
    if header_of(head) or path.suffix.lower() == ".mp3":
        return list(mpeg_streams(path)) or [path]
    return [path]


def cut_short(path: Path, held: int, promised: int, unit: str = "bytes") -> EdgepruneError:
    """The error for a file that holds less than its header promises."""
    return EdgepruneError(
        f"{path}: is cut short: {held:,} of {promised:,} {unit}; fetch the clip again or leave it out."
    )


def _wav(path: Path, order: Literal["little", "big"]) -> Stream:
    """The file, or its bytes with the sizes written that its header lacks."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place, name, promised = _chunks(file, order, 12)[-1]
    if name != b"data":
        return path  # libsndfile says what is wrong
    start, held = place + _CHUNK, size - place - _CHUNK
    if promised > held and not _is_placeholder(promised):
        raise cut_short(path, held, promised, "bytes of samples")
    if promised <= held and (promised or not held):
        _check_end(path, start + promised, order)
        return path
    data = bytearray(path.read_bytes())
    if promised == 0 and _are_chunks(bytes(data[start:]), order):
        return path
    data[4:8] = (size - _CHUNK).to_bytes(4, order)
    data[place + 4 : start] = held.to_bytes(4, order)
    return bytes(data)


def _chunks(file: BinaryIO, order: Literal["little", "big"], place: int) -> list[tuple[int, bytes, int]]:
    """Place, name and size of each RIFF chunk from this place on; `data` ends the list, as does the end of the file."""
    chunks = [(place, b"", 0)]
    while len(head := _at(file, place, _CHUNK)) == _CHUNK:
        length = int.from_bytes(head[4:], order)
        chunks.append((place, head[:4], length))
        if head[:4] == b"data":
            break
        place += _CHUNK + length + length % 2
    return chunks


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _is_placeholder(promised: int) -> bool:
    """Whether a size is one that programs write when they do not know it yet: about 2 or 4 GiB."""
    return any(abs(promised - full) <= 1 << 12 for full in (1 << 31, 1 << 32))


def _are_chunks(data: bytes, order: Literal["little", "big"]) -> bool:
    """Whether bytes are nothing but RIFF chunks."""
    chunks = _chunks(BytesIO(data), order, 0)
    place, last, length = chunks[-1]
    if not last or not all(name.isascii() and name.decode().isprintable() for _, name, _ in chunks):
        return False
    return 0 <= place + _CHUNK + length + length % 2 - len(data) <= 1


def _check_end(path: Path, end: int, order: Literal["little", "big"]) -> None:
    """Refuse what follows the samples unless it is chunks, a tag, or little."""
    with path.open("rb") as file:
        file.seek(end + end % 2)
        rest = file.read()
    joined = rest.find(b"RIFF" if order == "little" else b"RIFX")
    if joined >= 0 and rest[joined + 8 : joined + 12] == b"WAVE":
        raise EdgepruneError(f"{path}: is two WAV files in one; split them, so that each has its own name and label.")
    if len(rest) > _STRAY_BYTES and not _are_chunks(rest, order) and rest[:3] != b"ID3":
        raise EdgepruneError(
            f"{path}: holds {len(rest):,} bytes after the samples that its header counts; repair the header, as with "
            "`ffmpeg -ignore_length 1 -i IN.wav OUT.wav`, or leave the clip out."
        )


def _check_aiff(path: Path, promised: int) -> None:
    size = path.stat().st_size
    if size < promised + _CHUNK - 1:  # some writers leave out the last padding byte
        raise cut_short(path, size, promised + _CHUNK)


def _flac(path: Path) -> list[Stream]:
    data = path.read_bytes()
    starts = [match.start() for match in _FLAC_START.finditer(data)]
    return [path] if len(starts) < 2 else _split(data, starts)


def _ogg(path: Path) -> list[Stream]:
    """The links of a chained file: each begins with the first pages of its streams."""
    data = path.read_bytes()
    place, starts, flags = 0, [], 0
    while place < len(data):
        segments = data[place + _OGG_HEADER - 1 : place + _OGG_HEADER]
        lengths = data[place + _OGG_HEADER : place + _OGG_HEADER + (segments[0] if segments else 0)]
        end = place + _OGG_HEADER + len(lengths) + sum(lengths)
        if data[place : place + 4] != b"OggS" or end > len(data):
            break
        if data[place + 5] & _FIRST and not flags & _FIRST:
            starts.append(place)
        flags, place = data[place + 5], end
    if place < len(data) or not flags & _LAST:
        raise EdgepruneError(
            f"{path}: is cut short: its last Ogg page is missing or not whole; fetch the clip again, or leave it out, "
            "or if it is whole write it anew, as with `ffmpeg -i IN.ogg -c copy OUT.ogg`."
        )
    return [path] if len(starts) < 2 else _split(data, starts)


def _split(data: bytes, starts: list[int]) -> list[Stream]:
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
