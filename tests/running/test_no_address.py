"""No address is contacted that nobody asked for: a run and what follows it, with every connection written down."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # trains and exports a tiny network

HOOK = """
import os, sys

def note(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = args
    else:
        return
    if isinstance(address, tuple):  # not a socket in the file system
        with open(os.environ["CONNECTIONS"], "a") as log:
            log.write(f"{event} {address[0]}\\n")

sys.addaudithook(note)
"""
ASKS = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
"""An address of no one (RFC 5737); nothing is sent."""
TINY = [
    "--data.clips-per-scene", "9", "--model.width", "0.25", "--train.epochs", "1", "--finetune.epochs", "0",
    "--budget.macs", "1M", "--export.formats", "int8", "--export.dense-formats", "float32", "--bench.runs", "3",
    "--out", "run",
]  # fmt: skip


@pytest.fixture
def watch(tmp_path: Path):
    """`watch(arguments)`: Python with these, and the addresses that it and its Python children asked for."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    log = tmp_path / "connections.txt"
    path = os.pathsep.join([str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": path, "CONNECTIONS": str(log), "EDGEPRUNE_CACHE": str(tmp_path / "cache")}

    def run(*arguments: str) -> list[str]:
        log.write_text("")
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return log.read_text().splitlines()

    return run


def test_no_verb_asks_for_an_address(watch) -> None:
    assert watch("-c", ASKS) == ["socket.connect 192.0.2.1"], "else this test shows nothing"
    assert watch("-m", "edgeprune", "run", "quickstart", *TINY) == []
    assert watch("-m", "edgeprune", "compare", "run", "--html", "c.html", "--csv", "c.csv") == []
    assert watch("-m", "edgeprune", "bench", "run/model_int8.tflite", "--device", "tflm") == []
