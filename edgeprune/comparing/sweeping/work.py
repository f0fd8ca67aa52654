"""A job as a process of its own, which has its share of the cores and ends when its sweep does."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgeprune.comparing.sweeping.jobs import Outcome
from edgeprune.results.run_folder import RunFolder

COMMAND = ("-m", "edgeprune.comparing.sweeping.child")
"""Arguments of the Python that does a job; the job's folder comes after them."""
STDERR = "stderr.txt"
"""File of a run folder: what a job that failed wrote to standard error."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Work:
    """A process that does the job in a folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    began: float

    @staticmethod
    def start(folder: Path, threads: int, command: Sequence[str]) -> "Work":
        """Start it, in a process group of its own.

        Its standard input is a pipe that ends when this process does, however it dies, and the job ends with the pipe
        (see `child.ended_with_parent`).
        """
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with (folder / STDERR).open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *command, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        return Work(process, folder, time.monotonic())

    def poll(self) -> Outcome | None:
        """How it ended; None while it runs."""
        return None if self.process.poll() is None else self._outcome()

    def wait(self) -> Outcome:
        """Wait for its end; how it ended."""
        self.process.wait()
        return self._outcome()

    def kill(self) -> None:
        """End it and the processes it started."""
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform != "win32":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()

    def _outcome(self) -> Outcome:
        seconds = time.monotonic() - self.began
        code, errors = self.process.returncode, self.folder / STDERR
        if self.process.stdin is not None:
            self.process.stdin.close()
        if code < 0:
            self.kill()  # the processes that a killed run had started may still be there
        if code == 0 and RunFolder(self.folder).is_done:
            errors.unlink(missing_ok=True)
            return Outcome(seconds=seconds)
        return Outcome(_reason(code, errors), code or 1, seconds)


def _reason(code: int, errors: Path) -> str:
    """Why a run failed, in one sentence, from what it wrote to standard error."""
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}; if memory ran out, use fewer --jobs."
        return f"killed by signal {-code}."
    text = errors.read_text(encoding="utf-8", errors="replace")
    if sentences := re.findall(r"^edgeprune: error: (.+)$", text, flags=re.MULTILINE):
        return str(sentences[-1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"ended with exit code {code}{f' ({lines[-1]})' if lines else ''}; see {errors}."
