"""Downloading a data set: archives are checked by their MD5 and unpacked safely; an interrupted fetch continues."""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from edgeprune.console import progress, say
from edgeprune.data.cards import Archive, Card
from edgeprune.data.packed import DAMAGED, most_unpacked
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import cannot_write, md5_file, read_object, write_json

ARCHIVES = "archives"
"""Folder under the data set's root for the downloads and the marks of those that were unpacked."""

TIMEOUT_S = 30
TRIES = 4
PART = ".unpacking.part"
"""Name of a file that is not whole yet, in the folder it is unpacked into."""
CHUNK_BYTES = 1 << 16
"""The most bytes lost when a download breaks off."""
PAUSE_S = 1.0
"""Pause before the second try, doubled before each further one."""
_LONGEST_NAME, _LONGEST_PATH = 200, 1000
"""Bytes; file systems take 255 and some 4,000, and a temporary name is longer."""
_MOST_AT_ONCE = 1 << 20
"""Bytes that are read from a tar file at once."""


@dataclass(frozen=True)
class FetchReport:
    """Names of the archives that `fetch` downloaded, that it unpacked, and that were done before."""

    downloaded: tuple[str, ...]
    unpacked: tuple[str, ...]
    done_before: tuple[str, ...]


def fetch(card: Card, root: Path | str, only: Iterable[str] | None = None) -> FetchReport:
    """Download and unpack a data set; another call continues where the last one stopped.

    An archive goes to `root/archives`, is checked by its MD5 and unpacked into `root` without the card's top folder. An
    archive already there with the right MD5, such as one downloaded by hand, is not downloaded again. After unpacking
    it may be deleted. An interrupted download continues with an HTTP Range request where the server supports it and the
    MD5 is known, which vouches for the joined halves; otherwise it starts again.

    Args:
        only: archives whose name contains one of these texts, such as ["meta"].
    """
    root = Path(root)
    chosen = _choose(card, only)
    folder = root / ARCHIVES
    marks = {archive.name: folder / f"{archive.name}.done" for archive in chosen}
    done = [a for a in chosen if _is_done(a, marks[a.name])]
    todo = [archive for archive in chosen if archive not in done]
    sizes = [archive.bytes for archive in todo if archive.bytes and not (folder / archive.name).exists()]
    if todo:
        total = f", {sum(sizes) / 1e9:.1f} GB or more to download" if sizes else ""
        say(f"{card.name}: {len(todo)} of {len(chosen)} archives to do{total}; licence: {card.licence}")
        _check_space(root, sum(sizes))
    downloaded = []
    for number, archive in enumerate(todo):
        if _download(card, archive, folder, todo[number:]):
            downloaded.append(archive.name)
        unpack(archive, folder / archive.name, root, card.top_folder)
        write_json(marks[archive.name], {"name": archive.name, "md5": archive.md5})
    unpacked, done_before = (tuple(archive.name for archive in archives) for archives in (todo, done))
    return FetchReport(tuple(downloaded), unpacked, done_before)


def _is_done(archive: Archive, mark: Path) -> bool:
    """Whether the mark says that this archive was unpacked; a damaged mark says nothing."""
    try:
        return read_object(mark)["md5"] == archive.md5
    except (EdgepruneError, KeyError):
        return False


def unpack(archive: Archive, path: Path, root: Path, top_folder: str = "") -> int:
    """Unpack a zip or tar file under `root / archive.into`, or copy any other file there; returns the number of files.

    All names are checked before anything is written: absolute paths, `..`, links and devices are refused. A file
    already there at its full size is kept, so an interrupted unpacking continues.
    """
    target = root / archive.into
    with _whole(path), _open(path) as members:
        files = [(_safe(path, name, top_folder), size, opener) for name, size, opener in members]
        _check_bomb(path, sum(size for _, size, _ in files))
        new = [(name, size, opener) for name, size, opener in files if not _is_whole(target / name, size)]
        _check_space(root, sum(size for _, size, _ in new))
        with progress(f"unpacking {archive.name}", len(new)) as bar:
            for name, _, opener in new:
                _write_member(target / name, opener)
                bar.advance(bar.task_ids[0])
    return len(files)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Refuse an archive that turns out to be damaged while it is read."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the system, not of a decoder
            raise
        raise _damaged(path, error) from error
    except (tarfile.TarError, *DAMAGED) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> EdgepruneError:
    return EdgepruneError(f"{path}: cannot be unpacked ({first_line(error)}); delete it and fetch again.")


def _check_bomb(path: Path, unpacked: int) -> None:
    if unpacked > most_unpacked(path.stat().st_size):
        raise EdgepruneError(
            f"{path}: refused, it would unpack to {unpacked / 1e6:,.0f} MB, far more than audio and lists are packed "
            "into; get the archive from its publisher again."
        )


Member = tuple[str, int, Callable[[], IO[bytes]]]
"""Name inside an archive, size in bytes, and a function that opens it."""


@contextmanager
def _open(path: Path) -> Iterator[list[Member]]:
    """The files in an archive."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist() if not info.is_dir()]
    elif path.name.endswith((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")):
        with _unpacked_stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tarred:
            yield [_tar_member(tarred, info) for info in _bounded(path, tarred) if not info.isdir()]
    else:
        yield [(path.name, path.stat().st_size, lambda: path.open("rb"))]


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _unsafe(zipped.filename, info.filename, "is a link")
    return info.orig_filename, info.file_size, lambda: zipped.open(info)


@contextmanager
def _unpacked_stream(path: Path) -> Iterator[Any]:
    """A tar file without its compression, which its first bytes tell."""
    openers = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
    with path.open("rb") as stream:
        head = stream.read(2)
    with openers.get(head, open)(path, "rb") as stream:  # type: ignore[operator]
        yield _Sparing(stream)


class _Sparing:
    """A stream for tarfile, which reads a long name at once, whatever length its header claims."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.seek, self.tell = stream, stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._stream.read(size)


def _bounded(path: Path, tarred: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, until they are too large: the next one is only found behind what the last one unpacks to."""
    unpacked = 0
    for info in tarred:
        unpacked += info.size
        _check_bomb(path, unpacked)
        yield info


def _tar_member(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isreg():
        raise _unsafe(tarred.name, info.name, "is a link or a device")

    def opener() -> IO[bytes]:
        stream = tarred.extractfile(info)
        assert stream is not None  # a regular file
        return stream

    return info.name, info.size, opener


def _safe(path: Path, name: str, top_folder: str) -> PurePosixPath:
    """The name of a member below the target folder."""
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    if not parts or slashed.startswith("/") or ":" in parts[0] or ".." in parts or "\0" in name:
        raise _unsafe(path, name, "would be written outside the data folder")
    if len(slashed) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        raise _unsafe(path, f"{name[:40]}...", "has a name that is too long")
    if top_folder and parts[0] == top_folder and len(parts) > 1:
        parts = parts[1:]
    return PurePosixPath(*parts)


def _unsafe(path: Any, name: str, why: str) -> EdgepruneError:
    return EdgepruneError(f"{path}: refused, its member {name!r} {why}; get the archive from its publisher again.")


def _write_member(path: Path, opener: Callable[[], IO[bytes]]) -> None:
    """Write a file beside its place under a name that the next process to unpack it takes again, and rename it."""
    part = path.with_name(PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opener() as source, part.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
        part.replace(path)
    except OSError as error:
        if error.errno is None:  # a decoder's: the archive is damaged
            raise
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _choose(card: Card, only: Iterable[str] | None) -> list[Archive]:
    if not card.archives:
        raise EdgepruneError(f"{card.name}: its card lists nothing to download. {card.notes}".rstrip())
    wanted = list(only) if only is not None else [""]
    names = [archive.name for archive in card.archives]
    for text in wanted:
        if not any(text in name for name in names):
            raise EdgepruneError(f"{card.name}: no archive is called '{text}'; it has {', '.join(names)}.")
    return [archive for archive in card.archives if any(text in archive.name for text in wanted)]


def _check_space(root: Path, needed: int) -> None:
    there = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise EdgepruneError(
            f"{root}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; choose another folder."
        )


def _download(card: Card, archive: Archive, folder: Path, left: list[Archive]) -> bool:
    """Put the archive with the right MD5 into `folder`; True if it was downloaded now."""
    import requests

    path = folder / archive.name
    if not archive.md5:
        say(f"warning: {archive.name}: no MD5 is known for it, so the download cannot be checked")
        if path.exists():
            return False
    elif path.exists():
        if md5_file(path) == archive.md5:
            return False
        say(f"warning: {path}: has another MD5 than {archive.md5}; downloading it again")
        path.unlink()
    part = folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download_part(archive, part)
        if archive.md5 and md5_file(part) != archive.md5:
            part.unlink()
            raise EdgepruneError(
                f"{archive.name}: {archive.url} sent a file with another MD5 than {archive.md5}; try again later, and "
                "if that does not help, check the card against the publisher's page."
            )
        part.replace(path)
    except requests.RequestException as error:
        links = "\n".join(f"  {other.url}" for other in left if not (folder / other.name).exists())
        raise EdgepruneError(
            f"{card.name}: {archive.name} cannot be downloaded ({_reason(error)}); try again later, or download these "
            f"by hand into {folder} and run the command again:\n{links}"
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    return True


def _reason(error: Exception) -> str:
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    return "the connection broke off"


def _download_part(archive: Archive, part: Path) -> None:
    """Download an archive to `part`, from where an earlier download broke off; a failure is tried again."""
    import requests

    if not archive.md5:
        part.unlink(missing_ok=True)
    for attempt in range(TRIES):
        try:
            _stream(archive, part)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if attempt == TRIES - 1:
                raise
        except requests.HTTPError as error:
            # Servers under load answer 429 or 5xx; another try does not help with other codes.
            status = error.response.status_code if error.response is not None else 0
            if attempt == TRIES - 1 or (status != 429 and status < 500):
                raise
        time.sleep(PAUSE_S * 2**attempt)


def _stream(archive: Archive, part: Path) -> None:
    """Ask the server for what `part` lacks, and add it there."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have and have == archive.bytes:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(archive.url, stream=True, timeout=TIMEOUT_S, headers=headers) as response:
        if response.status_code == 416:
            # Nothing lies beyond the partial file: it is whole or too long, and the MD5 decides.
            if response.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            part.unlink()
            raise requests.ConnectionError("the partial download does not fit the file")
        response.raise_for_status()
        resumed = response.status_code == 206
        have = have if resumed else 0
        length = int(response.headers.get("Content-Length", 0)) + have or archive.bytes or 0
        title = f"{archive.name} (MiB)"
        with part.open("ab" if resumed else "wb") as sink, progress(title, length >> 20) as bar:
            for chunk in response.iter_content(CHUNK_BYTES):
                if archive.bytes and sink.tell() + len(chunk) > archive.bytes:
                    raise EdgepruneError(
                        f"{archive.name}: {archive.url} sent more than its {archive.bytes:,} bytes; check the card "
                        "against the publisher's page."
                    )
                sink.write(chunk)
                bar.update(bar.task_ids[0], completed=sink.tell() >> 20)
