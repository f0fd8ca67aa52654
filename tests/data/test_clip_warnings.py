"""What is odd about labels and sounds is remarked on, and stops nothing."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeprune.data.scene_data import load_scenes
from edgeprune.recipe import Data, LogMel

RATE = 16000


def warnings_of(root: Path, rows: Mapping[str, tuple[str, str]], sounds: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Load clips given as `{name: (label, split)}`; those without a sound of their own are noise."""
    root.mkdir(exist_ok=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    lines = ["filename,label,split", *(f"{name},{label},{split}" for name, (label, split) in rows.items())]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    for name in rows:
        soundfile.write(root / name, sounds.get(name, noise), RATE)
    return load(root)


def load(root: Path) -> tuple[str, ...]:
    data = Data(name="folder", root=root, cache=root / "cache", validation=0.0, workers=1)
    return load_scenes(data, LogMel.dcase21(RATE, 1.0)).warnings


def clips(counts: Mapping[str, tuple[int, int]]) -> dict[str, tuple[str, str]]:
    """Rows of so many training and evaluation clips a class."""
    return {
        f"{label}{place}.wav": (label, "train" if place < train else "test")
        for label, (train, test) in counts.items()
        for place in range(train + test)
    }


def test_nothing_to_remark_on(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, clips({"dog": (5, 1), "rain": (5, 1)}), {}) == ()


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (
            {"dog": (5, 1), "rain": (5, 1), "saw": (0, 2)},
            "classes in the evaluation part alone, whose clips the network cannot get right: saw",
        ),
        ({"dog": (5, 1), "rain": (4, 1), "saw": (1, 0)}, "classes with fewer than 5 training clips: rain (4), saw (1)"),
        (
            {"dog": (5, 1), "Dog": (5, 1), "sea waves": (5, 1), "Sea_waves": (5, 1), "rain": (5, 1)},
            "labels that differ in spelling alone, but count as classes of their own: Dog and dog, Sea_waves and sea "
            "waves",
        ),
    ],
)
def test_labels(counts, sentence, tmp_path) -> None:
    assert warnings_of(tmp_path, clips(counts), {}) == (sentence,)


def test_many_names_are_counted(tmp_path: Path) -> None:
    (warning,) = warnings_of(tmp_path, clips({f"c{n}": (2, 1) for n in range(8)}), {})
    assert warning.endswith("c0 (2), c1 (2), c2 (2), c3 (2), c4 (2) and 3 more")


def test_clips_that_no_network_hears(tmp_path: Path) -> None:
    """Digital silence, dither alone, opposite channels (also nearly); quiet and one-sided clips are fine."""
    rng = np.random.default_rng(1)
    noise = 0.3 * rng.standard_normal(RATE)
    beside = noise + 1e-3 * rng.standard_normal(RATE)
    sounds = {
        "dog0.wav": np.zeros(RATE),
        "dog1.wav": rng.integers(-1, 2, RATE) / 2**15,
        "dog2.wav": np.stack([noise, -noise], axis=1),
        "dog3.wav": np.stack([noise, -beside], axis=1),
        "dog4.wav": 1e-3 * noise,
        "rain0.wav": np.stack([1e-2 * noise, np.zeros(RATE)], axis=1),
        "rain1.wav": 1e-2 * rng.standard_normal((RATE, 2)),
    }
    rows = clips({"dog": (5, 1), "rain": (5, 1)})
    expected = (
        "silent clips: dog0.wav, dog1.wav",
        "clips whose channels cancel out when they are mixed to mono: dog2.wav, dog3.wav",
    )
    assert warnings_of(tmp_path, rows, sounds) == expected
    assert load(tmp_path) == expected  # from the cache
    for path in tmp_path.glob("cache/features/*/levels.npy"):
        path.unlink()  # a cache of an earlier version
    assert load(tmp_path) == ()
