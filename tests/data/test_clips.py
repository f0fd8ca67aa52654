"""Splits: the published lists give the published numbers, and everything wrong with a list is named."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.data.cards import Card, SplitLayout, load_card
from edgeprune.data.splits import load_split, split_validation
from edgeprune.errors import EdgepruneError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8", newline="")


MOBILE_DEVICES = {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}


# --- the published lists -----------------------------------------------------------------------------------------


@pytest.fixture
def official(shared_data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A data folder with the official lists of a set and no audio."""

    def make(folder: str) -> Path:
        shutil.copytree(shared_data / "dcase_splits" / folder, tmp_path / "evaluation_setup")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("name", "folder", "train", "test", "devices"),
    [
        ("tau2019", "tau2019_development", 9185, 4185, {"a"}),
        ("tau2020_mobile", "tau2020_mobile_development_v2.0", 13962, 2968, MOBILE_DEVICES),
        ("tut2016", "tut2016_fold1", 880, 290, {""}),
    ],
)
def test_official_lists(
    official: Callable[[str], Path], name: str, folder: str, train: int, test: int, devices: set[str]
) -> None:
    split = load_split(load_card(name), official(folder), check_files=False)
    assert (len(split.train), len(split.test)) == (train, test)
    assert set(split.test["device"]) == devices
    assert set(split.test["label"]) == set(split.classes)
    # The publisher splits by place or recording.
    assert not set(split.train["group"]) & set(split.test["group"])


def test_tau2019_has_the_published_number_of_places(official: Callable[[str], Path]) -> None:
    split = load_split(load_card("tau2019"), official("tau2019_development"), check_files=False)
    assert (split.train["group"].nunique(), split.test["group"].nunique()) == (325, 149)


def test_tau2022_and_the_dcase2024_subsets(official: Callable[[str], Path], shared_data: Path) -> None:
    root = official("tau2022_mobile_development")
    shutil.copytree(shared_data / "dcase_splits/dcase2024_subsets", root / "split_setup")
    card = load_card("tau2022_mobile")
    split = load_split(card, root, check_files=False)
    assert (len(split.train), len(split.test)) == (139_620, 29_680)
    row = split.test.iloc[0]
    assert tuple(row[["city", "device", "group"]]) == ("barcelona", "a", "barcelona-203")
    five = load_split(card, root, subset="5", check_files=False)
    assert (len(five.train), len(five.test)) == (6_980, 29_680)
    assert five.train["filename"].isin(split.train["filename"]).all()
    assert five.test.equals(split.test)


def test_test_list_without_labels(official: Callable[[str], Path]) -> None:
    root = official("tau2020_mobile_development_v2.0")
    (root / "evaluation_setup/fold1_evaluate.csv.gz").unlink()
    split = load_split(load_card("tau2020_mobile"), root, check_files=False)
    assert len(split.test) == 2968
    assert set(split.test["label"]) == {""}


def test_a_shortened_official_list_is_remarked_on(official: Callable[[str], Path]) -> None:
    root = official("tau2019_development")
    packed = root / "evaluation_setup/fold1_train.csv.gz"
    lines = gzip.decompress(packed.read_bytes()).splitlines(keepends=True)
    packed.write_bytes(gzip.compress(b"".join(lines[:-1])))
    (warning,) = load_split(load_card("tau2019"), root, check_files=False).warnings
    assert "(9184, 4185) rows for train and test, published (9185, 4185)" in warning


def test_real_clips_with_folds_in_a_table(shared_data: Path) -> None:
    tut = [load_split(load_card("tut2017"), shared_data / "tut2017", fold) for fold in (1, 2, 3, 4)]
    assert sorted(name for split in tut for name in split.test["filename"]) == sorted(
        f"audio/{path.name}" for path in (shared_data / "tut2017/audio").iterdir()
    )
    esc = [load_split(load_card("esc10"), shared_data / "esc10", fold) for fold in (1, 2, 3, 4, 5)]
    assert [(len(split.train), len(split.test)) for split in esc] == [(320, 80)] * 5
    assert tuple(esc[0].test.iloc[0]) == ("audio/1-100032-A-0.ogg", "dog", "100032", "", "")
    for split in (*tut, *esc):
        train, validation = split_validation(split.train)
        assert not set(train["group"]) & set(validation["group"])
        assert set(train["label"]) == set(validation["label"]) == set(split.classes)
        assert len(validation) / len(split.train) == pytest.approx(0.15, abs=0.02)


# --- names and formats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "name", "other", "label", "group", "city", "device"),
    [
        ("tau2020_mobile", "bus-lyon-203-6129-s3", "bus-paris-1-1-a", "bus", "lyon-203", "lyon", "s3"),
        ("tau2022_mobile", "street_traffic-lyon-7-8-0-b", "bus-paris-1-1-9-a", "street_traffic", "lyon-7", "lyon", "b"),
        ("tut2018", "airport-barcelona-0-0-a", "bus-paris-1-1-a", "airport", "barcelona-0", "barcelona", "a"),
        ("tut2017", "b020_90_100", "a001_0_10", "cafe/restaurant", "b020", "", ""),
        ("tut2016", "a001_10_40", "b020_90_120", "beach", "a001", "", ""),
        ("synthetic", "tram-port2-4-17-s1", "bus-port1-1-1-a", "tram", "port2-4", "port2", "s1"),
    ],
)
def test_names_give_place_and_device(
    tmp_path: Path, card: str, name: str, other: str, label: str, group: str, city: str, device: str
) -> None:
    suffix = "txt" if card.startswith("tut") else "csv"
    # Without a header and with LF, as TUT ships them; with a header and CRLF, as TAU does.
    write(tmp_path, f"evaluation_setup/fold1_train.{suffix}", f"audio/{name}.wav\t{label}\n")
    write(tmp_path, f"evaluation_setup/fold1_evaluate.{suffix}", f"filename\tscene_label\r\naudio/{other}.wav\tbus\r\n")
    split = load_split(load_card(card), tmp_path, check_files=False)
    assert tuple(split.train.iloc[0]) == (f"audio/{name}.wav", label, group, city, device)
    assert list(split.test["filename"]) == [f"audio/{other}.wav"]
    assert list(split.test["label"]) == ["bus"]


def test_esc50_as_published(tmp_path: Path) -> None:
    header = "filename,fold,target,category,esc10,src_file,take\n"
    rows = "1-100032-A-0.wav,1,0,dog,True,100032,A\n2-1-A-3.wav,2,3,cow,False,1,A\n3-2-B-10.wav,3,10,rain,True,2,B\n"
    write(tmp_path, "meta/esc50.csv", header + rows)
    esc50 = load_split(load_card("esc50"), tmp_path, check_files=False)
    assert list(esc50.train["filename"]) == ["audio/2-1-A-3.wav", "audio/3-2-B-10.wav"]
    esc10 = load_split(load_card("esc10"), tmp_path, check_files=False)
    assert list(esc10.train["filename"]) == ["audio/3-2-B-10.wav"]
    assert list(esc10.test["group"]) == ["100032"]


def test_clips_recoded_to_another_format_are_found(tmp_path: Path) -> None:
    write(tmp_path, "clips.csv", "filename,label,fold\na.wav,x,1\nsub\\b.wav,y,2\nc.wav,y,2\n")
    touch(tmp_path, "a.FLAC", "sub/b.ogg", "sub/b.txt", "audio/c.wav", "audio/c.flac")
    split = load_split(load_card("folder"), tmp_path)
    assert list(split.test["filename"]) == ["a.FLAC"]
    assert list(split.train["filename"]) == ["sub/b.ogg", "audio/c.wav"]


def test_folder_with_every_column(tmp_path: Path) -> None:
    write(
        tmp_path,
        "clips.csv",
        "\ufefffilename;label;split;group;device;city\n"
        "a.wav;tap;train;kitchen;phone;\n\nb.wav;car;train;;;york\nc.wav;car;test;street;;\n",
    )
    split = load_split(load_card("folder"), tmp_path, check_files=False)
    assert split.classes == ("car", "tap")
    assert split.train.to_dict("list") == {
        "filename": ["audio/a.wav", "audio/b.wav"],
        "label": ["tap", "car"],
        "group": ["kitchen", "audio/b.wav"],
        "city": ["", "york"],
        "device": ["phone", ""],
    }
    assert split.lists == ("clips.csv",)


# --- everything wrong with a list --------------------------------------------------------------------------------


@pytest.fixture
def tau(tmp_path: Path) -> Path:
    """A small set in TAU 2020's layout."""
    write(
        tmp_path,
        "evaluation_setup/fold1_train.csv",
        "filename\tscene_label\naudio/bus-lyon-1-1-a.wav\tbus\naudio/tram-lyon-2-2-a.wav\ttram\n",
    )
    write(tmp_path, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/bus-paris-3-3-a.wav\tbus\n")
    touch(tmp_path, "audio/bus-lyon-1-1-a.wav", "audio/tram-lyon-2-2-a.wav", "audio/bus-paris-3-3-a.wav")
    return tmp_path


def refused(root: Path, message: str, card: str | Card = "tau2020_mobile", **options: object) -> None:
    with pytest.raises(EdgepruneError, match=message):
        load_split(load_card(card) if isinstance(card, str) else card, root, **options)  # type: ignore[arg-type]


def test_the_small_set_itself_is_fine(tau: Path) -> None:
    assert len(load_split(load_card("tau2020_mobile"), tau).train) == 2


def test_missing_root(tmp_path: Path) -> None:
    refused(tmp_path / "none", "none does not exist")


def test_missing_lists(tau: Path) -> None:
    (tau / "evaluation_setup/fold1_evaluate.csv").unlink()
    refused(tau, r"fold1_train.csv is there but not evaluation_setup/fold1_evaluate.csv or .*fold1_test.csv")
    (tau / "evaluation_setup/fold1_train.csv").unlink()
    write(tau, "meta.csv", "filename\tscene_label\n")  # TAU's own meta.csv has no folds
    refused(tau, "looked for evaluation_setup/fold1_train.csv, then meta.csv with a column fold or split")


def test_missing_audio(tau: Path) -> None:
    (tau / "audio/bus-lyon-1-1-a.wav").unlink()
    refused(tau, r"audio/bus-lyon-1-1-a.wav named in .*fold1_train.csv but not in")
    (tau / "audio/tram-lyon-2-2-a.wav").unlink()
    refused(tau, "audio/bus-lyon-1-1-a.wav and 1 more named in")


def test_unknown_label(tau: Path) -> None:
    write(tau, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/bus-paris-3-3-a.wav\tbuss\n")
    refused(tau, r"fold1_evaluate.csv: row 2 has the label 'buss', .*perhaps you meant 'bus'")


def test_unknown_fold_and_subset(tau: Path, tmp_path: Path) -> None:
    refused(tau, "has no fold 2; its folds: 1", fold=2)
    refused(tau, "has no subset '5'; its subsets: none", subset="5")
    refused(tau, "has no subset '6'; its subsets: 5, 10, 25, 50, 100", card="tau2022_mobile", subset="6")
    write(tmp_path, "clips.csv", "filename,label,fold\na.wav,x,0\n")
    refused(tmp_path, "clips.csv: has no fold 1; its folds: 0", card="folder")


def test_empty_part(tau: Path) -> None:
    write(tau, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\n")
    refused(tau, r"fold1_evaluate.csv leaves no clip for testing")


def test_a_clip_on_both_sides(tau: Path) -> None:
    write(tau, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/bus-lyon-1-1-a.wav\tbus\n")
    refused(tau, "audio/bus-lyon-1-1-a.wav is in both train and test")


def test_a_place_on_both_sides_is_remarked_on(tau: Path) -> None:
    write(tau, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/bus-lyon-1-9-a.wav\tbus\n")
    warnings = load_split(load_card("tau2020_mobile"), tau, check_files=False).warnings
    assert any("group lyon-1 is in both train and test" in warning for warning in warnings)


def test_a_clip_listed_twice(tau: Path) -> None:
    row = "audio/bus-lyon-1-1-a.wav\tbus\n"
    write(tau, "evaluation_setup/fold1_train.csv", "filename\tscene_label\n" + row + row)
    refused(tau, "bus-lyon-1-1-a.wav is listed twice")


def test_a_name_that_tells_no_place(tau: Path) -> None:
    write(tau, "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/noise.wav\tbus\n")
    refused(tau, "audio/noise.wav does not follow tau2020_mobile's naming", check_files=False)


@pytest.mark.parametrize("name", ["../a.wav", "/tmp/a.wav", "C:/a.wav", "x/../../a.wav", ""])
def test_a_name_outside_the_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path, "clips.csv", f"filename,label,fold\nb.wav,x,1\n{name},x,2\n")
    refused(tmp_path, "row 3 names the clip .* relative to the data folder", card="folder", check_files=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\na.wav,x\n", "looked for clips.csv with a column fold or split"),
        ("filename,fold\na.wav,1\n", "has no column label"),
        ("filename,label,fold\na.wav,x\n", "row 2 has 2 columns where 3 are expected"),
        ("filename,label,split\na.wav,x,dev\n", "row 2 has the split 'dev'; write train or test"),
        ("filename,label,split\na.wav,,test\nb.wav,x,train\n", "row 2 has the label ''"),
    ],
)
def test_a_wrong_table(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "clips.csv", text)
    refused(tmp_path, message, card="folder", check_files=False)


def test_where_needs_its_column(tmp_path: Path) -> None:
    write(tmp_path, "clips.csv", "filename,label,fold\na.wav,x,1\n")
    card = Card("mine", "Mine", "mine", (SplitLayout(table="clips.csv", where={"good": "yes"}),))
    refused(tmp_path, "has no column good", card=card)


def test_a_list_that_is_no_text(tau: Path) -> None:
    (tau / "evaluation_setup/fold1_train.csv").write_bytes(b"\xff\xfe\x00")
    refused(tau, "cannot be read as a list of clips")


# --- validation --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=6, max_size=60),
    st.floats(0.05, 0.5),
    st.integers(0, 3),
)
def test_validation_keeps_groups_and_classes_whole(clips: list[tuple[str, int]], fraction: float, seed: int) -> None:
    frame = pd.DataFrame(
        {
            "filename": [f"{i}.wav" for i in range(len(clips))],
            "label": [label for label, _ in clips],
            "group": [f"g{group}" for _, group in clips],
        }
    )
    try:
        train, validation = split_validation(frame, fraction, seed)
    except EdgepruneError:
        # Only where no group can go without taking a class with it.
        for group in set(frame["group"]):
            assert set(frame.loc[frame["group"] != group, "label"]) != set(frame["label"])
        return
    assert not set(train["group"]) & set(validation["group"])
    assert set(train["label"]) == set(frame["label"])
    assert sorted([*train["filename"], *validation["filename"]]) == sorted(frame["filename"])
    again = split_validation(frame, fraction, seed)
    assert train.equals(again[0])
    assert validation.equals(again[1])


def test_a_group_that_can_go_is_found_where_the_folds_hold_none() -> None:
    clips = [("a", 0), ("a", 0), ("a", 0), ("a", 1), ("b", 2), ("c", 0)]
    frame = pd.DataFrame({"label": [label for label, _ in clips], "group": [f"g{group}" for _, group in clips]})
    for seed in range(4):
        assert list(split_validation(frame, 0.5, seed)[1]["group"]) == ["g1"]


def test_another_seed_cuts_elsewhere() -> None:
    frame = pd.DataFrame({"label": ["x"] * 40, "group": [f"g{i}" for i in range(40)]})
    cuts = {tuple(split_validation(frame, 0.25, seed)[1]["group"]) for seed in range(4)}
    assert len(cuts) > 1
    assert {len(cut) for cut in cuts} == {10}


@pytest.mark.parametrize(
    ("labels", "groups", "fraction", "message"),
    [
        ("xy", "gh", 0.0, "above 0"),
        ("xy", "gh", 0.9, "at most 0.5"),
        (["x", ""], "gh", 0.2, "needs a label"),
        ("xx", "gg", 0.2, "2 training clips in 1 groups are too few"),
        ("xy", "gh", 0.2, "are too few"),
    ],
)
def test_impossible_validation(labels: str | list[str], groups: str, fraction: float, message: str) -> None:
    with pytest.raises(EdgepruneError, match=message):
        split_validation(pd.DataFrame({"label": list(labels), "group": list(groups)}), fraction)


def test_folders_of_words_and_a_list_of_those_that_test(tmp_path) -> None:
    """Speech Commands: a folder for each word, the published list names the clips that test, the others train."""
    clips = [
        "yes/0a_nohash_0.wav",
        "yes/0a_nohash_1.wav",
        "yes/1b_nohash_0.wav",
        "no/1b_nohash_0.wav",
        "no/2c_nohash_0.wav",
    ]
    for name in (*clips, "_background_noise_/hum.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "testing_list.txt").write_text("yes/1b_nohash_0.wav\nno/1b_nohash_0.wav\n")
    split = load_split(load_card("speech_commands"), tmp_path)
    assert list(split.train["filename"]) == ["no/2c_nohash_0.wav", "yes/0a_nohash_0.wav", "yes/0a_nohash_1.wav"]
    assert list(split.train["label"]) == ["no", "yes", "yes"]
    assert list(split.train["group"]) == ["2c", "0a", "0a"]
    assert list(split.test["filename"]) == ["yes/1b_nohash_0.wav", "no/1b_nohash_0.wav"]
    assert list(split.test["label"]) == ["yes", "no"]
    assert len(split.classes) == 35
    (tmp_path / "no" / "1b_nohash_0.wav").unlink()
    with pytest.raises(EdgepruneError, match=r"no/1b_nohash_0.wav named in .*testing_list.txt but not in"):
        load_split(load_card("speech_commands"), tmp_path)
    (tmp_path / "testing_list.txt").unlink()
    with pytest.raises(EdgepruneError, match=r"no split found in .* looked for testing_list.txt"):
        load_split(load_card("speech_commands"), tmp_path)
