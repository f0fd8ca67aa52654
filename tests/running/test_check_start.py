"""What can be known before work begins ends a run before its folder exists."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from edgeprune.cli.main import main
from edgeprune.errors import EdgepruneError, InfeasibleBudgetError
from edgeprune.models import checkpoint
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import Budget, Data, LogMel, Model, Recipe, Train
from edgeprune.running import check_start as start
from edgeprune.running.run import run

RATE = 16000


class BeganError(Exception):
    """What ends a run that passed its checks."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty clips of noise, two classes, two folds, in the layout of the card `folder`."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    lines = ["filename,label,fold"]
    for number in range(20):
        soundfile.write(folder / f"c{number}.wav", 0.1 * rng.standard_normal(RATE), RATE)
        lines.append(f"c{number}.wav,{('car', 'water')[number % 2]},{1 + number % 4 // 2}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def recipe(clips: Path, tmp_path: Path) -> Recipe:
    return Recipe(
        name="mine",
        data=Data(name="folder", root=clips, cache=tmp_path / "cache", validation=0.0),
        frontend=LogMel.dcase21(RATE, 1.0),
        model=Model(width=0.25),
        out=tmp_path / "run",
    )


@pytest.fixture(autouse=True)
def _nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A run that passes its checks stops at once; one that fails them has left nothing."""

    def stages(*_: object) -> None:
        raise BeganError

    monkeypatch.setattr("edgeprune.running.run.run_stages", stages)
    yield
    assert not (tmp_path / "cache").exists()  # no feature was computed


def test_a_run_without_fault_begins(recipe: Recipe) -> None:
    with pytest.raises(BeganError):
        run(recipe)
    assert (recipe.folder() / "recipe.json").is_file()


WRONG = {
    "data set": (["--data.name", "foldre"], "perhaps you meant folder"),
    "missing root": (
        ["--data.root", "nowhere"],
        "the folder nowhere does not exist; say where the data set lies, as --data.root FOLDER",
    ),
    "no root": (["--data.root", "None"], "say where the data set lies"),
    "fold": (["--data.fold", "3"], "has no fold 3; its folds: 1, 2"),
    "subset": (["--data.subset", "5"], "has no subset '5'"),
    "class to detect": (["--data.detect", "cra", "--data.validation", "0.2"], "'cra' is no label of the data; perhaps"),
    "validation": (["--data.validation", "0.9"], "must be above 0 and at most 0.5"),
    "train share": (["--data.train-share", "0.05"], "leaves a class without any"),
    "network": (["--model.name", "dcase12"], "perhaps you meant 'dcase21'"),
    "width": (["--model.width", "0"], "width must be above 0"),
    "AudioSet weights of another network": (["--model.audioset-weights", "none.pth"], "only vggish and cnn14"),
    "AudioSet weights": (
        ["--model.name", "vggish", "--frontend.mels", "64", "--model.audioset-weights", "none.pth"],
        "none.pth: there is no such file; correct --model.audioset-weights",
    ),
    "patch": (["--frontend.mels", "8"], "too small"),
    "rate of the clips": (
        ["--frontend.sample-rate", "44100"],
        "is sampled at 16000 Hz, below the front-end's 44100 Hz",
    ),
    "criterion": (["--prune.criterion", "l3"], "'l3' is unknown"),
    "objective": (["--prune.objective", "mas"], "perhaps you meant 'mass'"),
    "profile": (["--budget.latency-ms", "1@host", "--prune.profile", "none.json"], "none.json: there is no such file"),
    "device of a latency": (["--budget.latency-ms", "1@cortex-m4"], "cannot be profiled in a run"),
    "format": (["--export.formats", "int4"], "export format 'int4' is unknown"),
    "calibration": (["--export.calibration-clips", "0"], "export.calibration_clips: 0; give at least 1"),
    "device": (["--bench.devices", "cortex-m9"], "cortex-m9"),
    "accelerator": (["--bench.devices", "ethos-u55-100"], "perhaps you meant 'ethos-u55-"),
    "address": (["--bench.devices", "ssh://board"], "is no address of a board"),
    "runs": (["--bench.runs", "0"], "bench.runs: 0"),
    "batch": (["--train.batch-size", "0"], "train.batch_size: 0; give 1 or more"),
    "learning rate": (["--finetune.lr", "0"], "finetune.lr: 0; give more than 0"),
    "share": (["--finetune.distillation", "1.5"], "finetune.distillation: 1.5; give a share from 0 to 1"),
    "band": (["--train.freq-mask", "40"], "train.freq_mask: 40 could hide a whole input; give less than 40"),
    "band of frames first": (
        ["--model.name", "vggish", "--frontend.mels", "64", "--train.freq-mask", "64"],
        "train.freq_mask: 64 could hide a whole input; give less than 64",
    ),
    "stretch": (["--finetune.time-mask", "999"], "finetune.time_mask: 999 could hide a whole input; give less than 51"),
    "dense network": (["--dense-from", "none.ckpt"], "none.ckpt: there is no such file; correct --dense-from"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_flags(what, clips, tmp_path, capsys, monkeypatch) -> None:
    more, says = WRONG[what]
    monkeypatch.chdir(tmp_path)
    flags = [
        "run", "quickstart", "--data.name", "folder", "--data.root", str(clips),
        "--data.cache", str(tmp_path / "cache"), "--data.validation", "0", "--model.width", "0.25", *more,
    ]  # fmt: skip
    assert main(flags) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_cannot_be_met(recipe: Recipe) -> None:
    with pytest.raises(InfeasibleBudgetError, match="params 200 cannot be met"):
        run(replace(recipe, budget=Budget(params=200)))
    assert not recipe.folder().exists()


def absent(clips: Path) -> None:
    (clips / "c3.wav").unlink()


def unknown_class(clips: Path) -> None:
    card = clips / "card.toml"
    head = 'name = "mine"\ntitle = "Mine"\nlicence = "mine"\nclasses = ["car", "rain"]\n'
    card.write_text(f'{head}[[layouts]]\ntable = "clips.csv"\n')


def no_sound(clips: Path) -> None:
    (clips / "c3.wav").write_bytes(b"RIFF, but no sound")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (absent, "c3.wav named in"),
        (unknown_class, "row 5 has the label 'water', which is not a class of mine"),
        (no_sound, "c3.wav: cannot be decoded"),
    ],
)
def test_spoilt_data(spoil: Callable[[Path], None], says: str, recipe: Recipe, clips: Path, tmp_path: Path) -> None:
    root = shutil.copytree(clips, tmp_path / "spoilt")
    spoil(root)
    name = str(root / "card.toml") if (root / "card.toml").is_file() else "folder"
    with pytest.raises(EdgepruneError, match=says):
        run(replace(recipe, data=replace(recipe.data, root=root, name=name)))
    assert not recipe.folder().exists()


def test_missing_packages(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    here = start.find_spec
    monkeypatch.setattr(start, "find_spec", lambda name: None if name == "tensorflow" else here(name))
    with pytest.raises(EdgepruneError, match="tensorflow: not installed here, and a run needs it; pip install"):
        run(recipe)
    assert not recipe.folder().exists()


def test_a_tracker_that_is_not_installed(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeprune.training.trackers.find_spec", lambda name: None)
    with pytest.raises(EdgepruneError, match=r"tensorboard: is not installed; pip install 'edgeprune\[tensorboard\]'"):
        run(replace(recipe, finetune=Train(tensorboard=True)))
    assert not recipe.folder().exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu(recipe: Recipe) -> None:
    with pytest.raises(EdgepruneError, match=r"train\.accelerator: PyTorch sees no GPU here"):
        run(replace(recipe, train=Train(accelerator="gpu")))
    assert not recipe.folder().exists()


def test_a_dense_network_of_other_data(recipe: Recipe, tmp_path: Path) -> None:
    spec = make_spec("dcase21", 2, (1, 40, 51), 0.25)
    path = tmp_path / "dense.ckpt"
    described = {"frontend": recipe.to_dict()["frontend"], "data_sha256": "0" * 64, "history": []}
    checkpoint.save(path, spec, build(spec), described)
    with pytest.raises(EdgepruneError, match="was trained on another split"):
        run(replace(recipe, dense_from=path))
    with pytest.raises(EdgepruneError, match="network of another kind, input or front-end"):
        run(replace(recipe, dense_from=path, model=Model(width=0.5)))
    assert not recipe.folder().exists()


def test_a_finished_run_is_not_checked_again(recipe: Recipe) -> None:
    """Its data may be gone by then."""
    with pytest.raises(BeganError):
        run(recipe)
    (recipe.folder() / "result.json").write_text("{}")
    run(replace(recipe, data=replace(recipe.data, root=Path("nowhere"))))
    os.remove(recipe.folder() / "result.json")
