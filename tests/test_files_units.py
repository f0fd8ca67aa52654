"""Files that are whole or absent, hashes that name their content, and sizes that survive being written and read."""

import dataclasses
import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune import scratch
from edgeprune.errors import EdgepruneError
from edgeprune.files import atomic_path, read_json, sha256_file, sha256_json, write_bytes, write_json, write_text
from edgeprune.units import format_size, parse_size


def test_nothing_under_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/model.tflite"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix  # some writers choose the format by it
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the ne")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as stream:
            stream.write(data[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EdgepruneError, match=r"result.json: the disk is full; free some space") as caught:
        write_json(path, {"a": 1})
    assert caught.value.exit_code == 2
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgepruneError, match=r"a.json: cannot be written \(.+\); choose a folder you can write to"):
        write_text(tmp_path / "file/a.json", "{}")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # as root, chmod would refuse nothing

    monkeypatch.setattr(scratch.tempfile, "mkstemp", refuse)
    with pytest.raises(EdgepruneError, match=r"a.json: cannot be written \(Permission denied\)"):
        write_text(tmp_path / "a.json", "{}")


@dataclasses.dataclass
class Sample:
    path: Path
    values: np.ndarray
    count: np.int64


def test_json_of_our_values(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", Sample(Path("x/y"), np.array([1.5, 2.0]), np.int64(3)))
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": "x/y", "values": [1.5, 2.0], "count": 3}
    assert read_json(tmp_path / "a.json")["count"] == 3


def test_json_of_what_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        write_json(tmp_path / "a.json", {"names": {1, 2}})
    assert not list(tmp_path.iterdir())


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match=r"a.json: cannot be read \(No such file or directory\)"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"half": ')
    with pytest.raises(EdgepruneError, match=r"a.json: is not valid JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(EdgepruneError, match=r"a.json: is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_sha256(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"b": 1, "a": [2]}) == hashlib.sha256(b'{"a":[2],"b":1}').hexdigest()


def test_sha256_of_equal_content() -> None:
    assert sha256_json({"b": 1, "a": (1, 2)}) == sha256_json({"a": [1, 2], "b": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})
    assert sha256_json([1, 2]) != sha256_json([2, 1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30000", 30_000),
        ("30k", 30_000),
        ("29.2M", 29_200_000),
        ("29.234920M", 29_234_920),
        ("128kB", 128_000),
        ("128 kb", 128_000),
        ("1MiB", 1_048_576),
        ("64KiB", 65_536),
        ("1.5Ki", 1536),
        ("2G", 2 * 10**9),
        ("1GiB", 2**30),
        (".5k", 500),
        ("55,361,162", 55_361_162),
        ("1_000", 1000),
        ("0", 0),
    ],
)
def test_sizes_as_people_write_them(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "k", "-1", "1e6", "12 apples", "1.2.3", "3KK", "0x10", "1T", "nan", "12k 3"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(EdgepruneError, match=r"is not a size; write it like 30000, 30k, 29.2M, 128kB or 1MiB"):
        parse_size(text)


@given(st.integers(0, 10**15))
def test_sizes_come_back(value: int) -> None:
    assert parse_size(format_size(value)) == value


@given(st.integers(1, 999), st.sampled_from(["k", "M", "G"]))
def test_round_sizes_are_short(number: int, suffix: str) -> None:
    assert format_size(parse_size(f"{number}{suffix}")) == f"{number}{suffix}"


@pytest.mark.parametrize("number", ["1e101", "-1e308", "1e999", "NaN", "-Infinity"])
def test_numbers_whose_squares_would_overflow_are_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(f'{{"accuracy": [{number}]}}')
    with pytest.raises(EdgepruneError, match="is not valid JSON"):
        read_json(path)
    path.write_text('{"accuracy": [1e100, -1e100, 5e-324]}')
    assert read_json(path)["accuracy"][0] == 1e100
