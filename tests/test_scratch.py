"""Temporary files and folders: those of a killed process are removed by the next, those in use are left alone."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprune.files import write_text
from edgeprune.scratch import scratch_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks that end with their process")

_WRITES = """
import sys, time
from pathlib import Path
from edgeprune.files import atomic_path
from edgeprune.scratch import scratch_folder

with scratch_folder(sys.argv[1], ".made.") as folder, atomic_path(Path(sys.argv[1]) / "result.json") as temporary:
    (folder / "half").touch()
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_the_next_removes_what_a_kill_left(tmp_path: Path) -> None:
    def start_and_read_names() -> set[str]:
        with scratch_folder(tmp_path, ".made."):
            write_text(tmp_path / "result.json", "whole")
        return {path.name for path in tmp_path.iterdir()}

    others = {".result.json.mine.json", ".made.mine", ".other.json.edgeprune.tmp-12345678.json"}
    for name in others:
        (tmp_path / name).touch()
    process = subprocess.Popen([sys.executable, "-c", _WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(start_and_read_names()) == len(others) + 3  # the file, and what the other process is at
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert start_and_read_names() == others | {"result.json"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".made.edgeprune.tmp-12345678").symlink_to(tmp_path / "precious")
    with scratch_folder(tmp_path, ".made."):
        pass
    assert (tmp_path / "precious" / "file").is_file()
