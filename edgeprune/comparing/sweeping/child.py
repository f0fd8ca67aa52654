"""The process that does one run of a sweep: `python -m edgeprune.comparing.sweeping.child FOLDER`."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeprune.exit_codes import guarded
from edgeprune.recipe_files import RECIPE, load_recipe

_WAIT_S = 60.0
_GUARD = 'while read -r _; do :; done; kill -9 "-$0" 2>/dev/null'
"""Shell script: read until the pipe ends, then kill the process group that its argument names."""


def main(args: list[str]) -> int:
    """Run the recipe in the folder, as `edgeprune run` does; returns the exit code."""
    import filelock

    folder = Path(args[0])
    with ended_with_parent():
        # The folder's previous run, of a sweep that was killed and started again, may still be ending. If the folder is
        # in use after this wait, the run says so.
        with suppress(filelock.Timeout), filelock.FileLock(folder / ".lock", timeout=_WAIT_S):
            pass
        return guarded(lambda _: _run(folder), ["run", str(folder / RECIPE), "--quiet"], "edgeprune")


def _run(folder: Path) -> int:
    from edgeprune.running.run import run

    run(load_recipe(str(folder)))
    return 0


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """Kill this process group when standard input, a pipe, ends, because the process that started it is gone.

    A separate process watches the pipe. It works while Python is busy, and also after this process was killed alone, as
    Ray kills the children of a lost worker, when the processes it had started would go on.
    """
    if sys.platform == "win32" or os.getpgrp() != os.getpid():
        _end_alone()
        yield
        return
    guard = subprocess.Popen(["sh", "-c", _GUARD, str(os.getpid())], start_new_session=True)
    _forget_input()
    try:
        yield
    finally:
        guard.kill()


def _end_alone() -> None:
    """Where there are no process groups: end this process alone."""
    pipe = os.dup(0)
    _forget_input()

    def watch() -> None:
        with suppress(OSError):
            while os.read(pipe, 1):
                pass
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, daemon=True).start()


def _forget_input() -> None:
    """Keep the processes that are started from here from reading the pipe."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
