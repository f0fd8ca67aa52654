"""`edgeprune init`: from a folder of clips to a recipe, and from there to a finished run."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import call, call_json

from edgeprune.data.cards import load_card
from edgeprune.files import read_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import load_recipe
from edgeprune.results.result import Result

Maker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written to an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEPRUNE_CACHE", str(tmp_path / "cache"))


def make_clips(names: list[str], rate: int = 22050, seconds: float = 1.0) -> Path:
    """Noise in `recordings`, each folder's at a level of its own."""
    rng = np.random.default_rng(0)
    for name in names:
        path = Path("recordings", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(round(rate * seconds)), rate)
    return Path("recordings")


def in_folders(clips: int, *labels: str) -> list[str]:
    return [f"{label}/{number}.wav" for label in labels for number in range(clips)]


@pytest.mark.slow
def test_two_commands_from_a_folder_to_a_finished_run(capsys) -> None:
    """30 clips in three sub-folders; nothing is written by hand. A silent clip is remarked on everywhere."""
    root = make_clips(in_folders(10, "dog", "rain", "saw"), seconds=0.5)
    soundfile.write(root / "rain/3.wav", np.zeros(11025), 22050)
    code, out, _ = call(capsys, "init", "mine", "--root", root)
    assert code == 0
    assert "30 clips of 3 classes (dog 10, rain 10, saw 10), labelled by the sub-folders" in out
    assert out.splitlines()[-1] == "next:  edgeprune run mine.py"
    tiny = [
        "--train.epochs", "1", "--finetune.epochs", "1", "--export.formats", "float32", "--export.dense-formats", "",
        "--bench.runs", "1", "--out", "run",
    ]  # fmt: skip
    code, _, err = call(capsys, "run", "mine.py", *tiny)
    assert code == 0, err
    warning = "silent clips: rain/3.wav"
    assert f"warning: {warning}" in Path("run/log.txt").read_text()
    result = Result.read("run")
    assert result.data.warnings == (warning,)
    assert read_json("run/result.json")["data"]["warnings"] == [warning]
    assert warning in Path("run/report.html").read_text()
    assert dict(result.data.clips) == {"train": 24, "validation": 0, "test": 6}


def test_the_recipe_is_the_one_that_was_proposed(capsys, tmp_path: Path) -> None:
    found = call_json(capsys, "init", "mine", "--root", make_clips(in_folders(10, "dog", "rain", "saw"), 44100, 5.0))
    assert found["wrote"] == ["mine.py", str(tmp_path / "recordings/clips.csv")]
    assert found["warnings"] == []
    recipe = load_recipe("mine")
    assert isinstance(recipe, Recipe)
    assert (recipe.data.name, recipe.data.root, recipe.data.fold) == ("folder", tmp_path / "recordings", 1)
    assert recipe.data.validation == 0
    assert (recipe.frontend.sample_rate, recipe.frontend.patch_frames) == (16000, 51)
    assert (recipe.model.name, recipe.train.epochs, recipe.finetune.epochs) == ("dcase21", 100, 60)
    assert recipe.finetune.distillation == 0.5
    assert recipe.budget.macs is not None
    assert 0.25 * 29_200_000 < recipe.budget.macs < 0.3 * 29_200_000


@pytest.mark.parametrize(
    ("rate", "seconds", "sample_rate", "frames"),
    [(8000, 1.0, 8000, 51), (11025, 0.4, 11025, 25), (48000, 1.5, 16000, 75), (44100, 10.0, 16000, 51)],
)
def test_the_front_end_suits_rate_and_length(rate, seconds, sample_rate, frames, capsys) -> None:
    call_json(capsys, "init", "mine", "--root", make_clips(in_folders(2, "dog", "rain"), rate, seconds))
    frontend = load_recipe("mine").frontend
    assert (frontend.sample_rate, frontend.patch_frames) == (sample_rate, frames)


@pytest.mark.parametrize(("rate", "frames"), [(16000, 101), (8000, 51)])
def test_many_clips_get_a_deeper_network(rate, frames, capsys, monkeypatch) -> None:
    monkeypatch.setattr("edgeprune.running.own_recipe._MANY", 8)
    call_json(capsys, "init", "mine", "--root", make_clips(in_folders(5, "dog", "rain"), rate))
    recipe = load_recipe("mine")
    assert (recipe.model.name, recipe.frontend.patch_frames) == ("bcresnet", frames)
    assert recipe.prune.keep == 1


def test_each_fold_has_every_class_and_groups_stay_whole(capsys) -> None:
    names = [f"{label}/place{place}/{n}.wav" for label in ("dog", "rain") for place in range(5) for n in range(3)]
    found = call_json(capsys, "init", "mine", "--root", make_clips(names))
    assert "recordings are told apart by groups" in found["saw"][1]
    lines = [line.split(",") for line in Path("recordings/clips.csv").read_text().splitlines()]
    assert lines[0] == ["filename", "label", "group", "fold"]
    folds = {group: {fold for _, _, other, fold in lines[1:] if other == group} for _, _, group, _ in lines[1:]}
    assert all(len(each) == 1 for each in folds.values())
    assert sorted((label, fold) for _, label, _, fold in lines[1:]) == sorted(
        (label, str(fold)) for label in ("dog", "rain") for fold in range(1, 6) for _ in range(3)
    )


def test_a_table_with_folds_is_taken_as_it_is(capsys) -> None:
    root = make_clips([f"c{n}.wav" for n in range(12)])
    table = "filename,label,fold\n" + "".join(f"c{n}.wav,{'ab'[n % 2]},{3 + n // 6}\n" for n in range(12))
    (root / "clips.csv").write_text(table)
    found = call_json(capsys, "init", "mine", "--root", root)
    assert found["wrote"] == ["mine.py"]
    assert (root / "clips.csv").read_text() == table
    assert load_recipe("mine").data.fold == 3


def test_a_table_without_folds_gets_them_in_a_table_and_a_card_of_its_own(capsys, tmp_path: Path) -> None:
    root = make_clips([f"c{n}.wav" for n in range(12)])
    table = "label;file\n" + "".join(f"{'ab'[n % 2]};c{n}.wav\n" for n in range(12))
    (root / "labels.csv").write_text(table)
    found = call_json(capsys, "init", "mine", "--root", root, "--table", "labels.csv")
    assert found["wrote"] == ["mine.py", str(tmp_path / "recordings/mine.csv"), str(tmp_path / "mine.toml")]
    assert (root / "labels.csv").read_text() == table
    assert load_recipe("mine").data.name == str(tmp_path / "mine.toml")
    assert 'table = "mine.csv"' in Path("mine.toml").read_text()


def test_folders_named_train_and_test_are_a_split(capsys) -> None:
    names = [
        f"{part}/{name}" for part, count in (("train", 5), ("test", 2)) for name in in_folders(count, "dog", "rain")
    ]
    found = call_json(capsys, "init", "mine", "--root", make_clips(names))
    assert found["saw"][0].startswith("14 clips of 2 classes (dog 7, rain 7)")
    assert found["saw"][1].startswith("10 clips train and 4 test")


REFUSED = {
    "no folder": ([], "there is no such folder"),
    "no clips": (["notes.txt"], "holds no clips"),
    "a loose clip": ([*in_folders(2, "dog", "rain"), "c.wav"], "c.wav lies in no sub-folder"),
    "one clip of a class": ([*in_folders(2, "dog"), "rain/0.wav"], "'rain' has one clip or one group alone"),
    "one class": (in_folders(4, "dog"), "give two classes or more"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_and_nothing_is_left(what, capsys) -> None:
    names, says = REFUSED[what]
    root = make_clips([name for name in names if name.endswith(".wav")])
    if "notes.txt" in names:
        root.mkdir()
        (root / "notes.txt").write_text("")
    code, _, err = call(capsys, "init", "mine", "--root", root)
    assert code == 2
    assert says in err
    assert not [*Path().rglob("*.csv"), *Path().rglob("*.py"), *Path().rglob("*.toml")]


@pytest.mark.parametrize("name", ["quickstart", "my recipe", "../mine", ""])
def test_names_that_are_none(name, capsys) -> None:
    code, _, err = call(capsys, "init", name, "--root", make_clips(in_folders(2, "dog", "rain")))
    assert code == 2
    assert "is no name for a recipe" in err


def test_a_recipe_is_not_overwritten(capsys) -> None:
    Path("mine.py").write_text("mine")
    code, _, err = call(capsys, "init", "mine", "--root", make_clips(in_folders(2, "dog", "rain")))
    assert code == 2
    assert "mine.py: is there already" in err
    assert Path("mine.py").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="its folders have no such names")
def test_labels_reach_no_code_and_no_terminal(capsys) -> None:
    """The recipe is a program, and its comments quote the labels, which are names of folders here."""
    evil = "rain\nfrom pathlib import Path\nPath('executed').touch()\n# \x1b]0;evil\x07"
    code, out, err = call(capsys, "init", "mine", "--root", make_clips(in_folders(3, "dog", evil)))
    assert code == 0, err
    source = Path("mine.py").read_text(encoding="utf-8")
    assert r"rain\nfrom pathlib import Path\nPath('executed').touch()\n# \x1b" in source
    load_recipe("mine.py")
    assert not Path("executed").exists()
    assert "\x1b" not in out + err


def test_the_name_of_a_table_is_text_in_the_card(capsys) -> None:
    name = 'my "table"\\.csv'
    make_clips(in_folders(3, "dog", "rain"))
    rows = [f"{clip},{clip.partition('/')[0]},{clip[-5]}\n" for clip in in_folders(3, "dog", "rain")]
    Path("recordings", name).write_text("".join(["filename,label,fold\n", *rows]))
    code, _, err = call(capsys, "init", "mine", "--root", "recordings", "--table", name)
    assert code == 0, err
    assert load_card("mine.toml").layouts[0].table == name
