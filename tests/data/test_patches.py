"""Patches and their normalisation against numpy by hand."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from edgeprune.data.feature_cache import Features
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import LogMelPatches
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

MELS = 4
SPEC = LogMel(sample_rate=8000, mels=MELS, patch_frames=3, patch_hop_frames=2)
LENGTHS = {"a.wav": 3, "b.wav": 8, "c.wav": 6}  # frames
CLASSES = ("bus", "park", "tram")


@pytest.fixture
def features() -> Features:
    offsets = np.cumsum([0, *LENGTHS.values()])
    frames = np.random.default_rng(0).normal(-5, 3, (offsets[-1], MELS)).astype(np.float32)
    return Features(frames, offsets, {name: row for row, name in enumerate(LENGTHS)}, "0")


def make(features: Features, names: list[str], labels: list[str]) -> LogMelPatches:
    return LogMelPatches(
        features, dict(zip(names, labels, strict=True)), CLASSES, SPEC, Normalisation.of(features, names)
    )


def test_normalisation_over_training_clips_only(features: Features) -> None:
    normalisation = Normalisation.of(features, ["a.wav", "c.wav"])
    frames = np.concatenate([features.frames[:3], features.frames[11:]]).astype(np.float64)
    np.testing.assert_allclose(normalisation.mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(normalisation.std, frames.std(axis=0), rtol=1e-6)
    assert normalisation.mean.dtype == normalisation.std.dtype == np.float32


def test_normalised_inputs_have_mean_0_and_deviation_1(features: Features) -> None:
    patches = LogMelPatches(
        features,
        {"b.wav": "bus"},
        CLASSES,
        LogMel(8000, mels=MELS, patch_frames=8),
        Normalisation.of(features, ["b.wav"]),
    )
    x = patches.inputs([0]).double()
    torch.testing.assert_close(x.mean(dim=(0, 1, 3)), torch.zeros(MELS, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        x.std(dim=(0, 1, 3), correction=0), torch.ones(MELS, dtype=torch.float64), rtol=0, atol=1e-6
    )


def test_constant_band_stays_finite() -> None:
    frames = np.full((5, 1), np.log(1e-3), np.float32)
    normalisation = Normalisation.of(Features(frames, np.array([0, 5]), {"a": 0}, "0"), ["a"])
    assert normalisation.std.tolist() == [1.0]
    np.testing.assert_allclose(normalisation.mean, frames[0], rtol=1e-6)


def test_normalisation_round_trip(features: Features) -> None:
    before = Normalisation.of(features, list(LENGTHS))
    after = Normalisation.from_dict(before.to_dict())
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.std, before.std)
    assert after.mean.dtype == np.float32


def test_layout(features: Features) -> None:
    names = ["c.wav", "a.wav", "b.wav"]  # not in the features' order
    patches = make(features, names, ["tram", "", "bus"])
    scale = Normalisation.of(features, names)
    # first frames of each patch, counted through all features: c begins at 11, a at 0, b at 3
    starts = [11, 13, 0, 3, 5, 7]
    assert len(patches) == len(starts)
    x, label, clip = patches.__getitems__(range(6))
    assert x.shape == (6, 1, MELS, 3)
    assert x.dtype == torch.float32
    for patch, begin in zip(x, starts, strict=True):
        expected = (features.frames[begin : begin + 3] - scale.mean) / scale.std
        np.testing.assert_allclose(patch[0], expected.T, rtol=1e-6)
    assert label.tolist() == [2, 2, -1, 0, 0, 0]
    assert clip.tolist() == [0, 0, 1, 2, 2, 2]
    assert patches.labels.tolist() == [2, -1, 0]
    assert patches.clips == 3


def test_any_order_any_number(features: Features) -> None:
    patches = make(features, list(LENGTHS), ["bus", "park", "tram"])
    whole, labels, clips = patches.__getitems__(range(len(patches)))
    x, label, clip = patches.__getitems__([4, 0, 4])
    torch.testing.assert_close(x, whole[[4, 0, 4]], rtol=0, atol=0)
    assert label.tolist() == labels[[4, 0, 4]].tolist()
    assert clip.tolist() == clips[[4, 0, 4]].tolist()
    one, label, clip = patches[2]
    torch.testing.assert_close(one, whole[2:3], rtol=0, atol=0)
    assert (label.tolist(), clip.tolist()) == (labels[2:3].tolist(), clips[2:3].tolist())


def test_through_a_data_loader(features: Features) -> None:
    patches = make(features, list(LENGTHS), ["bus", "park", "tram"])
    batches = list(DataLoader(patches, batch_size=2, collate_fn=lambda batch: batch))
    assert [len(x) for x, _, _ in batches] == [2, 2, 2]
    torch.testing.assert_close(torch.cat([x for x, _, _ in batches]), patches.inputs(range(6)), rtol=0, atol=0)
    assert torch.cat([label for _, label, _ in batches]).tolist() == [0, 1, 1, 1, 2, 2]


def test_label_outside_the_classes(features: Features) -> None:
    with pytest.raises(EdgepruneError, match=r"^b.wav: label 'metro' is not one of the card's classes\.$"):
        make(features, ["a.wav", "b.wav"], ["bus", "metro"])
