"""The feature cache: right, shared, resumed after every kind of end, and never half there."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from edgeprune.audio import decode
from edgeprune.audio.logmel import Frontend
from edgeprune.data import feature_cache as features
from edgeprune.data.feature_cache import Features, cache_key, extract, outdated
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

SPEC = LogMel(sample_rate=8000, mels=20, patch_frames=10, patch_hop_frames=10)
CARD = {"name": "some card"}
NAMES = [f"audio/{number}.wav" for number in range(8)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight clips of different lengths; the first is shorter than a patch, the second silent."""
    folder = tmp_path / "data"
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        samples = rng.uniform(-0.5, 0.5, 500 + 3000 * number) * (number != 1)
        soundfile.write(folder / name, samples, 8000)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


Loads = list[str]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Names of the clips decoded from here on."""
    seen: Loads = []

    def load_clip(path: Path, sample_rate: int) -> np.ndarray:
        seen.append(f"audio/{path.name}")
        return decode.load_clip(path, sample_rate)

    monkeypatch.setattr(features, "load_clip", load_clip)
    return seen


def get(root: Path, cache: Path, names: list[str] = NAMES, workers: int = 1) -> Features:
    return extract(root, names, SPEC, CARD, cache, workers)


def entry(cache: Path) -> Path:
    """The only entry's folder."""
    (folder,) = (cache / "features").iterdir()
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_every_clip_is_what_the_front_end_gives(root: Path, cache: Path, workers: int) -> None:
    cached = get(root, cache, workers=workers)
    frontend = Frontend(SPEC)
    for name in NAMES:
        waveform = torch.from_numpy(decode.load_clip(root / name, 8000))
        np.testing.assert_array_equal(cached.clip(name), frontend(waveform).numpy())
    assert cached.frames.dtype == np.float32
    assert not cached.frames.flags.writeable


def test_short_and_silent_clips(root: Path, cache: Path) -> None:
    cached = get(root, cache)
    assert cached.clip(NAMES[0]).shape == (10, 20)  # padded to one patch
    np.testing.assert_allclose(cached.clip(NAMES[1]), np.log(1e-3), rtol=1e-6)


def test_threads_are_given_back(root: Path, cache: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        get(root, cache)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_second_time_from_the_cache(root: Path, cache: Path, loads: Loads) -> None:
    first = get(root, cache)
    assert sorted(loads) == NAMES
    again = get(root, cache)
    assert len(loads) == len(NAMES)
    assert isinstance(again.frames, np.memmap)
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.frames, first.frames)


def test_patch_hop_shares_the_cache(root: Path, cache: Path, loads: Loads) -> None:
    get(root, cache)
    extract(root, NAMES, dataclasses.replace(SPEC, patch_hop_frames=5), CARD, cache)
    assert len(loads) == len(NAMES)


def touch(root: Path) -> None:
    status = (root / NAMES[3]).stat()
    os.utime(root / NAMES[3], ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def grow(root: Path) -> None:
    status = (root / NAMES[3]).stat()
    with open(root / NAMES[3], "ab") as stream:
        stream.write(b"\0\0")
    os.utime(root / NAMES[3], ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_sound(root: Path) -> None:
    """Other sound in the same file, of the same size and time."""
    path, status = root / NAMES[3], (root / NAMES[3]).stat()
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 500 + 3000 * 3)
    with open(path, "r+b") as stream:
        soundfile.write(stream, samples, 8000, format="WAV")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_ino) == (status.st_size, status.st_ino)


def replace_file(root: Path) -> None:
    """A copy of the same size and time in the file's place."""
    path = root / NAMES[3]
    shutil.copy2(path, path.with_suffix(".copy"))
    os.replace(path.with_suffix(".copy"), path)


@pytest.mark.parametrize("change", [touch, grow, replace_sound, replace_file])
def test_changed_file_changes_the_key(root: Path, change: Callable[[Path], None]) -> None:
    before = cache_key(root, NAMES, SPEC, CARD)
    assert before == cache_key(root, NAMES, SPEC, CARD)
    change(root)
    assert cache_key(root, NAMES, SPEC, CARD) != before


def test_other_sound_of_the_same_name_is_computed_anew(root: Path, cache: Path) -> None:
    before = get(root, cache)
    assert get(root, cache).audio_sha256 == before.audio_sha256
    assert outdated(root, cache) == []
    replace_sound(root)
    after = get(root, cache)
    assert after.audio_sha256 != before.audio_sha256
    assert not np.array_equal(after.clip(NAMES[3]), before.clip(NAMES[3]))
    np.testing.assert_array_equal(after.clip(NAMES[4]), before.clip(NAMES[4]))
    assert outdated(root, cache) == [cache / "features" / before.sha256[:32]]
    assert outdated(root.parent, cache) == []


def test_the_audio_is_the_same_where_it_was_copied_to(root: Path, cache: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(root, tmp_path / "copied")
    first, second = get(root, cache), get(copied, cache)
    assert first.sha256 != second.sha256
    assert first.audio_sha256 == second.audio_sha256


def test_everything_else_changes_the_key_too(root: Path) -> None:
    keys = [cache_key(root, NAMES, SPEC, CARD)]
    keys += [cache_key(root, NAMES[::-1], SPEC, CARD), cache_key(root, NAMES[1:], SPEC, CARD)]
    keys += [cache_key(root, NAMES, SPEC, {"name": "other"})]
    others = {"sample_rate": 7999, "window_s": 0.03, "hop_s": 0.01, "n_fft": 2048, "window": "hann", "center": False}
    others |= {"mels": 21, "fmin": 1.0, "fmax": 3000.0, "mel_scale": "htk", "norm": "slaney", "spectrum": "power"}
    others |= {"log_offset": 1e-5, "patch_frames": 11}
    assert others.keys() == {field.name for field in dataclasses.fields(LogMel)} - {"patch_hop_frames"}
    for name, value in others.items():
        keys.append(cache_key(root, NAMES, dataclasses.replace(SPEC, **{name: value}), CARD))
    assert len(set(keys)) == len(keys)


def test_changed_clip_is_read_again(root: Path, cache: Path, loads: Loads) -> None:
    get(root, cache)
    soundfile.write(root / NAMES[3], np.full(9000, 0.25), 8000)
    cached = get(root, cache)
    assert len(loads) == 2 * len(NAMES)
    waveform = torch.full((9000,), 0.25)
    np.testing.assert_array_equal(cached.clip(NAMES[3]), Frontend(SPEC)(waveform).numpy())


@pytest.mark.parametrize("end", [EdgepruneError("a bad clip"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("workers", [1, 3])
def test_finished_clips_survive_a_failure(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException, workers: int
) -> None:
    finished: list[str] = []
    lock = threading.Lock()

    def load_clip(path: Path, sample_rate: int) -> np.ndarray:
        with lock:
            if len(finished) == 5:
                raise end
            finished.append(f"audio/{path.name}")
        return decode.load_clip(path, sample_rate)

    expected = get(root, cache.with_name("whole")).frames
    monkeypatch.setattr(features, "load_clip", load_clip)
    with pytest.raises(type(end)):
        get(root, cache, workers=workers)
    assert not (entry(cache) / "manifest.json").exists()

    rest: list[str] = []

    def count(path: Path, sample_rate: int) -> np.ndarray:
        rest.append(f"audio/{path.name}")
        return decode.load_clip(path, sample_rate)

    monkeypatch.setattr(features, "load_clip", count)
    cached = get(root, cache)
    assert len(finished) == 5
    assert sorted(finished + rest) == NAMES
    np.testing.assert_array_equal(cached.frames, expected)


# --- other processes --------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from pathlib import Path
from edgeprune.audio import decode
from edgeprune.data import feature_cache as features
from edgeprune.recipe import LogMel
import edgeprune.audio.logmel, librosa, soundfile, soxr

root, cache, names, spec, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), *map(eval, sys.argv[3:6])
loads = 0

def load_clip(path, sample_rate):
    global loads
    if loads == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    loads += 1
    time.sleep(0.05)  # so that two processes overlap
    return decode.load_clip(path, sample_rate)

features.load_clip = load_clip
print("ready", flush=True)
sys.stdin.readline()
features.extract(root, names, spec, {"name": "some card"}, cache, 1)
print(loads)
"""


def start(root: Path, cache: Path, kill_at: int = -1) -> subprocess.Popen[str]:
    """A process that is about to extract all clips, one after the other, and waits for a line of input."""
    spec = repr(SPEC)
    command = [sys.executable, "-c", CHILD, str(root), str(cache), repr(NAMES), spec, str(kill_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_at_once(root: Path, cache: Path, loads: Loads) -> None:
    children = [start(root, cache), start(root, cache)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    counts = [int(child.communicate(timeout=60)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(counts) == [0, len(NAMES)]  # one wrote, one waited
    cached = get(root, cache)
    assert loads == []
    np.testing.assert_array_equal(cached.frames, get(root, cache / "other").frames)


def test_killed_and_resumed(root: Path, cache: Path, loads: Loads) -> None:
    child = start(root, cache, kill_at=5)
    child.communicate("go\n", timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert not (entry(cache) / "manifest.json").exists()
    cached = get(root, cache)
    assert loads == NAMES[5:]
    np.testing.assert_array_equal(cached.frames, get(root, cache / "other").frames)


# --- damage -----------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shorten(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def strip(path: Path) -> None:
    path.write_text(json.dumps({"sha256": json.loads(path.read_text())["sha256"]}))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "features cut": ("features.npy", cut),
    "features shorter": ("features.npy", shorten),
    "features gone": ("features.npy", Path.unlink),
    "features empty": ("features.npy", lambda path: path.write_bytes(b"")),
    "offsets cut": ("offsets.npy", cut),
    "offsets shorter": ("offsets.npy", shorten),
    "offsets of nothing": ("offsets.npy", lambda path: np.save(path, np.zeros(0, np.int64))),
    "manifest cut": ("manifest.json", cut),
    "manifest without clips": ("manifest.json", strip),
    "manifest of another clip": (
        "manifest.json",
        lambda path: path.write_text(path.read_text().replace(NAMES[1], "other.wav")),
    ),
    "manifest is a number": ("manifest.json", lambda path: path.write_text("1")),
    "manifest of another": ("manifest.json", lambda path: path.write_text('{"sha256": "0", "clips": []}')),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told(root: Path, cache: Path, kind: str) -> None:
    get(root, cache)
    name, damage = DAMAGE[kind]
    damage(entry(cache) / name)
    with pytest.raises(EdgepruneError, match=r"this feature cache is damaged .*; delete the folder") as caught:
        get(root, cache)
    assert str(entry(cache)) in str(caught.value)


@pytest.mark.parametrize("name", ["features.npy", "offsets.npy", "done.npy"])
@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_damaged_beginnings_are_begun_again(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    def fail(path: Path, sample_rate: int) -> np.ndarray:
        if path.name == "5.wav":
            raise EdgepruneError("a bad clip")
        return decode.load_clip(path, sample_rate)

    with monkeypatch.context() as patch:
        patch.setattr(features, "load_clip", fail)
        with pytest.raises(EdgepruneError, match="a bad clip"):
            get(root, cache)
    damage(entry(cache) / name)
    np.testing.assert_array_equal(get(root, cache).frames, get(root, cache / "other").frames)


# --- what cannot be read or written -----------------------------------------------------------------------------------


def test_unusable_clip_is_named(root: Path, cache: Path) -> None:
    samples = np.zeros(4000)
    samples[100] = np.nan
    soundfile.write(root / NAMES[4], samples, 8000, subtype="FLOAT")
    with pytest.raises(EdgepruneError, match=r"audio/4.wav: holds NaN"):
        get(root, cache)
    (root / NAMES[4]).unlink()
    with pytest.raises(EdgepruneError, match=r"audio/4.wav: the clip is named in the split but is not there"):
        get(root, cache)


def test_fewer_samples_than_the_header_says(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "load_clip", lambda path, rate: decode.load_clip(path, rate)[:-1])
    with pytest.raises(EdgepruneError, match=r"audio/0.wav: holds fewer samples than its header says"):
        get(root, cache)


def test_full_disk(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "open_memmap", full)
        with pytest.raises(EdgepruneError, match=r"the disk is full; free some space or choose another folder\.$"):
            get(root, cache)
    np.testing.assert_array_equal(get(root, cache).frames, get(root, cache / "other").frames)


def test_space_is_taken_before_work_begins(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped memory without a disk behind it ends the process, so the files may not be sparse."""
    seen = []

    def load_clip(path: Path, sample_rate: int) -> np.ndarray:
        status = (entry(cache) / "features.npy").stat()
        seen.append((status.st_blocks * 512, status.st_size))
        return decode.load_clip(path, sample_rate)

    monkeypatch.setattr(features, "load_clip", load_clip)
    get(root, cache)
    on_disk, size = seen[0]
    assert on_disk >= size


def test_cache_that_is_a_file(root: Path, cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(EdgepruneError, match=r"cannot be written \(.+\); choose a folder you can write to\.$"):
        get(root, cache)


def test_folder_without_permission(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))  # as root, chmod would refuse nothing

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(EdgepruneError, match=r"cannot be written \(Permission denied\); choose a folder") as caught:
        get(root, cache)
    assert str(cache) in str(caught.value)


def test_real_clips_twice_the_same(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "tut2017"
    names = sorted(path.relative_to(root).as_posix() for path in (root / "audio").glob("*.flac"))[::60]
    digests = {
        hashlib.sha256(extract(root, names, LogMel(16000), CARD, tmp_path / str(workers), workers).frames).hexdigest()
        for workers in (1, 2)
    }
    assert len(digests) == 1
