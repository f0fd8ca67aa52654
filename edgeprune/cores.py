"""How many cores there are to work on."""

import os


def cores() -> int:
    """Cores that this process may use: those of its affinity (taskset, a container's cpuset) where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
