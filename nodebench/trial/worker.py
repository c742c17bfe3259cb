"""The child's side of a trial: build it, run its passes, send the results to the parent."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

import torch

from nodebench.errors import BadInput, brief
from nodebench.instruments import Budget, NfeCounter, calibrate, describe_environment, drifted
from nodebench.solvers import Integrator
from nodebench.spec import (
    EVERYTHING,
    DataSource,
    Failure,
    Limits,
    Pass,
    Reason,
    ReasonCode,
    Request,
    SolveFailed,
    Status,
    Trial,
)
from nodebench.spec.metrics import several
from nodebench.spec.record import Resumed
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.tasks import Experiment, find_task, live
from nodebench.trial.build import experiment_of, integrator_of, plugins_of
from nodebench.trial.compiler_cache import empty_compiler_cache
from nodebench.trial.devices import resolve_device
from nodebench.trial.draft import Row
from nodebench.trial.finite import with_finite_values
from nodebench.trial.messages import send
from nodebench.trial.options import options_of
from nodebench.trial.passes import Passes
from nodebench.trial.process_tree import adopt_orphans, kill_descendants
from nodebench.trial.saver import Earlier, Saver, identity_of

# Phase names in records and displays, if they differ from the name of the pass.
_PHASES = {Pass.TRAINING: "timed"}

Outcome = dict[str, Any]  # the fields of the record that the child knows


# Metrics of a check: time span of the longest solve of the probe batch, and its number of output intervals.
SPAN, INTERVALS = "span", "intervals"


@dataclass(frozen=True)
class Job:
    """One trial and the settings of its process."""

    trial: Trial
    limits: Limits
    source: DataSource
    cores: tuple[int, ...] | None = None  # cores that the process is bound to
    probe: bool = False  # only a few steps, to estimate the seconds of the whole trial
    request: Request = EVERYTHING  # what is measured
    check: bool = False  # no step at all: build the experiment and check the user's code
    checkpoints: Checkpoints | None = None  # of its run
    problem: live.Pickled | None = None  # problem made of live objects, if the trial has one


@dataclass(frozen=True)
class Progress:
    """A message from a running trial to its parent: its phase, a finished row, and other results so far.

    Attributes:
        earlier: rows finished by an earlier process, if the trial was resumed.
        notice: a message for the user.
    """

    phase: str
    epochs: int = 0
    row: Row | None = None
    pictures: Snapshots = field(default_factory=dict)
    known: Outcome = field(default_factory=dict)
    earlier: list[Row] = field(default_factory=list)
    notice: str = ""


@dataclass(frozen=True)
class Ended:
    """The last message of a trial: the outcome, and when the trial ended.

    Attributes:
        clock: end time on ``time.perf_counter``, which the processes of one machine share.
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
    gc.freeze()  # exclude objects loaded by the fork server from garbage collection
    _redirect_output(output)
    _die_with_parent()
    _lock_in_thread()
    _deliver(connection, _Child(connection, job).run())
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)  # skip the shutdown of libraries, some of which print messages


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
        self._epochs = 0
        self._began = time.perf_counter()
        self._limit()
        self._solve: Integrator | None = None
        self._passes: Passes | None = None
        self._passes_seconds: float | None = None
        self._outcome: Outcome = {}

    def _limit(self, spent: float = 0.0) -> None:
        """Set the limits of the solves; earlier processes have used ``spent`` seconds of the trial's time limit."""
        timeout = self._job.limits.timeout
        deadline = self._began + timeout - spent if timeout else None
        self._budget = Budget(self._job.limits.max_nfe, deadline)
        self._counter = NfeCounter(self._budget)

    def run(self) -> Outcome:
        trial = self._job.trial
        try:
            if self._job.cores is not None:
                os.sched_setaffinity(0, self._job.cores)
            torch.set_num_threads(trial.threads)
            _check_device(trial.device)
            before = calibrate()
            self._outcome |= {"environment": _environment(trial), "calibration": [before]}
            with empty_compiler_cache() if self._compiles() else nullcontext():
                began = time.perf_counter()
                self._run_passes(trial)
                spent = time.perf_counter() - began
            resumed: Resumed | None = self._outcome.get("resumed")
            self._passes_seconds = spent + (resumed.seconds if resumed else 0.0)
            seconds = [*self._outcome["calibration"], calibrate()]
            self._outcome |= {"calibration": seconds, "drifted": drifted(min(seconds), max(seconds))}
            self._outcome["status"] = Status.OK
        except BaseException as error:  # SystemExit too: a library or a user's code may call sys.exit()
            traceback.print_exc()
            self._outcome |= self._failed(error)
        if self._passes is not None:
            self._passes.draft.costs["passes_seconds"] = self._passes_seconds
            self._outcome |= with_finite_values(vars(self._passes.draft))
        return self._outcome

    def _compiles(self) -> bool:
        """Whether the trial or its baseline arm is compiled by torch."""
        return any(one is not None and one.compile for one in (self._job.trial, self._job.request.against))

    def _run_passes(self, trial: Trial) -> None:
        began = time.perf_counter()
        self._enter("setup")
        if self._job.problem is not None:
            live.receive(self._job.problem)
        self._outcome["options"] = options_of(trial).model_dump(mode="json")
        _plain_arithmetic()
        if self._job.check:
            self._check(self._build())
        elif self._job.probe:
            self._passes = self._passes_over(self._build())
            setup = time.perf_counter() - began
            self._passes.draft.costs["foreseen_seconds"] = setup + self._passes.foresee()
        elif self._job.checkpoints is None:
            self._measure(self._passes_over(self._build()))
        else:
            self._measure(self._resumed_or_new(self._new_saver(self._job.checkpoints, began)))

    def _check(self, experiment: Experiment) -> None:
        """Check the user's code; for a trial with a solver, also find the time span of its longest solve."""
        experiment.check()
        if self._job.trial.solver is None:
            return
        assert self._solve is not None
        spans = [(0.0, 0)]

        def note(_field: torch.nn.Module, _y0: torch.Tensor, times: torch.Tensor) -> None:
            spans.append((float((times[-1] - times[0]).abs()), len(times) - 1))

        with torch.no_grad(), self._solve.using(self._counter, observe=note):
            experiment.loss(experiment.model, experiment.probe)
        span, intervals = max(spans)
        self._outcome["metrics"] = {SPAN: span, INTERVALS: float(intervals)}

    def _build(self) -> Experiment:
        """Build the experiment, and the integrator that it solves with."""
        self._solve = integrator_of(self._job.trial, self._counter)
        experiment = experiment_of(self._job.trial, self._solve, self._job.source)
        self._epochs = experiment.epochs
        self._outcome |= {"data": experiment.data, "measured": experiment.measured}
        return experiment

    def _passes_over(self, experiment: Experiment, saver: Saver | None = None) -> Passes:
        trial, solve = self._job.trial, self._solve
        assert solve is not None

        def report(row: Row, pictures: Snapshots) -> None:
            self._tell(row=row, pictures=pictures)

        return Passes(trial, find_task(trial.task), experiment, solve, self._budget, report, saver)

    def _new_saver(self, checkpoints: Checkpoints, began: float) -> Saver:
        def notify(notice: str) -> None:
            self._tell(notice=notice)

        return Saver(self._job.trial.id, checkpoints, began, notify, list(self._outcome["calibration"]))

    def _resumed_or_new(self, saver: Saver) -> Passes:
        """The passes of the trial; if it has a checkpoint that can be used, their training goes on from there."""
        if (earlier := saver.find()) is not None:
            self._limit(earlier.resumed.seconds)
            passes = self._passes_over(self._build(), saver)
            saver.identity = identity_of(self._outcome)
            try:
                saver.check(earlier)
                passes.resume(earlier.state)
            except Exception as error:  # anything that a damaged state, or another version of a task, may cause
                saver.refuse(_first_line(error))
                self._limit()
            else:
                saver.go_on_from(earlier)
                self._tell_resumed(passes, earlier)
                return passes
        experiment = self._build()
        saver.identity = identity_of(self._outcome)
        return self._passes_over(experiment, saver if experiment.state_dict() is not None else None)

    def _tell_resumed(self, passes: Passes, earlier: Earlier) -> None:
        """Record that the trial was resumed, and send the parent the results of earlier processes."""
        resumed, rows = earlier.resumed, passes.draft.history
        message = f"resumed {several(resumed.times, 'time')} from a checkpoint; the times of its training steps come "
        message += f"from {resumed.times + 1} processes"
        passes.draft.reasons["resumed"] = Reason(code=ReasonCode.RESUMED, message=message)
        self._outcome |= {"resumed": resumed, "calibration": [*earlier.calibration, *self._outcome["calibration"]]}
        notice = f"resumes from its checkpoint, after {several(len(rows) - 1, 'epoch')} of {self._epochs}"
        self._tell(earlier=rows, pictures=passes.snapshots, known={"resumed": resumed}, notice=notice)

    def _measure(self, passes: Passes) -> None:
        """Run the requested passes, and mark the metrics of the others as not requested."""
        self._passes = passes
        request = self._job.request
        for one in Pass:
            if one in request.passes:
                phase = _PHASES.get(one, one.value)
                self._enter(phase, self._outcome | with_finite_values(vars(passes.draft)))
                getattr(passes, phase)()
            else:
                passes.leave_out(one)
        if request.against is not None:
            self._enter("interleaved", self._outcome | with_finite_values(vars(passes.draft)))
            passes.interleaved(request.against, self._job.source)

    def _enter(self, phase: str, known: Outcome | None = None) -> None:
        self._phase = phase
        self._tell(known=known or {})

    def _tell(self, **what: Any) -> None:
        send(self._connection, Progress(self._phase, self._epochs, **what))

    def _failed(self, error: BaseException) -> Outcome:
        """Status and place of a failure."""
        failure = None
        if self._solve is not None:
            with suppress(Exception):  # it reads the exception's message, which may also raise
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
    """Check that the device exists; needed if the parent, which also checks, is on another machine."""
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
    """Return the message of an exception; empty if ``str`` of the exception fails."""
    try:
        return str(error)
    except Exception:
        return ""


def _number(value: torch.Tensor | None) -> float | None:
    """Convert a time or step size to a number; if every sample has its own, return the smallest."""
    try:
        return None if value is None else float(value.detach().min())
    except RuntimeError:  # it belongs to a torch.func transform that has ended
        return None


def _plain_arithmetic() -> None:
    """Disable TF32, a reduced precision that no trial requests."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _lock_in_thread() -> None:
    """Give tqdm, which torch's compiler uses if it is installed, a lock that ends with the process."""
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
    """Kill this process group, and descendants that left it, when the parent ends for any reason."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        with suppress(Exception):
            kill_descendants()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
