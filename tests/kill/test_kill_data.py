"""`data make` and `data fetch` killed at random moments."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from archive_server import Server
from kills import EDGEPRUNE, Trial, moments

from edgeprune.data.synthetic import ensure

Holds = Callable[[str, Trial, float], None]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Scenes that take the place of others."""

    work = tmp_path_factory.mktemp("make") / "work"

    def prepare(work: Path) -> None:
        ensure(work / "scenes", clips_per_scene=9, clip_s=0.2, seed=1)

    work = tmp_path_factory.mktemp("make") / "work"
    command = (*EDGEPRUNE, "data", "make", "--root", work / "scenes", "--clips-per-scene", "30")
    return Trial(work, command, prepare)


@pytest.fixture(scope="module")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Two archives of a slow server."""
    folder = tmp_path_factory.mktemp("fetch")
    (folder / "published").mkdir()
    with Server(folder / "published") as server:
        server.pause_s = 0.02
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        archives = [server.publish(f"{name}.zip", _zipped(name)) for name in ("first", "second")]
        lines = [
            f'[[archives]]\nname = "{a.name}"\nurl = "{a.url}"\nmd5 = "{a.md5}"\nbytes = {a.bytes}' for a in archives
        ]
        card = 'name = "mine"\ntitle = "Mine"\nlicence = "free"\n[[layouts]]\ntable = "first.csv"\n'
        (folder / "mine.toml").write_text("\n".join([card, *lines]) + "\n")
        command = (*EDGEPRUNE, "data", "fetch", folder / "mine.toml", "--root", folder / "work" / "mine")
        yield Trial(folder / "work", command, lambda _: None)
        server.shutdown()


def _zipped(name: str) -> bytes:
    """A megabyte that cannot be compressed, as 100 files."""
    stream, draw = io.BytesIO(), np.random.default_rng(len(name))
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(100):
            archive.writestr(f"audio/{name}{number}.wav", draw.bytes(10_000))
    return stream.getvalue()


@pytest.mark.parametrize("share", moments("data make", few=1, of_fifty=10))
def test_make(make: Trial, holds: Holds, share: float) -> None:
    holds("data make", make, share)


@pytest.mark.parametrize("share", moments("data fetch", few=1, of_fifty=10))
def test_fetch(fetch: Trial, holds: Holds, share: float) -> None:
    holds("data fetch", fetch, share)
