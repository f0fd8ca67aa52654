"""Synthetic acoustic scenes in the layout of TAU Urban Acoustic Scenes: the data set that needs no download.

Each of the ten scenes has one kind of sound event of its own: sweeps that rise or fall, pairs of notes, footfalls that
are regular, paired or scattered, a beating hum, slow swells. Everything else (mean spectrum, reverberation, level, how
dense and how loud events are, stray sounds) is drawn by location and clip, independently of the scene. So the scene
shows only in changes over tenths of a second, and a linear model on time-averaged log-mels stays far below a small
convolutional network. The set is a test bench for the toolkit; its accuracies say nothing about real places.
"""

import csv
import io
import shutil
import wave
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

from edgeprune.console import say, track
from edgeprune.cores import cores
from edgeprune.data.labels import cell_of
from edgeprune.data.scene_sounds import CITIES, EVALUATION_DEVICES, SCENES, TRAIN_DEVICES, SyntheticClip, render
from edgeprune.errors import EdgepruneError
from edgeprune.files import cannot_write, read_object, write_json, write_text

VERSION = 1
"""Raised whenever the same parameters would no longer give the same clips."""

MANIFEST = "synthetic.json"
_MADE_BY = "edgeprune.audio.synthetic"
"""What the manifests of all versions hold."""

LOCATIONS_PER_CITY = 3
"""For each scene; the last location of every city is held out for evaluation."""

MIN_CLIPS_PER_SCENE = 9
"""The fewest with which every scene meets every device in the evaluation part."""


def plan(clips_per_scene: int) -> list[SyntheticClip]:
    """The clips of a set in the order of meta.csv; a third of each scene's locations is held out for evaluation."""
    if clips_per_scene < MIN_CLIPS_PER_SCENE:
        raise EdgepruneError(
            f"synthetic scenes: {clips_per_scene} clips a scene are too few for every device to be heard "
            f"in the evaluation part; ask for {MIN_CLIPS_PER_SCENE} or more."
        )
    clips = []
    sites = len(CITIES) * LOCATIONS_PER_CITY
    for scene_number, scene in enumerate(SCENES):
        for number in range(clips_per_scene):
            visit, site = divmod(number, sites)
            city, corner = divmod(site, LOCATIONS_PER_CITY)
            held_out = corner == LOCATIONS_PER_CITY - 1
            devices = EVALUATION_DEVICES if held_out else TRAIN_DEVICES
            clips.append(
                SyntheticClip(
                    scene=scene,
                    city=CITIES[city],
                    location=scene_number * sites + site,
                    segment=scene_number * clips_per_scene + number,
                    device=devices[(visit + city + corner) % len(devices)],
                    held_out=held_out,
                )
            )
    return clips


def plan_mixtures(clips_per_scene: int) -> list[SyntheticClip]:
    """The clips of a set of mixtures, ten times as many as given; every place has all kinds of them.

    Of 90 clips 45 hold a pair of scenes' sounds, 40 one scene's and 5 none. A third of the places is held out.
    """
    if clips_per_scene < MIN_CLIPS_PER_SCENE:
        raise EdgepruneError(
            f"synthetic mixtures: {clips_per_scene} clips a scene are too few for every sound to be heard in both "
            f"parts; ask for {MIN_CLIPS_PER_SCENE} or more."
        )
    kinds = [*("+".join(pair) for pair in combinations(SCENES, 2)), *4 * list(SCENES), *5 * ["none"]]
    sites, clips = len(CITIES) * LOCATIONS_PER_CITY, []
    for number in range(len(SCENES) * clips_per_scene):
        visit, kind = divmod(number, len(kinds))
        site = (number + visit) % sites
        city, corner = divmod(site, LOCATIONS_PER_CITY)
        held_out = corner == LOCATIONS_PER_CITY - 1
        devices = EVALUATION_DEVICES if held_out else TRAIN_DEVICES
        device = devices[number // LOCATIONS_PER_CITY % len(devices)]
        clips.append(SyntheticClip(kinds[kind], CITIES[city], site, number, device, held_out, mixture=True))
    return clips


def ensure(
    root: Path | str,
    clips_per_scene: int = 108,
    clip_s: float = 1.0,
    sample_rate: int = 16000,
    seed: int = 0,
    mixtures: bool = False,
) -> bool:
    """Write the set to `root` unless it is there whole; returns whether it was written.

    The layout is that of TAU sets: 16-bit mono WAV under audio/, meta.csv, the lists of fold 1. Two thirds of the clips
    are for training. No location is on both sides, and device s1 is heard in evaluation only. The same arguments give
    the same clips wherever numpy rounds alike. The folder gets its name once everything is written; another set there
    is replaced. Of two processes that call it at the same time, one writes and the other waits.

    Args:
        clips_per_scene: clips of each of the ten scenes, training and evaluation together; by default 35 MB.
        mixtures: clips with the sounds of none, one or two scenes, labelled with all of them.
    """
    if not 0.2 <= clip_s <= 60:
        raise EdgepruneError(f"synthetic scenes: clip_s is {clip_s:g} s; choose between 0.2 and 60 s.")
    if not 16000 <= sample_rate <= 96000:
        raise EdgepruneError(f"synthetic scenes: sample_rate is {sample_rate} Hz; choose between 16000 and 96000 Hz.")
    if seed < 0:
        raise EdgepruneError(f"synthetic scenes: seed is {seed}; choose 0 or a positive whole number.")
    clips = plan_mixtures(clips_per_scene) if mixtures else plan(clips_per_scene)
    settings = {"clips_per_scene": clips_per_scene, "clip_s": float(clip_s), "sample_rate": sample_rate, "seed": seed}
    manifest = {"made_by": _MADE_BY, "version": VERSION, **settings}
    manifest |= {"mixtures": True} if mixtures else {}
    if _is_whole(Path(root), clips, manifest) and not any(path.exists() for path in _beside(Path(root).resolve())):
        return False
    with _locked(Path(root)) as folder:
        for leftover in _beside(folder):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if _is_whole(folder, clips, manifest):  # another process wrote it while this one waited
            return False
        _build(folder, clips, manifest)
    return True


_LISTS = ("meta.csv", *(f"evaluation_setup/fold1_{part}.csv" for part in ("train", "test", "evaluate")))


@contextmanager
def _locked(root: Path) -> Iterator[Path]:
    """Lock `root` against other processes and yield its absolute path; an OSError inside becomes an EdgepruneError."""
    from filelock import FileLock

    folder = root.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            yield folder
    except OSError as error:
        raise cannot_write(root, error) from error


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where the set is written before it gets its name, and where the one it replaces goes meanwhile."""
    return folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")


def _build(folder: Path, clips: Sequence[SyntheticClip], manifest: dict[str, Any]) -> None:
    """Write the set beside `folder`, then move it there; the caller holds the lock."""
    _refuse_strangers(folder)
    partial_folder, old_folder = _beside(folder)
    say(f"Writing {len(clips)} synthetic clips of {manifest['clip_s']:g} s to {folder} ...")
    try:
        (partial_folder / "audio").mkdir(parents=True)
        _write_audio(partial_folder, clips, manifest)
        _write_lists(partial_folder, clips)
        write_json(partial_folder / MANIFEST, manifest)
        if folder.exists():
            folder.rename(old_folder)
        partial_folder.rename(folder)
    finally:
        for path in (partial_folder, old_folder):
            shutil.rmtree(path, ignore_errors=True)


def _write_audio(folder: Path, clips: Sequence[SyntheticClip], manifest: dict[str, Any]) -> None:
    clip_s, sample_rate, seed = manifest["clip_s"], manifest["sample_rate"], manifest["seed"]

    def write(clip: SyntheticClip) -> None:
        with wave.open(str(folder / clip.filename), "wb") as stream:
            stream.setnchannels(1)
            stream.setsampwidth(2)
            stream.setframerate(sample_rate)
            stream.writeframes(render(clip, clip_s, sample_rate, seed).astype("<i2").tobytes())

    pool = ThreadPoolExecutor(cores())
    try:
        for _ in track(pool.map(write, clips), "Synthetic scenes", len(clips)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _write_lists(folder: Path, clips: Sequence[SyntheticClip]) -> None:
    held_out = [clip for clip in clips if clip.held_out]
    labelled = ("filename", "scene_label")

    def label(clip: SyntheticClip) -> str:
        return cell_of(clip.sounds)

    tables: tuple[tuple[Sequence[str], Iterable[Sequence[str]]], ...] = (
        ((*labelled, "identifier", "source_label"), [(c.filename, label(c), c.identifier, c.device) for c in clips]),
        (labelled, [(clip.filename, label(clip)) for clip in clips if not clip.held_out]),
        (labelled[:1], [(clip.filename,) for clip in held_out]),
        (labelled, [(clip.filename, label(clip)) for clip in held_out]),
    )
    for name, (header, rows) in zip(_LISTS, tables, strict=True):
        text = io.StringIO()
        csv.writer(text, delimiter="\t", lineterminator="\n").writerows([header, *rows])
        write_text(folder / name, text.getvalue())


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder`, or None where none can be read."""
    try:
        return read_object(folder / MANIFEST)
    except EdgepruneError:
        return None


def _is_whole(folder: Path, clips: Sequence[SyntheticClip], manifest: dict[str, Any]) -> bool:
    """Whether `folder` has this manifest and every file of the set."""
    if _read_manifest(folder) != manifest:
        return False
    return all((folder / name).is_file() for name in (*_LISTS, *(clip.filename for clip in clips)))


def _refuse_strangers(folder: Path) -> None:
    """Raise EdgepruneError if replacing `folder` would lose anything that is not of a synthetic set."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise EdgepruneError(f"{folder}: is a file, and the synthetic scenes need a folder; choose another root.")
    manifest = _read_manifest(folder) or {}
    clips_per_scene = manifest.get("clips_per_scene")
    ours: set[str] = set()
    if manifest.get("made_by") == _MADE_BY and isinstance(clips_per_scene, int):
        planned = plan_mixtures if manifest.get("mixtures") else plan
        clips = planned(max(clips_per_scene, MIN_CLIPS_PER_SCENE))
        ours = {"audio", "evaluation_setup", MANIFEST, *_LISTS, *(clip.filename for clip in clips)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in ours or path.is_symlink():
            raise EdgepruneError(
                f"{folder}: holds {name}, which the synthetic scenes did not write; "
                "move it away or choose another root."
            )
