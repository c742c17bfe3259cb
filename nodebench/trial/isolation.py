"""The parent's side of a trial: start its process, and monitor the process until it ends."""

import fcntl
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pydantic import ValidationError

from nodebench.errors import brief, first_fault
from nodebench.spec import EVERYTHING, DataSource, Failure, Limits, Record, Request, Status, Trial
from nodebench.spec.reasons import Reason
from nodebench.spec.record import Resumed
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.tasks import live
from nodebench.trial import worker
from nodebench.trial.finite import with_finite_values
from nodebench.trial.fork_server import PROCESSES, fork
from nodebench.trial.messages import Inbox
from nodebench.trial.output import Output
from nodebench.trial.process_tree import ProcessTree
from nodebench.trial.worker import Ended, Job, Outcome, Progress

# A solve stops by itself at the deadline. A trial that hangs elsewhere is killed this long after the deadline.
GRACE_SECONDS = 2.0
# Interval between memory checks of a trial with a memory limit.
MEMORY_POLL_SECONDS = 0.05
# Interval between clock checks of other trials.
CLOCK_POLL_SECONDS = 1.0
# If the parent wakes up this much too late, its process was suspended; the deadline then moves.
SUSPENDED_SECONDS = 1.0
# Exit code that multiprocessing reports if the fork server cannot report it. A process may also end with this code.
UNKNOWN_EXIT_CODE = 255
# Pipe capacity. A trial blocks if its parent leaves more than this unread (Linux).
PIPE_BYTES = 1 << 20

OnProgress = Callable[[Progress], None]


class Stop:
    """A request that ends running trials, made from a signal handler or from another thread."""

    def __init__(self) -> None:
        self.requested, end = multiprocessing.Pipe(duplex=False)
        self._ends = [end]

    def ask(self) -> None:
        """Stop the trials that use this object. Further calls do nothing, even from a signal handler during a call."""
        with suppress(IndexError):
            self._ends.pop().close()  # pop is atomic: the end is closed once

    @property
    def asked(self) -> bool:
        """Whether ``ask`` was called."""
        return not self._ends


def run_isolated(
    trial: Trial,
    limits: Limits,
    source: DataSource,
    report: OnProgress,
    stop: Stop | None = None,
    cores: tuple[int, ...] | None = None,
    request: Request = EVERYTHING,
    checkpoints: Checkpoints | None = None,
) -> tuple[Record, Snapshots]:
    """Run a trial in a separate process; return its record and its snapshots, also if the trial fails.

    The process leads its own process group. The whole group is killed at a limit, on a stop request, and at the end,
    in case the trial left processes behind.

    Args:
        trial, limits, source: the trial, its limits and its data source.
        report: called with the progress of the trial.
        stop: stops the trial early, with status ``interrupted``.
        cores: cores that the process is bound to; None for no binding.
        request: what is measured.
        checkpoints: checkpoints of the run, from which the trial is resumed if it has one; None for no checkpoints.
    """
    job = Job(trial, limits, source, cores, request=request, checkpoints=checkpoints)
    return _run_job(job, report, stop or Stop())


def foresee(trial: Trial, source: DataSource, limits: Limits | None = None) -> float | None:
    """Estimate the seconds of a whole trial from a few of its steps, run within ``limits``; None if those fail."""
    record, _ = _run_job(Job(trial, limits or Limits(), source, probe=True), lambda progress: None, Stop())
    return record.costs.get("foreseen_seconds")


def check_isolated(trial: Trial, limits: Limits, source: DataSource) -> Record:
    """Build a trial and check the user's code that it runs, within its limits; return a record without any metric."""
    record, _ = _run_job(Job(trial, limits, source, check=True), lambda progress: None, Stop())
    return record


def _run_job(job: Job, report: OnProgress, stop: Stop) -> tuple[Record, Snapshots]:
    started, clock = datetime.now(UTC), time.perf_counter()
    job = replace(job, problem=live.of_trial(job.trial))
    with _pipe() as (messages, to_messages), _pipe() as (written, to_written):
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=worker.main, args=(to_messages, to_written, job), name=f"trial-{job.trial.id}")
        fork(process)
        assert process.pid is not None
        family = ProcessTree(process.pid)
        try:
            to_messages.close()
            to_written.close()
            watch = _Watch(messages, written, process, family, job.limits, report, stop)
            outcome = watch.until_the_end()
        finally:
            family.kill()
            with PROCESSES:
                process.join()
        outcome = _storable(outcome, watch.output)
    resumed: Resumed | None = outcome.get("resumed")
    frame: dict[str, Any] = {
        "id": job.trial.id,
        "trial": job.trial,
        "limits": job.limits,
        "passes": job.request.passes,
        "started": started.isoformat(timespec="seconds"),
        "duration_seconds": watch.ended - clock + (resumed.seconds if resumed else 0.0),
    }
    try:
        return Record(**frame, **outcome), watch.snapshots
    except ValidationError as error:  # a third-party task returned a value that is not a number
        message = brief(str(first_fault(error)))
        return Record(**frame, status=Status.ERROR, failure=Failure(phase="record", message=message)), watch.snapshots


@contextmanager
def _pipe() -> Iterator[tuple[Connection, Connection]]:
    """Create a pipe, yield its read end and its write end, and close both at the end."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # the user's limit of pipe memory is reached
                fcntl.fcntl(writer.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield reader, writer


class _Watch:
    """Receives the messages of a trial, enforces its limits, and collects its results.

    Attributes:
        output: text that the trial has written to standard output and error.
        snapshots: snapshots of the training.
        ended: when the trial ended, on ``time.perf_counter``.
    """

    def __init__(
        self,
        messages: Connection,
        written: Connection,
        process: BaseProcess,
        family: ProcessTree,
        limits: Limits,
        report: OnProgress,
        stop: Stop,
    ) -> None:
        self._stop = stop
        self._messages, self._inbox = messages, Inbox(messages)
        self._written, self.output = written, Output(written)
        self._process = process
        self._family = family
        self._limits = limits
        self._report = report
        self._phase = "start"
        self._history: list[dict[str, float | None]] = []
        self._known: Outcome = {}
        self._server_was_killed = False
        self._memory_seen = float("-inf")
        self.snapshots: Snapshots = {}
        self._awake = self.ended = time.perf_counter()
        self._deadline = self._awake + limits.timeout + GRACE_SECONDS if limits.timeout else float("inf")

    def until_the_end(self) -> Outcome:
        outcome = None
        while outcome is None:
            process_has_ended = self._wait()
            outcome = self._read_messages()
            if outcome is None:
                outcome = self._outcome_at_end(process_has_ended and self._inbox.empty)
        self.output.read()
        return outcome

    def _wait(self) -> bool:
        """Wait for something to happen; return whether the trial's process has ended."""
        poll = MEMORY_POLL_SECONDS if self._limits.memory else CLOCK_POLL_SECONDS
        seconds = max(min(self._deadline - time.perf_counter(), poll), 0)
        # Also wait for the process: its child processes may keep the other end of the pipe open.
        watched: list[Any] = [self._messages, self._stop.requested]
        watched += [] if self.output.closed else [self._written]
        watched += [] if self._server_was_killed else [self._process.sentinel]
        ready = multiprocessing.connection.wait(watched, seconds)
        now = time.perf_counter()
        if (suspended := now - self._awake - seconds) > SUSPENDED_SECONDS:
            self._deadline += suspended
        self._awake = self.ended = now
        return self._has_ended(self._process.sentinel in ready)

    def _has_ended(self, sentinel_is_ready: bool) -> bool:
        """Whether the process has ended. Its sentinel also becomes ready if the fork server is killed."""
        if sentinel_is_ready and self._family.leader_is_alive():
            self._server_was_killed = True
        if self._server_was_killed:
            return not self._family.leader_is_alive()
        return sentinel_is_ready

    def _read_messages(self) -> Outcome | None:
        """Read the messages that have arrived; return the outcome if one of them has it."""
        self.output.read()
        try:
            messages = self._inbox.read()
        except Exception as error:  # an unknown third-party class, or invalid data
            message = brief(f"a message of the trial cannot be read: {type(error).__name__}: {error}")
            return self.partial(Status.ERROR, message)
        for message in messages:
            if isinstance(message, Ended):
                self.ended = message.clock
                return message.outcome
            self._receive(message)
        return None

    def _outcome_at_end(self, process_has_ended: bool) -> Outcome | None:
        """Return the outcome of a trial that ended or must end without sending one; None if the trial continues."""
        if self._stop.asked:
            return self.partial(Status.INTERRUPTED, "stopped by the user")
        if process_has_ended or self._inbox.closed:
            return self._died()
        now = time.perf_counter()
        if now > self._deadline:
            return self.partial(Status.TIMEOUT, f"killed {GRACE_SECONDS:g} s after its time limit")
        if self._limits.memory and now > self._memory_seen + MEMORY_POLL_SECONDS / 2:
            self._memory_seen = now
            if (held := self._family.memory_above(self._limits.memory)) is not None:
                return self.partial(Status.MEMORY_BUDGET, f"killed while it held {held / 1e6:.0f} MB")
        return None

    def _receive(self, progress: Progress) -> None:
        self._phase = progress.phase
        self._known |= progress.known
        self.snapshots |= progress.pictures
        self._history += progress.earlier
        if progress.row is not None:
            self._history.append(progress.row)
        self._report(progress)

    def partial(self, status: Status, message: str) -> Outcome:
        """Return the outcome of a trial that sent none: its finished passes, its history and the failure."""
        failure = Failure(phase=self._phase, message=message)
        return with_finite_values(self._known | {"status": status, "history": self._history, "failure": failure})

    def _died(self) -> Outcome:
        with PROCESSES:
            self._process.join(timeout=5)
            code = self._process.exitcode
        if code == UNKNOWN_EXIT_CODE and self._family.server_has_ended():
            message = "the process ended without a result; its exit code is unknown, since the fork server was killed"
            return self.partial(Status.CRASHED, message)
        if code is None:
            return self.partial(Status.ERROR, "the process closed its connection without a result")
        if code >= 0:
            return self.partial(Status.ERROR, f"the process ended with exit code {code} and without a result")
        message = f"killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            message += "; the system sends this signal when memory runs out"
        return self.partial(Status.CRASHED, message)


def _storable(outcome: Outcome, output: Output) -> Outcome:
    """Shorten the texts of an outcome; to a failure, add the output of the trial."""
    stored = dict(outcome)
    if "reasons" in stored:
        stored["reasons"] = {brief(name): _brief_reason(reason) for name, reason in stored["reasons"].items()}
    failure: Failure | None = stored.get("failure")
    if failure is not None:
        stored["failure"] = failure.model_copy(update={"stderr": output.lines()})
    return stored


def _brief_reason(reason: Reason | str) -> Reason | str:
    return brief(reason) if isinstance(reason, str) else reason.model_copy(update={"message": brief(reason.message)})
