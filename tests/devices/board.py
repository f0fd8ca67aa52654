"""A "board" on this computer: a real sshd on the loopback, and a Python that has only tflite-runtime and numpy."""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parents[2] / ".board" / "bin" / "python"


def board_python() -> Path:
    """The board's interpreter; a test that needs it skips where it was not made."""
    if not PYTHON.is_file():
        pytest.skip("needs the interpreter of the board; make board")
    return PYTHON


@dataclass
class Board:
    """A running sshd.

    Attributes:
        url: its address.
        config: ssh configuration with the user's key and the host's.
        tmpdir: TMPDIR of its sessions, where anything left behind would lie.
        folder: its files; removed at the end.
        log: what sshd says.
    """

    url: str
    config: Path
    tmpdir: Path
    folder: Path
    log: Path
    port: int = 0
    _made: list[Path] = field(default_factory=list)

    def wrapper(self, body: str) -> Path:
        """An executable to stand for the board's Python: a shell script, in a folder with an awkward name."""
        place = self.folder / f'it\'s a "py"\n{len(self._made)}'
        place.mkdir()
        script = place / "python"
        script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        script.chmod(0o755)
        self._made.append(script)
        return script

    def python_with(self, modules: dict[str, str]) -> Path:
        """The board's Python with packages of our own, `{"package/module.py": text}`, before those installed."""
        place = Path(tempfile.mkdtemp(prefix="modules", dir=self.folder))
        for name, text in modules.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).parent.joinpath("__init__.py").touch()
            (place / name).write_text(text, encoding="utf-8")
        return self.wrapper(f'PYTHONPATH={shlex.quote(str(place))} exec {shlex.quote(str(board_python()))} "$@"')

    def wait_until_clean(self, seconds: float = 10) -> list[str]:
        """What still lies in its TMPDIR, and which processes still run from there, after so many seconds at most."""
        end = time.monotonic() + seconds
        while (left := [*map(str, self.tmpdir.iterdir()), *self._processes()]) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def _processes(self) -> list[str]:
        running = []
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"TMPDIR={self.tmpdir}\0".encode() in entry.read_bytes():
                    command = (entry.parent / "cmdline").read_bytes().decode("utf-8", "replace")
                    # ended but not yet waited for by its parent: an empty command line
                    running += [command.replace("\0", " ")[:80]] if command else []
            except OSError:
                continue
        return running


@contextmanager
def running_board() -> Iterator[Board]:
    """Start a board; skips where the programs are not installed."""
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if sshd is None:
        pytest.skip("needs openssh-server")
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs openssh-client")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # built into sshd; its package's start script makes it too
    with tempfile.TemporaryDirectory(prefix="edgeprune-board-") as name:
        board = _configure(Path(name))
        with open(board.log, "wb") as log:
            server = subprocess.Popen(
                [sshd, "-D", "-e", "-f", str(board.folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log
            )
            try:
                _wait_for(board, server)
                yield board
            finally:
                server.terminate()
                server.wait()


def _configure(folder: Path) -> Board:
    for key in ("host_key", "user_key", "other_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tmpdir = folder / "tmp"
    tmpdir.mkdir()
    (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
    host_key = (folder / "host_key.pub").read_text(encoding="ascii")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}", encoding="ascii")
    server = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": folder / "sshd.pid",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "SetEnv": f"TMPDIR={tmpdir}",
    }
    _write_config(folder / "sshd_config", server)
    board = Board(f"ssh://{user}@127.0.0.1:{port}", folder / "ssh_config", tmpdir, folder, folder / "log", port)
    write_client(board.config, folder / "user_key", folder / "known_hosts")
    return board


def write_client(path: Path, key: Path, known_hosts: Path) -> Path:
    """A configuration of ssh that knows one key of the user's and one file of hosts, and nothing of this computer's."""
    client = {
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
    }
    _write_config(path, client)
    return path


def _write_config(path: Path, options: dict[str, object]) -> None:
    path.write_text("".join(f"{name} {value}\n" for name, value in options.items()), encoding="utf-8")


def _wait_for(board: Board, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", board.port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"sshd did not start: {board.log.read_text(encoding='utf-8', errors='replace')}")
