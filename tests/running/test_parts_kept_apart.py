"""Which clips a network may depend on: other sound in the evaluation clips changes nothing but its scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny

import edgeprune.data.scene_data as scene_data
from edgeprune.convert import tflite_export
from edgeprune.data.feature_cache import Features
from edgeprune.data.load import RunData
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Prune, Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running import prune_to_budget as pruning
from edgeprune.running.data import load_run_data
from edgeprune.running.export_files import export_network
from edgeprune.running.train_dense import train_dense

pytestmark = pytest.mark.slow  # trains a tiny network three times

SETTINGS = Prune(criterion="taylor", objective="sensitivity", reconstruct=True, clips=30)
CALIBRATION = 20


class ExportStopsError(Exception):
    pass


class Stages:
    """What training, pruning and calibration make of the clips, with noise for the sound of some."""

    def __init__(self, recipe: Recipe, noisy: Callable[[RunData], pd.DataFrame | None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scene_data, "extract", self._extract(noisy(load_run_data(recipe))))
            self.data = load_run_data(recipe)
        folder = RunFolder(recipe.folder())
        folder.path.mkdir(parents=True)
        self.dense: Checkpoint = train_dense(recipe, self.data, folder)
        self.pruned: Checkpoint = pruning.prune_to_budget(recipe, self.data, self.dense, folder)
        self.calibration = self._calibration(recipe, folder)

    @staticmethod
    def _extract(clips: pd.DataFrame | None) -> Callable[..., Features]:
        extract = scene_data.extract

        def spoilt(*args: Any) -> Features:
            features = extract(*args)
            frames = np.array(features.frames)
            noise = np.random.default_rng(0)
            for name in () if clips is None else clips["filename"]:
                row = features.rows[name]
                own = frames[features.offsets[row] : features.offsets[row + 1]]
                own[:] = noise.normal(30, 9, own.shape)
            return replace(features, frames=frames)

        return spoilt

    def _calibration(self, recipe: Recipe, folder: RunFolder) -> np.ndarray:
        given: list[np.ndarray] = []

        def convert(onnx: Path, out: Path, formats: Any, calibration: np.ndarray, *_: Any, **__: Any) -> None:
            given.append(calibration)
            raise ExportStopsError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tflite_export, "convert", convert)
            with pytest.raises(ExportStopsError):
                export_network(recipe, self.data, self.pruned, ("int8",), "pruned", folder)
        return given[0]


def same_weights(one: Checkpoint, other: Checkpoint) -> bool:
    mine, others = one.model.state_dict(), other.model.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The best epoch is chosen on validation clips, which sensitivity looks at too."""
    cache = tmp_path_factory.mktemp("cache")
    recipe = replace(tiny(cache / "run", cache), prune=SETTINGS)
    return replace(recipe, finetune=replace(recipe.finetune, epochs=2))


@pytest.fixture(scope="module")
def whole(recipe: Recipe) -> Stages:
    return Stages(recipe, lambda data: None)


def test_evaluation_clips_change_neither_network_nor_calibration(recipe, whole, tmp_path) -> None:
    noisy = Stages(replace(recipe, out=tmp_path / "run"), lambda data: data.test)
    assert not np.array_equal(*(stages.data.patches(stages.data.test).inputs([0]) for stages in (whole, noisy)))
    assert noisy.data.normalisation.to_dict() == whole.data.normalisation.to_dict()
    for part in ("dense", "pruned"):
        mine, other = (getattr(stages, part) for stages in (noisy, whole))
        assert same_weights(mine, other)
        assert mine.spec == other.spec
        assert mine.extra["history"] == other.extra["history"]
    assert noisy.pruned.extra["kept"] == whole.pruned.extra["kept"]
    assert noisy.pruned.extra["budget"] == whole.pruned.extra["budget"]
    np.testing.assert_array_equal(noisy.calibration, whole.calibration)


def test_validation_clips_choose_the_epoch_and_are_not_learnt(recipe, whole, tmp_path) -> None:
    noisy = Stages(replace(recipe, out=tmp_path / "run"), lambda data: data.validation)
    assert noisy.data.normalisation.to_dict() == whole.data.normalisation.to_dict()
    losses = {stages: [row["train_loss"] for row in stages.dense.extra["history"]] for stages in (noisy, whole)}
    assert losses[noisy] == losses[whole]
    chosen = {stages: [row["val_log_loss"] for row in stages.dense.extra["history"]] for stages in (noisy, whole)}
    assert chosen[noisy] != chosen[whole]
    np.testing.assert_array_equal(noisy.calibration, whole.calibration)


def test_calibration_takes_evenly_spaced_training_clips(whole) -> None:
    """One patch each: of 48 clips every 2.4th, normalised by hand."""
    data = whole.data
    rows = [int(number * len(data.train) / CALIBRATION) for number in range(CALIBRATION)]
    clips = [data.features.clip(data.train["filename"].iloc[row]) for row in rows]
    wanted = [(clip[:51] - data.normalisation.mean) / data.normalisation.std for clip in clips]
    np.testing.assert_allclose(whole.calibration, np.stack(wanted).transpose(0, 2, 1)[:, None], atol=1e-6)


@pytest.mark.parametrize("restart", [False, True])
def test_fine_tuning_has_settings_of_its_own(recipe, whole, tmp_path, monkeypatch, restart) -> None:
    """The control from scratch trains as the dense network did, for both trainings' epochs."""
    given = []

    def train(model: Any, data: Any, settings: Any, *_: Any) -> list[dict[str, float]]:
        given.append(settings)
        return []

    monkeypatch.setattr(pruning, "train_network", train)
    prune = Prune(keep=0.5, restart=restart)
    recipe = replace(recipe, out=tmp_path / "run", prune=prune, finetune=replace(recipe.finetune, lr=3e-4, mixup=0.1))
    recipe.folder().mkdir()
    pruning.prune_to_budget(recipe, whole.data, whole.dense, RunFolder(recipe.folder()))
    assert given == [replace(recipe.train, epochs=3 + 2) if restart else recipe.finetune]
