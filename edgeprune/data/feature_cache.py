"""Log-mel features of whole data sets, computed once by parallel workers and memory-mapped from disk.

A cache entry is a folder named by the hash of the card, the front-end and the clips (name, size, modification time,
inode and a probe of the content: a clip may be replaced by another of the same size and time).
It holds `features.npy` (`[frames of all clips, mels]`, float32), `offsets.npy`, `levels.npy` (how loud the clips
are; absent in caches of earlier versions) and, written last, `manifest.json`.
A lock keeps other processes out while it is written. `done.npy` marks finished clips, so that an interrupted extraction
continues where it stopped.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from edgeprune import console
from edgeprune.audio.decode import load_clip, probe_clip
from edgeprune.audio.levels import Levels, measure_levels
from edgeprune.cores import cores
from edgeprune.data.stored_array import map_array
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import cannot_write, default_cache, read_json, sha256_json, write_json
from edgeprune.recipe import LogMel

_VERSION = 4
_PROBE_BYTES = 1024
"""Bytes of a clip that are read at its start, middle and end."""
_FILES_A_JOB = 50
"""Files that a thread looks at before it takes others: to hand one over costs as much as to look at it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Features:
    """Log-mel frames of many clips, one after the other, on disk.

    Attributes:
        frames: float32 `[frames of all clips, mels]`, memory-mapped read-only.
        offsets: int64 `[clips + 1]`: clip i owns `frames[offsets[i]:offsets[i + 1]]`.
        rows: position of each file name.
        sha256: hash of card, front-end and clips.
        audio_sha256: hash of the clips' names, sizes and probes, wherever and since when they lie on the disk.
        levels: of the clips, in their order; empty in a cache of an earlier version.
    """

    frames: np.ndarray
    offsets: np.ndarray
    rows: Mapping[str, int]
    sha256: str
    audio_sha256: str = ""
    levels: Levels = field(default_factory=Levels)

    def clip(self, filename: str) -> np.ndarray:
        """`[frames, mels]` of one clip."""
        row = self.rows[filename]
        return self.frames[self.offsets[row] : self.offsets[row + 1]]


def extract(
    root: Path,
    filenames: Sequence[str],
    spec: LogMel,
    card: Mapping[str, Any],
    cache: Path | None = None,
    workers: int = 0,
    samples: Sequence[int] | None = None,
) -> Features:
    """Log-mel features of the clips, from the cache when they are there.

    Args:
        card: content of the data set's card, part of the key.
        workers: threads; 0: as many as cores.
        samples: what `read_headers` told of the clips, so that they are not opened once more.
    """
    import filelock

    states = _states(root, filenames)
    key = _key(states, spec, card)
    folder = _entry(key, cache)
    if not (folder / "manifest.json").exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder / "lock"):
                if not (folder / "manifest.json").exists():
                    samples = samples or _samples(root, filenames, spec, workers)
                    _write(folder, root, filenames, spec, samples, workers or cores())
                    facts = {"root": str(root.resolve()), "clips_sha256": sha256_json(states)}
                    content = {"sha256": key, "frontend": asdict(spec), "clips": list(filenames), **facts}
                    (folder / "done.npy").unlink(missing_ok=True)  # first: behind a manifest nobody looks for it
                    write_json(folder / "manifest.json", content)
        except OSError as error:
            raise cannot_write(folder, error) from error
    audio = sorted((Path(state.name).with_suffix("").as_posix(), state.size, state.probe) for state in states)
    return replace(_open(folder, key, filenames), audio_sha256=sha256_json(audio))


def read_headers(
    root: Path,
    filenames: Sequence[str],
    spec: LogMel,
    card: Mapping[str, Any],
    cache: Path | None = None,
    workers: int = 0,
) -> tuple[int, ...] | None:
    """Samples of each clip at the front-end's rate; None where `extract` has the features in the cache.

    Clips that are no audio, empty or below the front-end's rate are refused.
    """
    if (_entry(cache_key(root, filenames, spec, card), cache) / "manifest.json").exists():
        return None
    return tuple(_samples(root, filenames, spec, workers))


def cache_key(root: Path, filenames: Sequence[str], spec: LogMel, card: Mapping[str, Any]) -> str:
    """SHA-256 of everything the features depend on; they do not depend on the hop between patches."""
    return _key(_states(root, filenames), spec, card)


def outdated(root: Path, cache: Path | None = None) -> list[Path]:
    """Cache entries whose clips in this folder are no longer those that the features were computed from."""
    found = []
    for path in sorted(((cache or default_cache()) / "features").glob("*/manifest.json")):
        try:
            manifest = read_json(path)
            computed_in, computed_from, clips = (manifest[name] for name in ("root", "clips_sha256", "clips"))
            clips = [str(name) for name in clips]
        except (EdgepruneError, LookupError, TypeError):
            continue  # of an earlier version, or damaged: refused where it is used
        if computed_in != str(root.resolve()):
            continue
        try:
            unchanged = sha256_json(_states(root, clips)) == computed_from
        except EdgepruneError:  # a clip is gone
            unchanged = False
        if not unchanged:
            found.append(path.parent)
    return found


class _ClipState(NamedTuple):
    """What tells a clip on the disk from another of its name."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    probe: str


def _states(root: Path, filenames: Sequence[str]) -> list[_ClipState]:
    def state(filename: str) -> _ClipState:
        try:
            with open(root / filename, "rb", buffering=0) as stream:
                status, digest = os.fstat(stream.fileno()), hashlib.sha256()
                for start in (0, status.st_size // 2, max(0, status.st_size - _PROBE_BYTES)):
                    stream.seek(start)
                    digest.update(stream.read(_PROBE_BYTES))
        except OSError as error:
            raise EdgepruneError(
                f"{root / filename}: the clip is named in the split but is not there; run `edgeprune data verify`."
            ) from error
        return _ClipState(filename, status.st_size, status.st_mtime_ns, status.st_ino, digest.hexdigest()[:16])

    return _of_each(filenames, state, "looking at the clips")


def _entry(key: str, cache: Path | None) -> Path:
    return (cache or default_cache()) / "features" / key[:32]


def _samples(root: Path, filenames: Sequence[str], spec: LogMel, workers: int) -> list[int]:
    """Samples of each clip at the front-end's rate, by the headers."""
    return _of_each(filenames, lambda name: probe_clip(root / name, spec.sample_rate), "reading headers", workers)


def _of_each(filenames: Sequence[str], look: Callable[[str], T], title: str, workers: int = 0) -> list[T]:
    """What a function gives for each file, in their order; a slow disk answers several threads at a time."""
    parts = [filenames[start : start + _FILES_A_JOB] for start in range(0, len(filenames), _FILES_A_JOB)]
    with ThreadPoolExecutor(workers or None) as pool:
        found = pool.map(lambda part: [look(name) for name in part], parts)
        return [each for part in console.track(found, title, len(parts)) for each in part]


def _key(clips: Sequence[_ClipState], spec: LogMel, card: Mapping[str, Any]) -> str:
    front = {name: value for name, value in asdict(spec).items() if name != "patch_hop_frames"}
    return sha256_json({"version": _VERSION, "card": card, "frontend": front, "clips": clips})


def _open(folder: Path, key: str, filenames: Sequence[str]) -> Features:
    try:
        manifest = read_json(folder / "manifest.json")
        rows = {name: row for row, name in enumerate(filenames)}
        offsets = np.array(map_array(folder / "offsets.npy", np.int64, len(rows) + 1))
        frames = map_array(folder / "features.npy", np.float32, int(offsets[-1]), manifest["frontend"]["mels"])
        path = folder / "levels.npy"
        levels = Levels(*np.array(map_array(path, np.float32, len(rows), 2)).T) if path.is_file() else Levels()
        of_these = (manifest["sha256"], manifest["clips"]) == (key, list(filenames))
        if not of_these or offsets[0] != 0 or not (np.diff(offsets) > 0).all():
            raise ValueError("the parts do not belong together")
    except (EdgepruneError, OSError, ValueError, LookupError, TypeError) as error:
        reason = first_line(error)
        raise EdgepruneError(f"{folder}: this feature cache is damaged ({reason}); delete the folder.") from error
    return Features(frames, offsets, rows, key, levels=levels)


def _write(
    folder: Path, root: Path, filenames: Sequence[str], spec: LogMel, samples: Sequence[int], workers: int
) -> None:
    import torch

    from edgeprune.audio.logmel import Frontend

    frontend = Frontend(spec)
    frontend(torch.zeros(1))  # window, filter bank and compiled loops are made once, before the threads share them
    offsets_path, done_path, frames_path, levels_path = (
        folder / f"{name}.npy" for name in ("offsets", "done", "features", "levels")
    )
    offsets = np.concatenate([[0], np.cumsum([frontend.frames(count) for count in samples])]).astype(np.int64)
    clips, count = len(filenames), int(offsets[-1])
    if not _resumable(folder, offsets, spec.mels):
        # `done` goes first: old marks beside new, empty frames would pass for finished clips
        _reserve(done_path, np.uint8, (clips,))
        _reserve(frames_path, np.float32, (count, spec.mels))
        _reserve(levels_path, np.float32, (clips, 2))
        np.save(offsets_path, offsets)
    frames, done, levels = (np.load(path, mmap_mode="r+") for path in (frames_path, done_path, levels_path))

    def one(row: int) -> None:
        waveform = load_clip(root / filenames[row], spec.sample_rate)
        if len(waveform) != samples[row]:
            raise EdgepruneError(f"{root / filenames[row]}: holds fewer samples than its header says; fetch it again.")
        frames[offsets[row] : offsets[row + 1]] = frontend(torch.from_numpy(waveform)).numpy()
        levels[row] = measure_levels(root / filenames[row], waveform)
        done[row] = 1

    # One clip a thread: decoding, resampling and the FFT all release the interpreter.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers)
    try:
        with console.progress("log-mel features", len(filenames)) as bar:
            jobs = [pool.submit(one, row) for row in range(len(filenames)) if not done[row]]
            bar.update(bar.task_ids[0], completed=len(filenames) - len(jobs))
            for job in as_completed(jobs):
                job.result()
                bar.advance(bar.task_ids[0])
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
        for array in (frames, levels, done):
            array.flush()


def _reserve(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Write zeros and allocate their space on the disk: a mapped write without space would kill the process."""
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _resumable(folder: Path, offsets: np.ndarray, mels: int) -> bool:
    """Whether all parts that an interrupted extraction left are whole, and of these clips."""
    try:
        map_array(folder / "done.npy", np.uint8, len(offsets) - 1)
        map_array(folder / "levels.npy", np.float32, len(offsets) - 1, 2)
        map_array(folder / "features.npy", np.float32, int(offsets[-1]), mels)
        return np.array_equal(map_array(folder / "offsets.npy", np.int64, len(offsets)), offsets)
    except (OSError, ValueError):
        return False
