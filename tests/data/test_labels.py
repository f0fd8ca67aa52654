"""Labels with several names, from the list to what a network should say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from edgeprune.data.cards import load_card
from edgeprune.data.labels import cell_of, membership, names_in, rarest, targets
from edgeprune.data.scene_data import load_scenes
from edgeprune.data.splits import load_split, split_validation
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data, LogMel

FRONTEND = LogMel.dcase21(16000, 1.0)


def folder_of(path: Path, rows: list[tuple[str, str]], seconds: float = 1.0) -> Path:
    """Clips with these labels and splits, and the table that lists them."""
    lines = ["filename,label,split"]
    for number, (label, split) in enumerate(rows):
        soundfile.write(path / f"{number}.wav", np.full(round(16000 * seconds), 0.01 * number), 16000)
        lines.append(f"{number}.wav,{label},{split}")
    (path / "clips.csv").write_text("\n".join(lines) + "\n")
    return path


def data_of(root: Path, **more) -> Data:
    return Data(name="folder", root=root, cache=root / "cache", **{"validation": 0.0, **more})


@pytest.mark.parametrize(
    ("cell", "names"),
    [("dog", ["dog"]), ("dog;rain", ["dog", "rain"]), (" dog ; rain", ["dog", "rain"]), ("none", []), ("", [])],
)
def test_names_of_a_cell(cell: str, names: list[str]) -> None:
    assert names_in(cell) == names
    assert names_in(cell_of(names)) == names


def test_membership_and_targets() -> None:
    assert membership(["b;a", "none", "b"], ["a", "b"]).tolist() == [[True, True], [False, False], [False, True]]
    assert targets({"x": "b;a", "y": "", "z": "none"}, ["a", "b"], "tags").tolist() == [[1, 1], [-1, -1], [0, 0]]
    assert targets({"x": "b", "y": ""}, ["a", "b"], "scenes").tolist() == [1, -1]
    with pytest.raises(EdgepruneError, match=r"^y: the label 'a;c' names 'c', which is no class; write some of a, b,"):
        targets({"y": "a;c"}, ["a", "b"], "tags")
    with pytest.raises(EdgepruneError, match="names a class twice"):
        targets({"y": "a;a"}, ["a", "b"], "detection")


def test_the_rarest_name_stands_for_a_cell() -> None:
    assert list(rarest(pd.Series(["a", "a;b", "none", "b;c", "a;c;b"]))) == ["a", "a", "none", "c", "c"]


def test_a_semicolon_makes_tags(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [("rain;dog", "train"), ("rain", "train"), ("none", "train"), ("dog; rain", "test")])
    data = load_scenes(data_of(root), FRONTEND)
    assert (data.task, data.classes) == ("tags", ("dog", "rain"))
    assert list(data.train["label"]) == ["dog;rain", "rain", "none"], "in the order of the classes"
    assert list(data.test["label"]) == ["dog;rain"]
    patches = data.patches(data.train)
    assert patches.labels.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert patches.independent
    assert data.describe()["task"] == "tags"


def test_one_label_a_clip_stays_as_it_was(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [("rain", "train"), ("none", "train"), ("rain", "test")])
    data = load_scenes(data_of(root), FRONTEND)
    assert (data.task, data.classes) == ("scenes", ("none", "rain")), "none is a name as any other here"
    assert data.patches(data.train).labels.tolist() == [1, 0]
    assert "task" not in data.describe()


def test_unknown_and_repeated_names_are_refused_with_their_row(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [("rain", "train"), ("rain;rain", "test")])
    with pytest.raises(EdgepruneError, match=r"clips.csv: row 3: the label 'rain;rain' names a class twice"):
        load_split(load_card("folder"), root)
    card = tmp_path / "mine.toml"
    card.write_text(
        'name = "mine"\ntitle = "x"\nlicence = "x"\nclasses = ["dog", "rain"]\nseveral_labels = true\n'
        '[[layouts]]\ntable = "clips.csv"\n'
    )
    root = folder_of(tmp_path, [("dog", "train"), ("dog;cat", "test")])
    with pytest.raises(EdgepruneError, match="names 'cat', which is no class"):
        load_split(load_card(card), root)
    root = folder_of(tmp_path, [("dog", "train"), ("none", "test")])
    split = load_split(load_card(card), root)
    assert (split.task, list(split.test["label"])) == ("tags", ["none"]), "the card says so, whatever the lists hold"


@pytest.mark.parametrize("separator", [";", ""])
def test_detection_of_one_label(tmp_path: Path, separator: str) -> None:
    """Of clips with several labels or with one."""
    both = "rain;dog" if separator else "dog"
    rows = [(both, "train"), ("rain", "train"), ("dog", "test"), ("rain", "test")]
    data = load_scenes(data_of(folder_of(tmp_path, rows, 1.5), detect="dog"), FRONTEND)
    assert (data.task, data.classes) == ("detection", ("dog",))
    assert list(data.train["label"]) == ["dog", "none"]
    assert list(data.test["seconds"]) == [1.5, 1.5]
    assert data.patches(data.train).labels.tolist() == [[1], [0]]


def test_detection_needs_clips_with_and_without_the_sound(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [("dog", "train"), ("rain", "train"), ("dog", "test")])
    with pytest.raises(EdgepruneError, match="'dig' is no label of the data; perhaps you meant 'dog'"):
        load_scenes(data_of(root, detect="dig"), FRONTEND)
    with pytest.raises(EdgepruneError, match="the evaluation part has no clip without 'dog'"):
        load_scenes(data_of(root, detect="dog"), FRONTEND)
    with pytest.raises(EdgepruneError, match="the evaluation part has no clip with 'rain'"):
        load_scenes(data_of(root, detect="rain"), FRONTEND)


def test_validation_cut_of_several_labels() -> None:
    """A fifth of every class, groups whole, though each pair of classes is rare."""
    generator = np.random.default_rng(0)
    names = list("abcdefgh")
    cells = [cell_of(sorted(generator.choice(names, generator.integers(0, 3), replace=False))) for _ in range(600)]
    clips = pd.DataFrame({"label": cells, "group": [f"g{number // 5}" for number in range(600)]})
    train, validation = split_validation(clips, 0.2, 1)
    assert not set(train["group"]) & set(validation["group"])
    shares = membership(validation["label"], names).sum(axis=0) / membership(cells, names).sum(axis=0)
    assert ((shares > 0.12) & (shares < 0.28)).all(), shares
    assert 0.1 < (validation["label"] == "none").sum() / cells.count("none") < 0.3


def test_a_class_of_one_group_stays_in_training() -> None:
    clips = pd.DataFrame(
        {"label": ["a;b", "a", "a;b", "b", "a;c", "b", "a", "a;b"], "group": [f"g{number}" for number in range(8)]}
    )
    for seed in range(5):
        train, _ = split_validation(clips, 0.25, seed)
        assert membership(train["label"], ["a", "b", "c"]).any(axis=0).all()
