"""Hostile recordings: WAV, FLAC, Ogg, MP3 and AIFF whose headers, samples and ends are damaged."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import soundfile
from damage import FLOATS, NUMBERS, damaged_bytes

from edgeprune.audio.decode import check_clip, file_blocks, load_clip, probe_clip, rate_and_seconds
from edgeprune.audio.levels import measure_levels
from edgeprune.errors import EdgepruneError

RATE = 16000
"""Hz that every recording is resampled to; some are of it."""
_FORMATS = (
    *(("WAV", "PCM_16", 1), ("WAV", "PCM_24", 2), ("WAV", "FLOAT", 1), ("WAV", "DOUBLE", 2), ("WAV", "ULAW", 1)),
    *(("WAVEX", "PCM_16", 4), ("WAV", "IMA_ADPCM", 1), ("AIFF", "PCM_16", 1), ("RF64", "PCM_16", 1)),
    *(("FLAC", "PCM_16", 1), ("FLAC", "PCM_24", 2), ("OGG", "VORBIS", 1), ("OGG", "OPUS", 2)),
    *(("MP3", "MPEG_LAYER_III", 1), ("MP3", "MPEG_LAYER_III", 2), ("CAF", "PCM_16", 1), ("AU", "PCM_16", 1)),
)


class Recordings:
    """Decoded whole, block by block, and probed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clip"
        samples = np.random.default_rng(0).normal(0, 0.1, (4000, 4)).astype(np.float32)
        self._bases = []
        for place, (kind, subtype, channels) in enumerate(_FORMATS):
            stream, rate = io.BytesIO(), (RATE, 48000)[place % 2]
            soundfile.write(stream, samples[:, :channels], rate, format=kind, subtype=subtype)
            self._bases.append((kind, stream.getvalue()))
        self.good = self._bases[0]

    def make(self, random: random.Random) -> tuple[str, bytes]:
        kind, content = random.choice(self._bases)
        way = random.random()
        if way < 0.35:
            head = random.choice((48, 120, 400))
            content = damaged_bytes(random, content[:head]) + content[head:]
        elif way < 0.6:
            content = damaged_bytes(random, content)
        elif way < 0.7:
            content = content[: random.randrange(len(content))]
        elif way < 0.85:
            content = _with_number(random, content)
        elif way < 0.9:
            content = content + random.choice((content, random.choice(self._bases)[1], b"ID3\3\0\0\x7f\x7f\x7f\x7f"))
        elif way < 0.95:
            content = b"ID3\3\0\0" + bytes(random.randrange(128) for _ in range(4)) + content
        else:
            values = np.random.default_rng(random.randrange(1000)).normal(0, 0.1, 500)
            values[random.randrange(500)] = random.choice(FLOATS)
            stream = io.BytesIO()
            soundfile.write(stream, values, RATE, format="WAV", subtype=random.choice(("FLOAT", "DOUBLE")))
            content = stream.getvalue()
        suffix = kind if random.random() < 0.8 else random.choice(("wav", "mp3", "flac", "ogg", "raw", ""))
        return suffix.lower(), content

    def read(self, made: tuple[str, bytes]) -> None:
        suffix, content = made
        path = self._path.with_suffix(f".{suffix}" if suffix else "")
        path.write_bytes(content)
        refusals = []
        for step in (
            lambda: measure_levels(path, load_clip(path, RATE)),
            lambda: probe_clip(path, RATE),
            lambda: rate_and_seconds(path),
            lambda: check_clip(path),
            lambda: [len(block) for block in file_blocks(path, RATE)],
        ):
            try:
                step()
            except EdgepruneError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]


def _with_number(random: random.Random, content: bytes) -> bytes:
    """A number of 2, 4 or 8 bytes set in the header."""
    form = random.choice(("<H", "<I", "<Q", ">H", ">I"))
    place, size = random.randrange(4, 80), struct.calcsize(form)
    return content[:place] + struct.pack(form, random.choice(NUMBERS) % (1 << 8 * size)) + content[place + size :]
