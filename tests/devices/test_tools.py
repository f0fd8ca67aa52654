import sys
import time

import pytest

from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import EdgepruneError


def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgepruneError, match="install gcc-arm-none-eabi and libnewlib-arm-none-eabi") as caught:
        require("arm-none-eabi-gcc", "cortex-m4")
    assert caught.value.exit_code == 2


def test_arguments_reach_the_program_as_they_are():
    words = ["a b", "'quoted' \"twice\"", "$HOME; echo evil", "-x", "new\nline"]
    done = run_tool([sys.executable, "-c", "import sys; print(sys.argv[1:])", *words], "host", 60)
    assert done.stdout.decode().strip() == repr(words)


def test_what_a_program_reads_and_its_exit_code():
    code = "import sys; print(sys.stdin.read().upper()); sys.exit(3)"
    done = run_tool([sys.executable, "-c", code], "host", 60, stdin=b"hush")
    assert (done.returncode, done.stdout.strip()) == (3, b"HUSH")
    # without input it must not wait for the terminal's
    assert run_tool([sys.executable, "-c", code], "host", 60).stdout.strip() == b""


def test_a_program_that_hangs_is_cut_off():
    start = time.monotonic()
    with pytest.raises(EdgepruneError, match=r"gave no answer in 0\.5 s and was stopped"):
        run_tool([sys.executable, "-c", "import time; time.sleep(60)"], "board", 0.5)
    assert time.monotonic() - start < 30


def test_a_program_that_cannot_be_run_is_an_error(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(EdgepruneError, match="cannot be run"):
        run_tool([broken], "host", 5)


def test_the_last_line_of_what_was_said():
    assert last_line(b"first\nsecond.\n\n") == "second"
    assert last_line(b"") == "it said nothing"
