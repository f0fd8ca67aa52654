"""Commands that are killed at moments drawn by a fixed seed and started again, beside undisturbed ones."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import psutil
import tiny_runs

from edgeprune.recipe import Bench, Recipe

KILLS = int(os.environ.get("EDGEPRUNE_KILLS", "0"))
"""Kills of all commands together that `make kill` asks for; 0: the few of the tests."""
EDGEPRUNE = (sys.executable, "-m", "edgeprune")
_MARK = "EDGEPRUNE_KILLED_IN"
"""Environment variable that tells a command's processes from all others."""


def moments(command: str, few: int, of_fifty: int) -> list[float]:
    """When to kill a command, each as a share of the time from its first file to its end."""
    draw = random.Random(command)
    return [draw.random() for _ in range(round(of_fifty * KILLS / 50) if KILLS else few)]


def tiny(scenes: Path, cache: Path) -> Recipe:
    """A run of one epoch that exports one file; what is measured is the same in every run."""
    recipe = tiny_runs.tiny(Path(), cache)
    return replace(
        recipe,
        data=replace(recipe.data, root=scenes),
        train=replace(recipe.train, epochs=1),
        finetune=replace(recipe.finetune, epochs=1),
        export=replace(recipe.export, formats=("int8",), dense_formats=()),
        bench=Bench(devices=("tflm",)),
        out=None,
    )


class Trial:
    """A command that writes into one folder, and what the folder holds after it was left in peace.

    Args:
        work: the folder; every start from the beginning finds it anew.
        prepare: puts into it what the command finds there.
        differs: patterns of files that hold moments or durations; that they are there is compared all the same.
        known: for how many seconds the command works and what it ends in, where another trial tells.
    """

    def __init__(
        self,
        work: Path,
        command: tuple[str | Path, ...],
        prepare: Callable[[Path], None],
        differs: tuple[str, ...] = (),
        known: tuple[float, dict[str, str]] | None = None,
    ) -> None:
        self.work, self.command, self.prepare = work, command, prepare
        self.differs = (*differs, "tmp/*")  # libraries keep files of their own there
        self.seconds, self.expected = known or self._undisturbed()

    def _undisturbed(self) -> tuple[float, dict[str, str]]:
        process = self._start_afresh()
        began = time.monotonic()
        self._finish(process)
        return time.monotonic() - began, self.contents()

    def kill(self, share: float) -> bool:
        """Start afresh and kill the process group after this share of the time; whether something temporary is left."""
        for attempt in range(6):
            process = self._start_afresh()
            time.sleep(share * self.seconds * 0.7**attempt)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                break
        else:
            raise AssertionError("it ended each time before it could be killed")
        self._wait(lambda: not self._processes(), "processes outlived the kill")
        return any("edgeprune.tmp-" in name or ".part" in name for name in self.contents())

    def start_again(self) -> None:
        self._finish(self._start())

    def contents(self) -> dict[str, str]:
        """Every file below the folder with the SHA-256 of its content, and every folder."""
        return {path.relative_to(self.work).as_posix(): self._content(path) for path in sorted(self.work.rglob("*"))}

    def _content(self, path: Path) -> str:
        name = path.relative_to(self.work).as_posix()
        if path.is_dir() or any(fnmatch(name, pattern) for pattern in self.differs):
            return "there"
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def _start_afresh(self) -> subprocess.Popen[str]:
        """Start with the folder as `prepare` leaves it; returns when the command has written something."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "tmp").mkdir(parents=True)
        self.prepare(self.work)
        before, process = self._names(), self._start()
        self._wait(lambda: self._names() != before or process.poll() is not None, "it wrote nothing")
        return process

    def _names(self) -> set[str]:
        return {f"{folder}/{name}" for folder, folders, files in os.walk(self.work) for name in (*folders, *files)}

    def _start(self) -> subprocess.Popen[str]:
        own = {"TMPDIR": str(self.work / "tmp"), "RAY_TMPDIR": "/tmp", _MARK: str(self.work)}
        return subprocess.Popen(
            [str(word) for word in self.command],
            cwd=self.work,
            env={**os.environ, "EDGEPRUNE_CACHE": str(self.work.with_name("cache")), **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _finish(self, process: subprocess.Popen[str]) -> None:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 0, said

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.work) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue  # of another user, or just gone
        return found

    def _wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + 600
        while not reached():
            assert time.monotonic() < end, otherwise
            time.sleep(0.002)
