"""A run that was interrupted goes on with the data it was begun with, or not at all."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_runs import tiny

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.models import checkpoint
from edgeprune.recipe import Recipe, Train
from edgeprune.running.run import run

TRAIN_LIST = "evaluation_setup/fold1_train.csv"
TEST_LIST = "evaluation_setup/fold1_evaluate.csv"


class StoppedError(Exception):
    """What ends the run in place of a kill."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and an untrained run that was stopped before its files were exported."""
    base = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        stop_before_export(patch)
        with pytest.raises(StoppedError):
            run(recipe_in(base))
    assert (base / "run" / "pruned.ckpt").is_file()
    return base


@pytest.fixture
def base(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stop_before_export(monkeypatch)
    return shutil.copytree(begun, tmp_path / "base")


def stop_before_export(patch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    patch.setattr("edgeprune.running.export_files.export_files", stop)


def recipe_in(base: Path) -> Recipe:
    untrained = Train(epochs=0, threads=1)
    return replace(tiny(base / "run", base / "cache"), train=untrained, finetune=untrained)


def goes_on(base: Path) -> bool:
    """Whether the run gets as far as before."""
    recipe = recipe_in(base)
    (base / "run" / "recipe.json").unlink()  # it names the folder that was copied
    with pytest.raises(StoppedError):
        run(recipe)
    return True


def swap_labels(list_name: str) -> Callable[[Path], None]:
    def change(scenes: Path) -> None:
        path = scenes / list_name
        header, first, *rows, last = path.read_text().splitlines()
        cells = [row.split("\t") for row in (first, last)]
        assert cells[0][1] != cells[1][1]
        cells[0][1], cells[1][1] = cells[1][1], cells[0][1]
        first, last = ("\t".join(row) for row in cells)
        path.write_text("\n".join([header, first, *rows, last, ""]))

    return change


def drop_clip(scenes: Path) -> None:
    path = scenes / TRAIN_LIST
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], ""]))


def other_sound(scenes: Path) -> None:
    """Other sound of the same length and time in the place of a clip."""
    path = sorted((scenes / "audio").glob("*.wav"))[0]
    status, (samples, rate) = path.stat(), soundfile.read(path)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, len(samples)), rate)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size


CHANGES = {
    "training labels": (swap_labels(TRAIN_LIST), "training labels, split"),
    "evaluation labels": (swap_labels(TEST_LIST), "evaluation labels, split"),
    "a clip fewer": (drop_clip, "training clips, training labels, split, audio"),
    "audio": (other_sound, "audio"),
}


def test_with_the_same_data_it_goes_on(base) -> None:
    assert goes_on(base)
    assert read_json(base / "run" / "data.json").keys() >= {"classes", "training labels", "split", "audio"}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_data_are_refused_by_name(base, what) -> None:
    change, words = CHANGES[what]
    change(base / "cache" / "scenes")
    (base / "run" / "recipe.json").unlink()
    with pytest.raises(EdgepruneError, match=rf"changed since this run was begun \({words}\); restore") as caught:
        run(recipe_in(base))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("network", ["dense", "pruned"])
def test_a_checkpoint_of_other_data_is_refused(base, network) -> None:
    """Also where nothing else tells what the run was begun with."""
    (base / "run" / "data.json").unlink()
    path = base / "run" / f"{network}.ckpt"
    content = torch.load(path, weights_only=True)
    content["extra"]["data_sha256"] = "0" * 64
    torch.save(content, path)
    (base / "run" / "recipe.json").unlink()
    with pytest.raises(EdgepruneError, match=rf"{network}.ckpt: was trained on other clips, labels or groups"):
        run(recipe_in(base))


def test_a_folder_of_an_earlier_version_goes_on(base) -> None:
    (base / "run" / "data.json").unlink()
    path = base / "run" / "dense.ckpt"
    network = checkpoint.load(path)
    del network.extra["data_sha256"]
    checkpoint.save(path, network.spec, network.model, network.extra)
    assert goes_on(base)
