"""Running a study: from what was asked for to records and a table."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebench.cli.choices import Choices, given
from nodebench.cli.conventions import CANNOT_GO_ON, INTERRUPTED, LATEST, OK, TRIAL_FAILED
from nodebench.cli.heartbeat import waiting
from nodebench.cli.interrupt import ctrl_c, interruptible
from nodebench.cli.progress import make_display
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, CannotGoOn, at_least
from nodebench.run.store import Run
from nodebench.spec import DataSource, Limits, Pass, Record, Status, Study

if TYPE_CHECKING:
    from nodebench.run.engines.contract import Engine
    from nodebench.run.plan import Plan, Planned
    from nodebench.run.threads import ThreadChoice

# The data folder of those tasks that take one.
DATA_VARIABLE = "NODEBENCH_DATA_DIR"


@dataclass(frozen=True)
class Manner:
    """How a study is run, and nothing of what.

    Attributes:
        results: where runs are kept.
        resume: the run to go on with; null for a new one.
        retry_failed: whether to run failed trials of it again.
        jobs: trials at once; null for one, or for as many as there are cores where no time is measured.
        dask: ``local``, ``slurm`` or the address of a scheduler.
        limits: of each trial; what is given goes before what the study says, also when it is gone on with.
        passes: what is measured of each trial; None for what the study says. A trial whose record lacks one of them
            runs again when its run is gone on with.
        json, quiet, figures, table: what is printed and drawn.
        yes: whether a large run starts without asking.
    """

    results: Path
    resume: str | None = None
    retry_failed: bool = False
    jobs: int | None = None
    dask: str | None = None
    limits: Limits = field(default_factory=Limits)
    passes: tuple[Pass, ...] | None = None
    json: bool = False
    quiet: bool = False
    figures: bool = False
    table: bool = True
    yes: bool = False


@dataclass(frozen=True)
class Ended:
    """A run after its command has stopped working on it: its records, and the exit code of the command."""

    run: Run
    records: Sequence[Record]
    code: int


def run_command(choices: Choices, manner: Manner) -> int:
    """Run what was typed, or go on with an earlier run; return the exit code."""
    if not manner.resume:
        return execute(choices.study(), manner)
    refuse_changes(given(choices))
    return resume(Run.open(manner.results, None if manner.resume == LATEST else manner.resume), manner)


def refuse_changes(options: Sequence[str]) -> None:
    """Refuse options: of a run that is gone on with, only limits and passes can be changed."""
    if options:
        raise BadInput(f"--resume takes everything from the run it goes on with: leave out {', '.join(options)}")


def execute(study: Study, manner: Manner) -> int:
    """Make a new run of a study and return the exit code."""
    return run_study(study, manner).code


def run_study(study: Study, manner: Manner) -> Ended:
    """Make a new run of a study."""
    _check(manner)
    engine = _start_engine(study, manner)
    from nodebench.cli.confirm import confirm
    from nodebench.instruments import describe_environment
    from nodebench.run.estimate import costs_on
    from nodebench.run.plan import plan
    from nodebench.run.user_code import check_before_run

    study = with_data(_overridden(study, manner))
    single = with_threads(study, 1)  # the same study where every grid names its threads
    with waiting("planning the trials", quiet=manner.quiet):
        planned = plan(single, elsewhere=engine.elsewhere)
    if not planned.planned:
        raise BadInput(f"nothing to run: {'; '.join(planned.left_out)}")
    check_before_run(planned.trials, study.limits, ())
    chosen = None if engine.elsewhere or single == study else _choose_threads(study, planned, manner)
    study = with_threads(study, chosen.threads if chosen else 1)
    if study != single:
        planned = plan(study, elsewhere=engine.elsewhere)
    environment = describe_environment("cpu" if engine.elsewhere else planned.planned[0].configuration.device)
    alike = [one.configuration for one in planned.planned]  # a trial takes as long as any other of its configuration
    confirm(alike, costs_on(environment, manner.results), jobs_of(study, manner.jobs), yes=manner.yes)
    _prepare(engine, planned.planned, manner)
    if chosen is not None:
        environment["threads_choice"] = asdict(chosen)
    run = Run.create(manner.results, study, environment)
    if chosen is not None and not (manner.quiet or manner.json):
        _say(f"threads of a trial: {chosen.threads} ({chosen.because}); --threads N sets another number")
    return _run(run, study, planned, engine, manner)


def _choose_threads(study: Study, planned: "Plan", manner: Manner) -> "ThreadChoice":
    """Choose the threads of those grids that name none."""
    from nodebench.run.threads import choose_threads

    first = min(planned.planned, key=lambda one: one.place).trial
    return choose_threads(first, study.data, study.limits, jobs_of(study, manner.jobs))


def resume(run: Run, manner: Manner) -> int:
    """Go on with a run and return the exit code."""
    _check(manner)
    run.refuse_link()
    study = _overridden(run.study(), manner)
    engine = _start_engine(study, manner)
    from nodebench.run.plan import plan
    from nodebench.run.sweep import missing
    from nodebench.run.user_code import check_before_run

    with waiting("planning the trials", quiet=manner.quiet):
        planned = plan(study, elsewhere=engine.elsewhere)
    records = run.records()
    todo = missing(planned.planned, records, retry_failed=manner.retry_failed)
    check_before_run([one.trial for one in todo], study.limits, records, run.folder.name)
    return _run(run, study, planned, engine, manner).code


def _check(manner: Manner) -> None:
    if manner.retry_failed and not manner.resume:
        raise BadInput("--retry-failed: it goes with --resume")
    at_least(1, jobs=manner.jobs)


def jobs_of(study: Study, jobs: int | None) -> int:
    """How many trials run at once: one, where nothing else is asked for and seconds matter."""
    from nodebench.instruments.environment import usable_cores

    return jobs or (1 if study.timing else usable_cores())


def _start_engine(study: Study, manner: Manner) -> "Engine":
    """The engine that was asked for. It warms up while torch is imported here, and the trials are planned."""
    if manner.dask:
        try:
            from nodebench.run.engines.dask import DaskEngine
        except ModuleNotFoundError as error:
            raise BadInput("--dask needs Dask: pip install 'nodebench[cluster]'") from error
        # A login node's cores say nothing of how many jobs to ask for.
        return DaskEngine(manner.dask, (manner.jobs or 1) if manner.dask == "slurm" else jobs_of(study, manner.jobs))
    from nodebench.run.fork_server import start_fork_server

    start_fork_server()
    from nodebench.run.engines.local import LocalEngine

    return LocalEngine(jobs_of(study, manner.jobs))


def _prepare(engine: "Engine", todo: "Sequence[Planned]", manner: Manner) -> None:
    """Connect the engine to what it runs on, which may take long; Ctrl-C then undoes what it has begun."""
    with interruptible(), waiting("connecting to the workers", quiet=manner.quiet):
        engine.prepare([one.trial for one in todo])


def _overridden(study: Study, manner: Manner) -> Study:
    """A study with the limits and the passes that were typed in place of its own."""
    typed = manner.limits.model_dump(exclude_none=True)
    changes = {"limits": study.limits.model_copy(update=typed), "passes": manner.passes or study.passes}
    return study.model_copy(update=changes)


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


def _run(run: Run, study: Study, plan: "Plan", engine: "Engine", manner: Manner) -> Ended:
    """Run what is missing; print the table and how to go on."""
    from nodebench.run.estimate import costs_on
    from nodebench.run.sweep import missing, sweep

    with run.writing():
        records = {record.id: record for record in run.records()}
        todo = missing(plan.planned, list(records.values()), retry_failed=manner.retry_failed)
        _prepare(engine, todo, manner)
        costs = costs_on(run.environment(), manner.results, but=run)
        for record in records.values():
            costs.add(record)
        display = make_display([one.trial for one in todo], costs, json=manner.json, quiet=manner.quiet)
        engine.notice = display.note
        failure = None
        with ctrl_c(engine.stop) as pressed:
            with display:
                for reason in plan.left_out:
                    display.note(f"left out: {reason}")
                try:
                    for record in sweep(run, study, todo, engine, display.progress):
                        records[record.id] = record
                        display.finished(record)
                except CannotGoOn as error:
                    failure = str(error)
            stopped, done = bool(pressed), list(records.values())
            _conclude(run, done, len(plan.planned), failure, stopped, manner)
        if manner.figures:
            from nodebench.cli.figures import draw_figures

            draw_figures(run, done, animate=False, quiet=manner.json)
    return Ended(run, done, _code(done, failure, stopped))


def _code(records: Sequence[Record], failure: str | None, stopped: bool) -> int:
    if failure:
        return CANNOT_GO_ON
    if stopped:
        return INTERRUPTED
    return OK if all(record.status is Status.OK for record in records) else TRIAL_FAILED


def _conclude(
    run: Run, records: Sequence[Record], planned: int, failure: str | None, stopped: bool, manner: Manner
) -> None:
    """Print the table, where it lies, and the commands that go on from here."""
    from nodebench.cli.show import print_run

    if manner.table and not manner.json:
        print_run(run.folder, records, whole=False)
    typed = manner.limits.model_dump(exclude_none=True).items()
    options = "".join(f" --{_OPTIONS[name]} {value}" for name, value in typed)
    options += f" --passes {','.join(manner.passes)}" if manner.passes else ""
    results, name = shlex.quote(str(run.folder.parent)), shlex.quote(run.folder.name)
    command = f"nodebench run --results {results} --resume {name}{options}"
    finished = sum(record.status is not Status.INTERRUPTED for record in records)
    kept = f"{finished} of {planned} trials are finished and kept"
    if failure:
        _say(f"nodebench: {failure}. {kept}. Go on with:\n  {command}")
    elif stopped:
        _say(f"Interrupted: {kept}. Go on with:\n  {command}")
    elif finished < len(records) or any(record.status not in (Status.OK, Status.INTERRUPTED) for record in records):
        _say(f"Run the failed trials again with:\n  {command} --retry-failed")


_OPTIONS = {"timeout": "timeout", "max_nfe": "max-nfe", "memory": "memory-limit"}


def _say(text: str) -> None:
    Terminal(stderr=True, soft_wrap=True).print(text)
