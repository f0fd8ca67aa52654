"""Mean and standard deviation of features, against NumPy's over all frames at once."""

import json

import numpy as np
import pytest

from edgeprune.data.feature_cache import Features
from edgeprune.data.normalisation import Normalisation

GENERATOR = np.random.default_rng(0)
CLIPS = {
    "a": GENERATOR.normal(-3, 2, (30, 4)),
    "b": GENERATOR.normal(5, 0.2, (70, 4)),
    "c": np.full((10, 4), 1e4),
}
OFFSETS = np.cumsum([0, *(len(clip) for clip in CLIPS.values())])
FRAMES = np.concatenate(list(CLIPS.values())).astype(np.float32)
FEATURES = Features(FRAMES, OFFSETS, {name: row for row, name in enumerate(CLIPS)}, "")


def test_it_is_over_all_frames_of_the_named_clips() -> None:
    """A longer clip counts for more, and the clip that is not named not at all."""
    found = Normalisation.of(FEATURES, ["b", "a"])
    named = FRAMES[:100].astype(np.float64)
    np.testing.assert_allclose(found.mean, named.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std, named.std(axis=0), rtol=1e-6)
    assert found.mean.dtype == found.std.dtype == np.float32
    normalised = found.apply(FRAMES[:100])
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0), 1, rtol=1e-5)


def test_it_spreads_narrow_bands() -> None:
    found = Normalisation.of(FEATURES, ["b"])
    np.testing.assert_allclose(found.std, FRAMES[30:100].astype(np.float64).std(axis=0), rtol=1e-5)
    assert found.std.max() < 0.3


def test_a_band_that_never_changes_is_only_moved() -> None:
    found = Normalisation.of(FEATURES, ["c"])
    assert found.std.tolist() == [1.0] * 4
    assert found.apply(FRAMES[100:]).max() == 0.0
    narrow = Normalisation.of_moments(np.zeros(2), np.array([0.9e-4, 1e-4]))
    np.testing.assert_allclose(narrow.std, [1.0, 1e-4], rtol=1e-6)


def test_none_changes_nothing() -> None:
    none = Normalisation.none(4)
    np.testing.assert_array_equal(none.apply(FRAMES), FRAMES)
    assert none.mean.dtype == none.std.dtype == none.apply(FRAMES).dtype == np.float32


def test_it_travels_as_json() -> None:
    found = Normalisation.of(FEATURES, ["b"])
    read = Normalisation.from_dict(json.loads(json.dumps(found.to_dict())))
    for mine, other in ((read.mean, found.mean), (read.std, found.std)):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype == np.float32


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([[0.0]], [[1.0]]),
        ([0.0, 0.0], [1.0]),
        ([float("nan")], [1.0]),
        ([1e39], [1.0]),
        ([0.0], [float("inf")]),
        ([0.0, 0.0], [1.0, 0.0]),
        ([0.0], [-1.0]),
    ],
)
def test_statistics_that_are_none_are_refused(mean, std) -> None:
    """1e39 is more than single precision holds."""
    with pytest.raises(ValueError, match="not a mean and a standard deviation above 0"):
        Normalisation.from_dict({"mean": mean, "std": std})
