"""The processes of a trial: its leader and everything that descends from it, daemons included."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress

import psutil

from nodebench.trial.fork_server import PROCESSES, fork_server_pid
from nodebench.trial.processes import ends_within, find, is_alive

# How long to wait for the end of killed processes, at most. A zombie that no process reaps does not count as alive.
KILL_SECONDS = 5.0
END_SECONDS = 1.0  # for the end of a fork server that has closed its connections
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt_orphans() -> None:
    """Make this process the parent of those of its descendants whose parent ends (Linux only).

    A daemon starts its own session and its parent exits; it then stays a descendant of this process. The fork server
    calls this function too, and so becomes the parent of processes that a killed trial leaves behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ProcessTree:
    """The processes of one trial.

    Args:
        pid: process id of the leader, which also leads a process group.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._leader = find(pid)
        self._server = find(fork_server_pid())

    def leader_is_alive(self) -> bool:
        """Whether the leader runs or is stopped; a zombie has ended."""
        return self._leader is not None and is_alive(self._leader)

    def server_has_ended(self) -> bool:
        """Whether the fork server that started the leader has ended, and cannot report the leader's exit code.

        A killed process closes its connections shortly before it ends, so wait up to ``END_SECONDS``.
        """
        return ends_within(self._server, END_SECONDS)

    def memory_above(self, limit: int) -> int | None:
        """Return the bytes of memory that the trial uses if they exceed ``limit``, else None.

        A page shared by several processes counts once: each process counts its proportional share (PSS), or its
        resident size if the system does not report PSS. Resident sizes are cheap to read, so PSS is read only if their
        sum exceeds the limit.
        """
        members = self._members()
        if sum(map(_resident, members)) <= limit:
            return None
        held = sum(map(_proportional, members))
        return held if held > limit else None

    def kill(self) -> None:
        """Kill every process of the trial, and wait until they have ended and have released their memory."""
        found = self._members()
        with suppress(ProcessLookupError, PermissionError):  # the leader has ended, or leads no group
            os.killpg(self._pid, signal.SIGKILL)
        deadline = time.perf_counter() + KILL_SECONDS
        while True:  # a process may start others before it is killed
            found += [one for one in [*self._members(), *_orphans()] if one not in found]
            alive = [one for one in found if is_alive(one)]
            for one in alive:
                with suppress(psutil.Error):
                    one.kill()
            if not alive or time.perf_counter() > deadline:
                return
            time.sleep(0.001)

    def _members(self) -> list[psutil.Process]:
        return [] if self._leader is None else _with_descendants(self._leader)


def kill_descendants() -> None:
    """Kill everything that this process has started."""
    for one in _with_descendants(psutil.Process())[1:]:
        with suppress(psutil.Error):
            one.kill()


def _orphans() -> list[psutil.Process]:
    """Return processes that ended trials left behind: children of the fork server that are not trials.

    Processes of a running trial are its descendants. A child of an orphan becomes an orphan when its parent ends.
    """
    server = find(fork_server_pid())
    if server is None or sys.platform != "linux":
        return []
    try:
        with PROCESSES:  # no trial is being started meanwhile
            trials = {process.pid for process in multiprocessing.active_children()}
            return [child for child in server.children() if child.pid not in trials]
    except psutil.Error:
        return []


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError, OSError):  # the process has ended, is another user's, or has no PSS
        return _resident(process)
