"""Label tables as people and programs write them: read, or refused with what to do."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from calls import call

from edgeprune.data.cards import load_card
from edgeprune.data.lists import read_rows
from edgeprune.data.splits import load_split
from edgeprune.errors import EdgepruneError

PLAIN = "filename,label,fold\na.wav,x,1\nb.wav,y,1\nc.wav,x,2\nd.wav,y,2\n"


def split_of(root: Path, content: str | bytes, name: str = "clips.csv") -> tuple[list[list[str]], list[list[str]]]:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    split = load_split(load_card("folder"), root, 1, check_files=False)
    train, test = (part[["filename", "label"]].to_numpy().tolist() for part in (split.train, split.test))
    return train, test


READ = {
    "with an index": ",filename,label,fold\n0,a.wav,x,1\n1,b.wav,y,1\n2,c.wav,x,2\n3,d.wav,y,2\n",
    "file": PLAIN.replace("filename", "file"),
    "path": PLAIN.replace("filename", "Path"),
    "file_name": PLAIN.replace("filename", "file_name"),
    "columns in another order": "fold,label,filename\n1,x,a.wav\n1,y,b.wav\n2,x,c.wav\n2,y,d.wav\n",
    "a line sep=": "sep=;\n" + PLAIN.replace(",", ";"),
    "a quoted line sep=": '"sep=|"\r\n' + PLAIN.replace(",", "|"),
    "empty rows": PLAIN.replace("\n", "\n\n").replace("c.wav", ",,\n \nc.wav"),
    "empty columns behind": PLAIN.replace("\n", ",,\n"),
    "empty cells behind": PLAIN.replace("a.wav,x,1", "a.wav,x,1,,"),
    "folds as decimals": PLAIN.replace(",1\n", ",1.0\n").replace(",2\n", ",2.00\n"),
    "folds with zeros": PLAIN.replace(",1\n", ",01\n"),
    "Train and TEST": PLAIN.replace("fold", "Split").replace(",1\n", ",TEST\n").replace(",2\n", ",Train\n"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-8 with its mark": PLAIN.encode("utf-8-sig"),
    "tabs and CRLF": PLAIN.replace(",", "\t").replace("\n", "\r\n"),
    "names of Windows": PLAIN.replace("a.wav", ".\\a.wav"),
    "a path beside the name": "path,filename,label,fold\n/x/a.wav,a.wav,x,1\n,b.wav,y,1\n,c.wav,x,2\n,d.wav,y,2\n",
}


@pytest.mark.parametrize("kind", READ)
def test_read(tmp_path: Path, kind: str) -> None:
    train, test = split_of(tmp_path, READ[kind])
    assert [(Path(name).name, label) for name, label in test] == [("a.wav", "x"), ("b.wav", "y")]
    assert [(Path(name).name, label) for name, label in train] == [("c.wav", "x"), ("d.wav", "y")]


LONG = "n" * 256
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no column of clips": (
        PLAIN.replace("filename", "sound"),
        r"its first row \(sound,label,fold\) has no column filename; name the column of the clips so",
    ),
    "no header": (PLAIN.partition("\n")[2], r"its first row \(a.wav,x,1\) has no column filename"),
    "no column of clips, tabs": (PLAIN.replace("filename", "sound").replace(",", "\t"), "has no column filename"),
    "two columns of a name": (PLAIN.replace("fold", "Label"), "has two columns 'label'; remove or rename one"),
    "two columns of clips": ("filename," + PLAIN.replace("\n", "\nx,"), "has two columns 'filename'"),
    "a split of another name": (
        PLAIN.replace("fold", "split").replace(",1\n", ",dev\n").replace(",2\n", ",train\n"),
        "row 2 has the split 'dev'; write train or test",
    ),
    "Latin-1": (PLAIN.replace("x", "Straße").encode("latin-1"), r"byte \d+ is no UTF-8\); save it as UTF-8"),
    "UTF-16 without its mark": (PLAIN.encode("utf-16-le"), "holds zero bytes.; save it as UTF-8"),
    "half a character": (PLAIN.encode("utf-16")[:-1], "is no UTF-16"),
    "a quotation mark that is not closed": (
        PLAIN.replace("b.wav", '"b.wav') + "z" * 140_000,
        r"row \d+ is no row of a table .*field larger than field limit.*quotation mark that is not closed",
    ),
    "a cell of 200,000 characters": (PLAIN.replace("b.wav", "z" * 200_000), "row 3 is no row of a table"),
    "a row number that counts empty rows": (PLAIN.replace("d.wav,y", "\n\nd.wav"), "row 7 has 2 columns where 3"),
    "a name of 256 bytes": (
        PLAIN.replace("b.wav", LONG),
        "row 3 names a file of 256 bytes, nnn.*systems take 255",
    ),
    "a name of 256 bytes in UTF-8": (PLAIN.replace("b.wav", "ü" * 128), "row 3 names a file of 256 bytes"),
    "a folder of 256 bytes": (PLAIN.replace("b.wav", f"{LONG}/b.wav"), "row 3 names a file of 256 bytes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    content, message = REFUSED[kind]
    with pytest.raises(EdgepruneError, match=r"clips\.csv: .*" + message) as caught:
        split_of(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_packed_list_that_breaks_inside(tmp_path: Path) -> None:
    """Every byte of the packed text is spoilt in turn: it is read as written, or refused in a sentence."""
    whole = gzip.compress(PLAIN.encode(), mtime=0)
    reference = split_of(tmp_path, whole, "clips.csv.gz")
    refused = 0
    for place in range(len(whole)):
        for content in (whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :], whole[:place]):
            try:
                assert split_of(tmp_path, content, "clips.csv.gz") == reference
            except EdgepruneError as error:
                refused += "clips.csv.gz: " in str(error)
    assert refused > 1.5 * len(whole)


def test_a_packed_list_of_many_bytes_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeprune.data.lists._MOST_BYTES", 1 << 20)
    (tmp_path / "clips.csv.gz").write_bytes(gzip.compress(bytes(40 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(EdgepruneError, match="is longer than 1,048,576 bytes"):
            read_rows(tmp_path / "clips.csv.gz")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_root_of_256_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = call(capsys, "data", "verify", "folder", "--root", tmp_path / LONG)
    assert code == 2
    assert "error: " in err
    assert "bug" not in err


def test_a_clip_below_the_front_ends_rate_gets_advice_that_works(tmp_path: Path) -> None:
    """VGGish's bands end at 7.5 kHz, above what an 8-kHz clip holds: the rate alone would be refused."""
    import soundfile

    from edgeprune.data.load import find_data
    from edgeprune.flags import parse_flags
    from edgeprune.frontend import LogMel
    from edgeprune.recipe import Data, Recipe

    (tmp_path / "clips.csv").write_text(PLAIN)
    for name in "abcd":
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    data = Data(name="folder", root=tmp_path, validation=0.0, cache=tmp_path / "cache")
    recipe = Recipe(name="low", data=data, frontend=LogMel.vggish())
    with pytest.raises(EdgepruneError, match="sampled at 8000 Hz") as caught:
        find_data(recipe.data, recipe.frontend)
    advice = str(caught.value).partition("or set ")[2].rstrip(".").split()
    assert advice[0] == "--frontend.sample-rate"
    advised = parse_flags(recipe, advice)
    assert len(find_data(advised.data, advised.frontend).train) == 2
