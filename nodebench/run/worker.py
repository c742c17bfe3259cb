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
from typing import Any

import torch

from nodebench.errors import BadInput, brief
from nodebench.instruments import Budget, NfeCounter, calibrate, describe_environment, drifted
from nodebench.run.build import experiment_of, integrator_of, plugins_of
from nodebench.run.draft import Row
from nodebench.run.family import adopt_orphans, kill_descendants
from nodebench.run.finite import with_finite_values
from nodebench.run.messages import send
from nodebench.run.multiply import options_of, resolve_device
from nodebench.run.passes import Passes
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


@dataclass(frozen=True)
class Ended:
    """The last message of a trial: what it knows of its record, and when it ended.

    Attributes:
        clock: on ``time.perf_counter``, which the processes of one machine share.
    """

    outcome: Outcome
    clock: float


def main(connection: Connection, output: Connection, job: Job) -> None:
    """Run one trial in this process and send its outcome; the process leads a group of its own.

    Args:
        connection: receives ``Progress`` and, at the end, ``Ended``.
        output: receives everything that is written to standard output and error.
        job: what is run.
    """
    os.setsid()
    adopt_orphans()
    gc.freeze()  # what the fork server loaded is never garbage: collections need not walk it
    _redirect_output(output)
    _die_with_parent()
    _lock_in_thread()
    _deliver(connection, _Child(connection, job).run())
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)  # there is nothing to tear down but libraries, some of which chat about it


def _deliver(connection: Connection, outcome: Outcome) -> None:
    """Send the outcome, or the reason why it cannot be sent."""
    clock = time.perf_counter()
    try:
        send(connection, Ended(outcome, clock))
    except Exception as error:
        failure = Failure(phase="result", message=brief(f"the result cannot be sent: {_first_line(error)}"))
        send(connection, Ended({"status": Status.ERROR, "failure": failure}, clock))


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
            self._outcome |= {"environment": _environment(trial), "calibration": [before]}
            began = time.perf_counter()
            self._run_passes(trial)
            self._passes_seconds = time.perf_counter() - began
            after = calibrate()
            self._outcome |= {"calibration": [before, after], "drifted": drifted(before, after)}
            self._outcome["status"] = Status.OK
        except BaseException as error:  # SystemExit too: a library or a user's code may call sys.exit()
            traceback.print_exc()
            self._outcome |= self._failed(error)
        if self._passes is not None:
            self._passes.draft.costs["passes_seconds"] = self._passes_seconds
            self._outcome |= with_finite_values(vars(self._passes.draft))
        return self._outcome

    def _run_passes(self, trial: Trial) -> None:
        began = time.perf_counter()
        self._enter("setup")
        self._outcome["options"] = options_of(trial).model_dump(mode="json")
        self._solve = integrator_of(trial, self._counter)
        _plain_arithmetic()
        experiment = experiment_of(trial, self._solve, self._job.source)
        self._outcome |= {"data": experiment.data, "measured": experiment.measured}
        if self._job.check:
            experiment.check()
            return
        epochs = experiment.epochs

        def report(row: Row, pictures: Film) -> None:
            send(self._connection, Progress(self._phase, epochs, row, pictures))

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
                phase = _PHASES.get(one, one.value)
                self._enter(phase, epochs, self._outcome | with_finite_values(vars(passes.draft)))
                getattr(passes, phase)()
            else:
                passes.leave_out(one)
        if request.against is not None:
            self._enter("interleaved", epochs, self._outcome | with_finite_values(vars(passes.draft)))
            passes.interleaved(request.against, self._job.source)

    def _enter(self, phase: str, epochs: int = 0, known: Outcome | None = None) -> None:
        self._phase = phase
        send(self._connection, Progress(phase, epochs, known=known or {}))

    def _failed(self, error: BaseException) -> Outcome:
        """Status and place of a failure."""
        failure = None
        if self._solve is not None:
            with suppress(Exception):  # the message of the exception is read, and making it may fail in turn
                failure = self._solve.failure(error)
        counter = self._solve.latest if self._solve else self._counter
        return {
            "status": failure.status if isinstance(failure, SolveFailed) else _status_of(error),
            "failure": Failure(
                phase=self._phase,
                message=brief(_first_line(failure or error)),
                t=_number(counter.last_t),
                dt=_number(counter.last_dt),
                nfe=(counter.in_solve or counter.forward) if counter.solves else None,
            ),
        }


def _environment(trial: Trial) -> dict[str, Any]:
    """The environment of this process, and the plug-ins that the trial uses."""
    return describe_environment(trial.device) | {"plugins": plugins_of(trial)}


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
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in _text(error):
        return Status.MEMORY_BUDGET
    return Status.ERROR


def _first_line(error: BaseException) -> str:
    lines = _text(error).splitlines()
    text = lines[0] if lines else ""
    return text if isinstance(error, SolveFailed | BadInput) else f"{type(error).__name__}: {text}"


def _text(error: BaseException) -> str:
    """The message of an exception; empty where making it fails in turn."""
    try:
        return str(error)
    except Exception:
        return ""


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


def _redirect_output(output: Connection) -> None:
    """Send everything that is written to standard output and error, by C code too, to the parent."""
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.stdout = os.fdopen(1, "w", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _die_with_parent() -> None:
    """End this process group, and what has left it, when the parent is gone, however it went."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        with suppress(Exception):
            kill_descendants()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
