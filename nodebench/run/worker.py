"""The child's side of a trial: build it, run its passes, tell the parent."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from nodebench.errors import BadInput
from nodebench.instruments import Budget, NfeCounter, calibrate, describe_environment, drifted
from nodebench.run.build import experiment_of, integrator_of
from nodebench.run.multiply import options_of, resolve_device
from nodebench.run.passes import Passes, Row
from nodebench.solvers import Integrator
from nodebench.spec import EVERYTHING, DataSource, Failure, Limits, Pass, Request, SolveFailed, Status, Trial
from nodebench.spec.trajectories import Film
from nodebench.tasks import find_task

# The names under which records and displays know the passes, where they are others.
_PHASES = {Pass.TRAINING: "timed"}

Outcome = dict[str, Any]  # the fields of the record that the child knows


@dataclass(frozen=True)
class Job:
    """One trial with what it needs of its surroundings."""

    trial: Trial
    limits: Limits
    source: DataSource
    stderr: Path
    cores: tuple[int, ...] | None = None  # to be bound to
    probe: bool = False  # a few steps only, to foresee the seconds of the whole
    request: Request = EVERYTHING  # what is measured
    check: bool = False  # no step at all: build the experiment and check the user's code


@dataclass(frozen=True)
class Progress:
    """What a running trial tells its parent: its phase, each finished row, and what else is known by then."""

    phase: str
    epochs: int = 0
    row: Row | None = None
    pictures: Film = field(default_factory=dict)
    known: Outcome = field(default_factory=dict)


def main(connection: Connection, job: Job) -> None:
    """Run one trial in this process and send its outcome; the process leads a group of its own."""
    os.setsid()
    gc.freeze()  # what the fork server loaded is never garbage: collections need not walk it
    _redirect_stderr(job.stderr)
    _die_with_parent()
    _lock_in_thread()
    connection.send(_Child(connection, job).run())
    sys.stderr.flush()
    os._exit(0)  # there is nothing to tear down but libraries, some of which chat about it


class _Child:
    def __init__(self, connection: Connection, job: Job) -> None:
        self._connection = connection
        self._job = job
        self._phase = "start"
        timeout = job.limits.timeout
        self._budget = Budget(job.limits.max_nfe, time.perf_counter() + timeout if timeout else None)
        self._counter = NfeCounter(self._budget)
        self._solve: Integrator | None = None
        self._passes: Passes | None = None
        self._passes_seconds: float | None = None
        self._outcome: Outcome = {}

    def run(self) -> Outcome:
        trial = self._job.trial
        try:
            if self._job.cores is not None:
                os.sched_setaffinity(0, self._job.cores)
            torch.set_num_threads(trial.threads)
            _check_device(trial.device)
            before = calibrate()
            self._outcome |= {"environment": describe_environment(trial.device), "calibration": [before]}
            began = time.perf_counter()
            self._run_passes(trial)
            self._passes_seconds = time.perf_counter() - began
            after = calibrate()
            self._outcome |= {"calibration": [before, after], "drifted": drifted(before, after)}
            self._outcome["status"] = Status.OK
        except (Exception, SystemExit) as error:  # a user's code may end the program
            traceback.print_exc()
            self._outcome |= self._failed(error)
        if self._passes is not None:
            self._passes.draft.costs["passes_seconds"] = self._passes_seconds
            self._outcome |= vars(self._passes.draft)
        return self._outcome

    def _run_passes(self, trial: Trial) -> None:
        began = time.perf_counter()
        self._enter("setup")
        self._outcome["options"] = options_of(trial).model_dump()
        self._solve = integrator_of(trial, self._counter)
        _plain_arithmetic()
        experiment = experiment_of(trial, self._solve, self._job.source)
        self._outcome |= {"data": experiment.data, "measured": experiment.measured}
        if self._job.check:
            experiment.check()
            return
        epochs = experiment.epochs

        def report(row: Row, pictures: Film) -> None:
            self._connection.send(Progress(self._phase, epochs, row, pictures))

        self._passes = Passes(trial, find_task(trial.task), experiment, self._solve, self._budget, report)
        if self._job.probe:
            setup = time.perf_counter() - began
            self._passes.draft.costs["foreseen_seconds"] = setup + self._passes.foresee()
            return
        self._measure(self._passes, epochs)

    def _measure(self, passes: Passes, epochs: int) -> None:
        """Run the passes that were asked for, and say of the figures of the others that they were not."""
        request = self._job.request
        for one in Pass:
            if one in request.passes:
                self._enter(_PHASES.get(one, one), epochs, self._outcome | vars(passes.draft))
                getattr(passes, _PHASES.get(one, one))()
            else:
                passes.leave_out(one)
        if request.against is not None:
            self._enter("interleaved", epochs, self._outcome | vars(passes.draft))
            passes.interleaved(request.against, self._job.source)

    def _enter(self, phase: str, epochs: int = 0, known: Outcome | None = None) -> None:
        self._phase = phase
        self._connection.send(Progress(phase, epochs, known=known or {}))

    def _failed(self, error: BaseException) -> Outcome:
        """Status and place of a failure."""
        failure = self._solve.failure(error) if self._solve else None
        counter = self._solve.latest if self._solve else self._counter
        return {
            "status": failure.status if isinstance(failure, SolveFailed) else _status_of(error),
            "failure": Failure(
                phase=self._phase,
                message=_first_line(failure or error),
                t=_number(counter.last_t),
                dt=_number(counter.last_dt),
                nfe=(counter.in_solve or counter.forward) if counter.solves else None,
            ),
        }


def _check_device(device: str) -> None:
    """The parent has seen to it, unless it is on another machine."""
    try:
        resolve_device(device)
    except BadInput as error:
        raise SolveFailed(Status.NO_DEVICE, str(error)) from None


def _status_of(error: BaseException) -> Status:
    """Status of an exception outside a solve."""
    if isinstance(error, SolveFailed):
        return error.status
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Status.MEMORY_BUDGET
    return Status.ERROR


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    text = lines[0] if lines else ""
    return text if isinstance(error, SolveFailed | BadInput) else f"{type(error).__name__}: {text}"


def _number(value: torch.Tensor | None) -> float | None:
    """A time or a step size; where every sample has its own, the smallest."""
    try:
        return None if value is None else float(value.detach().min())
    except RuntimeError:  # it belongs to a transform of torch.func that is over
        return None


def _plain_arithmetic() -> None:
    """No TF32: it is a reduced precision that one would have to ask for."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _lock_in_thread() -> None:
    """Give tqdm, which torch's compiler uses where it is there, a lock that does not outlive the process."""
    with suppress(ImportError):
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())


def _redirect_stderr(path: Path) -> None:
    """Send everything that is written to standard output and error, by C code too, to a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _die_with_parent() -> None:
    """End this process group when the parent is gone, however it went."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
