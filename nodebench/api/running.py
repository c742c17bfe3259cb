"""Running trials and reading runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nodebench.api.result import Run, Runs
from nodebench.errors import BadInput, RunAborted, choose, first_fault
from nodebench.running.listener import Display, Listener
from nodebench.running.session import Execution, Session, resume_run
from nodebench.running.session import run_study as run_session
from nodebench.spec import DataSource, Grid, Limits, Preset, Record, Study, Trial, load_study
from nodebench.spec.grid import replicates, task_or_problem
from nodebench.spec.request import passes_named
from nodebench.spec.trial import Scalar
from nodebench.store.run_folder import RunFolder, runs_below

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from nodebench.running.estimate import Costs
    from nodebench.tasks.problem import Problem

Values = Scalar | Sequence[Scalar]


def run(
    task: "str | Problem",
    *,
    options: Mapping[str, Values] | None = None,
    seeds: int | Sequence[int] = 1,
    preset: str = "quick",
    results: str | Path = "results",
    jobs: int | None = None,
    passes: Sequence[str] | None = None,
    timing: bool = True,
    limits: Limits | None = None,
    data: str | Path | None = None,
    download: bool = False,
    progress: bool | Listener = True,
    **axes: Values,
) -> Run:
    """Run the trials of a grid, each in a process of its own, and store their records.

    Example::

        run = nodebench.run("toy/spiral", solver=["dopri5", "rk4"], gradient=["direct", "adjoint"], seeds=3)
        run.plot("nfe_forward", "gradient_error")

    Args:
        task: a name from ``nodebench list tasks``, a ``Problem``, or ``file.py:NAME`` of a ``Problem``.
        options: options of the task; several values are expanded into all combinations (one trial each).
        seeds: number of replicates, or their seeds.
        preset: scale of the task: ``smoke``, ``quick`` or ``paper``.
        results: folder in which the run directory is made.
        jobs: number of parallel trials; one by default, because parallel trials distort each other's times.
        passes: what is measured: ``training``, ``memory``, ``numerics``; all by default.
        timing: whether times are needed. If False, trials run on all cores, and a trial is not rerun because the
            machine changed its speed.
        limits: limits of time, evaluations and memory of each trial.
        data: folder of the full data sets.
        download: whether the data may be downloaded.
        progress: whether to show a progress bar, or a ``Listener`` that shows the progress.
        axes: fields of ``Trial``, such as ``solver``, ``gradient`` or ``rtol``, each with one value or several;
            ``device`` and ``threads`` take one.

    Returns:
        Run: the records of all trials. A failed trial has a record with its status and failure.

    Raises:
        BadInput: an axis or a value does not exist, or the combination cannot be run; nothing was written.
        RunAborted: the run cannot continue, for example because its disk is full; finished trials are stored.
        KeyboardInterrupt: the run was interrupted; finished trials are stored.
    """
    for name in axes:
        choose("axis", name, [one for one in Grid.model_fields if one not in _OF_RUN])
    seed = replicates(seeds) if isinstance(seeds, int) else list(seeds)
    name, own = named(task)
    overrides = {**own, **(options or {})}
    chosen = {"task": name, "preset": choose("preset", preset, list(Preset)), "seed": seed, "overrides": overrides}
    try:
        grid = Grid.model_validate({**chosen, **axes})
    except ValidationError as error:
        fault = first_fault(error)
        axis, *rest = fault.path
        what = f"options['{rest[0]}']" if axis == "overrides" and rest else axis
        raise BadInput(f"{what} = {fault.given!r}: {fault.message}") from None
    source = DataSource(folder=Path(data).absolute() if data else None, download=download)
    return _run(Study(groups={"typed": grid}, data=source, timing=timing), results, jobs, passes, limits, progress)


def named(task: "str | Problem") -> tuple[str, dict[str, Scalar]]:
    """Return the name of a task and its options; a problem of the user is passed as an option."""
    if isinstance(task, str):
        return task_or_problem(task)
    from nodebench.tasks import live

    return live.TASK, {"problem": live.keep(task)}


# Fields of ``Grid`` that ``run`` does not accept as axes.
_OF_RUN = ("task", "preset", "seed", "overrides", "exclude", "against")


def run_study(
    name: str,
    *,
    preset: str = "quick",
    seeds: int | None = None,
    results: str | Path = "results",
    jobs: int | None = None,
    passes: Sequence[str] | None = None,
    limits: Limits | None = None,
    data: str | Path | None = None,
    progress: bool | Listener = True,
) -> Run:
    """Run a study that comes with nodebench, or a study from a ``.toml`` file.

    Args:
        name: a name from ``nodebench study list``, or the path of a file.
        preset: scale of its tasks.
        seeds: number of replicates; overrides the study's seeds.
        results, jobs, passes, limits, data, progress: as in ``run``.

    Returns:
        Run: the records of all trials.

    Raises:
        BadInput, RunAborted, KeyboardInterrupt: as in ``run``.
    """
    study = load_study(name, Preset(choose("preset", preset, list(Preset))))
    if seeds is not None:
        study = study.with_axes(seed=replicates(seeds))
    if data is not None:
        study = study.model_copy(update={"data": DataSource(folder=Path(data).absolute())})
    return _run(study, results, jobs, passes, limits, progress)


def load(name: str | Path | None = None, *, results: str | Path = "results") -> Run:
    """Read a run.

    Args:
        name: name of the run, or path of its directory; None for the latest run.
        results: folder of the runs.

    Raises:
        BadInput: there is no such run.
    """
    return Run(RunFolder.open(Path(results), None if name is None else str(name)).folder)


def load_runs(folder: str | Path = "results") -> Runs:
    """Read every run in a folder and in the folders below it.

    Raises:
        BadInput: there is no run.
    """
    return Runs([Run(run.folder) for run in runs_below(Path(folder))])


def resume(run: Run, *, retry_failed: bool = False, jobs: int | None = None, progress: bool | Listener = True) -> Run:
    """Run the missing trials of an interrupted run, and return the run with all records.

    Args:
        run: the run.
        retry_failed: whether trials that crashed or exceeded a limit run again.
        jobs, progress: as in ``run``.

    Raises:
        BadInput, RunAborted, KeyboardInterrupt: as in ``run``.
    """
    how = Execution(run.folder.parent, retry_failed=retry_failed, jobs=jobs)
    return _ended(resume_run(RunFolder(run.folder), how, listener(progress)))


def _run(
    study: Study,
    results: str | Path,
    jobs: int | None,
    passes: Sequence[str] | None,
    limits: Limits | None,
    progress: bool | Listener,
) -> Run:
    measured = None if passes is None else passes_named(passes)
    how = Execution(Path(results), jobs=jobs, limits=limits or Limits(), passes=measured)
    return _ended(run_session(study, how, listener(progress)))


def _ended(session: Session) -> Run:
    if session.failure:
        raise RunAborted(f"{session.failure}; {session.finished} of {session.planned} trials are kept")
    if session.stopped:
        raise KeyboardInterrupt(f"{session.finished} of {session.planned} trials are kept in {session.run.folder}")
    return Run(session.run.folder)


def listener(progress: bool | Listener) -> Listener:
    """Return the listener that shows the progress of trials."""
    if isinstance(progress, Listener):
        return progress
    return _Bar() if progress else Listener()


class _Bar(Listener):
    """Shows one progress bar, in a terminal or a notebook."""

    @contextmanager
    def display(self, trials: Sequence[Trial], costs: "Costs") -> Iterator[Display]:
        """Show how many trials have ended."""
        from rich.progress import Progress

        with Progress(transient=True) as bar:
            yield _Count(bar, bar.add_task("trials", total=len(trials)))


class _Count(Display):
    """Advances a progress bar as trials end."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task

    def finished(self, record: Record) -> None:
        """Advance the bar by one trial."""
        self._bar.advance(self._task)
