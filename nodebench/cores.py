"""How many cores and threads a process may use. Needs no torch."""

import os
from pathlib import Path

THREADS_VARIABLE = "OMP_NUM_THREADS"


def usable_cores() -> int:
    """Return the number of cores that this process may use: its CPU affinity, limited by the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (system_file("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period or 100_000)))


def requested_threads() -> int | None:
    """The first number of ``OMP_NUM_THREADS``, which may list one for each nesting level; None if unset or invalid."""
    text = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def default_threads(jobs: int = 1) -> int:
    """Return the default number of CPU threads of a trial: ``OMP_NUM_THREADS``, or else all cores of its job.

    Args:
        jobs: trials that run at once and share the usable cores.
    """
    share = max(1, usable_cores() // jobs)
    return min(requested_threads() or share, share)


def system_file(path: str) -> str | None:
    """Return the text of a file of the operating system; None if it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
