"""A session plans a study, measures the trials that a run lacks, and stores each record."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebench.errors import BadInput, RunAborted, at_least
from nodebench.spec import DataSource, Limits, Pass, Record, Status, Study
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from nodebench.running.engines.contract import Engine
    from nodebench.running.listener import Listener
    from nodebench.running.plan import Plan, Planned
    from nodebench.running.threads import ThreadChoice

# Environment variable with the data folder, for tasks that read data.
DATA_VARIABLE = "NODEBENCH_DATA_DIR"


@dataclass(frozen=True)
class Execution:
    """Execution options of a study.

    Attributes:
        results: folder in which runs are kept.
        retry_failed: whether failed trials of a run that is resumed run again.
        jobs: number of trials in parallel; None for 1 if times are measured, else the number of usable cores.
        dask: ``local``, ``slurm`` or the address of a scheduler; empty to run here.
        limits: limits of each trial; override the study's limits, also on resume.
        passes: passes of each trial; None for the study's passes. On resume, a trial whose record lacks one of them
            runs again.
        checkpoint_every: seconds between two checkpoints of a trial, 0 for none; None for the study's interval.
        until: time of ``time.monotonic`` at which running trials are stopped; None for no limit.
    """

    results: Path
    retry_failed: bool = False
    jobs: int | None = None
    dask: str = ""
    limits: Limits = field(default_factory=Limits)
    passes: tuple[Pass, ...] | None = None
    checkpoint_every: float | None = None
    until: float | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit; negative when the time is up, infinite without a limit."""
        return float("inf") if self.until is None else self.until - time.monotonic()

    def check(self) -> None:
        """Check the values of the options.

        Raises:
            BadInput: a value is out of range.
        """
        at_least(1, jobs=self.jobs)
        every = self.checkpoint_every
        if every is not None and not 0 <= every < float("inf"):
            raise BadInput(f"--checkpoint-every {every:g}: must be a number of seconds, or 0 for no checkpoints")


@dataclass(frozen=True)
class Session:
    """The result of a session.

    Attributes:
        run: the run folder.
        records: all records of the run, the latest of each trial.
        planned: number of trials with a record or in the study.
        failure: why the session ended early; None if it did not.
        stopped: whether the session was interrupted.
    """

    run: RunFolder
    records: Sequence[Record]
    planned: int
    failure: str | None
    stopped: bool

    @property
    def finished(self) -> int:
        """Number of trials that ended without an interruption."""
        return sum(record.status is not Status.INTERRUPTED for record in self.records)


def run_study(study: Study, how: Execution, listener: "Listener") -> Session:
    """Make a new run of a study.

    Raises:
        BadInput: it cannot be run; nothing was written.
    """
    how.check()
    engine = _start_engine(study, how)
    from nodebench.instruments import describe_environment
    from nodebench.running.estimate import costs_on
    from nodebench.running.plan import plan
    from nodebench.running.user_code import check_before_run, data_summaries

    study = with_data(_overridden(study, how))
    single = with_threads(study, 1)  # the same study with threads set in every grid
    with listener.planning():
        planned = plan(single, elsewhere=engine.elsewhere)
    if not planned.planned:
        raise BadInput(f"nothing to run: {'; '.join(planned.left_out) or 'the study has no trial'}")
    alike = [one.configuration for one in planned.planned]  # what does not depend on the seed
    for summary in data_summaries(alike, study.data):
        listener.data_read(summary)
    check_before_run(alike, study.limits, ())
    chosen = None if engine.elsewhere or single == study else _choose_threads(study, planned, how)
    study = with_threads(study, chosen.threads if chosen else 1)
    if study != single:
        planned = plan(study, elsewhere=engine.elsewhere)
        alike = [one.configuration for one in planned.planned]
    environment = describe_environment("cpu" if engine.elsewhere else planned.planned[0].configuration.device)
    listener.allow(alike, costs_on(environment, how.results), jobs_of(study, how.jobs))
    _prepare(engine, planned.planned, listener)
    if chosen is not None:
        environment["threads_choice"] = asdict(chosen)
    run = RunFolder.create(how.results, study, environment)
    if chosen is not None:
        listener.threads_chosen(chosen)
    return _run(run, study, planned, engine, how, listener)


def resume_run(run: RunFolder, how: Execution, listener: "Listener") -> Session:
    """Run the trials of a run that have no record yet, or whose record lacks a pass.

    Raises:
        BadInput: they cannot be run; nothing was written.
    """
    how.check()
    run.refuse_link()
    study = _overridden(run.study(), how)
    engine = _start_engine(study, how)
    from nodebench.running.plan import plan
    from nodebench.running.sweep import missing
    from nodebench.running.user_code import check_before_run, refuse_changed_data

    with listener.planning():
        planned = plan(study, elsewhere=engine.elsewhere)
    records = run.records()
    todo = missing(planned.planned, records, retry_failed=how.retry_failed)
    check_before_run([one.trial for one in todo], study.limits, records, run.folder.name)
    refuse_changed_data([one.trial for one in todo], study.data, records, run.folder.name)
    return _run(run, study, planned, engine, how, listener)


def run_more(
    run: RunFolder, study: Study, planned: "Sequence[Planned]", how: Execution, listener: "Listener"
) -> Session:
    """Add trials that are already planned to a run."""
    from nodebench.running.plan import Plan

    return _run(run, study, Plan(list(planned), []), _start_engine(study, how), how, listener)


def jobs_of(study: Study, jobs: int | None) -> int:
    """Return the number of parallel trials: by default 1 if times are measured, else the number of usable cores."""
    from nodebench.cores import usable_cores

    return jobs or (1 if study.timing else usable_cores())


def with_threads(study: Study, threads: int) -> Study:
    """Return the study with ``threads`` set in each grid that has none, so that a resumed run has the same trials."""
    groups = {name: grid.model_copy(update={"threads": grid.threads or threads}) for name, grid in study.groups.items()}
    return study.model_copy(update={"groups": groups})


def with_data(study: Study) -> Study:
    """Set the data folder from the environment variable if the study has none and a task reads data."""
    from nodebench.tasks import find_task

    folder = os.environ.get(DATA_VARIABLE)
    reads = any(find_task(grid.task).datasets for grid in study.groups.values())
    if not folder or study.data != DataSource() or not reads:
        return study
    return study.model_copy(update={"data": DataSource(folder=Path(folder).absolute())})


def _run(run: RunFolder, study: Study, plan: "Plan", engine: "Engine", how: Execution, listener: "Listener") -> Session:
    """Run what is missing."""
    from nodebench.running.estimate import costs_on
    from nodebench.running.sweep import missing, sweep

    failure = None
    with run.writing():
        records = {record.id: record for record in run.records()}
        todo = missing(plan.planned, list(records.values()), retry_failed=how.retry_failed)
        _prepare(engine, todo, listener)
        costs = costs_on(run.environment(), how.results, but=run)
        for record in records.values():
            costs.add(record)
        trials = [one.trial for one in todo]
        with (
            listener.interruption(engine.stop) as received,
            _time_limit(engine.stop, how),
            listener.display(trials, costs) as display,
        ):
            engine.notice = display.note
            for reason in plan.left_out:
                display.note(f"left out: {reason}")
            try:
                for record in sweep(run, study, todo, engine, display.progress):
                    records[record.id] = record
                    display.finished(record)
            except RunAborted as error:
                failure = str(error)
    planned = records.keys() | {one.trial.id for one in plan.planned}
    return Session(run, list(records.values()), len(planned), failure, bool(received))


@contextmanager
def _time_limit(stop: Callable[[], None], how: Execution) -> Iterator[None]:
    """Call ``stop`` at the time limit, if there is one."""
    if how.until is None:
        yield
        return
    clock = threading.Timer(max(0.0, how.seconds_left), stop)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


def _choose_threads(study: Study, planned: "Plan", how: Execution) -> "ThreadChoice":
    """Choose the number of threads for the grids that have none."""
    from nodebench.running.threads import choose_threads

    first = min(planned.planned, key=lambda one: one.place).trial
    return choose_threads(first, study.data, study.limits, jobs_of(study, how.jobs))


def _start_engine(study: Study, how: Execution) -> "Engine":
    """Start the requested engine. It warms up while this process imports torch and plans the trials."""
    if how.dask:
        try:
            from nodebench.running.engines.dask import DaskEngine
        except ModuleNotFoundError as error:
            raise BadInput("--dask needs Dask: pip install 'nodebench[cluster]'") from error
        # The number of cores of a login node is unrelated to the number of Slurm jobs to request.
        return DaskEngine(how.dask, (how.jobs or 1) if how.dask == "slurm" else jobs_of(study, how.jobs))
    from nodebench.trial.fork_server import start_fork_server

    start_fork_server()
    from nodebench.running.engines.local import LocalEngine

    return LocalEngine(jobs_of(study, how.jobs))


def _prepare(engine: "Engine", todo: "Sequence[Planned]", listener: "Listener") -> None:
    """Connect the engine to its workers, which may take long."""
    with listener.connecting():
        engine.prepare([one.trial for one in todo])


def _overridden(study: Study, how: Execution) -> Study:
    """Return the study with limits, passes and checkpoint interval overridden by the execution options."""
    asked = how.limits.model_dump(exclude_none=True)
    changes = {"limits": study.limits.model_copy(update=asked), "passes": how.passes or study.passes}
    if how.checkpoint_every is not None:
        changes["checkpoint_every"] = how.checkpoint_every
    return study.model_copy(update=changes)
