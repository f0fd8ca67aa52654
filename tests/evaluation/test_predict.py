"""A clip's probabilities are the mean of those of its patches, by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.audio.layout import Layout
from edgeprune.data.feature_cache import Features
from edgeprune.data.normalisation import Normalisation
from edgeprune.data.patches import LogMelPatches
from edgeprune.evaluation.predict import clip_means, file_probabilities, torch_probabilities
from edgeprune.recipe import LogMel

MELS, CLASSES = 4, 3
LENGTHS = (7, 4, 11, 5)  # frames of the clips, as they lie in the features
ORDER = ("c", "a", "d", "b")  # as they are asked for
PATCH, HOP = 4, 2
STARTS = {"a": (0, 2), "b": (0,), "c": (0, 2, 4, 6), "d": (0,)}  # of patches of 4 frames every 2 frames


@pytest.fixture
def frames():
    return np.random.default_rng(0).standard_normal((sum(LENGTHS), MELS)).astype(np.float32)


@pytest.fixture
def clips(frames):
    """Frames of each clip, normalised."""
    mean, std = _NORMALISATION.mean, _NORMALISATION.std
    parts = np.split((frames - mean) / std, np.cumsum(LENGTHS)[:-1])
    return dict(zip("abcd", parts, strict=True))


_NORMALISATION = Normalisation(np.float32([0.5, -0.5, 0.0, 1.0]), np.float32([1.0, 2.0, 0.5, 1.5]))


def _patches(frames: np.ndarray, order: Sequence[str] = ORDER, layout: Layout = "mels_frames") -> LogMelPatches:
    features = Features(frames, np.cumsum([0, *LENGTHS]), {name: row for row, name in enumerate("abcd")}, "")
    spec = LogMel(mels=MELS, patch_frames=PATCH, patch_hop_frames=HOP)
    return LogMelPatches(features, dict.fromkeys(order, "x"), ["x", "y", "z"], spec, _NORMALISATION, layout)


class Linear(nn.Module):
    """Logits by a matrix; dropout shows whether it runs in evaluation mode. `size`: the input it insists on."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.size = size
        self.dropout = nn.Dropout(0.9)
        self.dense = nn.Linear(MELS * PATCH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (1, *self.size)
        return self.dropout(self.dense(x.flatten(1)))


def _by_hand(clips: dict[str, np.ndarray], matrix: np.ndarray, bias: np.ndarray, layout: Layout) -> np.ndarray:
    rows = []
    for name in ORDER:
        probabilities = []
        for start in STARTS[name]:
            patch = clips[name][start : start + PATCH]  # [frames, mels]
            logits = matrix @ (patch if layout == "frames_mels" else patch.T).ravel() + bias
            power = np.exp(logits)
            probabilities.append(power / power.sum())
        rows.append(np.mean(probabilities, axis=0))
    return np.array(rows)


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("layout", ["frames_mels", "mels_frames"])
def test_torch_network(frames, clips, layout, batch) -> None:
    model = Linear((PATCH, MELS) if layout == "frames_mels" else (MELS, PATCH)).train()
    expected = _by_hand(clips, model.dense.weight.detach().numpy(), model.dense.bias.detach().numpy(), layout)
    found = torch_probabilities(model, _patches(frames, layout=layout), batch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


class File:
    """An exported network: channel-last float32 in, probabilities out."""

    def __init__(self, size: tuple[int, int]) -> None:
        generator = np.random.default_rng(1)
        self.size = size
        self.matrix, self.bias = generator.standard_normal((CLASSES, MELS * PATCH)), np.zeros(CLASSES)
        self.batches: list[int] = []

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        assert x.shape[1:] == (*self.size, 1)
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        self.batches.append(len(x))
        power = np.exp(x.reshape(len(x), -1) @ self.matrix.T)
        return power / power.sum(1, keepdims=True)


@pytest.mark.parametrize("layout", ["frames_mels", "mels_frames"])
def test_exported_file(frames, clips, layout) -> None:
    file = File((PATCH, MELS) if layout == "frames_mels" else (MELS, PATCH))
    found = file_probabilities(file, _patches(frames, layout=layout), batch=3)
    np.testing.assert_allclose(found, _by_hand(clips, file.matrix, file.bias, layout), rtol=0, atol=1e-6)
    assert file.batches == [3, 3, 2]


def test_a_clip_with_many_patches_weighs_no_more_than_its_mean(frames) -> None:
    patches = _patches(frames)
    assert patches.clip.tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
    probabilities = np.eye(3)[[0, 0, 0, 1, 1, 2, 2, 0]]
    expected = [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 0, 0]]
    assert clip_means(probabilities, patches).tolist() == expected


def test_the_mean_of_probabilities_is_not_a_vote(frames) -> None:
    """Three patches lean to class 0, one is sure of class 1: the mean says 1."""
    probabilities = np.array([[0.5, 0.4, 0.1]] * 3 + [[0.0, 1.0, 0.0]])
    assert clip_means(probabilities, _patches(frames, ["c"])).argmax() == 1
