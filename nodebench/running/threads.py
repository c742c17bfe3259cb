"""Choose the number of CPU threads of a trial if the user gives none."""

import os
import time
from dataclasses import dataclass

from nodebench.cores import THREADS_VARIABLE, default_threads, requested_threads, usable_cores
from nodebench.spec import DataSource, Limits, Trial
from nodebench.spec.metrics import several
from nodebench.trial.isolation import foresee

# All threads are chosen only if they are faster than one by this factor: other programs disturb fewer threads less.
WORTH = 1.1
# The probe with one thread may take LONGEST_SECONDS. The time limit of the probe with all threads is PATIENCE times the
# duration of the first probe, but at least SHORTEST_SECONDS.
LONGEST_SECONDS, PATIENCE, SHORTEST_SECONDS = 120.0, 3.0, 10.0


@dataclass(frozen=True)
class ThreadChoice:
    """A number of threads, and the reason for it as text for the user."""

    threads: int
    because: str


def choose_threads(trial: Trial, source: DataSource, limits: Limits, jobs: int = 1) -> ThreadChoice:
    """Choose the default number of threads of a run, before its first trial.

    Use ``OMP_NUM_THREADS`` if it is set. Otherwise time a few steps of ``trial`` with one thread and with all threads,
    each in a separate process, and choose the faster number.

    Args:
        trial: represents all trials of the run; its own number of threads is ignored.
        source: location of the data sets.
        limits: limits of each trial; they also apply to the probes.
        jobs: number of parallel trials, which share the usable cores.
    """
    most = default_threads(jobs)
    if requested_threads() is not None:
        return ThreadChoice(most, f"{THREADS_VARIABLE}={os.environ[THREADS_VARIABLE]}")
    if most == 1:
        return ThreadChoice(1, f"{several(usable_cores(), 'usable core')}, {several(jobs, 'trial')} at a time")
    many = several(most, "thread")
    began = time.perf_counter()
    one = _seconds(trial, 1, source, limits, LONGEST_SECONDS)
    if one is None:
        return ThreadChoice(most, f"not compared with 1 thread, since a few steps of {trial.task} failed")
    patience = max(SHORTEST_SECONDS, PATIENCE * (time.perf_counter() - began))
    every = _seconds(trial, most, source, limits, patience)
    if every is None:
        return ThreadChoice(1, f"a few steps of {trial.task} with {many} failed or took more than {patience:.0f} s")
    reason = f"from a few steps, a trial of {trial.task} takes {one:.2g} s with 1 thread and {every:.2g} s with {many}"
    return ThreadChoice(most if one > WORTH * every else 1, reason)


def _seconds(trial: Trial, threads: int, source: DataSource, limits: Limits, most: float) -> float | None:
    """Seconds of the whole trial, estimated within ``most`` seconds; None if that failed."""
    limits = limits.model_copy(update={"timeout": min(most, limits.timeout or most)})
    return foresee(trial.model_copy(update={"threads": threads}), source, limits)
