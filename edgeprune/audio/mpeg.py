"""MPEG audio (MP3) counted frame by frame: without a length header, decoders guess a file's length and stop there."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgeprune.errors import EdgepruneError

_KBPS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by version (2 also for 2.5) and layer, ISO/IEC 11172-3 and 13818-3, table of `bitrate_index`."""
_RATES = (44100, 48000, 32000)
_HEADER = 4
_TAG_OR_FRAME = re.compile(rb"ID3|\xff")
_VBRI_AT = 36
"""Fraunhofer's length header, counted from its frame's start."""


@dataclass
class _Encoding:
    """Frames of one encoding, and how many its length header promises; `info` is that header's frame."""

    first: "_Header"
    frames: list[bytes]
    promised: int | None = None
    info: bytes = b""


class _Header(NamedTuple):
    """What a frame's four bytes say: its length in bytes, and the place of a length header in its side information."""

    length: int
    rate: int
    mono: bool
    layer: int
    info_at: int


def mpeg_streams(path: Path) -> list[bytes]:
    """The encodings that were joined in a file, each with a length header that counts all its frames; [] of none.

    Raises EdgepruneError for a file with fewer frames than its length header promises, or of changing rate.
    """
    encodings: list[_Encoding] = []
    for header, frame in _frames(path.read_bytes()):
        promised = _promised(header, frame)
        if promised is not None:
            encodings.append(_Encoding(header, [], promised or None, frame))
            continue
        if not encodings:
            encodings.append(_Encoding(header, []))
        encoding = encodings[-1]
        if (header.rate, header.mono) != (encoding.first.rate, encoding.first.mono):
            raise EdgepruneError(f"{path}: changes its sample rate or channels inside; convert it to WAV.")
        encoding.frames.append(frame)
    return [_with_length(path, encoding) for encoding in encodings if encoding.frames]


def header_of(data: bytes) -> _Header | None:
    """A frame's header of layer 2 or 3; None where these bytes begin no such frame."""
    if len(data) < _HEADER or data[0] != 0xFF or data[1] >> 5 != 7:
        return None
    version_bits, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bitrate, rate_index, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    version = 1 if version_bits == 3 else 2
    if version_bits == 1 or (version, layer) not in _KBPS or bitrate in (0, 15) or rate_index == 3:
        return None
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    mono = data[3] >> 6 == 3
    samples_per_byte = 72 if (version, layer) == (2, 3) else 144
    length = samples_per_byte * _KBPS[version, layer][bitrate - 1] * 1000 // rate + padding
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[version, mono]
    return _Header(length, rate, mono, layer, _HEADER + side)


def _frames(data: bytes) -> Iterator[tuple[_Header, bytes]]:
    """Every whole frame; tags and what else lies between frames are left out."""
    place, following = 0, False
    while place + _HEADER <= len(data):
        if tag_bytes := id3_bytes(data[place : place + 10]):
            place += tag_bytes
            continue
        header = header_of(data[place : place + _HEADER])
        end = place + (header.length if header else 0)
        # away from a frame's end, a header counts only where another follows: any bytes may look like one
        if header and end <= len(data) and (following or end == len(data) or header_of(data[end : end + _HEADER])):
            yield header, data[place:end]
            place, following = end, True
        else:
            start = _TAG_OR_FRAME.search(data, place + 1)
            place, following = start.start() if start else len(data), False


def id3_bytes(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins with these ten, 0 of none."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _promised(header: _Header, frame: bytes) -> int | None:
    """Frames that a length header promises, 0 if it does not say; None of a frame of sound."""
    at = header.info_at
    if frame[at : at + 4] in (b"Xing", b"Info"):
        says, frames = struct.unpack_from(">II", frame.ljust(at + 12, b"\0"), at + 4)
        return int(frames) if says & 1 else 0
    return 0 if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI" else None


def _with_length(path: Path, encoding: _Encoding) -> bytes:
    """The frames behind a length header that counts them: their own if it is right, which also tells the padding."""
    counted = len(encoding.frames)
    if encoding.promised is not None and counted < encoding.promised - 1:  # some writers count the header's own frame
        raise EdgepruneError(
            f"{path}: is cut short: {counted} of {encoding.promised} frames; fetch the clip again or leave it out."
        )
    info = encoding.info if encoding.promised == counted else _length_frame(encoding.first, encoding.frames[0], counted)
    return info + b"".join(encoding.frames)


def _length_frame(header: _Header, frame: bytes, counted: int) -> bytes:
    """A frame without sound whose Xing header holds the number of the frames that follow; layer 3 alone knows it."""
    if header.layer != 3:
        return b""
    start = bytes((frame[0], frame[1] | 1, 0x90 | frame[2] & 0x0C, frame[3]))  # no CRC, a bit rate that has the room
    sized = header_of(start)
    assert sized is not None
    content = struct.pack(">4sII", b"Xing", 1, counted)
    return (start + bytes(sized.info_at - _HEADER) + content).ljust(sized.length, b"\0")
