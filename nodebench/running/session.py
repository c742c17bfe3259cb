"""A session: a study is planned, what a run lacks of it is measured, and each record is stored."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebench.errors import BadInput, CannotGoOn, at_least
from nodebench.spec import DataSource, Limits, Pass, Record, Status, Study
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from nodebench.running.engines.contract import Engine
    from nodebench.running.listener import Listener
    from nodebench.running.plan import Plan, Planned
    from nodebench.running.threads import ThreadChoice

# The data folder of those tasks that take one.
DATA_VARIABLE = "NODEBENCH_DATA_DIR"


@dataclass(frozen=True)
class Execution:
    """How a study is run, and nothing of what is run.

    Attributes:
        results: folder in which runs are kept.
        retry_failed: whether failed trials of a run that is resumed run again.
        jobs: trials at once; None for one, or for as many as there are cores where no time is measured.
        dask: ``local``, ``slurm`` or the address of a scheduler; empty to run here.
        limits: of each trial; what is given replaces what the study says, also when a run is resumed.
        passes: what is measured of each trial; None for what the study says. A trial whose record lacks one of them
            runs again when its run is resumed.
        checkpoint_every: seconds between two checkpoints of a trial, 0 for none; None for what the study says.
    """

    results: Path
    retry_failed: bool = False
    jobs: int | None = None
    dask: str = ""
    limits: Limits = field(default_factory=Limits)
    passes: tuple[Pass, ...] | None = None
    checkpoint_every: float | None = None

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            BadInput: a value is out of range.
        """
        at_least(1, jobs=self.jobs)
        every = self.checkpoint_every
        if every is not None and not 0 <= every < float("inf"):
            raise BadInput(f"--checkpoint-every {every:g}: a number of seconds, 0 for no checkpoints")


@dataclass(frozen=True)
class Session:
    """A run after a session on it.

    Attributes:
        run: where its records are.
        records: all of them, the latest of each trial.
        planned: how many trials its study has.
        failure: what kept the session from going on; None where nothing did.
        stopped: whether it was interrupted.
    """

    run: RunFolder
    records: Sequence[Record]
    planned: int
    failure: str | None
    stopped: bool

    @property
    def finished(self) -> int:
        """How many trials have ended by themselves."""
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
    single = with_threads(study, 1)  # the same study where every grid names its threads
    with listener.planning():
        planned = plan(single, elsewhere=engine.elsewhere)
    if not planned.planned:
        raise BadInput(f"nothing to run: {'; '.join(planned.left_out)}")
    for summary in data_summaries(planned.trials, study.data):
        listener.data_read(summary)
    check_before_run(planned.trials, study.limits, ())
    chosen = None if engine.elsewhere or single == study else _choose_threads(study, planned, how)
    study = with_threads(study, chosen.threads if chosen else 1)
    if study != single:
        planned = plan(study, elsewhere=engine.elsewhere)
    environment = describe_environment("cpu" if engine.elsewhere else planned.planned[0].configuration.device)
    alike = [one.configuration for one in planned.planned]  # a trial takes as long as any other of its configuration
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


def run_planned(
    study: Study, planned: "Sequence[Planned]", how: Execution, environment: Mapping[str, Any], listener: "Listener"
) -> Session:
    """Make a new run of some trials of a study, which were planned before."""
    return run_more(RunFolder.create(how.results, study, environment), study, planned, how, listener)


def run_more(
    run: RunFolder, study: Study, planned: "Sequence[Planned]", how: Execution, listener: "Listener"
) -> Session:
    """Add trials to a run, which were planned before."""
    from nodebench.running.plan import Plan

    return _run(run, study, Plan(list(planned), []), _start_engine(study, how), how, listener)


def jobs_of(study: Study, jobs: int | None) -> int:
    """How many trials run at once: one where nothing else is asked for and time is measured."""
    from nodebench.instruments.environment import usable_cores

    return jobs or (1 if study.timing else usable_cores())


def with_threads(study: Study, threads: int) -> Study:
    """The study with a number of threads in each grid that names none, so that a resumed run has the same trials."""
    groups = {name: grid.model_copy(update={"threads": grid.threads or threads}) for name, grid in study.groups.items()}
    return study.model_copy(update={"groups": groups})


def with_data(study: Study) -> Study:
    """Take the folder of the data sets from the environment, where none is given and some task reads one."""
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
        with listener.interruption(engine.stop) as received, listener.display(trials, costs) as display:
            engine.notice = display.note
            for reason in plan.left_out:
                display.note(f"left out: {reason}")
            try:
                for record in sweep(run, study, todo, engine, display.progress):
                    records[record.id] = record
                    display.finished(record)
            except CannotGoOn as error:
                failure = str(error)
    return Session(run, list(records.values()), len(plan.planned), failure, bool(received))


def _choose_threads(study: Study, planned: "Plan", how: Execution) -> "ThreadChoice":
    """Choose the threads of those grids that name none."""
    from nodebench.running.threads import choose_threads

    first = min(planned.planned, key=lambda one: one.place).trial
    return choose_threads(first, study.data, study.limits, jobs_of(study, how.jobs))


def _start_engine(study: Study, how: Execution) -> "Engine":
    """The engine that was asked for. It warms up while torch is imported here and the trials are planned."""
    if how.dask:
        try:
            from nodebench.running.engines.dask import DaskEngine
        except ModuleNotFoundError as error:
            raise BadInput("--dask needs Dask: pip install 'nodebench[cluster]'") from error
        # A login node's cores say nothing of how many jobs to ask for.
        return DaskEngine(how.dask, (how.jobs or 1) if how.dask == "slurm" else jobs_of(study, how.jobs))
    from nodebench.trial.fork_server import start_fork_server

    start_fork_server()
    from nodebench.running.engines.local import LocalEngine

    return LocalEngine(jobs_of(study, how.jobs))


def _prepare(engine: "Engine", todo: "Sequence[Planned]", listener: "Listener") -> None:
    """Connect the engine to what it runs on, which may take long."""
    with listener.connecting():
        engine.prepare([one.trial for one in todo])


def _overridden(study: Study, how: Execution) -> Study:
    """A study with the limits, the passes and the interval of checkpoints that were asked for in place of its own."""
    asked = how.limits.model_dump(exclude_none=True)
    changes = {"limits": study.limits.model_copy(update=asked), "passes": how.passes or study.passes}
    if how.checkpoint_every is not None:
        changes["checkpoint_every"] = how.checkpoint_every
    return study.model_copy(update=changes)
