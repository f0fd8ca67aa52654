"""Bad input at the door: one clear sentence, the right exit code, nothing lost."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeprune.cli.main import main
from edgeprune.data.scene_data import SceneData, load_scenes
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json
from edgeprune.recipe import Data, LogMel, Recipe

RATE = 16000
FRONT = LogMel.dcase21(RATE, 1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve clips of noise, two classes, two folds, in the layout of the card `folder`."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["filename,label,fold"]
    for number in range(12):
        soundfile.write(folder / f"c{number}.wav", 0.1 * rng.standard_normal(RATE), RATE)
        lines.append(f"c{number}.wav,{('car', 'water')[number % 2]},{1 + number % 4 // 2}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder


def rewrite(root: Path, old: str, new: str) -> None:
    table = root / "clips.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))


def write(root: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
    soundfile.write(root / "c3.wav", samples, rate, subtype=subtype)


def flags(root: Path, tmp_path: Path) -> list[str]:
    """A run of one epoch on these clips."""
    return [
        "run", "quickstart", "--data.name", "folder", "--data.root", str(root), "--data.cache", str(tmp_path / "cache"),
        "--data.validation", "0", "--train.epochs", "1", "--finetune.epochs", "1", "--model.width", "0.25",
        "--export.formats", "float32", "--export.dense-formats", "float32", "--bench.runs", "1", "--bench.threads", "1",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def load(root: Path, tmp_path: Path, frontend: LogMel = FRONT) -> SceneData:
    return load_scenes(Data(name="folder", root=root, cache=tmp_path / "cache", validation=0.0), frontend)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing root": (shutil.rmtree, "clips does not exist"),
    "clip absent": (lambda root: (root / "c3.wav").unlink(), "c3.wav named in"),
    "corrupt file": (lambda root: (root / "c3.wav").write_bytes(b"RIFF, but no sound"), "c3.wav: cannot be decoded"),
    "empty file": (lambda root: (root / "c3.wav").write_bytes(b""), "c3.wav: cannot be decoded"),
    "no samples": (lambda root: write(root, np.zeros(0)), "c3.wav: the clip is empty"),
    "low sample rate": (lambda root: write(root, np.zeros(8000), 8000), "c3.wav: is sampled at 8000 Hz, below"),
    "NaN samples": (lambda root: write(root, np.full(RATE, np.nan), RATE, "FLOAT"), "c3.wav: holds NaN"),
    "no label": (lambda root: rewrite(root, "c3.wav,water", "c3.wav,"), "row 5 has the label ''"),
    "listed twice": (lambda root: rewrite(root, "c4.wav", "c0.wav"), "c0.wav is listed twice"),
    "one class": (lambda root: rewrite(root, "water", "car"), "give two classes or more"),
    "outside the root": (lambda root: rewrite(root, "c4.wav", "../c4.wav"), "relative to the data folder"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_data_is_one_sentence_and_exit_code_2(name, root, tmp_path, capsys):
    spoil, says = SPOILT[name]
    spoil(root)
    assert main(flags(root, tmp_path)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("edgeprune: error: ")
    assert says in error
    assert "Traceback" not in error


def test_label_that_is_not_in_the_card(root, tmp_path, capsys):
    card = tmp_path / "mine.toml"
    card.write_text(
        'name = "mine"\ntitle = "Mine"\nlicence = "mine"\nclasses = ["car", "rain"]\n[[layouts]]\ntable = "clips.csv"\n'
    )
    args = [str(card) if word == "folder" else word for word in flags(root, tmp_path)]
    assert main(args) == 2
    assert "'water', which is not a class of mine" in capsys.readouterr().err


def test_stereo_is_mixed_by_its_mean(root, tmp_path):
    rng = np.random.default_rng(1)
    left, right = 0.2 * rng.standard_normal((2, RATE))
    write(root, np.stack([left, right], axis=1), subtype="FLOAT")
    stereo = load(root, tmp_path).features.clip("c3.wav").copy()
    write(root, (left + right) / 2, subtype="FLOAT")
    np.testing.assert_allclose(load(root, tmp_path).features.clip("c3.wav"), stereo, atol=1e-5)


def test_silence_gives_the_logarithm_of_the_offset(root, tmp_path):
    write(root, np.zeros(RATE))
    np.testing.assert_allclose(load(root, tmp_path).features.clip("c3.wav"), np.log(FRONT.log_offset), rtol=1e-6)


def test_short_and_long_clips_make_at_least_one_patch(root, tmp_path):
    write(root, np.ones(RATE // 10) * 0.1)
    soundfile.write(root / "c5.wav", np.random.default_rng(2).standard_normal(RATE * 5 // 2) * 0.1, RATE)
    data = load(root, tmp_path)
    both = np.concatenate([data.patches(data.train).clip.numpy(), data.patches(data.test).clip.numpy()])
    assert len(both) == 13  # one patch each, but two of the clip of two and a half seconds
    assert np.isfinite(data.features.frames).all()


def test_higher_sample_rates_are_resampled(root, tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100)
    write(root, tone, 44100)
    resampled = load(root, tmp_path).features.clip("c3.wav").copy()
    write(root, 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE))
    np.testing.assert_allclose(load(root, tmp_path).features.clip("c3.wav")[3:-3], resampled[3:-3], atol=0.02)


def test_budget_below_what_the_network_can_reach(root, tmp_path, capsys):
    assert main([*flags(root, tmp_path), "--budget.params", "200"]) == 3
    assert "params 200 cannot be met" in capsys.readouterr().err
    assert not (tmp_path / "out" / "dense.ckpt").exists()  # refused before anything is trained


def test_out_that_cannot_be_written(root, tmp_path, capsys):
    (tmp_path / "out").write_text("a file in the way")
    assert main(flags(root, tmp_path)) == 2
    assert f"{tmp_path / 'out'}: cannot be written" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file in the way"


def test_full_disk_keeps_what_is_whole(root, tmp_path, capsys, monkeypatch):
    """The disk fills up while the dense network is saved; with room again the run goes on."""
    import torch

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert main(flags(root, tmp_path)) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "the disk is full; free some space" in error
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "recipe.json" in names
    assert "dense.ckpt" not in names
    assert not [name for name in names if "ckpt" in name]
    assert list((tmp_path / "cache").rglob("manifest.json"))


def test_synthetic_scenes_do_not_overwrite_a_folder_of_someones(root, tmp_path):
    with pytest.raises(EdgepruneError, match="did not write"):
        load_scenes(Data(name="synthetic", root=root, clips_per_scene=9, cache=tmp_path / "cache"), FRONT)
    assert (root / "c3.wav").is_file()


def test_unlabelled_evaluation_clips(root, tmp_path, capsys):
    card = tmp_path / "lists.toml"
    card.write_text(
        'name = "lists"\ntitle = "Lists"\nlicence = "mine"\nclasses = ["car", "water"]\n'
        '[[layouts]]\ntrain = "train.csv"\ntest = ["test.csv"]\n'
    )
    (root / "train.csv").write_text("".join(f"c{n}.wav\t{('car', 'water')[n % 2]}\n" for n in range(8)))
    (root / "test.csv").write_text("c8.wav\nc9.wav\n")
    args = [str(card) if word == "folder" else word for word in flags(root, tmp_path)]
    assert main(args) == 2
    assert "2 clips of the evaluation part have no label" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--train.epoch", "3"], "--train.epochs"),
        (["--train.epochs", "three"], "three"),
        (["--budget.params", "many"], "is not a size"),
        (["--prune.criterion", "operator-norm"], "perhaps you meant 'operator_norm'"),
        (["--model.name", "vggish", "--prune.criterion", "batchnorm_scale"], "no batch norm follows conv1, conv2"),
        (["--export.formats", "int9"], "export format 'int9' is unknown"),
        (["--model.name", "vgish"], "perhaps you meant 'vggish'"),
        (["--prune.keep", "1.5"], "prune.keep"),
        (["--prune.min-filters", "0"], "prune.min_filters"),
        (["--prune.multiple-of", "0"], "prune.multiple_of"),
        (["--prune.steps", "0"], "prune.steps"),
        (["--prune.allocation", "unifrom"], "'uniform'"),
        (["--prune.objective", "log_mas"], "perhaps you meant 'log_mass'"),
        (["--budget.latency-ms", "fast"], "'fast' is not a latency"),
        (["--frontend.mels", "0"], "mels must be 1 to 32768, not 0"),
        (["--frontend.mels", "8"], "too small"),
        (["--data.fold", "7"], "has no fold 7"),
        (["--bench.threads", "two"], "no number of threads"),
    ],
)
def test_wrong_flags(more, says, root, tmp_path, capsys):
    assert main([*flags(root, tmp_path), *more]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "field", "value", "says"),
    [
        ("train", "epochs", "three", "train.epochs is 'three'"),
        ("budget", "params", [1], "budget.params is (1,)"),
        ("budget", "latency_ms", 0.8, "budget.latency_ms is 0.8"),
        ("prune", "allocation", "even", "prune.allocation is 'even'"),
        ("prune", "steps", "two", "prune.steps is 'two'"),
        ("frontend", "window", "blackman", "frontend.window is 'blackman'"),
        ("train", "epoch", 3, "does not fit this version"),
    ],
)
def test_edited_recipe_json(part, field, value, says, tmp_path, capsys):
    content = Recipe(name="mine").to_dict()
    content[part][field] = value
    path = tmp_path / "recipe.json"
    write_json(path, content)
    assert main(["run", str(path)]) == 2
    assert says in capsys.readouterr().err
