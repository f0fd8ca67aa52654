"""Data made ready for a network: shares of the training part, shape of a network's input."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from edgeprune.data import feature_cache
from edgeprune.data.scene_data import evenly, find_clips, load_scenes, stratified
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data, LogMel


def table(counts: dict[str, int]) -> pd.DataFrame:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"filename": [f"{row}.wav" for row in range(len(labels))], "label": labels})


def test_stratified_takes_the_same_share_of_every_label() -> None:
    clips = table({"a": 40, "b": 20, "c": 8})
    taken, left = stratified(clips, 0.25, 1)
    assert taken["label"].value_counts().to_dict() == {"a": 10, "b": 5, "c": 2}
    both = pd.concat([taken, left]).sort_values("filename").reset_index(drop=True)
    assert both.equals(clips.sort_values("filename").reset_index(drop=True))
    for part in (taken, left):
        places = [int(name.removesuffix(".wav")) for name in part["filename"]]
        assert places == sorted(places)
    assert stratified(clips, 0.25, 1)[0].equals(taken)
    assert not stratified(clips, 0.25, 2)[0].equals(taken)


def test_stratified_with_all_or_too_little() -> None:
    clips = table({"a": 6, "b": 6})
    taken, left = stratified(clips, 1.0, 0)
    assert taken.equals(clips)
    assert left.empty
    for share in (0.0, -0.5, 1.5):
        with pytest.raises(EdgepruneError, match="above 0 and at most 1"):
            stratified(clips, share, 0)
    for counts, share in (({"a": 6, "b": 6}, 0.1), ({"a": 60, "b": 1}, 0.5), ({"a": 97, "b": 3}, 0.05)):
        with pytest.raises(EdgepruneError, match="leaves a class without any"):
            stratified(table(counts), share, 0)


def test_a_share_of_the_training_clips(tmp_path: Path) -> None:
    spec = Data(clips_per_scene=9, root=tmp_path / "scenes", cache=tmp_path, train_share=0.5, validation=0.0)
    data = load_scenes(spec, LogMel.dcase21(16000, 1.0))
    assert (len(data.train), len(data.test)) == (30, 30)
    assert set(data.train["label"].value_counts()) == {3}
    assert data.input_shape == tuple(data.patches(data.train).inputs([0]).shape[1:]) == (1, 40, 51)


def test_each_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To see what there is and to compute features takes one look at each of a hundred thousand clips; a cache none."""
    probe, looked = feature_cache.probe_clip, []

    def count(path: Path, rate: int) -> int:
        looked.append(path.name)
        return probe(path, rate)

    monkeypatch.setattr(feature_cache, "probe_clip", count)
    data = Data(root=tmp_path / "scenes", clips_per_scene=9, cache=tmp_path / "cache")
    found = find_clips(data, LogMel.dcase21(16000, 1.0))
    loaded = found.load(data)
    assert sorted(looked) == sorted(Path(name).name for name in found.filenames)
    assert list(loaded.features.rows) == list(found.filenames)
    find_clips(data, LogMel.dcase21(16000, 1.0)).load(data)
    assert len(looked) == len(found.filenames)


def test_the_validation_part_is_the_share_that_was_asked_and_follows_from_the_seed(tmp_path: Path) -> None:
    """Of 60 training clips in places of their own; the normalisation is that of the clips left to train on."""
    cuts = {}
    for share, seed in ((0.1, 0), (0.25, 0), (0.25, 1), (0.5, 0)):
        spec = Data(clips_per_scene=9, root=tmp_path / "scenes", cache=tmp_path, validation=share)
        data = load_scenes(spec, LogMel.dcase21(16000, 1.0), seed=seed)
        assert data.validation is not None
        cuts[share, seed] = list(data.validation["filename"])
        assert len(cuts[share, seed]) == pytest.approx(60 * share, abs=6)
        assert len(data.train) + len(data.validation) == 60
        frames = np.concatenate([data.features.clip(name) for name in data.train["filename"]]).astype(np.float64)
        np.testing.assert_allclose(data.normalisation.mean, frames.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(data.normalisation.std, frames.std(axis=0), rtol=1e-4)
    assert cuts[0.25, 0] != cuts[0.25, 1]


def test_clips_are_taken_evenly_and_in_their_order() -> None:
    clips = table({"a": 10})
    assert list(evenly(clips, 4)["filename"]) == ["0.wav", "2.wav", "5.wav", "7.wav"]
    assert evenly(clips, 10).equals(evenly(clips, 99))
    assert evenly(clips, 99).equals(clips)
