"""Jobs as processes on this machine, which share its cores."""

import time
from collections.abc import Sequence

from edgeprune.comparing.sweeping import work
from edgeprune.comparing.sweeping.jobs import Job, Outcome
from edgeprune.comparing.sweeping.work import Work

_POLL_S = 0.05


class LocalEngine:
    """Does jobs as subprocesses, which end with this process however it ends.

    Args:
        slots: jobs at a time.
        threads: CPU threads of each.
        command: see `work.COMMAND`, the default.
    """

    def __init__(self, slots: int, threads: int, command: Sequence[str] = ()) -> None:
        self.slots, self.threads, self.command = slots, threads, command or work.COMMAND
        self._running: dict[Job, Work] = {}

    def start(self, job: Job) -> None:
        self._running[job] = Work.start(job.folder, self.threads, self.command)

    def wait(self) -> tuple[Job, Outcome]:
        while True:
            for job, process in self._running.items():
                outcome = process.poll()
                if outcome is not None:
                    del self._running[job]
                    return job, outcome
            time.sleep(_POLL_S)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
        self._running.clear()
