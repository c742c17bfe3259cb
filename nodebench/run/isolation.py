"""The parent's side of a trial: one process of its own, watched until it ends, however it ends."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from nodebench.run import worker
from nodebench.run.fork_server import PROCESSES, fork
from nodebench.run.worker import Job, Outcome, Progress
from nodebench.spec import EVERYTHING, DataSource, Failure, Limits, Record, Request, Status, Trial
from nodebench.spec.trajectories import Film

# A solve notices a passed deadline itself; a trial that is stuck elsewhere is killed this much later.
GRACE_SECONDS = 2.0
# How often the memory of a limited trial is looked at.
MEMORY_POLL_SECONDS = 0.05
STDERR_LINES = 20
# How long a killed process may take to be gone, at most; a zombie that nobody reaps never is.
KILL_SECONDS = 1.0

Listener = Callable[[Progress], None]


class Stop:
    """A request that ends running trials, made from a signal handler or from another thread."""

    def __init__(self) -> None:
        self.heard, self._asked = multiprocessing.Pipe(duplex=False)

    def ask(self) -> None:
        """End the trials that listen; asking twice is asking once."""
        self._asked.close()

    @property
    def asked(self) -> bool:
        """Whether somebody has."""
        return self._asked.closed


def run_isolated(
    trial: Trial,
    limits: Limits,
    source: DataSource,
    report: Listener,
    stop: Stop | None = None,
    cores: tuple[int, ...] | None = None,
    request: Request = EVERYTHING,
) -> tuple[Record, Film]:
    """Run a trial in a process of its own; whatever happens to it, return its record and the pictures it took.

    The process leads its own group, which is killed as a whole: on a limit, on a stop, and at the end
    for anything that the trial started and left behind.

    Args:
        trial, limits, source: what is run.
        report: hears of its progress.
        stop: ends it early, as ``interrupted``.
        cores: that it is bound to; null for none.
        request: what is measured.
    """
    with tempfile.TemporaryDirectory(prefix="nodebench-") as folder:
        return _run_job(
            Job(trial, limits, source, Path(folder) / "stderr", cores, request=request), report, stop or Stop()
        )


def foresee(trial: Trial, source: DataSource) -> float | None:
    """Seconds that a trial would take, from a few of its steps; null if even those fail."""
    with tempfile.TemporaryDirectory(prefix="nodebench-") as folder:
        job = Job(trial, Limits(), source, Path(folder) / "stderr", probe=True)
        record, _ = _run_job(job, lambda progress: None, Stop())
    return record.costs.get("foreseen_seconds")


def check_isolated(trial: Trial, limits: Limits, source: DataSource) -> Record:
    """Build a trial and check the user's code that it runs, within its limits; return a record without any figure."""
    with tempfile.TemporaryDirectory(prefix="nodebench-") as folder:
        job = Job(trial, limits, source, Path(folder) / "stderr", check=True)
        record, _ = _run_job(job, lambda progress: None, Stop())
    return record


def _run_job(job: Job, report: Listener, stop: Stop) -> tuple[Record, Film]:
    trial = job.trial
    context = multiprocessing.get_context("forkserver")
    started, clock = datetime.now(UTC), time.perf_counter()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=worker.main, args=(theirs, job), name=f"trial-{trial.id}")
    watch = _Watch(ours, process, job.limits, report, stop)
    try:
        fork(process)
        theirs.close()
        outcome = watch.until_the_end()
    finally:
        _kill_group(process)
        ours.close()
    outcome = _with_stderr(outcome, job.stderr)
    frame: dict[str, Any] = {
        "id": trial.id,
        "trial": trial,
        "limits": job.limits,
        "passes": job.request.passes,
        "started": started.isoformat(timespec="seconds"),
        "duration_seconds": time.perf_counter() - clock,
    }
    try:
        return Record(**frame, **outcome), watch.film
    except ValidationError as error:  # a third-party task that measures what is no number
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return Record(**frame, status=Status.ERROR, failure=Failure(phase="record", message=message)), watch.film


class _Watch:
    """Listens to a trial, holds it to its limits, and remembers what it said."""

    def __init__(
        self, connection: Connection, process: BaseProcess, limits: Limits, report: Listener, stop: Stop
    ) -> None:
        self._stop = stop
        self._connection = connection
        self._process = process
        self._limits = limits
        self._report = report
        self._phase = "start"
        self._history: list[dict[str, float | None]] = []
        self._known: Outcome = {}
        self._memory_seen = float("-inf")
        self.film: Film = {}
        self._deadline = time.perf_counter() + limits.timeout + GRACE_SECONDS if limits.timeout else float("inf")

    def until_the_end(self) -> Outcome:
        while True:
            wait = min(self._deadline - time.perf_counter(), MEMORY_POLL_SECONDS if self._limits.memory else 3600)
            # The process is waited for as well: what it started may hold the other end of the pipe open.
            listened: list[Any] = [self._connection, self._process.sentinel, self._stop.heard]
            ready = multiprocessing.connection.wait(listened, max(wait, 0))
            if self._stop.asked:
                return self.partial(Status.INTERRUPTED, "stopped by the user")
            try:
                heard = self._connection.recv() if self._connection.poll() else None
            except (EOFError, ConnectionResetError):
                return self._died()
            if isinstance(heard, Progress):
                self._hear(heard)
            elif heard is not None:
                outcome: Outcome = heard
                return outcome
            elif self._process.sentinel in ready:
                return self._died()
            if (over := self._over_limit()) is not None:
                return over

    def _over_limit(self) -> Outcome | None:
        now = time.perf_counter()
        if now > self._deadline:
            return self.partial(Status.TIMEOUT, f"killed {GRACE_SECONDS:g} s after its time limit")
        if self._limits.memory and now > self._memory_seen + MEMORY_POLL_SECONDS / 2:
            self._memory_seen = now
            if (used := _group_memory(self._process.pid)) > self._limits.memory:
                return self.partial(Status.MEMORY_BUDGET, f"killed while it held {used / 1e6:.0f} MB")
        return None

    def _hear(self, progress: Progress) -> None:
        self._phase = progress.phase
        self._known |= progress.known
        self.film |= progress.pictures
        if progress.row is not None:
            self._history.append(progress.row)
        self._report(progress)

    def partial(self, status: Status, message: str) -> Outcome:
        """What is known of a trial that could not tell its own end: its finished passes, and its history."""
        return self._known | {
            "status": status,
            "history": self._history,
            "failure": Failure(phase=self._phase, message=message),
        }

    def _died(self) -> Outcome:
        with PROCESSES:
            self._process.join(timeout=5)
            code = self._process.exitcode
        if code is not None and code < 0:
            message = f"killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                message += "; the system kills so when memory runs out"
        else:
            return self.partial(Status.ERROR, f"the process ended with exit code {code} and without a result")
        return self.partial(Status.CRASHED, message)


def _members(pid: int | None) -> list[psutil.Process]:
    """The trial's process and all that descends from it, also what left the group."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _group_memory(pid: int | None) -> int:
    """Resident bytes of a trial and all that it started."""
    total = 0
    for member in _members(pid):
        with suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def _kill_group(process: BaseProcess) -> None:
    """End a trial and everything it started, and reap it."""
    if process.pid is None:
        return
    members = _members(process.pid)
    with suppress(ProcessLookupError, PermissionError):  # it ended alone, or never came to lead a group
        os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with suppress(psutil.Error):
            member.kill()
    with PROCESSES:
        process.join()
    _wait_until_gone(process.pid)


def _wait_until_gone(group: int) -> None:
    """Wait for the death of what was killed: until then it still holds its memory and its cores."""
    deadline = time.perf_counter() + KILL_SECONDS
    with suppress(ProcessLookupError, PermissionError):
        while time.perf_counter() < deadline:
            os.killpg(group, 0)
            time.sleep(0.001)


def _with_stderr(outcome: Outcome, path: Path) -> Outcome:
    """Add the last lines of standard error to a failure."""
    failure: Any = outcome.get("failure")
    if failure is None or not path.exists():
        return outcome
    lines = path.read_text(errors="replace").splitlines()[-STDERR_LINES:]
    return outcome | {"failure": failure.model_copy(update={"stderr": lines})}
