"""Temporary files and folders, locked while they are in use, so that those of a killed process are found and removed.

The lock (`flock`) ends with its process, however that ends. Windows has none: what a kill leaves there stays.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "edgeprune.tmp-"
"""In every name, so that nothing else passes for a leftover."""


@contextmanager
def scratch_folder(parent: Path | str | None = None, prefix: str = "") -> Iterator[Path]:
    """A temporary folder that goes at the end of the block; leftovers beside it, of the same prefix, go first.

    Args:
        parent: where it is made (default: the system's folder for temporary files).
        prefix: of its name.
    """
    parent, prefix = Path(parent or tempfile.gettempdir()), f"{prefix}{_MARK}"
    _remove_leftovers(parent, prefix, "")
    with _locked(lambda: tempfile.mkdtemp(prefix=prefix, dir=parent)) as folder:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, with its suffix, that goes at the end of the block; its own leftovers go first."""

    def make() -> str:
        handle, name = tempfile.mkstemp(path.suffix, prefix, path.parent)
        os.close(handle)
        return name

    prefix = f".{path.name}.{_MARK}"
    _remove_leftovers(path.parent, prefix, path.suffix)
    with _locked(make) as temporary:
        try:
            temporary.chmod(0o644)
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


if sys.platform == "win32":

    @contextmanager
    def _locked(make: Callable[[], str]) -> Iterator[Path]:
        yield Path(make())

    def _remove_leftovers(folder: Path, prefix: str, suffix: str) -> None:
        pass

else:

    @contextmanager
    def _locked(make: Callable[[], str]) -> Iterator[Path]:
        """Make a file or folder and keep it locked during the block."""
        import fcntl

        while True:
            path = Path(make())
            with suppress(FileNotFoundError):  # another process took it for a leftover, before it was locked
                handle = os.open(path, os.O_RDONLY)
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if path.exists():
                    break
                os.close(handle)
        try:
            yield path
        finally:
            os.close(handle)

    def _remove_leftovers(folder: Path, prefix: str, suffix: str) -> None:
        """Remove the files and folders of these names that no process has locked."""
        import fcntl

        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(suffix)]
        for name in names:
            with suppress(OSError):  # in use, another user's, or gone by now
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
                finally:
                    os.close(handle)
