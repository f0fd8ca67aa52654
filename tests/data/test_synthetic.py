"""The built-in data set: the same bytes every time, TAU's layout, an honest split, and something to learn."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeprune.data import synthetic
from edgeprune.data.cards import load_card
from edgeprune.data.feature_cache import extract
from edgeprune.data.labels import membership, names_in
from edgeprune.data.scene_sounds import render
from edgeprune.data.splits import load_split
from edgeprune.data.synthetic import ensure, plan, plan_mixtures
from edgeprune.data.verify import verify
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

CARD = load_card("synthetic")
SMALL = {"clips_per_scene": 9, "clip_s": 0.3}


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("scenes") / "small"
    ensure(root, **SMALL)
    return root


def test_same_arguments_same_bytes(small: Path, tmp_path: Path) -> None:
    ensure(tmp_path / "again", **SMALL)
    assert digests(tmp_path / "again") == digests(small)


def test_seed_changes_every_clip_and_no_list(small: Path, tmp_path: Path) -> None:
    ensure(tmp_path / "other", **SMALL, seed=1)
    ours, other = digests(small), digests(tmp_path / "other")
    assert ours.keys() == other.keys()
    same = {name for name in ours if ours[name] == other[name]}
    assert same == {"meta.csv", *(f"evaluation_setup/fold1_{part}.csv" for part in ("train", "test", "evaluate"))}


def test_clip_does_not_depend_on_the_others(small: Path) -> None:
    for clip in plan(9)[::17]:
        samples, _ = soundfile.read(small / clip.filename, dtype="int16")
        np.testing.assert_array_equal(synthetic.render(clip, 0.3), samples)


def test_format(small: Path) -> None:
    paths = sorted((small / "audio").iterdir())
    assert len(paths) == 90
    for path in paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 4800)
        samples, _ = soundfile.read(path)
        assert 1e-3 < np.abs(samples).max() < 1.0  # heard, and not clipped


def test_split_is_read_as_tau_is(small: Path) -> None:
    split = load_split(CARD, small)
    assert split.classes == tuple(synthetic.SCENES)
    assert len(split.train) == 60
    assert len(split.test) == 30
    assert set(split.train["label"]) == set(split.test["label"]) == set(CARD.classes)
    assert set(split.train["device"]) == {"a", "b"}
    assert set(split.test["device"]) == {"a", "b", "s1"}
    assert not set(split.train["group"]) & set(split.test["group"])
    assert not set(split.train["filename"]) & set(split.test["filename"])
    assert verify(CARD, small).ok


@pytest.mark.parametrize("clips_per_scene", [9, 10, 18, 90, 108])
def test_no_location_on_both_sides(clips_per_scene: int) -> None:
    clips = plan(clips_per_scene)
    assert len(clips) == len({clip.filename for clip in clips}) == 10 * clips_per_scene
    places = {held: {clip.identifier for clip in clips if clip.held_out == held} for held in (True, False)}
    assert not places[True] & places[False]
    assert {clip.device for clip in clips if not clip.held_out} == {"a", "b"}
    for scene in synthetic.SCENES:
        assert {clip.device for clip in clips if clip.held_out and clip.scene == scene} == {"a", "b", "s1"}


def test_ensure_writes_once(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    assert ensure(root, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert not ensure(root, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_ensure_mends_and_replaces_its_own(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    ensure(root, **SMALL)
    next((root / "audio").iterdir()).unlink()
    assert ensure(root, **SMALL)
    assert digests(root) == digests(small)
    assert ensure(root, **SMALL | {"clip_s": 0.4})
    assert json.loads((root / synthetic.MANIFEST).read_text())["clip_s"] == 0.4
    assert soundfile.info(next((root / "audio").iterdir())).frames == 6400
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["scenes"]


def test_a_strangers_folder_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    (root / "thesis.txt").write_text("years of work")
    with pytest.raises(EdgepruneError, match=r"holds thesis.txt, which the synthetic scenes did not write"):
        ensure(root, **SMALL)
    assert digests(root).keys() == {"thesis.txt"}


def test_a_strangers_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(EdgepruneError, match="is a file, and the synthetic scenes need a folder"):
        ensure(tmp_path / "file", **SMALL)
    assert (tmp_path / "file").read_text() == "a file"


def test_a_stranger_among_ours_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    ensure(root, **SMALL)
    (root / "audio/mine.wav").write_bytes(b"x")
    with pytest.raises(EdgepruneError, match=r"holds audio/mine.wav, which"):
        ensure(root, **SMALL | {"seed": 1})
    assert (root / "audio/mine.wav").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"clips_per_scene": 8}, "8 clips a scene are too few"),
        ({"clip_s": 0.1}, "clip_s is 0.1 s"),
        ({"clip_s": float("nan")}, "clip_s is nan s"),
        ({"sample_rate": 8000}, "sample_rate is 8000 Hz"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, arguments: dict[str, float], sentence: str) -> None:
    with pytest.raises(EdgepruneError, match=sentence):
        ensure(tmp_path / "scenes", **SMALL | arguments)
    assert not list(tmp_path.iterdir())


def movement(frames: np.ndarray) -> np.ndarray:
    """What happens from frame to frame: rhythm (loudness against itself later), pitch that rises, pitch that falls."""
    x = frames - frames.mean(axis=0)
    x = x / x.std()
    loudness = x.mean(axis=1)
    rhythm = [np.mean(loudness[lag:] * loudness[:-lag]) / loudness.var() for lag in range(1, 25)]
    rising = [np.mean(x[lag:, up:] * x[:-lag, :-up]) for lag in range(1, 7) for up in range(1, 5)]
    falling = [np.mean(x[lag:, :-up] * x[:-lag, up:]) for lag in range(1, 7) for up in range(1, 5)]
    return np.array([*rhythm, *rising, *falling])


def test_scenes_differ_in_movement_not_in_mean_spectrum(tmp_path: Path) -> None:
    """Worth learning: the same linear model fails on time-averaged log-mels and succeeds on what moves in them."""
    root = tmp_path / "scenes"
    ensure(root, clips_per_scene=36, clip_s=1.0)
    split = load_split(CARD, root)
    names = [*split.train["filename"], *split.test["filename"]]
    features = extract(root, names, LogMel.dcase21(16000, clip_s=1.0), CARD.content(), tmp_path / "cache")

    def accuracy(describe: Callable[[np.ndarray], np.ndarray]) -> float:
        train, test = (
            np.stack([describe(features.clip(name)) for name in part["filename"]]) for part in (split.train, split.test)
        )
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train, split.train["label"])
        return float(model.score(test, split.test["label"]))

    assert accuracy(lambda frames: frames.mean(axis=0)) < 0.35
    assert accuracy(movement) > 0.55


def test_mixtures_hold_what_their_labels_say(tmp_path: Path) -> None:
    """Clips of one place differ by the sounds they hold; both parts hold every sound, alone and with others."""
    assert ensure(tmp_path / "mixtures", **SMALL, mixtures=True)
    assert not ensure(tmp_path / "mixtures", **SMALL, mixtures=True)
    split = load_split(load_card("synthetic_mixtures"), tmp_path / "mixtures")
    assert split.task == "tags"
    assert len(split.train) + len(split.test) == 90
    assert set(split.test["device"]) == {"a", "b", "s1"}
    assert set(split.train["device"]) == {"a", "b"}
    assert not set(split.train["group"]) & set(split.test["group"])
    for part in (split.train, split.test):
        assert membership(part["label"], split.classes).any(axis=0).all()
        assert {len(names_in(cell)) for cell in part["label"]} == {0, 1, 2}
    planned = {clip.filename: clip for clip in plan_mixtures(9)}
    for name, label in zip(split.train["filename"], split.train["label"], strict=True):
        assert set(planned[name].sounds) == set(names_in(label))
    clip = next(clip for clip in plan_mixtures(9) if len(clip.sounds) == 2)
    both, one, none = (render(replace(clip, scene=scene), 0.3) for scene in (clip.scene, clip.sounds[0], "none"))
    assert not np.array_equal(both, one)
    assert not np.array_equal(one, none)
    ensure(tmp_path / "mixtures", **SMALL)  # another set of ours may replace it
    assert load_split(CARD, tmp_path / "mixtures").task == "scenes"
