"""Find processes, and check whether they run."""

import time

import psutil


def find(pid: int | None) -> psutil.Process | None:
    """Return a process by its id; None if there is none."""
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.Error:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs or is stopped; a zombie has ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def ends_within(process: psutil.Process | None, seconds: float) -> bool:
    """Wait at most ``seconds`` for the end of a process, and return whether it has ended."""
    deadline = time.monotonic() + seconds
    while process is not None and is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
