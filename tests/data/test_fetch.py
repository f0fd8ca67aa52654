"""Fetching, against a small web server on the loopback that counts what it is asked for."""

import io
import socket
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archive_server import Server

import edgeprune.data.fetch as fetching
from edgeprune.data.cards import Archive, Card, SplitLayout
from edgeprune.data.fetch import ARCHIVES, CHUNK_BYTES, fetch
from edgeprune.errors import EdgepruneError


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    with Server(tmp_path_factory.mktemp("published")) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def card(*archives: Archive) -> Card:
    return Card("mine", "Mine", "free", (SplitLayout(table="clips.csv"),), top_folder="Mine-2020", archives=archives)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def files_in(root: Path) -> dict[str, bytes]:
    everything = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in everything if ARCHIVES not in path.parts}


LONG = bytes(range(256)) * 1024
CLIPS = {"Mine-2020/audio/a.wav": b"a" * 5000, "Mine-2020/clips.csv": b"filename,label\n"}


def test_zip_tar_and_plain_files(server: Server, tmp_path: Path) -> None:
    first = server.publish("mine.audio.1.zip", zipped(CLIPS))
    second = server.publish("mine.audio.2.tar.gz", tarred((tarfile.TarInfo("./Mine-2020/audio/b.wav"), b"b")))
    plain = server.publish("split5.csv", b"filename\tscene_label\n")
    plain = Archive(plain.name, plain.url, plain.md5, plain.bytes, True, into="split_setup")
    report = fetch(card(first, second, plain), tmp_path)
    assert files_in(tmp_path) == {
        "audio/a.wav": b"a" * 5000,
        "audio/b.wav": b"b",
        "clips.csv": b"filename,label\n",
        "split_setup/split5.csv": b"filename\tscene_label\n",
    }
    assert report.downloaded == report.unpacked == ("mine.audio.1.zip", "mine.audio.2.tar.gz", "split5.csv")


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    mine = card(server.publish("a.zip", zipped(CLIPS)))
    fetch(mine, tmp_path)
    (tmp_path / ARCHIVES / "a.zip").unlink()  # to save space
    report = fetch(mine, tmp_path)
    assert (report.downloaded, report.unpacked, report.done_before) == ((), (), ("a.zip",))
    assert len(server.requests) == 1


def test_downloaded_by_hand(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    (tmp_path / ARCHIVES).mkdir()
    (tmp_path / ARCHIVES / "a.zip").write_bytes((server.folder / "a.zip").read_bytes())
    assert fetch(card(archive), tmp_path).downloaded == ()
    assert server.requests == []
    assert "audio/a.wav" in files_in(tmp_path)


def test_a_damaged_file_of_the_same_name_is_replaced(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    (tmp_path / ARCHIVES).mkdir()
    (tmp_path / ARCHIVES / "a.zip").write_bytes(b"half")
    assert fetch(card(archive), tmp_path).downloaded == ("a.zip",)
    assert "has another MD5" in capfd.readouterr().err


def test_a_new_version_is_fetched(server: Server, tmp_path: Path) -> None:
    fetch(card(server.publish("a.zip", zipped(CLIPS))), tmp_path)
    report = fetch(card(server.publish("a.zip", zipped(CLIPS | {"Mine-2020/audio/a.wav": b"new"}))), tmp_path)
    assert report.downloaded == ("a.zip",)
    assert files_in(tmp_path)["audio/a.wav"] == b"new"


def test_wrong_md5(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    wrong = Archive(archive.name, archive.url, "0" * 32, archive.bytes, True)
    with pytest.raises(EdgepruneError, match=r"a.zip: http.* sent a file with another MD5 than 000"):
        fetch(card(wrong), tmp_path)
    assert files_in(tmp_path) == {}
    assert list((tmp_path / ARCHIVES).iterdir()) == []


def test_a_download_ends_at_the_size_on_the_card(server: Server, tmp_path: Path) -> None:
    """A server that goes on sending fills no disk."""
    archive = server.publish("a.zip", zipped(CLIPS))
    assert archive.bytes
    short = Archive(archive.name, archive.url, archive.md5, archive.bytes - 9, True)
    with pytest.raises(EdgepruneError, match=rf"a.zip: http.* sent more than its {archive.bytes - 9:,} bytes"):
        fetch(card(short), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < archive.bytes


def test_without_md5_there_is_a_warning(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    fetch(card(Archive(archive.name, archive.url)), tmp_path)
    assert "warning: a.zip: no MD5 is known" in capfd.readouterr().err
    assert "audio/a.wav" in files_in(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    archive = server.publish("a.zip", zipped({"a.wav": LONG}))
    server.ranges, server.break_after = ranges, [2 * CHUNK_BYTES + 1000]
    fetch(card(archive), tmp_path)
    assert server.requests == [("a.zip", ""), ("a.zip", f"bytes={2 * CHUNK_BYTES}-")]
    assert files_in(tmp_path) == {"a.wav": LONG}


def test_an_interrupted_run_goes_on_next_time(server: Server, tmp_path: Path) -> None:
    archives = [server.publish(f"{n}.zip", zipped({f"{n}.wav": n.encode() + LONG})) for n in "abc"]
    server.break_after = [len(LONG) * 2, CHUNK_BYTES, 0, 0, 0]
    with pytest.raises(EdgepruneError, match=r"b.zip cannot be downloaded") as error:
        fetch(card(*archives), tmp_path)
    # What is left to do by hand, and where to put it.
    assert archives[0].url not in str(error.value)
    assert archives[1].url in str(error.value)
    assert archives[2].url in str(error.value)
    assert str(tmp_path / ARCHIVES) in str(error.value)
    server.requests.clear()
    report = fetch(card(*archives), tmp_path)
    assert server.requests == [("b.zip", f"bytes={CHUNK_BYTES}-"), ("c.zip", "")]
    assert report.done_before == ("a.zip",)
    assert files_in(tmp_path) == {f"{n}.wav": n.encode() + LONG for n in "abc"}


def test_halves_are_not_joined_without_an_md5(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    (tmp_path / ARCHIVES).mkdir()
    (tmp_path / ARCHIVES / "a.zip.part").write_bytes(b"of another version")
    fetch(card(Archive(archive.name, archive.url)), tmp_path)
    assert server.requests == [("a.zip", "")]


@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize("extra", [b"", b"and more"])
def test_a_partial_file_that_is_whole_or_too_long(
    server: Server, tmp_path: Path, extra: bytes, known_size: bool
) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    (tmp_path / ARCHIVES).mkdir()
    (tmp_path / ARCHIVES / "a.zip.part").write_bytes((server.folder / "a.zip").read_bytes() + extra)
    fetch(card(Archive(archive.name, archive.url, archive.md5, archive.bytes if known_size else None)), tmp_path)
    assert "audio/a.wav" in files_in(tmp_path)


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    server.unavailable = 2
    fetch(card(archive), tmp_path)
    assert len(server.requests) == 3


def test_no_such_file_on_the_server(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    (server.folder / "a.zip").unlink()
    with pytest.raises(EdgepruneError, match="the server answered 404"):
        fetch(card(archive), tmp_path)
    assert len(server.requests) == 1


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    with socket.socket() as taken:  # bound, never listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        archive = Archive("a.zip", f"http://127.0.0.1:{taken.getsockname()[1]}/a.zip", "0" * 32)
        with pytest.raises(EdgepruneError, match=r"no connection to the server.*by hand into"):
            fetch(card(archive), tmp_path)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_an_evil_zip_writes_nothing(server: Server, tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    archive = server.publish("evil.zip", zipped({"good.txt": b"good", name: b"evil"}))
    with pytest.raises(EdgepruneError, match=r"evil.zip: refused, .* outside the data folder"):
        fetch(card(archive), root)
    assert files_in(tmp_path) == {}


def test_a_zip_with_a_link_is_refused(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(EdgepruneError, match="'link' is a link"):
        fetch(card(server.publish("evil.zip", buffer.getvalue())), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_tar_with_a_link_or_device_is_refused(server: Server, tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("out")
    link.type, link.linkname = kind, "/etc"
    data = tarred((tarfile.TarInfo("good.txt"), b"good"), (link, b""), (tarfile.TarInfo("out/evil.txt"), b"evil"))
    with pytest.raises(EdgepruneError, match="'out' is a link or a device"):
        fetch(card(server.publish("evil.tar.gz", data)), tmp_path)
    assert files_in(tmp_path) == {}


def test_an_evil_tar_name_is_refused(server: Server, tmp_path: Path) -> None:
    data = tarred((tarfile.TarInfo("../evil.txt"), b"evil"), mode="w")
    with pytest.raises(EdgepruneError, match="outside the data folder"):
        fetch(card(server.publish("evil.tar", data)), tmp_path / "root")
    assert files_in(tmp_path) == {}


def test_interrupted_unpacking_goes_on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = server.publish("a.zip", zipped({f"{n}.wav": n.encode() * 10 for n in "abc"}))
    copied: list[int] = []
    copy = fetching.shutil.copyfileobj

    def interrupted(source: io.BytesIO, sink: io.BytesIO, length: int) -> None:
        copied.append(1)
        if len(copied) == 2:
            raise KeyboardInterrupt
        copy(source, sink, length)

    monkeypatch.setattr(fetching.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(card(archive), tmp_path)
    assert set(files_in(tmp_path)) == {"a.wav"}
    report = fetch(card(archive), tmp_path)
    assert (report.downloaded, report.unpacked) == ((), ("a.zip",))
    assert files_in(tmp_path) == {f"{n}.wav": n.encode() * 10 for n in "abc"}
    assert len(copied) == 4  # a, b interrupted, then b and c


@pytest.mark.parametrize("spoil", [lambda data: data[:-40], lambda data: data.replace(b"aaaa", b"aaab")])
def test_a_damaged_archive_without_md5(server: Server, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    archive = server.publish("a.zip", spoil(zipped(CLIPS)))
    with pytest.raises(EdgepruneError, match=r"a.zip: cannot be unpacked .* delete it and fetch again"):
        fetch(card(Archive(archive.name, archive.url)), tmp_path)
    assert "audio/a.wav" not in files_in(tmp_path)


def test_only_some(server: Server, tmp_path: Path) -> None:
    archives = [server.publish(f"mine.{n}.zip", zipped({f"{n}.txt": b""})) for n in ("doc", "meta", "audio.1")]
    assert fetch(card(*archives), tmp_path, only=["meta", "doc"]).downloaded == ("mine.doc.zip", "mine.meta.zip")
    with pytest.raises(EdgepruneError, match=r"no archive is called 'video'; it has mine.doc.zip"):
        fetch(card(*archives), tmp_path, only=["video"])


def test_nothing_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match="mine: its card lists nothing to download"):
        fetch(card(), tmp_path)


def test_too_little_space(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped(CLIPS))
    huge = Archive(archive.name, archive.url, archive.md5, 10**18, True)
    with pytest.raises(EdgepruneError, match=r"1000000000.0 GB are needed"):
        fetch(card(huge), tmp_path)
    assert server.requests == []


def bomb(kind: str) -> bytes:
    """64 MiB of zeros in some 60 kB."""
    zeros = bytes(64 << 20)
    if kind == "tar.gz":
        return tarred((tarfile.TarInfo("zeros.wav"), zeros))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.wav", zeros)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_is_unpacked(server: Server, tmp_path: Path, kind: str) -> None:
    packed = bomb(kind)
    assert len(packed) < 1 << 18
    with pytest.raises(EdgepruneError, match="would unpack to 67 MB, far more than"):
        fetch(card(server.publish(f"bomb.{kind}", packed)), tmp_path)
    assert files_in(tmp_path) == {}


def test_a_long_name_is_not_read_whatever_its_length(server: Server, tmp_path: Path) -> None:
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 5 << 30
    archive = server.publish("a.tar", long_name.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(EdgepruneError, match=r"a.tar: cannot be unpacked \(a header claims 5368709120 bytes\)"):
        fetch(card(archive), tmp_path)


def test_a_file_below_a_file_is_refused(server: Server, tmp_path: Path) -> None:
    archive = server.publish("a.zip", zipped({"a.wav": b"sound", "a.wav/b.wav": b"sound"}))
    with pytest.raises(EdgepruneError, match=r"a.wav.b.wav: cannot be written"):
        fetch(card(archive), tmp_path)


def test_a_zip_that_lies_about_its_sizes_is_not_written_beyond_them(server: Server, tmp_path: Path) -> None:
    """64 MiB that say they are 100 bytes: no more than these are written, and the checksum betrays them."""
    packed = bytearray(bomb("zip"))
    for header, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = packed.index(header) + offset
        assert int.from_bytes(packed[place : place + 4], "little") == 64 << 20
        packed[place : place + 4] = (100).to_bytes(4, "little")
    with pytest.raises(EdgepruneError, match=r"bomb.zip: cannot be unpacked \(Bad CRC-32"):
        fetch(card(server.publish("bomb.zip", bytes(packed))), tmp_path)
    assert files_in(tmp_path) == {}
