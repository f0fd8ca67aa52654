"""Verification finds what was taken away, added and damaged, and nothing else."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import call

from edgeprune.data.cards import load_card
from edgeprune.data.feature_cache import extract
from edgeprune.data.verify import verify
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

TRAIN = ["bus-lyon-1-1-a", "tram-lyon-2-2-a", "park-paris-5-5-a"]
TEST = ["bus-paris-3-3-a", "tram-paris-4-4-a"]


def write_lists(root: Path) -> None:
    (root / "evaluation_setup").mkdir()
    for part, names in (("train", TRAIN), ("evaluate", TEST)):
        rows = [f"audio/{name}.wav\t{name.split('-')[0]}" for name in names]
        (root / f"evaluation_setup/fold1_{part}.csv").write_text("\n".join(["filename\tscene_label", *rows, ""]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small set in TAU's layout, whole; the last clip lies there as FLAC."""
    write_lists(tmp_path)
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(0)
    for name in [*TRAIN, *TEST]:
        suffix = "flac" if name == TEST[-1] else "wav"
        soundfile.write(tmp_path / f"audio/{name}.{suffix}", rng.uniform(-0.5, 0.5, 8000), 16000)
    return tmp_path


CARD = load_card("tau2020_mobile")


def test_whole(root: Path) -> None:
    report = verify(CARD, root)
    assert (report.missing, report.extra, report.corrupt, report.clips) == ((), (), (), 5)
    assert report.ok


def test_features_older_than_the_clips_are_told(root: Path, tmp_path_factory: pytest.TempPathFactory, capsys) -> None:
    cache = tmp_path_factory.mktemp("cache")
    names = [f"audio/{name}.wav" for name in TRAIN]
    extract(root, names, LogMel(16000), CARD.content(), cache, 1)
    assert verify(CARD, root, cache).outdated == ()
    soundfile.write(root / names[0], np.zeros(8000), 16000)
    (folder,) = verify(CARD, root, cache).outdated
    assert folder.startswith(str(cache))
    code, out, _ = call(capsys, "data", "verify", CARD.name, "--root", root, "--cache", cache)
    assert code == 0
    assert f"{folder}: these cached features are older than the clips" in out


def test_missing_and_extra(root: Path) -> None:
    (root / "audio/bus-lyon-1-1-a.wav").rename(root / "audio/strange.wav")
    (root / "audio/notes.txt").write_text("no audio")
    report = verify(CARD, root)
    assert report.missing == ("audio/bus-lyon-1-1-a.wav",)
    assert report.extra == ("audio/strange.wav",)
    assert report.clips == 4
    assert not report.ok


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_cut_short(root: Path, suffix: str, keep: float) -> None:
    (root / "audio/bus-lyon-1-1-a.wav").unlink()
    path = root / f"audio/bus-lyon-1-1-a.{suffix}"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 32000), 16000)
    assert verify(CARD, root).ok
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    report = verify(CARD, root)
    assert [name for name, _ in report.corrupt] == [f"audio/bus-lyon-1-1-a.{suffix}"]
    assert report.clips == 4


def test_ogg_without_its_last_page(root: Path) -> None:
    (root / "audio/bus-lyon-1-1-a.wav").unlink()
    path = root / "audio/bus-lyon-1-1-a.ogg"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 160000), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    assert [name for name, _ in verify(CARD, root).corrupt] == ["audio/bus-lyon-1-1-a.ogg"]


def test_no_sound_and_no_audio(root: Path) -> None:
    soundfile.write(root / "audio/bus-lyon-1-1-a.wav", np.zeros(0), 16000)
    (root / "audio/tram-lyon-2-2-a.wav").write_bytes(b"<html>404</html>")
    reasons = dict(verify(CARD, root).corrupt)
    assert reasons["audio/bus-lyon-1-1-a.wav"] == "the clip is empty; fetch it again or leave it out"
    assert reasons["audio/tram-lyon-2-2-a.wav"].startswith("cannot be decoded")


def test_md5_where_a_table_gives_it(root: Path) -> None:
    def digest(name: str) -> str:
        path = root / f"audio/{name}.wav"
        return hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else "0" * 32

    rows = [f"audio/{name}.wav\t{digest(name)}" for name in [*TRAIN, *TEST]]
    rows[1] = rows[1][:-32] + "0" * 32
    text = "\n".join(["filename\tmd5_of_official_wav", *rows, "audio/metro-milan-9-9-a.wav\t", ""])
    (root / "meta_derived_with_wav_md5.csv.gz").write_bytes(gzip.compress(text.encode()))
    report = verify(CARD, root)
    # The FLAC copy cannot have the MD5 of the WAV; a clip in no fold belongs to the set all the same.
    assert report.corrupt == (("audio/tram-lyon-2-2-a.wav", "has another MD5 than its list gives"),)
    assert report.missing == ("audio/metro-milan-9-9-a.wav",)


def test_esc10_inside_esc50(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "audio").mkdir()
    rows = ["1-1-A-0.wav,1,dog,True", "2-2-A-0.wav,2,dog,True", "1-3-A-3.wav,1,cow,False", "2-4-A-3.wav,2,cow,False"]
    (tmp_path / "meta/esc50.csv").write_text("\n".join(["filename,fold,category,esc10", *rows, ""]))
    for row in rows[:3]:
        soundfile.write(tmp_path / "audio" / row.split(",")[0], np.ones(100), 44100)
    report = verify(load_card("esc10"), tmp_path)
    assert (report.missing, report.extra, report.clips) == ((), (), 2)
    assert verify(load_card("esc50"), tmp_path).missing == ("audio/2-4-A-3.wav",)


def test_own_folder_with_its_own_folds(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("filename,label,fold\na.wav,x,0\nsub/b.wav,y,7\n")
    (tmp_path / "sub").mkdir()
    soundfile.write(tmp_path / "sub/b.wav", np.ones(100), 8000)
    soundfile.write(tmp_path / "sub/c.wav", np.ones(100), 8000)
    report = verify(load_card("folder"), tmp_path)
    assert (report.missing, report.extra, report.clips) == (("audio/a.wav",), ("sub/c.wav",), 1)


def test_no_lists(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match="no split found"):
        verify(CARD, tmp_path)


def test_real_clips(shared_data: Path) -> None:
    report = verify(load_card("tut2017"), shared_data / "tut2017")
    assert (report.missing, report.extra, report.corrupt, report.clips) == ((), (), (), 471)
