"""Jobs as tasks of Ray, on this machine or on a cluster whose machines share the sweep's folder."""

import os
import platform
import socket
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune.comparing.sweeping import work
from edgeprune.comparing.sweeping.jobs import Job, Outcome
from edgeprune.comparing.sweeping.work import Work
from edgeprune.console import say
from edgeprune.cores import cores
from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import sha256_file
from edgeprune.recipe_files import RECIPE
from edgeprune.version import __version__

TRIES = 3
"""How often a job is started whose worker dies."""
_DEATHS = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "LocalRayletDiedError")
"""Ray's exceptions where a worker or its machine died; any other means that the task itself failed."""
_OBJECT_STORE_BYTES = 100_000_000
_REACH_S = 10.0


class RayEngine:
    """Does each job as a task of Ray.

    Args:
        slots: jobs that Ray is given at a time; it starts as many as its cores allow.
        threads, gpus: cores and GPUs of each job.
        command: see `work.COMMAND`, the default.
        address: a cluster's, `auto` or `host:port`; None: Ray is started here and stopped at the end.
    """

    def __init__(
        self, slots: int, threads: int, command: Sequence[str] = (), address: str | None = None, gpus: int = 0
    ) -> None:
        self.slots, self.threads, self.command = slots, threads, tuple(command or work.COMMAND)
        self._ray = _import_ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._connect(address, max(cores(), slots * threads))
        if self._started and address is not None:
            self._check_size(threads, gpus)
        self._task = self._ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(do_job)
        self._deaths = tuple(getattr(self._ray.exceptions, name) for name in _DEATHS)
        self._running: dict[Any, tuple[Job, int]] = {}

    def _connect(self, address: str | None, num_cpus: int) -> None:
        own = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            host, _, port = (address or "").removeprefix("ray://").rpartition(":")
            if host and port.isdigit():  # Ray itself would try for half a minute
                socket.create_connection((host, int(port)), timeout=_REACH_S).close()
            options = own if address is None else {}
            self._ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:  # Ray raises no narrower one where its start takes too long
            where = f"no cluster answers at '{address}'" if address else "it cannot be started here"
            raise EdgepruneError(
                f"Ray: {where} ({first_line(error)}); check --address, or leave it out to use this machine."
            ) from error

    def _check_size(self, threads: int, gpus: int) -> None:
        """Refuse jobs that fit no machine: they would wait for ever."""
        for kind, what, needed, hint in (
            ("CPU", "cores", threads, "give more --jobs"),
            ("GPU", "GPUs", gpus, "give fewer --train.devices"),
        ):
            most = max((node["Resources"].get(kind, 0) for node in self._ray.nodes() if node["Alive"]), default=0)
            if needed > most:
                self._ray.shutdown()
                lack = f"a run asks for {needed} {what}, and no machine of the cluster has more than {most:g}"
                raise EdgepruneError(f"Ray: {lack}; {hint}.")

    def start(self, job: Job, attempt: int = 1) -> None:
        sha256 = sha256_file(job.folder / RECIPE)
        task = self._task.remote(str(job.folder), sha256, self.threads, self.command, __version__)
        self._running[task] = job, attempt

    def wait(self) -> tuple[Job, Outcome]:
        while True:
            (task, *_), _ = self._ray.wait(list(self._running), num_returns=1)
            job, attempt = self._running.pop(task)
            try:
                return job, Outcome(**self._ray.get(task))
            except self._ray.exceptions.RayError as error:
                reason = f"its Ray worker was lost ({type(error).__name__}: {first_line(error)})"
                if attempt >= TRIES or not isinstance(error, self._deaths):
                    return job, Outcome(f"{reason}, {attempt} of {TRIES} tries.", 1)
            say(f"{job.folder.name}: {reason}; it is started again")
            self.start(job, attempt + 1)

    def close(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        if self._started:
            self._ray.shutdown()


def do_job(folder: str, sha256: str, threads: int, command: Sequence[str], version: str) -> dict[str, Any]:
    """Do a job on a worker, if it has the sweep's version and sees its folder; `jobs.Outcome` as a dict."""
    recipe, node, refusal = Path(folder) / RECIPE, platform.node(), ""
    if version != __version__:
        refusal = f"worker {node} has edgeprune {__version__}, the sweep {version}; install the same one."
    elif not recipe.is_file() or sha256_file(recipe) != sha256:
        refusal = f"{folder}: worker {node} does not see it; --out must lie on a file system all workers share."
    return asdict(Outcome(refusal, 2) if refusal else Work.start(Path(folder), threads, command).wait())


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # without it Ray hides the GPUs from tasks that ask for none, and warns that it will not in a later version
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise EdgepruneError("--engine ray: Ray is not installed; pip install 'edgeprune[ray]'.") from error
    return ray
