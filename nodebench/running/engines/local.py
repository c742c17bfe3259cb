"""The local engine: trials on this machine, one at a time or on several slots."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from nodebench.cores import usable_cores
from nodebench.running.engines.contract import EVERY_PASS, Engine, Report, Requests
from nodebench.running.rerun import run_until_steady
from nodebench.spec import EVERYTHING, DataSource, Limits, Record, Trial
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.devices import visible_devices
from nodebench.trial.fork_server import wait_for_fork_server
from nodebench.trial.isolation import Stop, run_isolated
from nodebench.trial.worker import Progress


@dataclass
class _Slot:
    """A slot for one trial: its cores, and a semaphore that is released when its record has been taken."""

    cores: tuple[int, ...] | None
    shared: bool
    taken: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@dataclass(frozen=True)
class _Progressed:
    trial: Trial
    progress: Progress


@dataclass(frozen=True)
class _Ended:
    slot: _Slot
    record: Record
    snapshots: Snapshots


@dataclass(frozen=True)
class _Left:
    """Message that a slot has no more trials, or has failed."""

    error: BaseException | None


class LocalEngine(Engine):
    """Runs up to ``jobs`` trials at once.

    Parallel trials are bound to separate cores if there are enough cores for their threads. If there are not, or if
    the trials share an accelerator, their records are marked as ``shared``.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs
        self._stop = Stop()

    def run(
        self,
        trials: Sequence[Trial],
        limits: Limits,
        source: DataSource,
        report: Report,
        requests: Requests = EVERY_PASS,
        checkpoints: Checkpoints | None = None,
    ) -> Iterator[tuple[Record, Snapshots]]:
        """Yield the record and the snapshots of each trial as it ends; see ``Engine``."""
        if not trials:
            return
        wait_for_fork_server()
        events: SimpleQueue[_Progressed | _Ended | _Left] = SimpleQueue()
        one_accelerator = any(trial.device != "cpu" for trial in trials)
        slots = _slots(self._jobs, max(trial.threads for trial in trials), one_accelerator)
        waiting = _Waiting(trials)
        common = (limits, source, requests, checkpoints)
        threads = [
            threading.Thread(target=self._work, args=(slot, waiting, *common, events.put), daemon=True)
            for slot in slots
        ]
        for thread in threads:
            thread.start()
        working = len(threads)
        failure: BaseException | None = None
        try:
            while working:
                match events.get():
                    case _Progressed(trial, progress):
                        report(trial, progress)
                    case _Ended(slot, record, snapshots):
                        yield record, snapshots
                        slot.taken.release()
                    case _Left(error):
                        working -= 1
                        if error is not None:  # no trial starts any more; those that run end by themselves
                            failure = failure or error
                            waiting.close()
            if failure is not None:
                raise failure
        finally:
            self.stop()
            for slot, thread in zip(slots, threads, strict=True):
                slot.taken.release()
                thread.join()

    def _work(
        self,
        slot: _Slot,
        waiting: "_Waiting",
        limits: Limits,
        source: DataSource,
        requests: Requests,
        checkpoints: Checkpoints | None,
        tell: Callable[[_Progressed | _Ended | _Left], None],
    ) -> None:
        """Run one trial after another on a slot."""
        here = {"cores": slot.cores, "shared": slot.shared, "visible_devices": visible_devices()}
        try:
            while not self._stop.asked and (trial := waiting.next()) is not None:
                request, report = requests.get(trial.id, EVERYTHING), partial(_tell_progress, tell, trial)
                run = partial(run_isolated, trial, limits, source, report, self._stop, slot.cores, request, checkpoints)
                record, snapshots = run_until_steady(run, 1 if slot.shared else request.attempts, checkpoints, report)
                place = record.place.model_copy(update=here)
                tell(_Ended(slot, record.model_copy(update={"place": place}), snapshots))
                slot.taken.acquire()
        except BaseException as error:  # it is raised in the caller's thread
            tell(_Left(error))
        else:
            tell(_Left(None))

    def stop(self) -> None:
        """End what is running and start nothing more."""
        self._stop.ask()


def _tell_progress(tell: Callable[[_Progressed], None], trial: Trial, progress: Progress) -> None:
    tell(_Progressed(trial, progress))


class _Waiting:
    """Thread-safe iterator over the trials that have not started."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = iter(trials)
        self._lock = threading.Lock()

    def next(self) -> Trial | None:
        with self._lock:
            return next(self._trials, None)

    def close(self) -> None:
        """Drop the trials that have not started."""
        with self._lock:
            self._trials = iter(())


def _slots(jobs: int, threads: int, one_accelerator: bool) -> list[_Slot]:
    """Create slots. A single slot is not bound to cores.

    Several slots are bound to separate cores if there are enough cores and no accelerator.
    """
    if jobs == 1:
        return [_Slot(None, shared=False)]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if one_accelerator or jobs * threads > min(len(cores), usable_cores()):
        return [_Slot(None, shared=True) for _ in range(jobs)]
    return [_Slot(tuple(cores[i * threads : (i + 1) * threads]), shared=False) for i in range(jobs)]
