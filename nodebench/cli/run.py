"""Running a study: from what was asked for to records and a table."""

import os
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nodebench.cli.choices import Choices, given
from nodebench.cli.conventions import CANNOT_GO_ON, INTERRUPTED, LATEST, OK, TRIAL_FAILED
from nodebench.cli.progress import make_display
from nodebench.errors import BadInput, CannotGoOn, at_least
from nodebench.run.store import Run
from nodebench.spec import DataSource, Limits, Pass, Record, Status, Study

if TYPE_CHECKING:
    from nodebench.run.engines.contract import Engine
    from nodebench.run.plan import Planned

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
        json, quiet, figures: what is printed and drawn.
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
    """Make a new run of a study."""
    _check(manner)
    engine = _start_engine(study, manner)
    from nodebench.instruments import describe_environment
    from nodebench.run.plan import plan
    from nodebench.run.user_code import check_before_run

    study = with_surroundings(_overridden(study, manner), manner.jobs, engine.elsewhere)
    planned = plan(study, elsewhere=engine.elsewhere)
    if not planned.planned:
        raise BadInput(f"nothing to run: {'; '.join(planned.left_out)}")
    check_before_run(planned.trials, study.limits, ())
    _prepare(engine, planned.planned)
    device = "cpu" if engine.elsewhere else planned.trials[0].device
    run = Run.create(manner.results, study, describe_environment(device))
    return _run(run, study, planned.planned, planned.left_out, engine, manner)


def resume(run: Run, manner: Manner) -> int:
    """Go on with a run."""
    _check(manner)
    study = _overridden(run.study(), manner)
    engine = _start_engine(study, manner)
    from nodebench.run.plan import plan
    from nodebench.run.sweep import missing
    from nodebench.run.user_code import check_before_run

    planned = plan(study, elsewhere=engine.elsewhere)
    records = run.records()
    todo = missing(planned.planned, records, retry_failed=manner.retry_failed)
    check_before_run([one.trial for one in todo], study.limits, records, run.folder.name)
    return _run(run, study, planned.planned, planned.left_out, engine, manner)


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


def _prepare(engine: "Engine", todo: "Sequence[Planned]") -> None:
    """Let the engine connect to what it runs on, which may take long; Ctrl-C then undoes what it has begun."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        engine.prepare([one.trial for one in todo])
    finally:
        signal.signal(signal.SIGINT, before)


def _overridden(study: Study, manner: Manner) -> Study:
    """A study with the limits and the passes that were typed in place of its own."""
    typed = manner.limits.model_dump(exclude_none=True)
    changes = {"limits": study.limits.model_copy(update=typed), "passes": manner.passes or study.passes}
    return study.model_copy(update=changes)


def with_surroundings(study: Study, jobs: int | None, elsewhere: bool = False) -> Study:
    """Fix what depends on where one is, so that a resumed run has the same trials."""
    from nodebench.instruments.environment import usable_cores

    threads = 1 if elsewhere else max(1, usable_cores() // jobs_of(study, jobs))
    groups = {name: grid.model_copy(update={"threads": grid.threads or threads}) for name, grid in study.groups.items()}
    return with_data(study.model_copy(update={"groups": groups}))


def with_data(study: Study) -> Study:
    """Take the folder of the data sets from the environment, where none is given and some task reads one."""
    from nodebench.tasks import find_task

    folder = os.environ.get(DATA_VARIABLE)
    reads = any(find_task(grid.task).datasets for grid in study.groups.values())
    if not folder or study.data != DataSource() or not reads:
        return study
    return study.model_copy(update={"data": DataSource(folder=Path(folder).absolute())})


def _run(
    run: Run,
    study: Study,
    planned: "Sequence[Planned]",
    left_out: Sequence[str],
    engine: "Engine",
    manner: Manner,
) -> int:
    """Run what is missing; print the table, how to go on, and return the exit code."""
    from nodebench.run.estimate import costs_on
    from nodebench.run.sweep import missing, sweep

    with run.writing():
        records = {record.id: record for record in run.records()}
        todo = missing(planned, list(records.values()), retry_failed=manner.retry_failed)
        _prepare(engine, todo)
        costs = costs_on(run.environment(), manner.results, but=run)
        for record in records.values():
            costs.add(record)
        display = make_display([one.trial for one in todo], costs, json=manner.json, quiet=manner.quiet)
        failure = None
        with display, ctrl_c(engine.stop) as pressed:
            for reason in left_out:
                display.note(f"left out: {reason}")
            try:
                for record in sweep(run, study, todo, engine, display.progress):
                    records[record.id] = record
                    display.finished(record)
            except CannotGoOn as error:
                failure = str(error)
        done = list(records.values())
        _conclude(run, done, len(planned), failure, bool(pressed), manner)
        if manner.figures:
            from nodebench.cli.figures import draw_figures

            draw_figures(run, done, animate=False, quiet=manner.json)
    if failure:
        return CANNOT_GO_ON
    if pressed:
        return INTERRUPTED
    return OK if all(record.status is Status.OK for record in done) else TRIAL_FAILED


@contextmanager
def ctrl_c(stop: Callable[[], None]) -> Iterator[list[int]]:
    """From here on Ctrl-C, or a polite request to end, stops an engine, which leaves a record; yields who asked."""
    pressed: list[int] = []

    def ask(number: int, frame: object) -> None:
        pressed.append(number)
        stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(
    run: Run, records: Sequence[Record], planned: int, failure: str | None, pressed: bool, manner: Manner
) -> None:
    """Print the table, where it lies, and the commands that go on from here."""
    from nodebench.cli.show import print_run

    if not manner.json:
        print_run(run.folder, records, whole=False)
    typed = manner.limits.model_dump(exclude_none=True).items()
    options = "".join(f" --{_OPTIONS[name]} {value}" for name, value in typed)
    options += f" --passes {','.join(manner.passes)}" if manner.passes else ""
    command = f"nodebench run --results {shlex.quote(str(run.folder.parent))} --resume {run.folder.name}{options}"
    finished = sum(record.status is not Status.INTERRUPTED for record in records)
    kept = f"{finished} of {planned} trials are finished and kept"
    if failure:
        _say(f"nodebench: {failure}. {kept}. Go on with:\n  {command}")
    elif pressed:
        _say(f"Interrupted: {kept}. Go on with:\n  {command}")
    elif finished < len(records) or any(record.status not in (Status.OK, Status.INTERRUPTED) for record in records):
        _say(f"Run the failed trials again with:\n  {command} --retry-failed")


_OPTIONS = {"timeout": "timeout", "max_nfe": "max-nfe", "memory": "memory-limit"}


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True, markup=False).print(text, highlight=False)
