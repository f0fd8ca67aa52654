"""Jobs, each a run in a folder; the engines that do them; and how they end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeprune.files import write_json
from edgeprune.results.run_folder import FAILED


@dataclass(frozen=True)
class Job:
    """A run to do in `folder`, once the run in `needs` is done."""

    folder: Path
    needs: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        reason: why it failed, one sentence; "" where it did not.
        exit_code: a negative one is the signal that killed the run.
        seconds: how long it took, without the waiting before it.
    """

    reason: str = ""
    exit_code: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.reason


class Engine(Protocol):
    """Does jobs, some at a time."""

    slots: int
    """How many jobs it takes at a time."""

    def start(self, job: Job) -> None: ...

    def wait(self) -> tuple[Job, Outcome]:
        """The next job that ends; at least one has been started."""

    def close(self) -> None:
        """Kill the jobs that still run."""


def work_through(
    jobs: Sequence[Job], engine: Engine, started: Callable[[Job], None], ended: Callable[[Job, Outcome], None]
) -> None:
    """Do all jobs; one that fails leaves `failed.json` in its folder, and only those that need it fail with it.

    The job that another needs stands before it, or is done. `started` and `ended` are called for each job.
    """
    waiting, running, open_needs = list(jobs), 0, {job.folder for job in jobs}
    failed: dict[Path, Outcome] = {}

    def end(job: Job, outcome: Outcome) -> None:
        open_needs.discard(job.folder)
        if not outcome.ok:
            failed[job.folder] = outcome
            write_json(job.folder / FAILED, {"reason": outcome.reason, "exit_code": outcome.exit_code})
        ended(job, outcome)

    try:
        while waiting or running:
            for job in [job for job in waiting if job.needs not in open_needs]:
                if job.needs in failed:
                    waiting.remove(job)
                    cause = failed[job.needs]
                    end(job, Outcome(f"its dense network failed: {cause.reason}", cause.exit_code))
                elif running < engine.slots:
                    waiting.remove(job)
                    (job.folder / FAILED).unlink(missing_ok=True)
                    started(job)
                    engine.start(job)
                    running += 1
            if running:
                job, outcome = engine.wait()
                running -= 1
                end(job, outcome)
    finally:
        engine.close()
