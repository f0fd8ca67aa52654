"""A .tflite is run in a process of its own first: kernels check little, and a crash there would end edgeprune's."""

import atexit
import json
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from edgeprune.errors import EdgepruneError

LIMIT_S = 60.0
"""Seconds that one inference may take."""
_START_S = 30.0
_PROGRAM = Path(__file__).with_name("trial_process.py")


def try_file(path: Path | str, kernels: str) -> None:
    """Refuse a file that takes the interpreter down, needs more than 2 GiB of memory or gives no answer.

    What the interpreter itself refuses is left to the one who loads the file. Where no process can be started, nothing
    is tried.

    Args:
        kernels: name of the `OpResolverType` that the file will be loaded with.
    """
    path = Path(path)
    status = path.stat()
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if ending := _ending(path.absolute(), kernels, *state):
        raise EdgepruneError(
            f"{path}: TFLite's interpreter {ending}, so the file is damaged or needs more than 2 GiB; copy or export "
            "it again."
        )


class _Trial:
    """The process, and the lines it answers."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", str(_PROGRAM)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=nowhere)
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.started = self._answer(_START_S) == "ready"

    def ending(self, path: Path, kernels: str) -> str:
        """What happens to the process when it runs a file; "" where it answers."""
        with suppress(OSError):  # it died: no answer will come
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"path": str(path), "kernels": kernels}) + "\n")
            self._process.stdin.flush()
        answer = self._answer(LIMIT_S)
        if answer == "done":
            return ""
        code = self.end() if answer is None else self._process.wait()
        if answer is None:
            return f"gives no answer within {LIMIT_S:g} s"
        return f"crashes ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def end(self) -> int:
        self._process.kill()
        return self._process.wait()

    def _answer(self, timeout_s: float) -> str | None:
        """The next line; "" where the process has ended, None where it is late."""
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line.strip())
        self._answers.put("")


_lock = threading.Lock()
_trials: list[_Trial] = []
"""The process that is running, if there is one: it is started at the first file, and anew after a crash."""


@lru_cache(maxsize=256)
def _ending(path: Path, kernels: str, *_: int) -> str:
    """What happens when the process runs a file in one state."""
    with _lock:
        if not _trials:
            with suppress(OSError):
                _trials.append(_Trial())
        if not _trials or not _trials[0].started:
            return ""
        if ending := _trials[0].ending(path, kernels):
            _trials.clear()
        return ending


@atexit.register
def _end() -> None:
    for trial in _trials:
        trial.end()
