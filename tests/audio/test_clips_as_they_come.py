"""Files from the field: read to their ends or refused by name, never cut in silence."""

import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeprune.audio.decode import check_clip, file_blocks, load_clip, probe_clip, rate_and_seconds
from edgeprune.audio.mpeg import header_of
from edgeprune.errors import EdgepruneError

RATE = 16000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells, so that an encoder of variable rate varies it."""
    count = round(seconds * RATE)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count) * np.linspace(0, 1, count) ** 4


def encoded(seconds: float, kind: str, seed: int = 0) -> bytes:
    file = io.BytesIO()
    options = {"bitrate_mode": "VARIABLE"} if kind == "MP3" else {}
    soundfile.write(file, noise(seconds, seed), RATE, format=kind, **options)
    return file.getvalue()


def same_by_every_reader(path: Path) -> np.ndarray:
    """The clip, after checking that it is the same block by block and as long as the probe says."""
    loaded = load_clip(path, RATE)
    assert probe_clip(path, RATE) == len(loaded)
    np.testing.assert_array_equal(np.concatenate(list(file_blocks(path, RATE))), loaded)
    check_clip(path)
    assert rate_and_seconds(path) == (RATE, len(loaded) / RATE)
    return loaded


def without_length(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which tells the length."""
    header = header_of(mp3[:4])
    assert header
    assert mp3[header.info_at : header.info_at + 4] in (b"Xing", b"Info")
    return mp3[header.length :]


# Chromium's decoder gives the same lengths, but for padding that it keeps: 98,543, 49,536, 48,000, 96,256, 48,000.
@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("mp3_joined.mp3", 96000),
        ("mp3_noxing.mp3", 49536 - 529),  # 86 frames of 576, without the decoder's delay
        ("flac_unknown_length.flac", 48000),
        ("ogg_chained.ogg", 96000),
        ("size0.wav", 48000),
    ],
)
def test_files_from_the_field(shared_cases: Path, name: str, samples: int) -> None:
    loaded = same_by_every_reader(shared_cases / "audio" / name)
    assert len(loaded) == samples
    # all hold the same three seconds, once or twice; the WAV is exact
    sound = load_clip(shared_cases / "audio/size0.wav", RATE)
    assert np.sqrt(np.mean(loaded**2)) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=0.02)
    assert np.corrcoef(loaded[-40000:], sound[-40000:])[0, 1] > 0.9 or name == "mp3_noxing.mp3"


def test_mp3_of_variable_rate_without_a_length_header(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    whole = encoded(3, "MP3")
    path.write_bytes(whole)
    sound = same_by_every_reader(path)
    path.write_bytes(without_length(whole))
    loaded = same_by_every_reader(path)
    assert 0 <= len(loaded) - len(sound) < 3 * 576  # the encoder's padding, which only the header tells
    lag = 576  # LAME's delay
    np.testing.assert_allclose(loaded[lag : lag + len(sound)], sound, atol=1e-3)


@pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\x01\x00" + b"\xff\xfb" * 64])
def test_joined_mp3s(tmp_path: Path, tag: bytes) -> None:
    first, second = encoded(1, "MP3", 1), encoded(2, "MP3", 2)
    parts = []
    for content in (first, second):
        (tmp_path / "part.mp3").write_bytes(content)
        parts.append(load_clip(tmp_path / "part.mp3", RATE))
    (tmp_path / "a.mp3").write_bytes(first + tag + second)
    np.testing.assert_array_equal(same_by_every_reader(tmp_path / "a.mp3"), np.concatenate(parts))


def test_mp3_behind_a_tag(tmp_path: Path) -> None:
    whole = encoded(1, "MP3")
    (tmp_path / "a.mp3").write_bytes(whole)
    (tmp_path / "tagged.mp3").write_bytes(b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + whole + b"TAG" + bytes(125))
    np.testing.assert_array_equal(
        same_by_every_reader(tmp_path / "tagged.mp3"), same_by_every_reader(tmp_path / "a.mp3")
    )


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_joined_flac_and_chained_ogg(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    parts = []
    for seconds in (1, 2):
        path.write_bytes(encoded(seconds, kind, seconds))
        parts.append(load_clip(path, RATE))
    path.write_bytes(encoded(1, kind, 1) + encoded(2, kind, 2))
    loaded = same_by_every_reader(path)
    assert len(loaded) == 3 * RATE
    np.testing.assert_allclose(loaded, np.concatenate(parts), atol=1e-6)


def with_total(flac: bytes, frames: int) -> bytes:
    """A FLAC whose header promises this many frames; 0: it does not know."""
    total = int.from_bytes(flac[18:26], "big") >> 36 << 36 | frames
    return flac[:18] + total.to_bytes(8, "big") + flac[26:]


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encoded(2, "FLAC"))
    sound = load_clip(path, RATE)
    path.write_bytes(with_total(path.read_bytes(), 0))
    np.testing.assert_array_equal(same_by_every_reader(path), sound)


def test_near_silence_is_packed_densely_and_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(60 * RATE), RATE)
    assert len(same_by_every_reader(tmp_path / "a.flac")) == 60 * RATE


@pytest.mark.parametrize("reader", [load_clip, probe_clip, lambda path, rate: list(file_blocks(path, rate))])
def test_a_promise_of_gigabytes_takes_no_memory(tmp_path: Path, reader: Callable[[Path, int], object]) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(with_total(encoded(1, "FLAC"), (1 << 36) - 1))
    tracemalloc.start()
    try:
        with pytest.raises(EdgepruneError, match=r"a.flac: is cut short: 16,000 of 68,719,476,735 frames"):
            reader(path, RATE)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def with_sizes(wav: bytes, riff: int, data: int) -> bytes:
    place = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", riff) + wav[8:place] + struct.pack("<I", data) + wav[place + 4 :]


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0x7FFFF024, 0xFFFFFFFF])
@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_wav_whose_header_was_never_finished(tmp_path: Path, size: int, seconds: float) -> None:
    path = tmp_path / "a.wav"
    wav = encoded(seconds, "WAV")
    path.write_bytes(wav)
    sound = load_clip(path, RATE)
    path.write_bytes(with_sizes(wav, size, size))
    np.testing.assert_array_equal(same_by_every_reader(path), sound)


LIST = b"LIST\x0a\0\0\0INFOISFT\0\0"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_sizes(encoded(1, "WAV")[:44] + LIST, 54, 0), "is empty"),
        (encoded(1, "WAV")[:20000], "cut short: 19,956 of 32,000 bytes of samples"),
        (encoded(1, "WAV") * 2, "is two WAV files in one; split them"),
        (with_sizes(encoded(1, "WAV"), 2036, 2000), "30,000 bytes after the samples that its header counts; repair"),
        (encoded(3, "MP3")[:-2000], r"cut short: \d+ of 86 frames"),
        (encoded(1, "FLAC")[:-300], "cannot be decoded|cut short"),
        (encoded(3, "OGG")[:-1], "cut short: its last Ogg page is missing or not whole"),
        (encoded(3, "AIFF")[:-4000], "cut short"),
    ],
    ids=["empty with a list", "cut", "two", "stale", "mp3", "flac", "ogg", "aiff"],
)
def test_what_would_be_cut_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "park.wav"
    path.write_bytes(content)
    for reader in (check_clip, lambda clip: load_clip(clip, RATE), lambda clip: list(file_blocks(clip, RATE))):
        with pytest.raises(EdgepruneError, match=f"park.wav: .*({sentence})"):
            reader(path)


def test_a_wav_with_chunks_and_a_tag_behind_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav = encoded(1, "WAV")
    path.write_bytes(wav)
    sound = load_clip(path, RATE)
    for more in (LIST, LIST + b"id3 \x00\x20\0\0" + bytes(8192), b"ID3" + bytes(9000), bytes(100)):
        path.write_bytes(wav + more)
        np.testing.assert_array_equal(same_by_every_reader(path), sound)


def test_recordings_of_different_rates_in_one_file(tmp_path: Path) -> None:
    other = io.BytesIO()
    soundfile.write(other, noise(1), 2 * RATE, format="FLAC")
    (tmp_path / "a.flac").write_bytes(encoded(1, "FLAC") + other.getvalue())
    with pytest.raises(EdgepruneError, match=r"a.flac: is several recordings of different sample rates"):
        load_clip(tmp_path / "a.flac", RATE)
    mp3 = io.BytesIO()
    soundfile.write(mp3, noise(1), 2 * RATE, format="MP3")
    (tmp_path / "a.mp3").write_bytes(without_length(encoded(1, "MP3")) + without_length(mp3.getvalue()))
    with pytest.raises(EdgepruneError, match=r"a.mp3: changes its sample rate or channels inside"):
        load_clip(tmp_path / "a.mp3", RATE)
