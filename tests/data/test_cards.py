"""Cards: what ships is whole and agrees with what is published; what users write is checked."""

import csv
import re
from pathlib import Path

import pytest

from edgeprune.data.cards import card_names, list_cards, load_card
from edgeprune.errors import EdgepruneError

MINIMAL = 'name = "mine"\ntitle = "Mine"\nlicence = "mine"\n[[layouts]]\ntable = "clips.csv"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_promised_card_is_there() -> None:
    assert set(card_names()) >= {
        "tau2019", "tau2020_mobile", "tau2022_mobile", "tut2018", "tut2017", "tut2016", "esc50", "esc10", "folder",
        "synthetic",
    }  # fmt: skip
    assert [card.name for card in list_cards()] == card_names()


@pytest.mark.parametrize(
    ("name", "classes", "archives", "gigabytes"),
    [
        # Numbers of archives and total sizes as the data sets' Zenodo pages give them.
        ("tau2019", 10, 23, 35.6),
        ("tau2020_mobile", 10, 18, 27.4),
        ("tut2018", 10, 15, 21.4),
        ("tut2017", 15, 13, 10.7),
        ("tut2016", 15, 11, 8.0),
    ],
)
def test_published_size(name: str, classes: int, archives: int, gigabytes: float) -> None:
    card = load_card(name)
    assert (len(card.classes), len(card.archives)) == (classes, archives)
    assert sum(archive.bytes or 0 for archive in card.archives) / 1e9 == pytest.approx(gigabytes, abs=0.06)
    assert all(archive.confirmed for archive in card.archives)


def test_known_md5s_are_all_different_and_unknown_ones_are_not_called_confirmed() -> None:
    archives = [archive for card in list_cards() for archive in card.archives]
    md5s = [archive.md5 for archive in archives if archive.md5]
    assert len(md5s) > 90
    assert len(set(md5s)) == len(md5s)
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in md5s)
    assert [archive.name for archive in archives if not archive.md5] == [a.name for a in archives if not a.confirmed]


def test_esc10_classes_are_those_of_the_published_table(shared_data: Path) -> None:
    with open(shared_data / "esc10/meta.csv", encoding="utf-8", newline="") as stream:
        target = {row["category"]: int(row["target"]) for row in csv.DictReader(stream)}
    assert load_card("esc10").classes == tuple(sorted(target, key=lambda label: target[label]))
    esc50 = load_card("esc50").classes
    assert len(esc50) == 50
    assert {label: esc50.index(label) for label in target} == target


def test_content_ignores_prose_and_follows_what_matters(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, MINIMAL))
    reworded = load_card(write(tmp_path, 'notes = "other words"\n' + MINIMAL.replace("Mine", "Yours")))
    regrouped = load_card(write(tmp_path, "name_pattern = '(?P<place>.+)'\ngroup = \"{place}\"\n" + MINIMAL))
    assert card.content() == reworded.content()
    assert card.content() != regrouped.content()


IMAGES = """
name = "mine"
title = "Mine"
licence = "mine"
kind = "images"
classes = ["a", "b"]
[images]
train = ["x", "y"]
test = ["u", "v"]
"""


def test_a_card_of_images(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, IMAGES))
    assert (card.kind, card.layouts) == ("images", ())
    assert card.images is not None
    assert (card.images.train, card.images.test, card.images.npz) == (("x", "y"), ("u", "v"), "")
    assert card.content()["images"]["train"] == ("x", "y")
    scenes = load_card(write(tmp_path, MINIMAL))
    assert scenes.kind == "scenes"
    assert not {"kind", "images"} & scenes.content().keys(), "caches of features made before keep their names"
    assert {card.name for card in list_cards() if card.kind == "images"} == {"mnist", "cifar10_subset"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (IMAGES.replace('kind = "images"', 'kind = "pictures"'), "'kind' is 'pictures'; write scenes"),
        (IMAGES.replace('kind = "images"\n', ""), r"has no \[\[layouts\]\]"),
        (MINIMAL + '[images]\ntrain = ["x", "y"]\ntest = ["u", "v"]\n', "is a card of clips; add kind"),
        (IMAGES.replace('train = ["x", "y"]\n', ""), "must name the images and the labels of each part"),
        (IMAGES.replace('["u", "v"]', '["u", "v", "w"]'), "must name the images and the labels of each part"),
        (IMAGES.replace('["u", "v"]', '["u", 3]'), "test is .*which does not fit"),
        (IMAGES.replace('["u", "v"]', '"u"'), "test is 'u', which does not fit"),
        (IMAGES.replace("train =", "trian ="), "unknown key 'trian'; perhaps you meant 'train'"),
        (IMAGES[: IMAGES.index("[images]")], "must name the images and the labels of each part"),
        (IMAGES.replace('classes = ["a", "b"]\n', ""), "needs 'classes', two or more"),
        (IMAGES.replace("[images]", "folds = [1]\n[images]"), "no layouts, subsets or folds"),
        (IMAGES + '[[layouts]]\ntable = "clips.csv"\n', "no layouts, subsets or folds"),
    ],
)
def test_a_wrong_card_of_images_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EdgepruneError, match=message):
        load_card(write(tmp_path, text))


def test_unknown_card_names_the_nearest() -> None:
    with pytest.raises(EdgepruneError, match="perhaps you meant tau2019"):
        load_card("tau_2019")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('clases = ["a"]\n' + MINIMAL, "unknown key 'clases'; perhaps you meant 'classes'"),
        (MINIMAL + 'tabel = "x"\n', "unknown key 'tabel'; perhaps you meant 'table'"),
        (MINIMAL.replace('licence = "mine"\n', ""), "'licence' is missing in card"),
        ("folds = 3\n" + MINIMAL, "folds is 3, which does not fit"),
        ("channels = true\n" + MINIMAL, "channels is True, which does not fit"),
        ('classes = ["a", "a"]\n' + MINIMAL, "'classes' has a value twice"),
        ('layouts = "clips.csv"\n', r"\[\[layouts\]\]"),
        ('name = "m"\ntitle = "M"\nlicence = "m"\n', r"has no \[\[layouts\]\]"),
        (MINIMAL + 'train = "a.csv"\n', "either 'train' and 'test' or 'table'"),
        (MINIMAL + "rows = { 1 = [3] }\n", "two numbers for a fold"),
        ('group = "{place}"\n' + MINIMAL, "'group' uses {place}"),
        ("name_pattern = '('\n" + MINIMAL, "not a regular expression"),
        (MINIMAL + '[[archives]]\nname = "a.zip"\nurl = "http://x/a.zip"\nmd5 = "12"\n', "is not an MD5"),
        (MINIMAL + '[[archives]]\nname = "a.zip"\nurl = "http://x/a.zip"\nconfirmed = true\n', "confirmed but has no"),
        (MINIMAL + '[[archives]]\nname = "../a.zip"\nurl = "http://x/a.zip"\n', "must stay in the data folder"),
        (MINIMAL + '[[archives]]\nname = "a.zip"\nurl = "http://x/a"\ninto = "../b"\n', "must stay in the data folder"),
        ("name = [\n", "is not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EdgepruneError, match=message) as error:
        load_card(write(tmp_path, text))
    assert "mine.toml" in str(error.value)


def test_absent_card_file(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match="cannot be read"):
        load_card(tmp_path / "none.toml")
